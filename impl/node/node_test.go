package node

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// echo answers each datagram from the socket it came to, and counts what it saw.
type echo struct {
	box      core.Outbox
	deadline time.Time
	fired    int
}

func (e *echo) HandlePacket(now time.Time, from, to netip.AddrPort, b []byte) {
	e.box.Begin()
	e.box.Send(to, from, core.Control, e.box.Copy(b))
	e.box.Emit(string(b))
}

func (e *echo) HandleTimeout(now time.Time) {
	e.box.Begin()
	e.deadline = time.Time{}
	e.fired++
	e.box.Emit("timeout")
}

func (e *echo) Deadline() time.Time { return e.deadline }
func (e *echo) Ready() core.Output  { return e.box.Ready() }

func listen(t *testing.T, network, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func addrOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// events collects what a node says.
type events chan string

func (e events) observe(x any) { e <- x.(string) }

func (e events) want(t *testing.T, s string) {
	t.Helper()
	select {
	case got := <-e:
		if got != s {
			t.Fatalf("event %q, want %q", got, s)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no event, want %q", s)
	}
}

func TestEachSocketAnswersForItself(t *testing.T) {
	a, b := listen(t, "udp4", "127.0.0.1:0"), listen(t, "udp4", "127.0.0.1:0")
	n, err := New(&echo{}, []*net.UDPConn{a, b}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	client := listen(t, "udp4", "127.0.0.1:0")
	for _, to := range n.LocalAddrs() {
		for _, text := range []string{"x", strings.Repeat("y", 1472)} {
			if _, err := client.WriteToUDPAddrPort([]byte(text), to); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 2048)
			client.SetReadDeadline(time.Now().Add(10 * time.Second))
			k, from, err := client.ReadFromUDPAddrPort(buf)
			if err != nil || string(buf[:k]) != text || from != to {
				t.Fatalf("asked %v with %d bytes: %d bytes from %v, %v", to, len(text), k, from, err)
			}
		}
	}
}

func TestDualStackSocketReportsIPv4AsSuch(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	n, err := New(&echo{}, []*net.UDPConn{conn}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	client, err := net.DialUDP("udp6", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.SetDeadline(time.Now().Add(10 * time.Second))
	client.Write([]byte("six"))
	buf := make([]byte, 10)
	if k, err := client.Read(buf); err != nil || string(buf[:k]) != "six" {
		t.Fatalf("%q, %v", buf[:k], err)
	}
}

func TestDeadlineIsMetAndMovedByDo(t *testing.T) {
	e, ev := &echo{}, make(events, 10)
	n, err := New(e, []*net.UDPConn{listen(t, "udp4", "127.0.0.1:0")}, Options{Observe: ev.observe})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	n.Do(func(now time.Time) { e.deadline = now.Add(time.Hour) })
	n.Do(func(now time.Time) { e.deadline = now.Add(time.Millisecond) })
	ev.want(t, "timeout")
	n.Do(func(now time.Time) {
		if e.fired != 1 {
			t.Errorf("fired %d times", e.fired)
		}
	})
}

// An ICMP port unreachable must not end the loop: it is one of the classic faults of UDP programs.
func TestSurvivesRefusedPackets(t *testing.T) {
	gone := listen(t, "udp4", "127.0.0.1:0")
	nobody := addrOf(gone)
	gone.Close()
	e, ev := &echo{}, make(events, 100)
	conn := listen(t, "udp4", "127.0.0.1:0")
	n, err := New(e, []*net.UDPConn{conn}, Options{Observe: ev.observe})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	n.Do(func(time.Time) {
		e.box.Begin()
		for _, size := range []int{10, 70_000, 10} { // the second is refused by the kernel
			e.box.Send(netip.AddrPort{}, nobody, core.Punch, make([]byte, size))
		}
		e.box.Send(netip.MustParseAddrPort("192.0.2.1:1"), nobody, core.Punch, []byte("not my address"))
	})
	client := listen(t, "udp4", "127.0.0.1:0")
	client.WriteToUDPAddrPort([]byte("still there"), addrOf(conn))
	ev.want(t, "still there")
	s := n.Stats()
	if s.WriteErrors != 1 || s.Unroutable != 1 || s.Sent.Packets < 2 {
		t.Errorf("stats %+v", s)
	}
}

func TestBurstIsReadInBatchesAndInOrder(t *testing.T) {
	ev := make(events, 200)
	conn := listen(t, "udp4", "127.0.0.1:0")
	e := &echo{}
	n, err := New(e, []*net.UDPConn{conn}, Options{Observe: ev.observe})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	client := listen(t, "udp4", "127.0.0.1:0")
	n.Do(func(time.Time) { // the loop cannot feed meanwhile
		for i := range 40 {
			client.WriteToUDPAddrPort([]byte{byte('0' + i)}, addrOf(conn))
		}
	})
	for i := range 40 {
		ev.want(t, string([]byte{byte('0' + i)}))
	}
	if s := n.Stats(); s.LargestReadBatch < 2 {
		t.Errorf("stats %+v: no batch", s)
	}
}

func TestCloseEndsGoroutinesAndDescriptors(t *testing.T) {
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	var nodes []*Node
	for range 100 {
		a, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		n, err := New(&echo{}, []*net.UDPConn{a}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if err := n.Close(); err != nil {
			t.Fatalf("closed again: %v", err)
		}
		n.Do(func(time.Time) { t.Error("Do ran after Close") })
	}
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > goroutines || openFiles(t) > files {
		if time.Now().After(deadline) {
			t.Fatalf("goroutines %d, were %d; files %d, were %d", runtime.NumGoroutine(), goroutines, openFiles(t), files)
		}
		runtime.Gosched()
	}
}

// Waiting costs a goroutine and no buffer: a lab holds hundreds of nodes.
func TestIdleNodesAreCheap(t *testing.T) {
	memory := func() int64 {
		runtime.GC()
		runtime.GC() // a pool gives up what it has at the second one
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	const many = 200
	before := memory()
	for range many {
		n, err := New(&echo{}, []*net.UDPConn{listen(t, "udp4", "127.0.0.1:0")}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
	}
	const most = 30 << 10
	each := (memory() - before) / many
	for deadline := time.Now().Add(10 * time.Second); each > most; each = (memory() - before) / many {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes a node", each)
		}
	}
	t.Logf("%d bytes a node", each)
}

func openFiles(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func TestWithoutSocket(t *testing.T) {
	if _, err := New(&echo{}, nil, Options{}); err == nil {
		t.Error("no error")
	}
}
