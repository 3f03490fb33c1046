// Package node is the one driver of the protocol's cores: sockets, a clock and a goroutine for each socket.
//
//	socket 0 ──recvmmsg──► ┌────────────┐
//	   deadline = core's   │ lock, core │──Ready──► sendmmsg by the packet's From, Observe by event
//	socket 1 ──recvmmsg──► └────────────┘
//	                             ▲
//	                        Do(f)┘
//
// A Node owns its goroutines: Close waits for them. Waiting costs a goroutine and no buffer, since buffers are taken
// from a shared pool only while packets are read; hundreds of nodes fit in a process. The timer is the read deadline of
// socket 0, so that there is no timer goroutine.
//
// An error on a socket (an ICMP error reported as ECONNREFUSED, a route that is gone, a full queue) is counted and
// survived: to a UDP protocol it is a lost packet. Only a closed socket ends its loop.
package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// Options are what a driver can be told.
type Options struct {
	// Observe is given each event of the core, in order, on the goroutine that drives the core: it must not block and
	// must not call the Node.
	Observe func(event any)
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// ReadBuffer is the size asked of the kernel for each socket's receive buffer, in bytes; zero: 1 MiB.
	ReadBuffer int

	// Listen opens a UDP socket for a core that asks for one, on a port of the host's choice; nil: the core is told that
	// there are none.
	Listen func() (*net.UDPConn, error)
	// MaxSockets bounds the sockets open for the core at a time; zero: 1,024.
	MaxSockets int
	// Extra are sockets beside the UDP ones that are no *net.UDPConn, such as an allocation on a TURN server. A packet leaves
	// by one whose From is its LocalAddr. Writing may block: packets then wait, bounded.
	Extra []net.PacketConn

	// Dial opens a TCP connection from local, which has port 0 unless the node accepts TCP streams: then it is that
	// listener's, and several sockets share it (SO_REUSEADDR and SO_REUSEPORT, as DialTCP and ListenTCP set them), so that
	// the two sides of a simultaneous open meet. nil: packets to streams that do not stand are dropped and counted.
	Dial func(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error)
	// DialTimeout ends what Dial and a TLS handshake take; zero: 10 s.
	DialTimeout time.Duration
	// Accept are listeners for streams; the Node closes them.
	Accept []Listener
	// MaxStreams bounds the streams at a time, and MaxStreamsEach those accepted from one IP address; zero: 4,096 and 256.
	MaxStreams, MaxStreamsEach int
	// Certificate is for TLS listeners; nil: one is made and signed by itself. Nobody verifies it: Noise inside the stream
	// authenticates both sides.
	Certificate *tls.Certificate

	// NoOffload leaves out UDP generic segmentation and receive offload (GSO, GRO).
	NoOffload bool
}

// Listener accepts streams of a protocol: core.TCP, or core.TLS over the TCP connections that it accepts.
type Listener struct {
	net.Listener
	Proto core.Proto
}

// Stats counts what happened at the sockets.
type Stats struct {
	Received, Sent   core.Count
	Reads, Writes    int64 // system calls that moved packets
	ReadErrors       int64
	WriteErrors      int64 // packets the kernel refused
	Unroutable       int64 // packets whose From is none of the sockets
	LargestReadBatch int

	Opened, Refused      int64 // sockets that the core asked for
	Coalesced, Segmented int64 // packets received by GRO and sent by GSO
	Dialled, Accepted    int64 // streams that came to stand
	DialErrors           int64
	StreamErrors         int64 // streams that broke
	StreamDrops          int64 // packets to a stream that is backlogged, or could not be dialled
	Streams              int   // now
	Asleep               int64 // packets that came while suspended, which a host that sleeps does not get
}

// Node drives one core.
type Node struct {
	opt   Options
	socks []*socket
	wg    sync.WaitGroup

	mu     sync.Mutex // holds the core and everything below
	core   core.Core
	armed  time.Time // what socket 0's read deadline is
	closed bool
	stats  Stats
}

type socket struct {
	conn  *net.UDPConn
	raw   syscall.RawConn
	local netip.AddrPort
	six   bool
}

// New starts driving c over the sockets, which it closes in Close. At least one is needed; packets without From leave
// by the first.
func New(c core.Core, conns []*net.UDPConn, opt Options) (*Node, error) {
	if len(conns) == 0 {
		return nil, errors.New("start node: no socket given; bind one with net.ListenUDP")
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.ReadBuffer == 0 {
		opt.ReadBuffer = 1 << 20
	}
	n := &Node{core: c, opt: opt}
	for _, conn := range conns {
		raw, err := conn.SyscallConn()
		if err != nil {
			return nil, fmt.Errorf("start node on %v: %w", conn.LocalAddr(), err)
		}
		local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		six := local.Addr().Is6()
		local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
		_ = conn.SetReadBuffer(opt.ReadBuffer) // the kernel grants what it may
		n.socks = append(n.socks, &socket{conn: conn, raw: raw, local: local, six: six})
	}
	n.mu.Lock()
	n.settle()
	n.mu.Unlock()
	for i := range n.socks {
		n.wg.Add(1)
		go n.loop(i)
	}
	return n, nil
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
	return n.stats
}

// LocalAddrs lists the addresses of the sockets.
func (n *Node) LocalAddrs() (addrs []netip.AddrPort) {
	for _, s := range n.socks {
		addrs = append(addrs, s.local)
	}
	return addrs
}

// Close closes the sockets and waits for the goroutines. It may be called more than once.
func (n *Node) Close() error {
	for _, s := range n.socks {
		_ = s.conn.SetWriteDeadline(time.Unix(1, 0)) // whoever waits for a device that takes nothing holds the lock
	}
	n.mu.Lock()
	first := !n.closed
	n.closed = true
	n.mu.Unlock()
	var errs []error
	if first {
		for _, s := range n.socks {
			errs = append(errs, s.conn.Close())
		}
	}
	n.wg.Wait()
	return errors.Join(errs...)
}

// loop reads socket i until it is closed.
func (n *Node) loop(i int) {
	defer n.wg.Done()
	s := n.socks[i]
	for {
		b, err := s.read()
		n.mu.Lock()
		if n.closed || errors.Is(err, net.ErrClosed) {
			n.mu.Unlock()
			b.free()
			return
		}
		n.feed(i, b, err)
		n.mu.Unlock()
		b.free()
	}
}

// feed hands the core what was read and what is due.
func (n *Node) feed(i int, b *batch, err error) {
	now := n.opt.Now()
	if err != nil && !isTimeout(err) {
		n.stats.ReadErrors++
	}
	if b != nil && b.n > 0 {
		n.stats.Reads++
		n.stats.LargestReadBatch = max(n.stats.LargestReadBatch, b.n)
		for k := range b.n {
			from, p := b.packet(k)
			n.stats.Received.Add(len(p))
			n.core.HandlePacket(now, from, n.socks[i].local, p)
		}
	}
	if core.Due(now, n.core.Deadline()) {
		n.core.HandleTimeout(now)
	}
	n.settle()
}

// settle sends what the core has to say and arms the timer.
func (n *Node) settle() {
	out := n.core.Ready()
	for _, e := range out.Events {
		if n.opt.Observe != nil {
			n.opt.Observe(e)
		}
	}
	for len(out.Packets) > 0 {
		s, k := n.run(out.Packets)
		if s == nil {
			n.stats.Unroutable += int64(k)
		} else {
			n.send(s, out.Packets[:k])
		}
		out.Packets = out.Packets[k:]
	}
	if d := n.core.Deadline(); !d.Equal(n.armed) {
		n.armed = d
		_ = n.socks[0].conn.SetReadDeadline(d) // fails only when closed
	}
}

// run finds the socket of the first packet, and how many packets in a row leave by it.
func (n *Node) run(ps []core.Packet) (*socket, int) {
	s := n.by(ps[0].From)
	k := 1
	for k < len(ps) && ps[k].From == ps[0].From {
		k++
	}
	return s, k
}

func (n *Node) by(from netip.AddrPort) *socket {
	if !from.IsValid() {
		return n.socks[0]
	}
	for _, s := range n.socks {
		if s.local == from {
			return s
		}
	}
	return nil
}

func (n *Node) send(s *socket, ps []core.Packet) {
	sent, calls, refused := s.write(ps)
	n.stats.Sent.Packets += sent.Packets
	n.stats.Sent.Bytes += sent.Bytes
	n.stats.Writes += calls
	n.stats.WriteErrors += refused
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// Suspend puts the node to sleep as a host's is: nothing is read, sent or timed out until Resume. Datagrams that come
// meanwhile are lost; what Do makes the core say waits.
func (n *Node) Suspend() {}

// Resume wakes a suspended node: what is due is done at once.
func (n *Node) Resume() {}
