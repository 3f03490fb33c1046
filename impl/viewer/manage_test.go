package viewer

import (
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// opened lists the messages of a type that the camera is sent.
func opened[M wire.Message](s *scene, ps []core.Packet) (ms []M) {
	s.t.Helper()
	for _, p := range ps {
		if wire.Classify(p.B) != wire.Transport || p.To == rendezvous {
			continue
		}
		plain, err := s.cam.Open(nil, p.B)
		s.must(err)
		m, err := wire.Unmarshal(plain)
		s.must(err)
		if m, ok := m.(M); ok {
			ms = append(ms, m)
		}
	}
	return ms
}

// told lists the messages of a type that the rendezvous is sent.
func told[M wire.Message](s *scene, ps []core.Packet) (ms []M) {
	s.t.Helper()
	for _, p := range ps {
		if wire.Classify(p.B) != wire.Transport || p.To != rendezvous {
			continue
		}
		plain, err := s.home.Open(nil, p.B)
		s.must(err)
		m, err := wire.Unmarshal(plain)
		s.must(err)
		if m, ok := m.(M); ok {
			ms = append(ms, m)
		}
	}
	return ms
}

// What a camera is asked is asked again until it answers, one after the other, and an answer counts once.
func TestManage(t *testing.T) {
	s := newScene(t)
	if _, err := s.v.Manage(s.now, s.label.UID(), wire.Manage{Op: wire.OpList}); err == nil {
		t.Error("asked nobody")
	}
	s.ask("direct")
	s.give(cameraSeen, s.response)
	for i, m := range []wire.Manage{{Op: wire.OpList}, {Op: wire.OpRevoke, Key: identity.PublicKey{9}}} {
		if n, err := s.v.Manage(s.now, s.label.UID(), m); err != nil || n != uint32(i+1) {
			t.Fatalf("asked as %d, %v", n, err)
		}
	}
	if _, err := s.v.Manage(s.now, s.label.UID(), wire.Manage{Op: wire.OpRevoke}); err == nil {
		t.Error("a question without a key is asked")
	}
	ask := append(opened[*wire.Manage](s, s.packets()), opened[*wire.Manage](s, s.advance(400*time.Millisecond))...)
	if len(ask) < 2 || len(ask) > 6 {
		t.Fatalf("asked %d times in 400 ms", len(ask))
	}
	for _, m := range ask {
		if m.Sequence != 1 || m.Op != wire.OpList {
			t.Errorf("asked %+v before the first answer", m)
		}
	}
	member := wire.Member{Key: key(t, 1).Public(), Role: wire.RoleOwner}
	next := opened[*wire.Manage](s, s.fromCamera(cameraSeen, &wire.Managed{Sequence: 1, Members: []wire.Member{member}}))
	if len(next) != 1 || next[0].Sequence != 2 {
		t.Errorf("then %+v", next)
	}
	if e, ok := last[Managed](s); !ok || e.Op != wire.OpList || e.Sequence != 1 || len(e.Members) != 1 || e.Camera != s.label.UID() {
		t.Errorf("told %+v", e)
	}
	s.said = nil
	s.fromCamera(cameraSeen, &wire.Managed{Sequence: 1})
	if _, again := last[Managed](s); again {
		t.Error("an answer counts twice")
	}
	s.fromCamera(cameraSeen, &wire.Managed{Sequence: 2, Code: wire.CodeNotAllowed})
	if e, ok := last[Managed](s); !ok || e.Op != wire.OpRevoke || e.Code != wire.CodeNotAllowed {
		t.Errorf("told %+v", e)
	}
	if n := len(opened[*wire.Manage](s, s.advance(3*time.Second))); n != 0 {
		t.Errorf("asked %d times more", n)
	}
}

// Questions are bounded.
func TestManageIsBounded(t *testing.T) {
	s := newScene(t)
	s.ask("direct")
	s.give(cameraSeen, s.response)
	for range maxManage {
		if _, err := s.v.Manage(s.now, s.label.UID(), wire.Manage{Op: wire.OpList}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.v.Manage(s.now, s.label.UID(), wire.Manage{Op: wire.OpList}); err == nil {
		t.Error("one more")
	}
}

// The camera says what this viewer may do, and is told its name.
func TestNameAndRole(t *testing.T) {
	s := newScene(t)
	s.v.cfg.Name = "Ann's phone"
	s.welcome.Role = wire.RoleGuest
	s.ask("direct")
	s.give(cameraSeen, s.response)
	if string(s.hello.Name) != "Ann's phone" {
		t.Errorf("the camera is told the name %q", s.hello.Name)
	}
	if c, ok := last[Connected](s); !ok || c.Role != wire.RoleGuest || s.v.Stats().Role != wire.RoleGuest {
		t.Errorf("connected %+v", c)
	}
}
