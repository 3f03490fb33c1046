package sim_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/sim"
	"github.com/punchlab/punchlab/topologies"
)

// world is a shipped topology in virtual time, whose rendezvous answers what comes with where it came from.
type world struct {
	*sim.Net
	t    testing.TB
	topo *lab.Topology
}

func newWorld(t testing.TB, name string, settings ...string) *world {
	t.Helper()
	topo, _, err := topologies.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(settings); i += 2 {
		if err := topo.Set(settings[i], settings[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	return worldOf(t, topo)
}

func worldOf(t testing.TB, topo *lab.Topology) *world {
	t.Helper()
	net, err := sim.New(topo, 1)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{net, t, topo}
	for _, a := range topo.HostAddr("rendezvous") {
		var echo *sim.Socket
		echo = w.listen("rendezvous", netip.AddrPortFrom(a, 7), func(_ time.Time, from, _ netip.AddrPort, b []byte) {
			echo.Send(from, 0, []byte(from.String()))
		})
	}
	return w
}

func (w *world) listen(host string, at netip.AddrPort, handle func(now time.Time, from, to netip.AddrPort, b []byte)) *sim.Socket {
	w.t.Helper()
	s, err := w.Host(host).Listen(at, handle)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// run lets time pass.
func (w *world) run(d time.Duration, done func() bool) bool {
	w.t.Helper()
	did, err := w.Run(context.Background(), d, done)
	if err != nil {
		w.t.Fatal(err)
	}
	return did
}

// client asks the rendezvous how it sees a socket.
type client struct {
	w    *world
	host string
	sock *sim.Socket
	seen string // what it was told last
}

func (w *world) client(host string) *client {
	c := &client{w: w, host: host}
	c.sock = w.listen(host, netip.AddrPort{}, func(_ time.Time, _, _ netip.AddrPort, b []byte) { c.seen = string(b) })
	return c
}

// ask returns how the socket is seen, empty if no answer comes, and how long that took.
func (c *client) ask(size int) (seen string, took time.Duration) {
	c.w.t.Helper()
	c.seen = ""
	begun := c.w.Now()
	to := c.w.topo.AddrsFrom(c.host, "rendezvous")[0]
	c.sock.Send(netip.AddrPortFrom(to, 7), 0, make([]byte, size))
	c.w.run(time.Second, func() bool { return c.seen != "" })
	return c.seen, c.w.Now().Sub(begun)
}

func (c *client) reaches() bool {
	c.w.t.Helper()
	seen, _ := c.ask(100)
	return seen != ""
}

// What a host sends leaves by its router's address and takes the links' delay, each way.
func TestPathsAreTheTopologys(t *testing.T) {
	w := newWorld(t, "two-homes", "camera.nat", "full-cone", "viewer.nat", "open", "link", "lan")
	want := w.topo.Path("camera", "rendezvous").Delay + w.topo.Path("rendezvous", "camera").Delay
	seen, took := w.client("camera").ask(100)
	if at, err := netip.ParseAddrPort(seen); err != nil || at.Addr() != w.topo.Site("camera").WAN[0] {
		t.Errorf("the camera is seen as %q, want an endpoint of %v", seen, w.topo.Site("camera").WAN)
	}
	if took < want*4/5 || took > want*6/5 { // the LAN's jitter
		t.Errorf("a round trip took %v, want about %v", took, want)
	}
	if seen, _ := w.client("viewer").ask(100); !strings.HasPrefix(seen, w.topo.HostAddr("viewer")[0].String()+":") {
		t.Errorf("who has no NAT is seen as %q", seen)
	}
}

// IPv6 passes, and by NAT64 a host without IPv4 reaches one of IPv4.
func TestFamilies(t *testing.T) {
	for _, set := range [][]string{{"dual-stack"}, {"ipv6-only"}, {"ipv6-only", "viewer.ipv6", "nat64"}} {
		name := strings.Join(set, " ")
		w := newWorld(t, set[0], set[1:]...)
		tos := w.topo.AddrsFrom("viewer", "rendezvous")
		for _, to := range tos {
			c := w.client("viewer")
			c.sock.Send(netip.AddrPortFrom(to, 7), 0, []byte("x"))
			if !w.run(time.Second, func() bool { return c.seen != "" }) {
				t.Errorf("%s: no answer from %v", name, to)
			}
		}
		if c := w.client("viewer"); c.sock.Reaches(netip.IPv4Unspecified()) != slices.ContainsFunc(w.Host("viewer").Addrs(), netip.Addr.Is4) {
			t.Errorf("%s: a socket says the wrong thing about the families it has", name)
		}
	}
}

// A packet whose TTL ends on the way does not arrive, by either version of IP.
func TestTTL(t *testing.T) {
	w := newWorld(t, "dual-stack")
	for _, to := range w.topo.AddrsFrom("camera", "rendezvous") {
		c := w.client("camera")
		for _, ttl := range []uint8{2, 40} {
			c.seen = ""
			c.sock.Send(netip.AddrPortFrom(to, 7), ttl, []byte("x"))
			if w.run(time.Second, func() bool { return c.seen != "" }) != (ttl == 40) {
				t.Errorf("to %v with a TTL of %d: %q", to, ttl, c.seen)
			}
		}
	}
}

// Who listens twice is refused; what is for nobody is counted.
func TestSockets(t *testing.T) {
	w := newWorld(t, "same-lan")
	h := w.Host("camera")
	deaf := func(time.Time, netip.AddrPort, netip.AddrPort, []byte) {}
	any1 := w.listen("camera", netip.AddrPortFrom(netip.Addr{}, 5000), deaf)
	for _, at := range []netip.AddrPort{netip.AddrPortFrom(netip.Addr{}, 5000), netip.AddrPortFrom(h.Addrs()[0], 5000)} {
		if _, err := h.Listen(at, deaf); !errors.Is(err, sim.ErrPortTaken) || !strings.Contains(err.Error(), "camera") {
			t.Errorf("listening at %v twice: %v", at, err)
		}
	}
	var got []string
	to := netip.AddrPortFrom(h.Addrs()[0], 5000)
	from := w.client("viewer")
	from.sock.Send(to, 0, []byte("nobody hears"))
	w.run(0, nil)
	any1.Close()
	from.sock.Send(to, 0, []byte("deaf"))
	w.run(0, nil)
	w.listen("camera", to, func(_ time.Time, from, to netip.AddrPort, b []byte) { got = append(got, fmt.Sprintf("%v %s", to, b)) })
	from.sock.Send(to, 0, []byte("heard"))
	from.sock.Send(netip.AddrPortFrom(netip.IPv6Unspecified(), 5000), 0, []byte("of another family"))
	w.run(0, nil)
	if want := []string{to.String() + " heard"}; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	if s := h.Stats(); s.Deaf != 1 {
		t.Errorf("%+v, want one datagram that nobody heard", s)
	}
	if s := w.Host("viewer").Stats(); s.Refused != 1 {
		t.Errorf("%+v, want one that could not be sent", s)
	}
	seen := map[uint16]bool{}
	for range 2000 {
		p := w.client("viewer").sock.Local().Port()
		if seen[p] || p < 32768 || p > 60999 {
			t.Fatalf("port %d: drawn before, or from nowhere", p)
		}
		seen[p] = true
	}
}

// What the link has damaged is dropped by the host's checksums.
func TestDamageIsFound(t *testing.T) {
	w := newWorld(t, "two-homes", "link", "lan")
	topo := w.topo.Clone()
	for i := range topo.Public {
		p := &topo.Public[i]
		p.Link, p.Profile.Down.Corrupt = "", 1
	}
	w = worldOf(t, topo)
	c := w.client("viewer")
	for range 10 {
		if c.reaches() {
			t.Error("a damaged packet was answered")
		}
	}
	if s := w.Host("rendezvous").Stats(); s.Broken != 10 {
		t.Errorf("%+v, want ten broken packets", s)
	}
}

// A datagram that would have to be fragmented ends the run with what to do.
func TestTooLong(t *testing.T) {
	w := newWorld(t, "same-lan")
	w.client("viewer").sock.Send(netip.AddrPortFrom(w.topo.HostAddr("camera")[0], 1), 0, make([]byte, link.MaxMTU))
	if _, err := w.Run(context.Background(), time.Second, nil); err == nil || !strings.Contains(err.Error(), "host viewer") || !strings.Contains(err.Error(), "engine table") {
		t.Errorf("%v", err)
	}
}

// Timers come in order, at their times; those that were set in the past a moment later; those that were taken back never.
func TestTimers(t *testing.T) {
	w := newWorld(t, "same-lan")
	var got []string
	note := func(name string) func(time.Time) {
		return func(now time.Time) { got = append(got, fmt.Sprintf("%s %v", name, now.Sub(sim.Start))) }
	}
	at := func(d time.Duration) time.Time { return sim.Start.Add(d) }
	w.After(time.Second/2, note("first")) // whose place the last one takes
	late, never, twice := w.NewTimer(note("late")), w.NewTimer(note("never")), w.NewTimer(note("moved"))
	late.Set(at(3 * time.Second))
	never.Set(at(time.Second))
	twice.Set(at(5 * time.Second))
	twice.Set(at(2 * time.Second))
	never.Set(time.Time{})
	w.After(time.Hour, note("after the end"))
	past := w.NewTimer(note("past"))
	past.Set(at(-time.Second))
	w.After(2*time.Second, note("same time, set later"))
	if w.run(4*time.Second, func() bool { return len(got) == 6 }) {
		t.Error("said to be done")
	}
	want := []string{"past 1µs", "first 500ms", "moved 2s", "same time, set later 2s", "late 3s"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if w.Now() != at(4*time.Second) {
		t.Errorf("the run ended at %v", w.Now())
	}
}

// Of what is due at the same time packets come before timers.
func TestPacketsBeforeTimers(t *testing.T) {
	topo := newWorld(t, "two-homes", "viewer.nat", "open").topo.Clone()
	exact := link.Profile{Up: link.Impairment{Delay: 5 * time.Millisecond}, Down: link.Impairment{Delay: 5 * time.Millisecond}}
	topo.Site("viewer").Profile, topo.Public[0].Profile = exact, exact
	w := worldOf(t, topo)
	var got []string
	w.listen("viewer", netip.AddrPortFrom(netip.Addr{}, 5000), func(now time.Time, _, _ netip.AddrPort, _ []byte) {
		got = append(got, "packet "+now.Sub(sim.Start).String())
	})
	w.After(10*time.Millisecond, func(now time.Time) { got = append(got, "timer "+now.Sub(sim.Start).String()) })
	w.client("rendezvous").sock.Send(netip.AddrPortFrom(topo.HostAddr("viewer")[0], 5000), 0, nil)
	w.run(time.Second, nil)
	if want := []string{"packet 10ms", "timer 10ms"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A timer that is set to the past again and again does not stop the time, and a run ends with its context.
func TestEndsWithItsContext(t *testing.T) {
	w := newWorld(t, "same-lan")
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	var again *sim.Timer
	again = w.NewTimer(func(now time.Time) {
		if n++; n == 3000 {
			cancel()
		}
		again.Set(now)
	})
	again.Set(w.Now())
	if _, err := w.Run(ctx, time.Hour, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if w.Now().Before(sim.Start.Add(3 * time.Millisecond)) {
		t.Errorf("after 3,000 timers it is %v", w.Now().Sub(sim.Start))
	}
}

// One that goes on for ever ends with an error, and not with somebody's patience.
func TestEndsWhereTimeHardlyMoves(t *testing.T) {
	w := newWorld(t, "same-lan")
	var again *sim.Timer
	again = w.NewTimer(func(now time.Time) { again.Set(now) })
	again.Set(w.Now())
	if _, err := w.Run(t.Context(), time.Hour, nil); err == nil || !strings.Contains(err.Error(), "hardly moves") {
		t.Error(err)
	}
}
