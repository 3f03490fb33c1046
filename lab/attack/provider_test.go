package attack

import (
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// most is what a camera sends at a viewer's endpoint that R names falsely: the blind budget of media (impl/PROTOCOL.md §13), and
// the response with its repetitions.
const most = 262144 + 20*1024

// rogue begins a rendezvous that lies.
func (c *cast) rogue(lie Lie) (end func() Report) {
	c.t.Helper()
	ready := make(chan struct{})
	end = inBackground(c.t, &RogueRendezvous{Key: c.serverKey, Lie: lie, Secrets: c.secrets(), Seed: 8, Ready: func() { close(ready) }},
		c.l.Host("rendezvous"), Budget{1000, enough})
	<-ready
	return end
}

// A rendezvous that tells the truth is one: what its lies bring is not due to its being broken.
func TestRogueRendezvousWorks(t *testing.T) {
	t.Parallel()
	c := newCast(t, newLab(t, lab.EngineTable))
	end := c.rogue(nil)
	cam, owner := c.camera("direct"), c.owner("direct")
	c.watch(cam, owner, "direct")
	r := end()
	nothing(t, r)
	if r.Counts["introductions"] != 1 {
		t.Errorf("%+v", r)
	}
}

// A rendezvous that lies has a camera send a bounded number of bytes at whom it names, pairs nobody, and reads nothing.
func TestRogueRendezvousGainsNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		lie    func(victim netip.AddrPort) Lie
		paired int
		bytes  int64 // that the victim gets at most
	}{
		{"points at a third party", PointAt, 0, most},
		{"puts its own request in", func(netip.AddrPort) Lie { return Substitute() }, 0, 0},
		{"repeats", func(netip.AddrPort) Lie { return Repeat(5, 10*time.Millisecond) }, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCast(t, newLab(t, lab.EngineTable))
			victim := count(t, c.l.Host("victim"), 53)
			end := c.rogue(tt.lie(victim.at))
			cam, owner := c.camera("direct"), c.owner("direct")
			until(t, "the camera registers", func() bool { return saw[camera.Registered](cam) })
			c.connect(owner, "direct")
			until(t, "it ends", func() bool {
				good, _ := intact(owner)
				return c.failed(owner, "direct") || good == frames
			})
			r := end()
			nothing(t, r)
			if n := len(all[camera.PairingsChanged](cam)); n != tt.paired || victim.bytes.Load() > tt.bytes || r.Counts["introductions"] != 1 {
				t.Errorf("%d viewers are paired, want %d; the victim got %d bytes, at most %d; %v", n, tt.paired, victim.bytes.Load(), tt.bytes, r.Counts)
			}
			if tt.bytes > 0 && victim.bytes.Load() == 0 {
				t.Error("the victim got nothing: the lie was not tried")
			}
			if _, bad := intact(owner); bad > 0 || tt.paired == 1 && saw[viewer.Failed](owner) {
				t.Errorf("%d pictures are wrong; %v", bad, all[viewer.Failed](owner))
			}
		})
	}
}

// An impostor to whom the rendezvous itself brings the owner, and who hands the owner's request to the camera as his own, is not
// taken for the camera, reads nothing, and pairs with nobody. The label serves its owner afterwards.
func TestImpostorGainsNothing(t *testing.T) {
	t.Parallel()
	c := newCast(t, newLab(t, lab.EngineTable))
	own, err := identity.NewKey(seeded(99))
	if err != nil {
		t.Fatal(err)
	}
	var where netip.AddrPort
	end := c.rogue(func(cam, v identity.PublicKey, truth wire.Introduce, random io.Reader) ([]Told, error) {
		return HandOver(own.Public(), where)(cam, v, truth, random)
	})
	registered := make(chan netip.AddrPort, 1)
	imp := &Impostor{Server: c.at, Key: c.serverKey.Public(), Own: own, Victim: c.label.Key, Secrets: c.secrets(), Seed: 5,
		Registered: func(at netip.AddrPort) { registered <- at }}
	endImpostor := inBackground(t, imp, c.l.Host("rogue"), Budget{300, enough})
	where = <-registered
	cam, owner := c.camera("direct"), c.owner("direct")
	until(t, "the camera registers", func() bool { return saw[camera.Registered](cam) })
	c.connect(owner, "direct")
	until(t, "the owner gives up", func() bool { return c.failed(owner, "direct") })
	r := endImpostor()
	nothing(t, r)
	nothing(t, end())
	if r.Counts["visitors"] != 1 || r.Counts["captured: response"] == 0 || r.Counts["captured: rtp"] == 0 || len(imp.Captured()) == 0 {
		t.Errorf("nobody was handed over, or the camera not asked: %v", r.Counts)
	}
	if saw[camera.PairingsChanged](cam) || c.book.Claimed() || saw[viewer.FrameReceived](owner) {
		t.Error("the camera was claimed, or something was shown")
	}
	// With an honest rendezvous, while the impostor is registered and claims the camera's key, the owner has the camera.
	h := c.serve()
	endImpostor = inBackground(t, imp, c.l.Host("rogue"), Budget{300, enough})
	<-registered
	cam, owner = c.camera("direct"), c.owner("direct")
	c.watch(cam, owner, "direct")
	r = endImpostor()
	nothing(t, r)
	if r.Counts["visitors"] != 0 || h.Stats().Core.Online < 2 || !c.book.Claimed() {
		t.Errorf("%v, %d online", r.Counts, h.Stats().Core.Online)
	}
}
