package sim_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// do has a valid event happen.
func (w *world) do(e lab.Event) (undo func()) {
	w.t.Helper()
	if err := e.Validate(w.topo); err != nil {
		w.t.Fatal(err)
	}
	back, err := w.Do(e)
	if err != nil {
		w.t.Fatal(err)
	}
	return func() {
		w.t.Helper()
		if err := back(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// What cuts a path cuts it, in both ways, until it is undone.
func TestEventsThatCut(t *testing.T) {
	for _, tt := range []struct {
		topology string
		event    lab.Event
		cut      []string // hosts that do not reach the rendezvous then
	}{
		{"two-homes", lab.Event{Do: lab.DoUplinkDown, Site: "camera"}, []string{"camera"}},
		{"two-homes", lab.Event{Do: lab.DoUplinkDown, Host: "rendezvous"}, []string{"camera", "viewer"}},
		{"two-homes", lab.Event{Do: lab.DoBlackhole, Between: [2]string{"viewer", "rendezvous"}}, []string{"viewer"}},
		{"two-homes", lab.Event{Do: lab.DoBlackhole, Between: [2]string{"rendezvous", ""}}, []string{"camera", "viewer"}},
		{"two-homes", lab.Event{Do: lab.DoReboot, Site: "camera", For: time.Second}, []string{"camera"}},
		{"same-cgn", lab.Event{Do: lab.DoReboot, Site: "carrier", For: time.Second}, []string{"camera", "viewer"}},
		{"two-homes", lab.Event{Do: lab.DoSleep, Host: "viewer"}, []string{"viewer"}},
	} {
		w := newWorld(t, tt.topology)
		check := func(when string, cut []string) {
			t.Helper()
			for _, host := range []string{"camera", "viewer"} {
				if w.client(host).reaches() == slices.Contains(cut, host) {
					t.Errorf("%v, %s: %s reaches the rendezvous, or does not: want %v cut off", tt.event, when, host, cut)
				}
			}
		}
		check("before", nil)
		undo := w.do(tt.event)
		check("during", tt.cut)
		undo()
		check("after", nil)
	}
}

// An uplink that is mended while another event has it cut is not mended before that one is undone.
func TestEventsOverlap(t *testing.T) {
	w := newWorld(t, "two-homes")
	first := w.do(lab.Event{Do: lab.DoUplinkDown, Site: "camera"})
	second := w.do(lab.Event{Do: lab.DoUplinkDown, Site: "camera"})
	first()
	if w.client("camera").reaches() {
		t.Error("the second cut was undone with the first")
	}
	second()
	if !w.client("camera").reaches() {
		t.Error("cut although both are undone")
	}
}

// Large packets die in an MTU's black hole, small ones do not.
func TestMTUBlackhole(t *testing.T) {
	w := newWorld(t, "two-homes")
	c := w.client("camera")
	undo := w.do(lab.Event{Do: lab.DoMTUBlackhole, Site: "camera", MTU: 700})
	if seen, _ := c.ask(1000); seen != "" {
		t.Error("1,000 bytes passed an MTU of 700")
	}
	if !c.reaches() {
		t.Error("100 bytes did not pass an MTU of 700")
	}
	undo()
	if seen, _ := c.ask(1000); seen == "" {
		t.Error("1,000 bytes do not pass any more")
	}
}

// A link that an event changes has the other's delay.
func TestLinkEvent(t *testing.T) {
	w := newWorld(t, "two-homes", "link", "lan")
	c := w.client("viewer")
	_, before := c.ask(100)
	undo := w.do(lab.Event{Do: lab.DoLink, Site: "viewer", Link: "satellite"})
	if _, during := c.ask(100); during < 10*before {
		t.Errorf("a round trip took %v by satellite, %v before", during, before)
	}
	undo()
	if _, after := c.ask(100); after > 2*before {
		t.Errorf("a round trip takes %v, %v before", after, before)
	}
}

// A router that reboots or becomes another forgets its mappings; one that is readdressed has another address until that is undone.
func TestEventsThatForget(t *testing.T) {
	for _, e := range []lab.Event{
		{Do: lab.DoReboot, Site: "camera"}, {Do: lab.DoNAT, Site: "camera", NAT: "symmetric"}, {Do: lab.DoReaddress, Site: "camera"},
	} {
		w := newWorld(t, "two-homes", "camera.nat", "symmetric")
		c := w.client("camera")
		before, _ := c.ask(100)
		if again, _ := c.ask(100); again != before {
			t.Fatalf("seen as %s and then as %s", before, again)
		}
		undo := w.do(e)
		during, _ := c.ask(100)
		if during == before || during == "" {
			t.Errorf("%v: seen as %q, before and after", e, during)
		}
		if moved := strings.Split(before, ":")[0] != strings.Split(during, ":")[0]; moved != (e.Do == lab.DoReaddress) {
			t.Errorf("%v: seen as %s, and before as %s", e, during, before)
		}
		undo()
		if after, _ := c.ask(100); e.Do == lab.DoReaddress && strings.Split(before, ":")[0] != strings.Split(after, ":")[0] {
			t.Errorf("%v: afterwards seen as %s, and before as %s", e, after, before)
		}
	}
}

// A host that moves has the other site's addresses, and nothing reaches it by the old ones.
func TestMove(t *testing.T) {
	w := newWorld(t, "handover", "wifi.nat", "full-cone")
	c := w.client("viewer")
	home := w.Host("viewer").Addrs()[0]
	first, _ := c.ask(100)
	undo := w.do(lab.Event{Do: lab.DoMove, Host: "viewer", To: "carrier"})
	if w.Host("viewer").Addrs()[0] == home {
		t.Error("the host has its old address")
	}
	c.seen = ""
	old := netip.MustParseAddrPort(first)
	from := w.listen("rendezvous", netip.AddrPortFrom(w.Host("rendezvous").Addrs()[0], 8), func(time.Time, netip.AddrPort, netip.AddrPort, []byte) {})
	from.Send(old, 0, []byte("to the old place"))
	if w.run(time.Second, func() bool { return c.seen != "" }) {
		t.Error("what was sent to the old site has reached the host")
	}
	second, _ := c.ask(100)
	if second == "" || strings.Split(first, ":")[0] == strings.Split(second, ":")[0] {
		t.Errorf("seen as %s, before the move as %s", second, first)
	}
	undo()
	if third, _ := c.ask(100); third != first {
		t.Errorf("back home seen as %s, and before as %s", third, first)
	}
}

// A carrier's router that boots carries nothing from one of its customers to another.
func TestSilentLAN(t *testing.T) {
	w := newWorld(t, "same-cgn", "camera.nat", "open", "viewer.nat", "open")
	heard := 0
	at := netip.AddrPortFrom(w.Host("viewer").Addrs()[0], 5000)
	w.listen("viewer", at, func(time.Time, netip.AddrPort, netip.AddrPort, []byte) { heard++ })
	from := w.client("camera").sock
	send := func() int {
		heard = 0
		from.Send(at, 0, nil)
		w.run(time.Second, nil)
		return heard
	}
	before := send()
	undo := w.do(lab.Event{Do: lab.DoReboot, Site: "carrier", For: time.Minute})
	during := send()
	undo()
	if after := send(); before != 1 || during != 0 || after != 1 {
		t.Errorf("of one packet each came %d before, %d while the router booted, %d after", before, during, after)
	}
}

// A host that sleeps hears nothing and says nothing.
func TestAsleep(t *testing.T) {
	w := newWorld(t, "same-lan")
	c := w.client("camera")
	undo := w.do(lab.Event{Do: lab.DoSleep, Host: "camera"})
	w.client("viewer").sock.Send(netip.AddrPortFrom(w.Host("camera").Addrs()[0], c.sock.Local().Port()), 0, []byte("x"))
	c.sock.Send(netip.AddrPortFrom(w.Host("viewer").Addrs()[0], 1), 0, nil)
	w.run(time.Second, nil)
	undo()
	if s := w.Host("camera").Stats(); s.Deaf != 1 || s.Refused != 1 || c.seen != "" {
		t.Errorf("%+v and heard %q, want one datagram unheard and one unsaid", s, c.seen)
	}
}

// program counts what happens to it.
type program struct {
	killed, started, slept, woken int
	err                           error
}

func (p *program) Kill()        { p.killed++ }
func (p *program) Start() error { p.started++; return p.err }
func (p *program) Sleep()       { p.slept++ }
func (p *program) Wake()        { p.woken++ }

// Programs are killed and started again, suspended and woken, those too that come while the host is so.
func TestPrograms(t *testing.T) {
	w := newWorld(t, "two-homes")
	h := w.Host("rendezvous")
	var first, second program
	h.Run(&first)
	undoKill := w.do(lab.Event{Do: lab.DoKill, Host: "rendezvous"})
	undoSleep := w.do(lab.Event{Do: lab.DoSleep, Host: "rendezvous"})
	h.Run(&second)
	undoKill()
	undoSleep()
	want := program{killed: 1, started: 1, slept: 1, woken: 1}
	if first != want || second != want {
		t.Errorf("%+v and %+v, want %+v", first, second, want)
	}
	first.err = errors.New("no socket")
	back, err := w.Do(lab.Event{Do: lab.DoKill, Host: "rendezvous"})
	if err != nil {
		t.Fatal(err)
	}
	if err := back(); err == nil || !strings.Contains(err.Error(), "no socket") || !strings.Contains(err.Error(), "kill") {
		t.Errorf("a program that cannot start again: %v", err)
	}
}
