// Package node is the one driver of the protocol's cores: sockets, streams, a clock and a goroutine for each socket.
//
//	socket 0 ──recvmmsg, GRO──► ┌────────────┐
//	   deadline = core's        │ lock, core │──Ready──► sendmmsg, GSO by the packet's From, Observe by event
//	sockets the core opened ──► │            │       └─► stream's queue ──► writer ──► TCP or TLS, RFC 4571
//	streams ──frames──────────► └────────────┘
//	                                  ▲
//	                             Do(f)┘
//
// A Node owns its goroutines: Close waits for them. Waiting costs a goroutine and no buffer, since buffers are taken
// from a shared pool only while packets are read; hundreds of nodes fit in a process. The timer is the read deadline of
// socket 0, so that there is no timer goroutine.
//
// An error on a socket (an ICMP error reported as ECONNREFUSED, a route that is gone, a full queue) is counted and
// survived: to a UDP protocol it is a lost packet. Only a closed socket ends its loop.
//
// A packet to a stream's endpoint goes into the stream that stands with it, and otherwise begins one (stream.go). A stream
// that is backlogged drops packets as a full socket buffer would; it never holds up the core.
package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// Node drives one core.
type Node struct {
	opt    Options
	mains  []*socket       // as given: the first is socket 0
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // holds the core and everything below
	wake    sync.Cond  // of mu: neither suspended nor open any more
	core    core.Core
	armed   time.Time // what socket 0's read deadline is
	asleep  bool
	closed  bool
	stats   Stats
	socks   map[netip.AddrPort]*socket // by local address; written with open held too
	extra   map[netip.AddrPort]*extra
	streams map[netip.AddrPort]*stream // by the remote endpoint
	guests  map[netip.Addr]int         // streams accepted, by IP address
	nguests int
	// ndialled are the other streams. They have a bound of their own: guests must not keep the node from reaching anybody.
	ndialled int
	wanted   []int // requests for sockets that are not answered yet

	open    sync.Mutex // guards socks and closing for Close, which cannot wait for mu; taken after mu
	closing bool
}

// New starts driving c over the sockets, which it closes in Close as it does the other sockets and listeners of opt. At
// least one is needed; packets without From leave by the first that has the destination's family. After an error all of
// them are still the caller's.
func New(c core.Core, conns []*net.UDPConn, opt Options) (*Node, error) {
	if len(conns) == 0 {
		return nil, errors.New("start node: no socket given; bind one with net.ListenUDP")
	}
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	n := newNode(c, opt)
	for _, conn := range conns {
		s, err := newSocket(conn, opt, true)
		if err != nil {
			return nil, fmt.Errorf("start node: %w", err)
		}
		n.mains = append(n.mains, s)
		n.socks[s.local] = s
	}
	var extras []*extra
	for _, conn := range opt.Extra {
		x, err := n.newExtra(conn)
		if err != nil {
			return nil, fmt.Errorf("start node: %w", err)
		}
		extras = append(extras, x)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.settle()
	for _, s := range n.mains {
		n.start(s)
	}
	for _, x := range extras {
		n.startExtra(x)
	}
	for _, l := range opt.Accept {
		n.wg.Add(1)
		go n.accept(l)
	}
	return n, nil
}

// newNode makes a node without sockets.
func newNode(c core.Core, opt Options) *Node {
	n := &Node{
		core: c, opt: opt, socks: map[netip.AddrPort]*socket{}, extra: map[netip.AddrPort]*extra{},
		streams: map[netip.AddrPort]*stream{}, guests: map[netip.Addr]int{},
	}
	n.wake.L = &n.mu
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Do runs f with the core to itself and then sends what the core has to say. f must not call the Node. After Close it
// does nothing.
func (n *Node) Do(f func(now time.Time)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	f(n.opt.Now())
	n.settle()
}

// Stats is what happened at the sockets so far.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.stats
	s.Streams = len(n.streams)
	return s
}

// LocalAddrs lists the addresses of the sockets that New was given.
func (n *Node) LocalAddrs() (addrs []netip.AddrPort) {
	for _, s := range n.mains {
		addrs = append(addrs, s.local)
	}
	return addrs
}

// Close closes the sockets and waits for the goroutines. Streams first get what is queued for them, for a quarter of a
// second at most. It may be called more than once.
func (n *Node) Close() error {
	n.open.Lock()
	n.closing = true
	for _, s := range n.socks {
		_ = s.conn.SetWriteDeadline(time.Unix(1, 0)) // whoever waits for a device that takes nothing holds the lock
	}
	n.open.Unlock()
	n.mu.Lock()
	var all []io.Closer
	if !n.closed {
		n.closed = true
		n.cancel()
		all = n.shut()
	}
	n.wake.Broadcast()
	n.mu.Unlock()
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	n.wg.Wait()
	return errors.Join(errs...)
}

// shut ends the streams, and lists what is to be closed.
func (n *Node) shut() (all []io.Closer) {
	for _, s := range n.socks {
		all = append(all, s.conn)
	}
	for _, x := range n.extra {
		all = append(all, x.conn)
	}
	for _, l := range n.opt.Accept {
		all = append(all, l)
	}
	for _, s := range n.streams {
		s.finish()
	}
	return all
}

// Suspend puts the node to sleep as a host's is: nothing is read, sent or timed out until Resume. Datagrams that come
// meanwhile are lost; what Do makes the core say waits.
func (n *Node) Suspend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.asleep {
		return
	}
	n.asleep = true
	n.arm(time.Time{})
	for _, s := range n.streams {
		s.pause(true)
	}
}

// Resume wakes a suspended node: what is due is done at once.
func (n *Node) Resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || !n.asleep {
		return
	}
	n.asleep = false
	for _, s := range n.streams {
		s.pause(false)
	}
	n.settle()
	n.wake.Broadcast()
}

// awake waits, with mu held, while the node sleeps, and says whether it is open.
func (n *Node) awake() bool {
	for n.asleep && !n.closed {
		n.wake.Wait()
	}
	return !n.closed
}

// advance does what is due.
func (n *Node) advance(now time.Time) {
	if core.Due(now, n.core.Deadline()) {
		n.core.HandleTimeout(now)
	}
}

// settle does what the core wants done and arms the timer.
func (n *Node) settle() {
	if n.asleep {
		return
	}
	out := n.core.Ready()
	for _, e := range out.Events {
		if n.opt.Observe != nil {
			n.opt.Observe(e)
		}
	}
	n.transmit(out.Packets)
	for _, a := range out.Close {
		n.drop(a)
	}
	if out.Open > 0 {
		n.want(out.Open)
	}
	n.arm(n.core.Deadline())
}

// arm sets the timer.
func (n *Node) arm(d time.Time) {
	if !d.Equal(n.armed) {
		n.armed = d
		_ = n.mains[0].conn.SetReadDeadline(d) // fails only when closed
	}
}

// transmit sends packets, each by its way.
func (n *Node) transmit(ps []core.Packet) {
	for len(ps) > 0 {
		if isStream(ps[0].To) {
			n.stream(ps[0])
			ps = ps[1:]
			continue
		}
		k := run(ps)
		n.datagrams(ps[:k])
		ps = ps[k:]
	}
}

// isStream says whether an endpoint is a stream's.
func isStream(a netip.AddrPort) bool {
	p, _ := core.ProtoOf(a)
	return p != core.UDP
}

// run is how many packets in a row leave by the first one's socket.
func run(ps []core.Packet) int {
	k := 1
	for k < len(ps) && ps[k].From == ps[0].From && ps[k].To.Addr().Is4() == ps[0].To.Addr().Is4() && !isStream(ps[k].To) {
		k++
	}
	return k
}

// datagrams sends packets that have one From and family.
func (n *Node) datagrams(ps []core.Packet) {
	if s := n.by(ps[0].From, ps[0].To.Addr()); s != nil {
		n.sent(s.write(ps))
		return
	}
	if x := n.extra[ps[0].From]; x != nil {
		for _, p := range ps {
			n.leave(x, p)
		}
		return
	}
	n.stats.Unroutable += int64(len(ps))
}

// by finds the socket that a packet leaves by.
func (n *Node) by(from netip.AddrPort, to netip.Addr) *socket {
	if from.IsValid() {
		return n.socks[from]
	}
	for _, s := range n.mains {
		if s.reaches(to) {
			return s
		}
	}
	return nil
}

func (n *Node) sent(w written) {
	n.stats.Sent.Packets += w.Packets
	n.stats.Sent.Bytes += w.Bytes
	n.stats.Writes += w.calls
	n.stats.WriteErrors += w.refused
	n.stats.Segmented += w.segmented
}

// receive hands the core a packet.
func (n *Node) receive(now time.Time, from, to netip.AddrPort, b []byte) {
	n.stats.Received.Add(len(b))
	n.core.HandlePacket(now, from, to, b)
}
