package attack

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/lab"
)

// every is one of each attack, as little set up as refusing it needs.
func every(t testing.TB) []Attack {
	t.Helper()
	key, err := identity.NewKey(seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort("192.0.2.1:4479")
	return []Attack{
		&Spoofer{Next: func(int) (Shot, bool) { return Shot{From: at, To: at, B: []byte("x")}, true }},
		&Flooder{Target: at, To: ToRendezvous, Key: key.Public()},
		&Middle{},
		&Enumerator{Server: at, Key: key.Public(), Guess: Sequential(0), Tries: 1},
		&Impostor{Server: at, Key: key.Public(), Own: key, Victim: key.Public()},
		&RogueRendezvous{Key: key},
		&RogueRelay{Key: key},
	}
}

// An attack runs on a host that a lab made, and on nothing else: not on none, and not on one that somebody made up.
func TestNothingLeavesTheLab(t *testing.T) {
	for _, a := range every(t) {
		for name, m := range map[string]*lab.Machine{
			"none": nil, "zero": {}, "made up": {Name: "camera", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}},
		} {
			r, err := a.Run(t.Context(), m, Budget{10, time.Second})
			if !errors.Is(err, ErrNotLab) || r.Sent != (Count{}) {
				t.Errorf("%s on %s: %v, sent %v", a.Name(), name, err, r.Sent)
			}
		}
		for _, b := range []Budget{
			{}, {Packets: 1}, {Duration: time.Second}, {-1, time.Second}, {1, -1}, {MaxPackets + 1, time.Second}, {1, MaxDuration + 1},
		} {
			if _, err := a.Run(t.Context(), nil, b); err == nil || errors.Is(err, ErrNotLab) {
				t.Errorf("%s with a budget of %+v: %v", a.Name(), b, err)
			}
		}
	}
}

// A host of a lab that is closed is no host any more.
func TestNothingOutlivesTheLab(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.EngineTable)
	m := l.Host("off-path")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, a := range every(t) {
		if _, err := a.Run(t.Context(), m, Budget{10, time.Second}); !errors.Is(err, ErrNotLab) {
			t.Errorf("%s: %v", a.Name(), err)
		}
	}
}

// A budget is never overdrawn, by whichever of its bounds, and the first reason counts.
func TestMeter(t *testing.T) {
	begun := time.Unix(100, 0)
	m := newMeter(Budget{3, time.Second}, begun)
	for i := range 5 {
		if got, want := m.take(begun.Add(time.Millisecond), 10), i < 3; got != want {
			t.Errorf("packet %d: %v", i, got)
		}
	}
	m.end(Cancelled)
	if m.spent != (Count{3, 30}) || m.ended != SpentPackets {
		t.Errorf("spent %v, %s", m.spent, m.ended)
	}
	m = newMeter(Budget{3, time.Second}, begun)
	if !m.take(begun.Add(time.Second-1), 1) || m.take(begun.Add(time.Second), 1) || m.ended != SpentTime {
		t.Errorf("the time is not kept to: %s", m.ended)
	}
	select {
	case <-m.over:
	default:
		t.Error("nobody is told that it is over")
	}
}
