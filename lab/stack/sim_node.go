package stack

import (
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/lab/sim"
)

// simNode drives a core on a host in virtual time, as impl/node does on real sockets. It has no streams: packets to them are counted
// and dropped.
type simNode struct {
	net     *sim.Net
	host    *sim.Host
	core    core.Core
	observe func(any)
	timer   *sim.Timer
	mains   []*sim.Socket
	socks   map[netip.AddrPort]*sim.Socket
	asleep  bool
	closed  bool
	streams int64 // packets to streams
}

// newSimNode opens the sockets. Drive it.
func newSimNode(net *sim.Net, host *sim.Host, at ...netip.AddrPort) (*simNode, error) {
	n := &simNode{net: net, host: host, socks: map[netip.AddrPort]*sim.Socket{}}
	n.timer = net.NewTimer(n.due)
	for _, a := range at {
		s, err := host.Listen(a, n.receive)
		if err != nil {
			n.close()
			return nil, err
		}
		n.mains = append(n.mains, s)
		n.socks[s.Local()] = s
	}
	return n, nil
}

// drive gives the sockets to a core.
func (n *simNode) drive(c core.Core, observe func(any)) {
	n.core, n.observe = c, observe
	n.settle()
}

// endpoints are the node's own, at its first socket.
func (n *simNode) endpoints() (at []netip.AddrPort) {
	for _, a := range n.host.Addrs() {
		at = append(at, netip.AddrPortFrom(a, n.mains[0].Local().Port()))
	}
	return at
}

// do runs f with the core and then sends what it has to say. After close it does nothing.
func (n *simNode) do(f func(now time.Time)) {
	if n.closed {
		return
	}
	f(n.net.Now())
	n.settle()
}

func (n *simNode) receive(now time.Time, from, to netip.AddrPort, b []byte) {
	if n.closed || n.asleep {
		return
	}
	n.core.HandlePacket(now, from, to, b)
	n.advance(now)
	n.settle()
}

func (n *simNode) due(now time.Time) {
	if n.closed || n.asleep {
		return
	}
	n.advance(now)
	n.settle()
}

func (n *simNode) advance(now time.Time) {
	if core.Due(now, n.core.Deadline()) {
		n.core.HandleTimeout(now)
	}
}

// settle does what the core wants done and sets the timer.
func (n *simNode) settle() {
	if n.asleep {
		return
	}
	out := n.core.Ready()
	for _, e := range out.Events {
		if n.observe != nil {
			n.observe(e)
		}
	}
	for i := range out.Packets {
		n.send(&out.Packets[i])
	}
	for _, a := range out.Close {
		n.drop(a)
	}
	if out.Open > 0 {
		n.open(out.Open)
	}
	n.timer.Set(n.core.Deadline())
}

func (n *simNode) send(p *core.Packet) {
	if proto, _ := core.ProtoOf(p.To); proto != core.UDP {
		n.streams++
		return
	}
	if p.From.IsValid() {
		if s := n.socks[p.From]; s != nil {
			s.Send(p.To, p.TTL, p.B)
		}
		return
	}
	for _, s := range n.mains {
		if s.Reaches(p.To.Addr()) {
			s.Send(p.To, p.TTL, p.B)
			return
		}
	}
}

// maxSimSockets bounds the sockets open for a core at a time, as node.Options does.
const maxSimSockets = 1024

// open opens sockets for the core, which hears of them soon, not in the call in which it asks.
func (n *simNode) open(count int) {
	opener, ok := n.core.(core.Opener)
	if !ok {
		return
	}
	n.net.After(0, func(now time.Time) {
		if n.closed {
			return
		}
		var opened []netip.AddrPort
		var err error
		for len(opened) < count && len(n.socks) < maxSimSockets {
			var s *sim.Socket
			if s, err = n.host.Listen(netip.AddrPort{}, n.receive); err != nil {
				break
			}
			n.socks[s.Local()] = s
			opened = append(opened, s.Local())
		}
		opener.HandleOpened(now, opened, err)
		n.settle()
	})
}

// drop closes a socket that was opened for the core.
func (n *simNode) drop(a netip.AddrPort) {
	s := n.socks[a]
	if s == nil || slices.Contains(n.mains, s) {
		return
	}
	delete(n.socks, a)
	s.Close()
}

func (n *simNode) close() {
	if n.closed {
		return
	}
	n.closed = true
	n.timer.Set(time.Time{})
	for _, s := range n.socks {
		s.Close()
	}
}

// Kill, Start, Sleep and Wake are sim.Program's: nobody starts a device again (see sleeper).
func (n *simNode) Kill()        {}
func (n *simNode) Start() error { return nil }

// Sleep suspends the node.
func (n *simNode) Sleep() {
	n.asleep = true
	n.timer.Set(time.Time{})
}

// Wake lets it do what is due.
func (n *simNode) Wake() {
	n.asleep = false
	n.settle()
}
