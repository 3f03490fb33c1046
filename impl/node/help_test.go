package node

import (
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// talker answers what begins with '?' from where it came to, and notes what it hears and gets.
type talker struct {
	box core.Outbox

	mu     sync.Mutex
	change sync.Cond
	heard  []heard
	opened []netip.AddrPort
	errs   []error
	more   int // times that it asks for one more socket when it gets some
}

type heard struct {
	from, to netip.AddrPort
	text     string
}

func newTalker() *talker {
	c := &talker{}
	c.change.L = &c.mu
	return c
}

func (c *talker) HandlePacket(_ time.Time, from, to netip.AddrPort, b []byte) {
	c.box.Begin()
	c.note(func() { c.heard = append(c.heard, heard{from, to, string(b)}) })
	if len(b) > 0 && b[0] == '?' {
		c.box.Send(to, from, core.Punch, append([]byte{'!'}, b[1:]...))
	}
}

func (c *talker) HandleOpened(_ time.Time, socks []netip.AddrPort, err error) {
	c.box.Begin()
	c.note(func() { c.opened, c.errs = append(c.opened, socks...), append(c.errs, err) })
	if c.more > 0 {
		c.more--
		c.box.Open(1)
	}
}

func (c *talker) HandleTimeout(time.Time) {}
func (c *talker) Deadline() time.Time     { return time.Time{} }
func (c *talker) Ready() core.Output      { return c.box.Ready() }

func (c *talker) note(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	c.change.Broadcast()
}

// await waits until what is noted satisfies ok, and returns the texts.
func (c *talker) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	timer := time.AfterFunc(20*time.Second, func() { c.note(func() {}) })
	defer timer.Stop()
	end := time.Now().Add(20 * time.Second)
	c.mu.Lock()
	defer c.mu.Unlock()
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("no %.40q; heard %d packets, opened %v, errors %v", what, len(c.heard), c.opened, c.errs)
		}
		c.change.Wait()
	}
}

// hears waits for a text, and returns how it came.
func (c *talker) hears(t testing.TB, text string) (h heard) {
	t.Helper()
	c.await(t, text, func() bool {
		for _, h = range c.heard {
			if h.text == text {
				return true
			}
		}
		return false
	})
	return h
}

// start runs a talker on a loopback socket.
func start(t testing.TB, opt Options) (*Node, *talker) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c := newTalker()
	n, err := New(c, []*net.UDPConn{conn}, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n, c
}

// say has a talker send.
func (c *talker) say(n *Node, from, to netip.AddrPort, texts ...string) {
	n.Do(func(time.Time) {
		c.box.Begin()
		for _, text := range texts {
			c.box.Send(from, to, core.Punch, []byte(text))
		}
	})
}

func loopback() (*net.UDPConn, error) {
	return net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
}

// eventually waits for a condition that nothing tells of.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("not %s", what)
		}
	}
}

// leaves says afterwards whether goroutines or descriptors are left over.
func leaves(t *testing.T) {
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	t.Cleanup(func() {
		eventually(t, "without goroutines and descriptors left over", func() bool {
			return runtime.NumGoroutine() <= goroutines && openFiles(t) <= files
		})
	})
}
