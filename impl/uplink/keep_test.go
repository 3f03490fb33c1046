package uplink

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/wire"
)

// forgetful is a link behind a NAT that forgets its mapping after some silence. The rendezvous behaves as ours: it answers no
// ping from an address that it has not validated, but asks there.
type forgetful struct {
	*pair
	timeout time.Duration
	at      netip.AddrPort // the mapping
	valid   netip.AddrPort // as the rendezvous knows it
	last    time.Time
	lost    int // mappings
	reports []wire.Report
	mute    bool // the rendezvous does not acknowledge reports
}

func newForgetful(t *testing.T, timeout, longest time.Duration) *forgetful {
	p := newPair(t)
	cfg := p.l.cfg
	cfg.Longest, cfg.Addrs = longest, cfg.Addrs[:1]
	var err error
	p.l, err = New(cfg, &p.box)
	p.must(err)
	f := &forgetful{pair: p, timeout: timeout, at: me, valid: me, last: p.now}
	p.must(p.l.Start(p.now))
	for _, x := range p.accept(p.sent()[0].B, 40*time.Millisecond) {
		f.take(x.B)
	}
	return f
}

// take is a datagram of the link on its way through the NAT.
func (f *forgetful) take(b []byte) {
	f.t.Helper()
	if f.now.Sub(f.last) > f.timeout {
		f.rebind()
	}
	f.last = f.now
	if wire.Classify(b) == wire.Initiation {
		for _, x := range f.accept(b, 0) {
			f.take(x.B)
		}
		return
	}
	switch m := f.heard(b).(type) {
	case *wire.Ping:
		if f.at != f.valid {
			f.tell(first, &wire.Ping{Sequence: 7})
			break
		}
		f.tell(first, &wire.Pong{Sequence: m.Sequence, Endpoint: wire.At(f.at)})
	case *wire.Pong:
		if m.Sequence == 7 {
			f.valid = f.at
		}
	case *wire.Report:
		f.reports = append(f.reports, *m)
		if !f.mute {
			f.tell(first, &wire.Reported{Sequence: m.Sequence})
		}
	}
	for _, x := range f.sent() {
		f.take(x.B)
	}
}

func (f *forgetful) rebind() {
	f.at = netip.AddrPortFrom(f.at.Addr(), f.at.Port()+1)
	f.lost++
}

// live passes time.
func (f *forgetful) live(d time.Duration) {
	f.t.Helper()
	end := f.now.Add(d)
	for !f.l.Deadline().After(end) {
		var greetings [][]byte // the rendezvous takes them after what goes by the session that they renew
		for _, x := range f.step() {
			if wire.Classify(x.B) == wire.Initiation {
				greetings = append(greetings, x.B)
				continue
			}
			f.take(x.B)
		}
		for _, b := range greetings {
			f.seen = f.at
			f.take(b)
		}
	}
	f.now = end
}

// The interval between pings falls below the NAT's timeout and stays there, and the rendezvous is told the timeout.
func TestKeepaliveFollowsTheNAT(t *testing.T) {
	for _, c := range []struct {
		timeout  time.Duration
		most     int // mappings lost in a day
		from, to time.Duration
	}{
		{120 * time.Second, 0, 15 * time.Second, 15 * time.Second},
		{16 * time.Second, 0, 15 * time.Second, 15 * time.Second},
		{13 * time.Second, 20, 8 * time.Second, 15 * time.Second},
		{10 * time.Second, 20, 5 * time.Second, 11 * time.Second},
		{6 * time.Second, 20, 5 * time.Second, 7 * time.Second},
	} {
		f := newForgetful(t, c.timeout, 0)
		f.live(24 * time.Hour)
		if e := f.l.Keepalive(); f.lost > c.most || e < c.from || e > c.to || f.down > 0 {
			t.Errorf("timeout %v: pings every %v, %d mappings lost, down %d times", c.timeout, e, f.lost, f.down)
		}
		forgets := c.timeout < 15*time.Second
		if got := f.l.Timeout(); forgets && (got < c.timeout || got > 16*time.Second) || !forgets && got != 0 {
			t.Errorf("timeout %v: seen as %v", c.timeout, got)
		}
		if n := len(f.reports); forgets != (n > 0) || n > 0 && f.reports[n-1].Class.Timeout == 0 {
			t.Errorf("timeout %v: reported %v", c.timeout, f.reports)
		}
	}
}

// A NAT that remembers is asked less, where the owner allows it and the rendezvous puts up with it.
func TestKeepaliveGrows(t *testing.T) {
	f := newForgetful(t, 2*time.Minute, time.Minute)
	f.live(time.Hour)
	if e, most := f.l.Keepalive(), 35*time.Second*2/3; e != most || f.lost != 0 {
		t.Errorf("pings every %v, want %v; %d mappings lost", e, most, f.lost)
	}
	f = newForgetful(t, 20*time.Second, 25*time.Second)
	f.live(24 * time.Hour)
	if e := f.l.Keepalive(); e < 15*time.Second/2 || e > 25*time.Second || f.lost > 40 {
		t.Errorf("timeout 20 s: pings every %v, %d mappings lost", e, f.lost)
	}
}

// A router that reboots once, a port mapping, another network and what the owner knows say nothing about timeouts.
func TestMovesAreNoTimeouts(t *testing.T) {
	for name, move := range map[string]func(f *forgetful){
		"reboot":  func(f *forgetful) { f.rebind() },
		"network": func(f *forgetful) { f.at = other },
		"told":    func(f *forgetful) { f.rebind(); f.l.Moved(f.now) },
		"mapped":  func(f *forgetful) { f.rebind() },
	} {
		f := newForgetful(t, time.Hour, 0)
		moves := 0
		f.l.cfg.Moved = func(_ time.Time, from, to netip.AddrPort) {
			moves++
			if from == to || to != f.at {
				t.Errorf("%s: moved from %v to %v", name, from, to)
			}
		}
		if name == "mapped" {
			f.l.Report(f.now, wire.Class{}, []netip.AddrPort{netip.AddrPortFrom(me.Addr(), me.Port()+1)})
			f.take(f.sent()[0].B)
			f.l.Probe(f.now)
			f.take(f.sent()[0].B)
		}
		f.live(10 * time.Second)
		if name == "reboot" { // before any silence was survived it would look like the NAT's timeout
			f.live(5 * time.Minute)
		}
		move(f)
		for _, x := range f.sent() {
			f.take(x.B)
		}
		f.live(5 * time.Minute)
		if f.l.Keepalive() != 15*time.Second || f.l.Timeout() != 0 || moves != 1 || f.l.Reflexive() != f.at {
			t.Errorf("%s: pings every %v, timeout %v, %d moves, appears from %v", name, f.l.Keepalive(), f.l.Timeout(), moves, f.l.Reflexive())
		}
	}
}

// A report is repeated until it is acknowledged, said once otherwise, and said again in each session, from number 1.
func TestReports(t *testing.T) {
	f := newForgetful(t, time.Hour, 0)
	class := wire.Class{Mapping: wire.EndpointIndependent, Filtering: wire.AddressDependent}
	more := make([]netip.AddrPort, wire.MaxCandidates+3)
	for i := range more {
		more[i] = netip.AddrPortFrom(me.Addr(), uint16(1000+i))
	}
	say := func() {
		f.l.Report(f.now, class, more)
		for _, x := range f.sent() {
			f.take(x.B)
		}
	}
	f.mute = true
	say()
	f.live(5 * time.Second)
	n := len(f.reports)
	if n < 4 || n > 8 {
		t.Fatalf("said %d times in 5 s", n)
	}
	f.mute = false
	f.live(time.Minute)
	if n = len(f.reports); n > 10 {
		t.Errorf("said %d times", n)
	}
	last := f.reports[n-1]
	if last.Class != class || last.Sequence != 1 || len(last.Candidates) != wire.MaxCandidates {
		t.Errorf("said %+v", last)
	}
	say()
	f.live(time.Minute)
	if len(f.reports) != n {
		t.Errorf("said the same again: %v", f.reports[n:])
	}
	class.Hairpin = true
	say()
	if m := f.reports[len(f.reports)-1]; m.Sequence != 2 || !m.Class.Hairpin {
		t.Errorf("the next report: %+v", m)
	}
	f.tell(first, &wire.Goodbye{})
	for _, x := range f.accept(f.sent()[0].B, time.Millisecond) {
		f.take(x.B)
	}
	f.live(time.Second)
	if m := f.reports[len(f.reports)-1]; m.Sequence != 1 || !m.Class.Hairpin || f.ups != 2 {
		t.Errorf("in the next session: %+v", m)
	}
}
