package rendezvous

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// everything is each message that travels, plausible for the pair.
func (p pair) everything(id uint64) []wire.Message {
	e := wire.At(addr("198.51.100.9:9"))
	long := make([]wire.Endpoint, wire.MaxCandidates)
	for i := range long {
		long[i] = e
	}
	return []wire.Message{
		&wire.Register{Version: 1}, &wire.Registered{Endpoint: e, Keepalive: 15, Expiry: 60},
		&wire.Login{Version: 1}, &wire.LoggedIn{Endpoint: e, Expiry: 60},
		&wire.Ping{Sequence: 1}, &wire.Pong{Sequence: 1}, &wire.Pong{Sequence: 1 << 60}, connect(id+1, p.c), &wire.Peer{ID: id, Endpoint: e},
		&wire.Introduce{ID: id, Endpoint: e, Noise1: make([]byte, 256)}, &wire.IntroduceAck{ID: id}, &wire.Refused{ID: id, Code: wire.CodeEnded},
		&wire.Hello{Version: 1, ID: id, PunchKey: wire.PunchKey{1}}, &wire.Welcome{PayloadType: 96, ClockRate: 90000},
		&wire.PathChallenge{Token: wire.Token{1}}, &wire.PathResponse{Token: wire.Token{1}}, &wire.Use{Sequence: 1},
		&wire.Consent{}, &wire.ConsentAck{}, &wire.Bye{},
		&wire.Report{Sequence: 9, Candidates: long}, &wire.Reported{Sequence: 1}, &wire.Sample{ID: id}, &wire.Sampled{ID: id, Endpoint: e, Count: 1},
		&wire.Again{ID: id, Relay: true}, &wire.Located{ID: id, Sequence: 1, Endpoint: e}, &wire.LocatedAck{ID: id, Sequence: 1},
		&wire.Denied{Code: wire.CodeOverloaded}, &wire.Watch{Sequence: 1, Cameras: []identity.UID{p.c.key.Public().UID()}},
		&wire.Presence{Sequence: 1, Answers: 1}, &wire.PresenceAck{Sequence: 1},
		&wire.Manage{Sequence: 1, Op: wire.OpList}, &wire.Managed{Sequence: 1}, &wire.Goodbye{},
	}
}

// Whatever an authentic but ill-meaning device says under a forged source, and whatever anybody says without a session, the
// named victim gets no more bytes than it seems to have sent, then and later; and nobody else hears of the victim.
func TestNoAmplification(t *testing.T) {
	for _, over := range []core.Proto{core.UDP, core.TCP} {
		for who := range 2 {
			r := newRig(t, withGrids)
			p := r.pair(true)
			d, id := p.v, p.vid
			if who == 1 {
				d, id = p.c, p.cid
			}
			messages := p.everything(id)
			seen := map[wire.Type]bool{}
			for i, m := range messages {
				seen[m.Type()] = true
				victim := core.Over(over, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 7))
				b := d.sealed(m)
				came := len(b)
				r.give(victim, b)
				stranger := []byte{7, 1, 0, 0, 9, 9, 9, 9, 19: 0}
				for _, b := range [][]byte{stranger, frame(t, wire.MinChannel, 100), ask(t, 20), ask(t, 120)} {
					came += len(b)
					r.give(victim, b)
				}
				d.quiet(t, fmt.Sprintf("%v over %v", m.Type(), over), victim, came)
			}
			r.advance(time.Minute)
			if m := all[Moved](r.said); len(m) != 0 || len(seen) != len(wire.Types()) {
				t.Errorf("over %v: moved to a victim: %+v; %d of %d types sent", over, m, len(seen), len(wire.Types()))
			}
		}
	}
}

// quiet checks what has been sent because of a datagram that named a victim as its source.
func (d *device) quiet(t *testing.T, what string, victim netip.AddrPort, came int) {
	t.Helper()
	went := 0
	for _, p := range d.r.out {
		if p.To == victim {
			went += len(p.B)
		}
	}
	if went > came {
		t.Errorf("%s: %d bytes went to the source of %d", what, went, came)
	}
	d.r.out = nil
}

// A flood of handshakes by keys made for it, under forged sources: memory stays bounded, no one gets more than he seems to
// have sent, and the devices that are online stay so.
func TestFloodOfHandshakes(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRegistrations = 20; c.HandshakesPerSecond = 50 })
	p := r.pair(true)
	for i := range 200 {
		d := r.device()
		d.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 7)
		b := d.initiation(&wire.Register{Version: wire.ProtocolVersion}, 1)
		r.give(d.addr, b)
		d.quiet(t, "initiation", d.addr, len(b))
		r.advance(10 * time.Millisecond)
	}
	s := r.s.Stats()
	if r.s.slab.used > 20 || len(r.s.byIndex) > 20 || len(r.s.timers) > 40 || s.Cookies == 0 || s.Online != 1 {
		t.Errorf("%d devices, %d sessions, %d timers; %+v", r.s.slab.used, len(r.s.byIndex), len(r.s.timers), s)
	}
	p.v.send(&wire.Again{ID: p.vid})
	if p.v.located() == nil {
		t.Error("the connection was forgotten")
	}
	r.advance(pendingLife)
	if len(r.s.byIndex) != 2 {
		t.Errorf("%d sessions after %v", len(r.s.byIndex), pendingLife)
	}
}

// A flood of what is malformed costs no memory, and no answer.
func TestFloodOfGarbage(t *testing.T) {
	r := newRig(t, withGrids)
	p := r.pair(true)
	for i := range 20_000 {
		b := make([]byte, i%1300)
		for j := range b {
			b[j] = byte(i * (j + 1) * 2654435761 >> 7)
		}
		if len(b) > 0 {
			b[0] = byte(i)
		}
		r.give(p.v.addr, b)
	}
	if len(r.out) != 0 || len(r.s.Stats().Dropped) > 40 || r.s.slab.used != 2 || len(r.s.byIndex) != 2 || len(r.s.relays) != 2 {
		t.Errorf("%d answers, %d reasons, %d devices, %d sessions, %d ends of relays", len(r.out), len(r.s.Stats().Dropped),
			r.s.slab.used, len(r.s.byIndex), len(r.s.relays))
	}
}

// Replayed datagrams do nothing: neither a sample, nor again, nor a report counts twice.
func TestReplays(t *testing.T) {
	r := newRig(t, withGrids)
	p := r.pair(false)
	for _, m := range []wire.Message{&wire.Sample{ID: p.vid}, &wire.Again{ID: p.vid, Relay: true}, &wire.Report{Sequence: 1}, &wire.Goodbye{}} {
		b := p.v.sealed(m)
		r.give(p.v.addr, b)
		before := r.s.Stats()
		r.out = nil
		for range 10 {
			r.give(p.v.addr, b)
			r.give(port(p.v.addr, 77), b)
		}
		if s := r.s.Stats(); len(r.out) != 0 || s.Samples != before.Samples || s.Relays != before.Relays {
			t.Errorf("%v replayed: %v", m.Type(), r.out)
		}
	}
	if n := r.dropped(session.ErrReplay.Error()) + r.dropped(errSession.Error()); n != 80 {
		t.Errorf("dropped %v", r.s.Stats().Dropped)
	}
}
