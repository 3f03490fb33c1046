package node

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

func TestSleep(t *testing.T) {
	leaves(t)
	l, at := acceptor(t, core.TCP)
	server, sc := start(t, Options{Accept: []Listener{l}})
	n, c := start(t, Options{Dial: DialTCP, Listen: loopback})
	udp, tcp := server.LocalAddrs()[0], core.Over(core.TCP, at)
	c.say(n, netip.AddrPort{}, tcp, "?before")
	c.hears(t, "!before")
	self := sc.hears(t, "?before").from

	n.Suspend()
	n.Suspend()
	for range 5 {
		sc.say(server, netip.AddrPort{}, n.LocalAddrs()[0], "lost")
		sc.say(server, netip.AddrPort{}, self, "kept") // a stream's other end sends again until it is acknowledged
	}
	eventually(t, "asleep", func() bool { return n.Stats().Asleep == 5 })
	c.say(n, netip.AddrPort{}, udp, "?udp")
	c.say(n, netip.AddrPort{}, tcp, "?tcp")
	c.open(n, 1)
	if s := n.Stats(); s.Sent.Packets != 1 || s.Received.Packets != 1 {
		t.Errorf("asleep: %+v", s)
	}
	n.Resume()
	for _, text := range []string{"!udp", "!tcp", "kept"} {
		c.hears(t, text)
	}
	c.await(t, "a socket", func() bool { return len(c.opened) == 1 })
	c.note(func() {
		for _, h := range c.heard {
			if h.text == "lost" {
				t.Error("heard while asleep")
			}
		}
	})
	n.Suspend()
	sc.say(server, netip.AddrPort{}, self, "never")
	sc.say(server, netip.AddrPort{}, n.LocalAddrs()[0], "lost")
	eventually(t, "asleep again", func() bool { return n.Stats().Asleep == 6 })
	if err := n.Close(); err != nil { // nor does what waits to be heard keep it open
		t.Error(err)
	}
	n.Resume()
}

// What waited to be written when the node fell asleep leaves when it wakes.
func TestQueuesSleep(t *testing.T) {
	key := core.Over(core.TCP, netip.MustParseAddrPort("192.0.2.1:1"))
	s := newStream(key)
	here, there := net.Pipe()
	defer there.Close()
	s.stand(here)
	s.pause(true)
	s.push([]byte("x"))
	written := make(chan string, 1)
	go func() {
		b, _ := s.next(nil)
		written <- string(b)
	}()
	runtime.Gosched()
	s.mu.Lock()
	waits := s.frames == 1
	s.mu.Unlock()
	if !waits {
		t.Error("it is written while the node sleeps")
	}
	s.pause(false)
	if got := <-written; got != "\x00\x01x" {
		t.Errorf("written %q", got)
	}
}

// What became due while the node slept is done when it wakes, and not before.
func TestTimerSleeps(t *testing.T) {
	e, ev := &echo{}, make(events, 10)
	n, err := New(e, []*net.UDPConn{listen(t, "udp4", "127.0.0.1:0")}, Options{Observe: ev.observe})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var due time.Time
	for wait := 20 * time.Millisecond; ; wait *= 2 { // until it has fallen asleep before
		due = time.Now().Add(wait)
		n.Do(func(time.Time) { e.deadline = due })
		if n.Suspend(); time.Now().Before(due) {
			break
		}
		n.Resume()
		ev.want(t, "timeout")
	}
	before := n.Stats()
	time.Sleep(time.Until(due.Add(20 * time.Millisecond)))
	select {
	case x := <-ev:
		t.Errorf("asleep: %s", x)
	default:
	}
	if s := n.Stats(); s != before {
		t.Errorf("asleep: %+v", s)
	}
	n.Resume()
	ev.want(t, "timeout")
	n.Do(func(now time.Time) { e.deadline = now.Add(time.Millisecond) })
	ev.want(t, "timeout")
}
