package attack

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// Whatever an attacker without a secret sends in a victim's name, the victim gets no more bytes than he sent, and from a camera none.
func TestNothingIsAmplified(t *testing.T) {
	t.Parallel()
	c := newCast(t, newLab(t, lab.EngineTable))
	h := c.serve()
	cam := c.camera("direct")
	until(t, "the camera registers", func() bool { return h.Stats().Core.Online == 1 })
	const each = 5
	kinds := Kinds(ToRendezvous, c.serverKey.Public(), seeded(1))
	kinds = append(kinds, kinds[1]) // the last is answered, and behind all others
	victims, sent := make([]*counter, len(kinds)), make([]int64, len(kinds))
	for i, k := range kinds {
		victims[i] = count(t, c.l.Host("victim"), 1000+uint16(i)) // a port for each kind, as answers may be late
		r := spoof(t, c.l, k, victims[i].at, c.at, each)
		if sent[i] = r.Sent.Bytes; r.Sent.Packets != each {
			t.Errorf("%s: %d packets were sent", k.Name, r.Sent.Packets)
		}
	}
	until(t, "the last is answered", func() bool { return victims[len(kinds)-1].packets.Load() == each })
	quiet(victims...)
	answered := 0
	for i, k := range kinds {
		packets, bytes := victims[i].packets.Load(), victims[i].bytes.Load()
		t.Logf("rendezvous │ %-45s │ in %5d │ out %5d │ %.2f", k.Name, sent[i], bytes, float64(bytes)/float64(sent[i]))
		if bytes > sent[i] || packets > each {
			t.Errorf("%s: %d bytes in, %d bytes in %d packets out", k.Name, sent[i], bytes, packets)
		}
		answered += min(1, int(packets))
	}
	if answered < 4 {
		t.Errorf("%d kinds were answered: forged sources were not believed, so nothing was tried", answered)
	}
	// A forged source that passes the camera's NAT: the rendezvous'.
	var at netip.AddrPort
	var said int64
	unasked := func(s camera.Stats) int64 { return s.Traffic.Total().Bytes - s.Traffic.Of(core.Keepalive).Bytes } // which is due at any time
	cam.device.Node().Do(func(time.Time) { at, said = cam.camera.Stats().Reflexive, unasked(cam.camera.Stats()) })
	dropped := func() (n int64) {
		cam.device.Node().Do(func(time.Time) {
			for _, k := range cam.camera.Stats().Dropped {
				n += k
			}
		})
		return n
	}
	kinds = Kinds(ToCamera, c.cameraKey.Public(), seeded(2))
	for _, k := range kinds {
		spoof(t, c.l, k, c.at, at, each)
	}
	until(t, "the camera drops what it got", func() bool { return dropped() >= int64(len(kinds))*each })
	cam.device.Node().Do(func(time.Time) {
		if now := unasked(cam.camera.Stats()); now != said {
			t.Errorf("the camera sent %d bytes because of what was forged", now-said)
		}
	})
}

func spoof(t testing.TB, l *lab.Lab, k Kind, from, to netip.AddrPort, n int) Report {
	t.Helper()
	var broken error
	s := &Spoofer{Next: func(i int) (Shot, bool) {
		b, err := k.Make()
		broken = errors.Join(broken, err)
		return Shot{From: from, To: to, B: b}, i < n && err == nil
	}}
	r, err := s.Run(t.Context(), l.Host("off-path"), Budget{100, enough})
	if err := errors.Join(err, broken); err != nil {
		t.Fatal(err)
	}
	return r
}

// quiet waits until counters have stood still for a while: an answer takes two delays of link lan.
func quiet(cs ...*counter) {
	sum := func() (n int64) {
		for _, c := range cs {
			n += c.packets.Load()
		}
		return n
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for last := int64(-1); last != sum(); <-tick.C {
		last = sum()
	}
}

// A flood of handshakes is what it says: mac1 is right, whole ones open, and it comes from many places.
func TestFlood(t *testing.T) {
	key, err := identity.NewKey(seeded(5))
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{ToRendezvous, ToCamera} {
		r, err := session.NewResponder(session.Config{Static: key, Rand: seeded(7), Prologue: []byte(to)})
		if err != nil {
			t.Fatal(err)
		}
		for _, whole := range []bool{true, false} {
			f := &Flooder{Target: netip.MustParseAddrPort("192.0.2.1:1"), To: to, Key: key.Public(), Whole: whole, Seed: 9}
			shots, again := f.shots(), f.shots()
			from, ids := map[netip.AddrPort]bool{}, map[[16]byte]bool{}
			for i := range 3 * pool {
				s, err := shots(i)
				if err != nil {
					t.Fatal(err)
				}
				if same, _ := again(i); fmt.Sprint(same) != fmt.Sprint(s) {
					t.Fatalf("shot %d differs with the same seed", i)
				}
				q, _, err := r.Open(time.Unix(1, 0), s.From, false, s.B)
				if whole && err != nil || !whole && !errors.Is(err, session.ErrAuth) {
					t.Fatalf("shot %d, whole %v: %v, %v", i, whole, q, err)
				}
				id, _ := session.InitiationID(s.B)
				from[s.From], ids[id] = true, true
				if !netip.MustParsePrefix("198.18.0.0/15").Contains(s.From.Addr()) {
					t.Fatalf("from %v", s.From)
				}
			}
			if len(from) < 3*pool-2 || len(ids) != 3*pool {
				t.Errorf("whole %v: %d sources, %d initiations", whole, len(from), len(ids))
			}
		}
	}
}

// Under a flood of handshakes from sources that are not there, a camera registers and its owner watches.
func TestFlooderGainsNothing(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{true, false} {
		c := newCast(t, newLab(t, lab.EngineTable))
		h := c.serve()
		const packets = 3000
		end := inBackground(t, &Flooder{Target: c.at, To: ToRendezvous, Key: c.serverKey.Public(), Rate: 1500, Whole: whole}, c.l.Host("off-path"),
			Budget{packets, 20 * time.Second})
		until(t, "the flood comes", func() bool { return h.Stats().Node.Received.Packets > 50 })
		cam, owner := c.camera("direct"), c.owner("direct")
		c.watch(cam, owner, "direct")
		r := end()
		nothing(t, r)
		if r.Sent.Packets == 0 || r.Sent.Packets > packets || h.Stats().Core.Online != 1 {
			t.Errorf("whole %v: sent %d packets; %d cameras are online", whole, r.Sent.Packets, h.Stats().Core.Online)
		}
	}
}

// A budget holds on the wire, too: what arrives is what was allowed, at the rate that was said.
func TestSpooferKeepsToItsBudget(t *testing.T) {
	t.Parallel()
	l := newLab(t, lab.EngineNetfilter)
	sink := count(t, l.Host("victim"), 9)
	s := &Spoofer{Rate: 2000, Next: func(int) (Shot, bool) {
		return Shot{From: netip.MustParseAddrPort("203.0.113.77:1"), To: sink.at, B: []byte("x")}, true
	}}
	r, err := s.Run(t.Context(), l.Host("off-path"), Budget{100, enough})
	if err != nil || r.Sent.Packets != 100 || r.Ended != SpentPackets || r.Took < 45*time.Millisecond {
		t.Errorf("%+v, %v", r, err)
	}
	until(t, "all come", func() bool { return sink.packets.Load() == 100 })
	r, err = s.Run(t.Context(), l.Host("off-path"), Budget{MaxPackets, 100 * time.Millisecond})
	if err != nil || r.Ended != SpentTime || r.Sent.Packets > 201 || r.Took > 100*time.Millisecond {
		t.Errorf("%+v, %v", r, err)
	}
	quiet(sink)
	if got := sink.packets.Load(); got > 100+r.Sent.Packets {
		t.Errorf("%d came, %d were sent", got, 100+r.Sent.Packets)
	}
	s.Next = func(int) (Shot, bool) {
		return Shot{From: netip.MustParseAddrPort("[2001:db8::1]:1"), To: sink.at}, true
	}
	if _, err := s.Run(t.Context(), l.Host("off-path"), Budget{1, time.Second}); err == nil || !strings.Contains(err.Error(), "IPv4") {
		t.Errorf("an IPv6 source: %v", err)
	}
}

// UIDs are guessed by rule, each with right check symbols and none twice where the rule counts.
func TestGuesses(t *testing.T) {
	known := identity.PublicKey{1}.UID()
	for name, tt := range map[string]struct {
		g     Guess
		again bool
	}{
		"sequential": {Sequential(1 << 40), false}, "mac": {FromMAC([3]byte{0x00, 0x12, 0x31}, 0xfffff0), false},
		"near": {Near(known, 1), true}, "mixed": {Mixed(Sequential(0), FromMAC([3]byte{1, 2, 3}, 0)), false},
	} {
		seen := map[identity.UID]bool{}
		for i := range 200 {
			u := tt.g(i)
			if !u.Valid() || u == known || seen[u] && !tt.again {
				t.Fatalf("%s: guess %d is %v", name, i, u)
			}
			seen[u] = true
			if name != "near" {
				continue
			}
			differ := 0
			for k := range 26 {
				if u[k] != known[k] {
					differ++
				}
			}
			if differ < 1 || differ > 3 {
				t.Fatalf("%v differs from %v in %d symbols", u, known, differ)
			}
		}
	}
	if a, b := Sequential(0)(33), FromMAC([3]byte{}, 0)(33); a != b || a.Compact()[24:26] != "11" {
		t.Errorf("%v, %v", a, b)
	}
	if Listed(known)(7) != known {
		t.Error("a list is not tried")
	}
}

// Who guesses UIDs finds none, and cannot tell a camera that is offline from one that never was; one whose UID he has is found,
// so that the others' silence is no fault of his.
func TestEnumeratorGainsNothing(t *testing.T) {
	t.Parallel()
	c := newCast(t, newLab(t, lab.EngineTable))
	h := c.serve()
	cam := c.camera("direct")
	until(t, "the camera registers", func() bool { return saw[camera.Registered](cam) })
	uid := c.label.UID()
	e := &Enumerator{Server: c.at, Key: c.serverKey.Public(), Tries: 24, Rate: 200, Wait: patience, Seed: 3,
		Guess: Mixed(Sequential(0), FromMAC([3]byte{0x00, 0x12, 0x31}, 0), Near(uid, 1))}
	run := func() Report {
		t.Helper()
		r, err := e.Run(t.Context(), c.l.Host("off-path"), Budget{200, enough})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := run()
	nothing(t, r)
	if n := r.Counts["refused: "+wire.CodeUnavailable.String()]; n != 24 || r.Ended != Done || len(e.Answers()) != 24 {
		t.Errorf("%+v", r)
	}
	for _, a := range e.Answers() {
		if !a.Answered || a.After <= 0 || a.After > patience {
			t.Errorf("%+v", a)
		}
	}
	e.Guess, e.Tries, e.Seed = Listed(uid), 1, 4
	if r := run(); len(r.Gained) != 1 || !e.Answers()[0].Found.IsValid() {
		t.Errorf("a known camera that is online is not found: %+v, %+v", r, e.Answers())
	}
	cam.device.Node().Do(cam.camera.Close)
	until(t, "the camera is offline", func() bool { return h.Stats().Core.Online == 0 })
	e.Seed = 5
	if r := run(); len(r.Gained) != 0 || e.Answers()[0].Code != wire.CodeUnavailable {
		t.Errorf("a camera that is offline: %+v", r)
	}
	e.Tries, e.Rate, e.Seed = 100, 1000, 6
	if r := run(); r.Counts["refused: "+wire.CodeRateLimited.String()] < 40 {
		t.Errorf("100 guesses at once are not throttled: %v", r.Counts)
	}
	short, err := e.Run(t.Context(), c.l.Host("off-path"), Budget{7, enough})
	if err != nil || short.Sent.Packets != 7 || short.Ended != SpentPackets {
		t.Errorf("%+v, %v", short, err)
	}
}
