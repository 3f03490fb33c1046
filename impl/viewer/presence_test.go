package viewer

import (
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// Watch names the cameras, and only what has changed is told the rendezvous.
func TestWatch(t *testing.T) {
	s := newScene(t)
	a, b, c := key(t, 11).Public().UID(), key(t, 12).Public().UID(), key(t, 13).Public().UID()
	s.must(s.v.Watch(s.now, []identity.UID{a, b, a}))
	asked := told[*wire.Watch](s, s.packets())
	if len(asked) != 1 || !slices.Equal(asked[0].Cameras, []identity.UID{a, b}) || asked[0].End {
		t.Fatalf("asked %+v", asked)
	}
	ps := s.fromHome(&wire.Presence{Sequence: 1, Answers: 1, Cameras: []wire.Status{{UID: a, State: wire.StateOnline, Age: 90}, {UID: b}}})
	if acks := told[*wire.PresenceAck](s, ps); len(acks) != 1 || acks[0].Sequence != 1 {
		t.Errorf("acknowledged %+v", acks)
	}
	var got []Presence
	for _, e := range s.said {
		if p, ok := e.(Presence); ok {
			got = append(got, p)
		}
	}
	want := []Presence{{a, s.now, wire.StateOnline, s.now.Add(-90 * time.Second)}, {b, s.now, wire.StateUnavailable, time.Time{}}}
	if !slices.Equal(got, want) {
		t.Errorf("told %+v, want %+v", got, want)
	}
	s.must(s.v.Watch(s.now, []identity.UID{b, c}))
	more := told[*wire.Watch](s, s.packets())
	if len(more) != 1 || !slices.Equal(more[0].Cameras, []identity.UID{c}) {
		t.Fatalf("then asked %+v", more)
	}
	end := told[*wire.Watch](s, s.fromHome(&wire.Presence{Sequence: 2, Answers: 2, Cameras: []wire.Status{{UID: c}}}))
	if len(end) != 1 || !end[0].End || !slices.Equal(end[0].Cameras, []identity.UID{a}) {
		t.Errorf("ended %+v", end)
	}
	s.said = nil
	s.fromHome(&wire.Presence{Sequence: 3, Cameras: []wire.Status{{UID: a, State: wire.StateLeft}, {UID: b, State: wire.StateSilent, Age: 30}}})
	if p, ok := last[Presence](s); !ok || p.Camera != b || p.State != wire.StateSilent || !p.Since.Equal(s.now.Add(-30*time.Second)) {
		t.Errorf("told %+v", p)
	}
	if err := s.v.Watch(s.now, make([]identity.UID, 1)); err == nil {
		t.Error("no camera is followed")
	}
	if err := s.v.Watch(s.now, make([]identity.UID, MaxWatch+1)); err == nil {
		t.Error("too many are followed")
	}
	s.said = nil
	s.fromHome(&wire.Goodbye{Code: wire.CodeShuttingDown})
	if _, ok := last[LoggedOut](s); !ok {
		t.Error("the end of the session is not told")
	}
}

// deny has the rendezvous refuse a viewer that logs in.
func deny(t *testing.T, m *wire.Denied, token []byte) (*scene, *wire.Login) {
	t.Helper()
	s := &scene{t: t, now: epoch, label: identity.Label{Key: key(t, 3).Public(), RendezvousKey: key(t, 2).Public(), Secret: identity.Secret{1}}}
	v, err := New(Config{Static: key(t, 1), Rendezvous: home(), RendezvousKey: key(t, 2).Public(), Rand: random(4), Token: token})
	s.must(err)
	s.v = v
	s.must(v.Start(s.now))
	r, err := session.NewResponder(session.Config{Static: key(t, 2), Rand: random(5), Prologue: []byte(core.PrologueRendezvous)})
	s.must(err)
	req, _, err := r.Open(s.now, me, false, s.packets()[0].B)
	s.must(err)
	login, err := wire.Unmarshal(req.Payload())
	s.must(err)
	_, answer, err := req.Accept(s.marshal(m))
	s.must(err)
	s.give(rendezvous, answer)
	return s, login.(*wire.Login)
}

// Who is let in by no rendezvous is told why, at once; a camera nearby is looked for a moment longer.
func TestDenied(t *testing.T) {
	s, login := deny(t, &wire.Denied{Code: wire.CodeAccount}, []byte("old token"))
	if string(login.Token) != "old token" {
		t.Errorf("shown %q", login.Token)
	}
	if d, ok := last[Denied](s); !ok || d.Code != wire.CodeAccount || d.Retry <= 0 {
		t.Errorf("denied %+v", d)
	}
	s.must(s.v.Connect(s.now, s.label, "adaptive"))
	s.advance(10 * time.Millisecond)
	if f, ok := last[Failed](s); !ok || f.Code != wire.CodeAccount || f.At.Sub(epoch) > 10*time.Millisecond {
		t.Errorf("failed %+v", f)
	}
	s.must(s.v.Ask(s.now, Request{Label: s.label, Strategy: "adaptive", Near: home()}))
	asked := s.now
	s.advance(3 * time.Second)
	if f, ok := last[Failed](s); !ok || f.Code != wire.CodeAccount || f.At.Sub(asked) != nearWait {
		t.Errorf("with a look nearby: after %v, %+v", f.At.Sub(asked), f)
	}
}

// A server that is busy may be asked again: a camera is waited for as long as for an answer.
func TestDeniedForNow(t *testing.T) {
	s, _ := deny(t, &wire.Denied{Code: wire.CodeOverloaded, Retry: 60}, nil)
	s.must(s.v.Connect(s.now, s.label, "adaptive"))
	s.advance(10 * time.Second)
	if f, ok := last[Failed](s); !ok || f.Code != wire.CodeOverloaded || f.At.Sub(epoch) != 5*time.Second {
		t.Errorf("after %v, failed %+v", f.At.Sub(epoch), f)
	}
}
