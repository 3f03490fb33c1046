package viewer

import (
	"testing"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// Beside another camera that is asked for: media that overtakes Noise-2 is kept for whom it is, and nobody else's ends up there.
func TestMediaBeforeOneOfTwoResponses(t *testing.T) {
	s := newScene(t)
	s.ask("direct")
	other := identity.Label{Key: key(t, 33).Public(), RendezvousKey: s.label.RendezvousKey, Secret: identity.Secret{2}}
	s.must(s.v.Connect(s.now, other, "direct"))
	s.packets()
	for _, p := range s.frame(0) {
		s.give(cameraSeen, p)
	}
	s.give(cameraElse, s.response)
	if f, ok := last[FrameReceived](s); !ok || f.Camera != s.label.UID() || f.Path != punch.To(cameraSeen) {
		t.Errorf("frame %+v", f)
	}
	if c, ok := s.v.Connection(other.UID()); !ok || !c.Connected.IsZero() || c.Frames != 0 {
		t.Errorf("the other is %+v", c)
	}
	waiting := len(s.v.watching(other.UID()).early)
	for _, p := range s.frame(1) {
		s.give(cameraSeen, p)
	}
	if n := len(s.v.watching(other.UID()).early); n != waiting {
		t.Errorf("the other keeps %d packets of a stream that is known", n-waiting)
	}
}

// What nobody waits for is nobody's.
func TestStrayBesideSeveral(t *testing.T) {
	s := newScene(t)
	s.ask("direct")
	s.give(cameraSeen, s.response)
	other := identity.Label{Key: key(t, 33).Public(), RendezvousKey: s.label.RendezvousKey}
	s.must(s.v.Connect(s.now, other, "direct"))
	s.packets()
	before := s.v.Stats().Dropped["from nobody who is watched"]
	s.give(cameraSeen, wire.AppendPunch(nil, wire.PunchKey{}, wire.Punch{ID: 77, Counter: 1, FromCamera: true}, wire.MinPunch))
	s.fromHome(&wire.Refused{ID: 77, Code: wire.CodeUnavailable})
	s.fromHome(&wire.Peer{ID: 77, Endpoint: wire.At(cameraSeen)})
	if n := s.v.Stats().Dropped["from nobody who is watched"] - before; n != 3 {
		t.Errorf("%d dropped", n)
	}
	if s.v.Stats().Cameras != 2 {
		t.Errorf("%d connections", s.v.Stats().Cameras)
	}
}

// A camera's punch is for the connection that it names.
func TestPunchBesideSeveral(t *testing.T) {
	s := newScene(t)
	other := identity.Label{Key: key(t, 33).Public(), RendezvousKey: s.label.RendezvousKey, Secret: identity.Secret{2}}
	s.must(s.v.Connect(s.now, other, "adaptive"))
	s.packets()
	s.ask("adaptive")
	s.fromHome(&wire.Peer{ID: s.connect.ID, Endpoint: wire.At(cameraSeen), Channel: wire.MinChannel})
	frame, err := wire.AppendChannelData(nil, wire.MinChannel, s.response)
	s.must(err)
	s.give(rendezvous, frame)
	s.give(cameraElse, wire.AppendPunch(nil, s.hello.PunchKey, wire.Punch{ID: s.connect.ID, Counter: 1, FromCamera: true}, wire.MinPunch))
	if c, _ := s.v.Connection(s.label.UID()); c.Path != punch.To(cameraElse) {
		t.Errorf("path %v: the camera's punch is ignored", c.Path)
	}
}

// There is a bound to the cameras at a time, and one connection with each.
func TestCamerasAreBounded(t *testing.T) {
	s := newScene(t)
	for i := range s.v.cfg.MaxCameras {
		s.must(s.v.Connect(s.now, identity.Label{Key: key(t, byte(40+i)).Public(), RendezvousKey: s.label.RendezvousKey}, "direct"))
	}
	if err := s.v.Connect(s.now, s.label, "direct"); err == nil {
		t.Error("one more")
	}
	s.v.Disconnect(s.now, key(t, 40).Public().UID())
	s.must(s.v.Connect(s.now, s.label, "direct"))
	if err := s.v.Connect(s.now, s.label, "relay"); err == nil {
		t.Error("one camera twice")
	}
}
