package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/punchlab/punchlab/impl/core"
)

func (c *talker) open(n *Node, count int) {
	n.Do(func(time.Time) {
		c.box.Begin()
		c.box.Open(count)
	})
}

func TestSocketsOpenedForTheCore(t *testing.T) {
	leaves(t)
	n, c := start(t, Options{Listen: loopback})
	other, oc := start(t, Options{})
	c.open(n, 2)
	c.open(n, 1)
	c.await(t, "3 sockets", func() bool { return len(c.opened) == 3 })
	to := other.LocalAddrs()[0]
	for i, s := range c.opened {
		c.say(n, s, to, fmt.Sprint("?", i))
		if h := c.hears(t, fmt.Sprint("!", i)); h.to != s || h.from != to {
			t.Errorf("socket %v asked; the answer came to %v from %v", s, h.to, h.from)
		}
		if h := oc.hears(t, fmt.Sprint("?", i)); h.from != s {
			t.Errorf("the question left from %v, want %v", h.from, s)
		}
	}
	gone := c.opened[1]
	n.Do(func(time.Time) {
		c.box.Begin()
		c.box.Close(gone, n.LocalAddrs()[0]) // its own first socket is not the core's to close
		c.box.Send(gone, to, core.Punch, []byte("last"))
	})
	oc.hears(t, "last")
	c.say(n, gone, to, "never")
	c.say(n, netip.AddrPort{}, to, "?main")
	c.hears(t, "!main")
	if s := n.Stats(); s.Unroutable != 1 || s.Opened != 3 {
		t.Errorf("stats %+v", s)
	}
	if conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(gone)); err != nil {
		t.Errorf("the socket is not closed: %v", err)
	} else {
		conn.Close()
	}
}

func TestSocketsRefused(t *testing.T) {
	leaves(t)
	n, c := start(t, Options{})
	c.open(n, 1)
	c.await(t, "refusal", func() bool { return len(c.errs) == 1 && c.errs[0] != nil })

	n, c = start(t, Options{Listen: loopback, MaxSockets: 3})
	c.open(n, 2)
	c.open(n, 2)
	c.await(t, "refusal of the fourth", func() bool { return len(c.errs) == 2 && c.errs[1] != nil && len(c.opened) == 3 })
	n.Do(func(time.Time) { c.box.Begin(); c.box.Close(c.opened[0]) })
	c.open(n, 1)
	c.await(t, "socket in the place of one", func() bool { return len(c.errs) == 3 && c.errs[2] == nil && len(c.opened) == 4 })
	if s := n.Stats(); s.Opened != 4 || s.Refused != 1 {
		t.Errorf("stats %+v", s)
	}

	broken, calls := errors.New("broken"), 0
	n, c = start(t, Options{Listen: func() (*net.UDPConn, error) {
		if calls++; calls > 2 {
			return nil, broken
		}
		return loopback()
	}})
	c.open(n, 4)
	c.await(t, "what could be had", func() bool { return len(c.opened) == 2 && errors.Is(c.errs[0], broken) })

	// A core that asks and cannot be told.
	e := &echo{}
	m, err := New(e, []*net.UDPConn{listen(t, "udp4", "127.0.0.1:0")}, Options{Listen: loopback})
	if err != nil {
		t.Fatal(err)
	}
	m.Do(func(time.Time) { e.box.Begin(); e.box.Open(2) })
	if s := m.Stats(); s.Refused != 2 {
		t.Errorf("stats %+v", s)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// Sockets that are about to be opened when the node is closed are closed too.
// A core may ask for more while it is told what it got; each request is answered once, in order.
func TestSocketsAskedForWhileAnswered(t *testing.T) {
	leaves(t)
	for range 20 {
		n, c := start(t, Options{Listen: loopback})
		n.Do(func(time.Time) { c.more = 5 })
		c.open(n, 1)
		c.await(t, "6 sockets", func() bool { return len(c.opened) == 6 && len(c.errs) == 6 })
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloseWhileOpening(t *testing.T) {
	leaves(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	var late *net.UDPConn
	n, c := start(t, Options{Listen: func() (conn *net.UDPConn, err error) {
		close(begun)
		<-goOn
		late, err = loopback()
		return late, err
	}})
	c.open(n, 1)
	<-begun
	closed := make(chan error)
	go func() { closed <- n.Close() }()
	eventually(t, "closing", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.closed
	})
	select {
	case <-closed:
		t.Error("Close did not wait")
	default:
	}
	close(goOn)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if len(c.opened) != 0 {
		t.Error("the core was told after the end")
	}
	if err := late.Close(); !errors.Is(err, net.ErrClosed) {
		t.Error("the socket was left open")
	}
}

// reportErrors has the kernel report ICMP errors on a socket, as it does on connected ones: the next call fails by them,
// whichever packet it is for.
func reportErrors(t *testing.T, conn *net.UDPConn) *net.UDPConn {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return conn
}

// An ICMP error ends no socket's loop, neither a main one's nor that of one opened for the core; nor is another packet lost
// by it.
func TestSurvivesICMPErrors(t *testing.T) {
	leaves(t)
	gone, err := loopback()
	if err != nil {
		t.Fatal(err)
	}
	nobody := addrOf(gone)
	gone.Close()
	conn, err := loopback()
	if err != nil {
		t.Fatal(err)
	}
	c := newTalker()
	n, err := New(c, []*net.UDPConn{reportErrors(t, conn)}, Options{Listen: func() (*net.UDPConn, error) {
		conn, err := loopback()
		return reportErrors(t, conn), err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	other, oc := start(t, Options{})
	c.open(n, 3)
	c.await(t, "sockets", func() bool { return len(c.opened) == 3 })
	to := other.LocalAddrs()[0]
	said := int64(0)
	for i, s := range append(c.opened, n.LocalAddrs()[0]) {
		for round := range 20 {
			question := fmt.Sprintf("?%d.%d", i, round)
			n.Do(func(time.Time) {
				c.box.Begin()
				c.box.Send(s, nobody, core.Punch, []byte("x"))
				c.box.Send(s, to, core.Punch, []byte(question))
			})
			c.say(n, s, nobody, "x")
			said++
			eventually(t, "the error found by the reader", func() bool { return n.Stats().ReadErrors >= said })
			oc.hears(t, question)
			c.hears(t, "!"+question[1:])
		}
	}
	if s := n.Stats(); s.WriteErrors > 0 {
		t.Errorf("stats %+v: packets were lost by the errors", s)
	}
}

// ttlOf reads a packet with the TTL it came with.
func ttlOf(t *testing.T, conn *net.UDPConn) (ttl int, b []byte) {
	t.Helper()
	b, oob := make([]byte, 2048), make([]byte, 128)
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	k, oobn, _, _, err := conn.ReadMsgUDP(b, oob)
	if err != nil {
		t.Fatal(err)
	}
	all, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	return int(all[0].Data[0]), b[:k]
}

// withTTL has a socket report TTLs.
func withTTL(t *testing.T, network, addr string, level, option int) *net.UDPConn {
	t.Helper()
	lc := net.ListenConfig{}
	pc, err := lc.ListenPacket(context.Background(), network, addr)
	if err != nil {
		t.Skipf("no %s here: %v", network, err)
	}
	t.Cleanup(func() { pc.Close() })
	conn := pc.(*net.UDPConn)
	raw, _ := conn.SyscallConn()
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) })
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestEachPacketHasItsTTL(t *testing.T) {
	four := withTTL(t, "udp4", "127.0.0.1:0", unix.IPPROTO_IP, unix.IP_RECVTTL)
	six := withTTL(t, "udp6", "[::1]:0", unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT)
	for _, network := range []string{"udp4", "udp6", "udp"} { // the last is of both families
		conn, err := net.ListenUDP(network, nil)
		if err != nil {
			t.Fatal(err)
		}
		c := newTalker()
		n, err := New(c, []*net.UDPConn{conn}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []*net.UDPConn{four, six} {
			if network == "udp4" && to == six || network == "udp6" && to == four {
				continue
			}
			n.Do(func(time.Time) {
				c.box.Begin()
				for i, ttl := range []uint8{3, 0, 3, 3, 200, 0} {
					c.box.SendTTL(netip.AddrPort{}, addrOf(to), ttl, core.Punch, bytes.Repeat([]byte{byte(i)}, 100))
				}
			})
			// Packets with one TTL may share a message, but none overtakes another.
			for i, want := range []int{3, 64, 3, 3, 200, 64} {
				if ttl, b := ttlOf(t, to); ttl != want || b[0] != byte(i) || len(b) != 100 {
					t.Errorf("%s to %v: packet %d is %d with TTL %d, want %d", network, addrOf(to), i, b[0], ttl, want)
				}
			}
		}
		if s := n.Stats(); s.WriteErrors != 0 || s.Unroutable != 0 {
			t.Errorf("%s: stats %+v", network, s)
		}
		n.Close()
	}
}

// A packet without From leaves by the first socket that has its destination's family.
func TestFamilies(t *testing.T) {
	six, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	four, _ := loopback()
	c := newTalker()
	n, err := New(c, []*net.UDPConn{four, six}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for i, at := range n.LocalAddrs() {
		c.say(n, netip.AddrPort{}, at, fmt.Sprint("self", i))
		if h := c.hears(t, fmt.Sprint("self", i)); h.from != at || h.to != at {
			t.Errorf("to %v: left from %v", at, h.from)
		}
	}
}

// hollow is an Extra socket in memory: what is written to it waits until the test reads it.
type hollow struct {
	net.PacketConn
	at     *net.UDPAddr
	in     chan any // []byte or error
	out    chan string
	closed chan struct{}
}

func newHollow(port int) *hollow {
	return &hollow{
		at: &net.UDPAddr{IP: net.IPv4(203, 0, 113, 1), Port: port}, in: make(chan any, 10), out: make(chan string), closed: make(chan struct{}),
	}
}

func (h *hollow) LocalAddr() net.Addr { return h.at }

func (h *hollow) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case x := <-h.in:
		if err, ok := x.(error); ok {
			return 0, nil, err
		}
		return copy(b, x.([]byte)), &net.UDPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 7}, nil
	case <-h.closed:
		return 0, nil, net.ErrClosed
	}
}

func (h *hollow) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case h.out <- to.String() + " " + string(b):
		return len(b), nil
	case <-h.closed:
		return 0, net.ErrClosed
	}
}

func (h *hollow) Close() error { close(h.closed); return nil }

func TestExtraSockets(t *testing.T) {
	leaves(t)
	x, y := newHollow(1), newHollow(2)
	n, c := start(t, Options{Extra: []net.PacketConn{x}})
	if _, err := n.Attach(newHollow(1)); err == nil || !strings.Contains(err.Error(), "another socket") {
		t.Errorf("attached twice: %v", err)
	}
	at, err := n.Attach(y)
	if err != nil || at != netip.MustParseAddrPort("203.0.113.1:2") {
		t.Fatal(at, err)
	}
	peer := netip.MustParseAddrPort("192.0.2.7:7")
	for range 5 {
		x.in <- errors.New("no permission") // such as an ICMP error that the server passed on
	}
	x.in <- []byte("?x")
	if h := c.hears(t, "?x"); h.from != peer || h.to != netip.MustParseAddrPort("203.0.113.1:1") {
		t.Errorf("heard %+v", h)
	}
	if got := <-x.out; got != "192.0.2.7:7 !x" {
		t.Errorf("answered %q", got)
	}
	// One that blocks holds up nothing, and what is too much is dropped.
	for range extraQueue + 10 {
		c.say(n, at, peer, "y")
	}
	y.in <- []byte("meanwhile")
	c.hears(t, "meanwhile")
	if s := n.Stats(); s.WriteErrors < 9 || s.WriteErrors > 10 || s.ReadErrors != 5 {
		t.Errorf("stats %+v", s)
	}
	n.Do(func(time.Time) { c.box.Begin(); c.box.Close(at) })
	<-y.closed
	c.say(n, at, peer, "gone")
	if s := n.Stats(); s.Unroutable != 1 {
		t.Errorf("stats %+v", s)
	}
}
