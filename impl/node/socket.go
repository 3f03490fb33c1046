package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/punchlab/punchlab/impl/core"
)

// socket is a UDP socket. Its goroutine owns what is for reading; the node's lock guards what is for writing.
type socket struct {
	conn  *net.UDPConn
	raw   syscall.RawConn
	local netip.AddrPort
	six   bool // an IPv6 socket,
	dual  bool // and an IPv4 one as well

	gro     bool
	in      [drainLen]*inbound
	held    int // of in
	errno   syscall.Errno
	tryRead func(fd uintptr) bool

	gso      bool
	out      *outbound
	from, to int // messages of out to be sent
	wrote    int
	werrno   syscall.Errno
	tryWrite func(fd uintptr) bool
}

// newSocket prepares a socket. One that is to carry much reads what the kernel has coalesced.
func newSocket(conn *net.UDPConn, opt Options, much bool) (*socket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("socket %v: %w", conn.LocalAddr(), err)
	}
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	s := &socket{conn: conn, raw: raw, six: local.Addr().Is6(), local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port())}
	_ = conn.SetReadBuffer(opt.ReadBuffer) // the kernel grants what it may
	err = raw.Control(func(fd uintptr) {
		if s.six {
			only, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
			s.dual = err == nil && only == 0
		}
		// Linux 5.0 receives so and 4.18 sends so: asking for the option's value tells.
		gro := 0 // set in any case: what another owner of the socket had on would cut packets off
		if much && !opt.NoOffload {
			gro = 1
		}
		s.gro = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, gro) == nil && gro == 1
		_, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT)
		s.gso = err == nil && !opt.NoOffload
	})
	if err != nil {
		return nil, fmt.Errorf("socket %v: %w", s.local, err)
	}
	s.prepare()
	return s, nil
}

// prepare makes the functions that the poller calls: once, since each would be an allocation.
func (s *socket) prepare() {
	s.tryRead = func(fd uintptr) bool {
		s.errno = s.drain(fd)
		return s.held > 0 || s.errno != unix.EAGAIN && s.errno != unix.EINTR
	}
	s.tryWrite = func(fd uintptr) bool {
		s.wrote, s.werrno = s.out.send(fd, s.from, s.to)
		return s.werrno != unix.EAGAIN && s.werrno != unix.EINTR
	}
}

// reaches says whether a packet to an address can leave by the socket.
func (s *socket) reaches(to netip.Addr) bool {
	if to.Is4() || to.Is4In6() {
		return !s.six || s.dual
	}
	return s.six
}

// start begins to read a socket; mu is held.
func (n *Node) start(s *socket) {
	n.wg.Add(1)
	go n.loop(s)
}

// loop reads a socket until it is closed.
func (n *Node) loop(s *socket) {
	defer n.wg.Done()
	for {
		err := s.read()
		n.mu.Lock()
		if n.closed || errors.Is(err, net.ErrClosed) {
			n.mu.Unlock()
			s.release()
			return
		}
		n.feed(s, err)
		n.mu.Unlock()
		s.release()
	}
}

// feed hands the core what was read and what is due.
func (n *Node) feed(s *socket, err error) {
	if err != nil && !isTimeout(err) {
		n.stats.ReadErrors++
	}
	if n.asleep {
		for _, b := range s.in[:s.held] {
			n.stats.Asleep += b.packets()
		}
		return
	}
	now := n.opt.Now()
	before := n.stats.Received.Packets
	for _, b := range s.in[:s.held] {
		n.stats.Reads++
		for k := range b.n {
			n.message(now, s, b, k)
		}
	}
	n.stats.LargestReadBatch = max(n.stats.LargestReadBatch, int(n.stats.Received.Packets-before))
	n.advance(now)
	n.settle()
}

// message hands the core the packets of one message read.
func (n *Node) message(now time.Time, s *socket, b *inbound, k int) {
	from, p, size := b.message(k)
	if len(p) > size {
		n.stats.Coalesced += int64((len(p) + size - 1) / size)
	}
	for len(p) > size {
		n.receive(now, from, s.local, p[:size:size])
		p = p[size:]
	}
	n.receive(now, from, s.local, p)
}

// want asks for sockets. They are opened by a goroutine of their own, since that takes a while, and in the order of asking.
func (n *Node) want(count int) {
	if _, ok := n.core.(core.Opener); !ok {
		n.stats.Refused += int64(count)
		return
	}
	n.wanted = append(n.wanted, count)
	if len(n.wanted) == 1 {
		n.wg.Add(1)
		go n.answer()
	}
}

// answer opens what is wanted, until nothing is.
func (n *Node) answer() {
	defer n.wg.Done()
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.wanted) > 0 && !n.closed {
		count := n.wanted[0]
		room := max(0, n.opt.MaxSockets-(len(n.socks)-len(n.mains)))
		n.mu.Unlock()
		socks, err := n.listen(count, room)
		n.mu.Lock()
		if !n.awake() {
			for _, s := range socks {
				_ = s.conn.Close()
			}
			return
		}
		n.opened(socks, count, err)
		n.wanted = n.wanted[1:] // not before: a core that asks for more now is answered by this goroutine
	}
}

// listen opens sockets: count of them, or as many as there is room for, or as can be had.
func (n *Node) listen(count, room int) (socks []*socket, err error) {
	if n.opt.Listen == nil {
		return nil, errors.New("open socket: the node was given no way to; set Options.Listen")
	}
	for len(socks) < count {
		if len(socks) == room {
			return socks, fmt.Errorf("open socket: %d are open, which is all that Options.MaxSockets allows", n.opt.MaxSockets)
		}
		conn, err := n.opt.Listen()
		if err != nil {
			return socks, fmt.Errorf("open socket: %w", err)
		}
		s, err := newSocket(conn, n.opt, false)
		if err != nil {
			_ = conn.Close()
			return socks, fmt.Errorf("open socket: %w", err)
		}
		socks = append(socks, s)
	}
	return socks, nil
}

// opened tells the core what it got.
func (n *Node) opened(socks []*socket, count int, err error) {
	var addrs []netip.AddrPort
	n.open.Lock()
	for _, s := range socks {
		addrs = append(addrs, s.local)
		n.socks[s.local] = s
		if n.closing {
			_ = s.conn.SetWriteDeadline(time.Unix(1, 0))
		}
	}
	n.open.Unlock()
	for _, s := range socks {
		n.start(s)
	}
	n.stats.Opened += int64(len(socks))
	n.stats.Refused += int64(count - len(socks))
	n.core.(core.Opener).HandleOpened(n.opt.Now(), addrs, err)
	n.settle()
}

// drop closes what the core does not need any more: a socket, but none of those that New was given, or a stream.
func (n *Node) drop(a netip.AddrPort) {
	if st := n.streams[a]; st != nil {
		n.forget(st)
		st.finish()
		return
	}
	if x := n.extra[a]; x != nil {
		n.detach(x)
		return
	}
	s := n.socks[a]
	if s == nil || slices.Contains(n.mains, s) {
		return
	}
	n.open.Lock()
	delete(n.socks, a)
	n.open.Unlock()
	_ = s.conn.Close()
}

// isTimeout says whether a read has ended at its deadline.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
