package attack

import (
	"bytes"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/pairing"
	program "github.com/punchlab/punchlab/impl/program/rendezvous"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// cast is the bundled implementation, as it is attacked: keys and a label, and whom of it a test starts.
type cast struct {
	t                              testing.TB
	l                              *lab.Lab
	at                             netip.AddrPort
	serverKey, cameraKey, ownerKey identity.Key
	label                          identity.Label
	book                           *pairing.Book
}

func newCast(t testing.TB, l *lab.Lab) *cast {
	t.Helper()
	c := &cast{t: t, l: l, at: netip.AddrPortFrom(l.Host("rendezvous").Addr(), defaultPort)}
	random := seeded(4711)
	for _, k := range []*identity.Key{&c.serverKey, &c.cameraKey, &c.ownerKey} {
		var err error
		if *k, err = identity.NewKey(random); err != nil {
			t.Fatal(err)
		}
	}
	c.label = identity.Label{Key: c.cameraKey.Public(), RendezvousKey: c.serverKey.Public(), Rendezvous: []string{c.at.String()}}
	_, _ = io.ReadFull(random, c.label.Secret[:])
	c.book = pairing.New(pairing.Config{Camera: c.label.Key, Secret: c.label.Secret})
	return c
}

// secrets are what no attacker may see: the label's, its proof, the video.
func (c *cast) secrets() []Secret {
	proof := identity.PairingProof(c.label.Secret, c.ownerKey.Public(), c.label.Key)
	all := []Secret{{"the pairing secret", c.label.Secret[:]}, {"the pairing proof", proof[:]}}
	for i := range frames {
		data := media.EmbeddedClip().At(i).Data
		all = append(all, Secret{"a picture", data[len(data)/2:][:12]})
	}
	return all
}

func (c *cast) serve() *program.Handle {
	c.t.Helper()
	m := c.l.Host("rendezvous")
	h, err := program.Start(program.Options{Key: c.serverKey, Network: network(m), Addrs: m.Addrs, Rand: seeded(1)})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { h.Close() })
	return h
}

// actor is a device of the cast and what it has noticed.
type actor struct {
	device *device.Device
	camera *camera.Camera
	viewer *viewer.Viewer

	mu     sync.Mutex
	events []any
}

// frames is how many a camera has to show.
const frames = 15

func (c *cast) camera(strategy string) *actor {
	c.t.Helper()
	return c.act("camera", strategy, func(a *actor) (core.Core, func(time.Time) error, error) {
		cam, err := camera.New(camera.Config{
			Static: c.cameraKey, Rendezvous: []netip.AddrPort{c.at}, RendezvousKey: c.label.RendezvousKey, Book: c.book, Rand: seeded(2),
			Source: func() media.Source { return &limited{media.EmbeddedClip().Loop(), frames} },
		})
		a.camera = cam
		return cam, cam.Start, err
	})
}

func (c *cast) owner(strategy string) *actor {
	c.t.Helper()
	return c.act("viewer", strategy, func(a *actor) (core.Core, func(time.Time) error, error) {
		v, err := viewer.New(viewer.Config{
			Static: c.ownerKey, Rendezvous: []netip.AddrPort{c.at}, RendezvousKey: c.label.RendezvousKey, Rand: seeded(3),
		})
		a.viewer = v
		return v, v.Start, err
	})
}

func (c *cast) act(host, strategy string, make func(*actor) (core.Core, func(time.Time) error, error)) *actor {
	c.t.Helper()
	policy, err := punch.Lookup(strategy)
	if err != nil {
		c.t.Fatal(err)
	}
	a := &actor{}
	if a.device, err = device.Open(network(c.l.Host(host)), policy, 0); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { a.device.Close() })
	driven, start, err := make(a)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := a.device.Drive(driven, a.observe); err != nil {
		c.t.Fatal(err)
	}
	a.device.Node().Do(func(now time.Time) { err = start(now) })
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

func (a *actor) observe(e any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
}

// saw says whether an event of a type has come.
func saw[E any](a *actor) bool { return len(all[E](a)) > 0 }

func all[E any](a *actor) (es []E) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e, ok := e.(E); ok {
			es = append(es, e)
		}
	}
	return es
}

// intact counts the pictures that came, each once and as the camera had it; and those that did not.
func intact(a *actor) (good, bad int) {
	seen := map[int]bool{}
	for _, f := range all[viewer.FrameReceived](a) {
		if seen[f.Frame.Index] || !bytes.Equal(f.Frame.Data, media.EmbeddedClip().At(f.Frame.Index).Data) {
			bad++
		} else {
			good++
		}
		seen[f.Frame.Index] = true
	}
	return good, bad
}

// watch has the owner watch, and waits for the whole video.
func (c *cast) watch(cam, owner *actor, strategy string) {
	c.t.Helper()
	until(c.t, "the camera registers", func() bool { return saw[camera.Registered](cam) })
	c.connect(owner, strategy)
	until(c.t, "the owner sees the video", func() bool { good, bad := intact(owner); return good+bad >= frames || c.failed(owner, strategy) })
	if good, bad := intact(owner); good != frames || bad != 0 {
		c.t.Errorf("%d of %d pictures are intact, %d are not; %v", good, frames, bad, all[viewer.Failed](owner))
	}
}

func (c *cast) connect(owner *actor, strategy string) {
	c.t.Helper()
	until(c.t, "the owner logs in", func() bool { return saw[viewer.LoggedIn](owner) })
	c.ask(owner, strategy)
}

func (c *cast) ask(owner *actor, strategy string) {
	c.t.Helper()
	var err error
	owner.device.Node().Do(func(now time.Time) { err = owner.viewer.Connect(now, c.label, strategy) })
	if err != nil {
		c.t.Fatal(err)
	}
}

// failed says whether the owner has failed for good. Where the rendezvous does not know the camera yet, which has registered but
// is not heard to have heard that, the owner asks again.
func (c *cast) failed(owner *actor, strategy string) bool {
	c.t.Helper()
	fs := all[viewer.Failed](owner)
	if len(fs) == 0 || fs[0].Code != wire.CodeUnavailable {
		return len(fs) > 0
	}
	owner.mu.Lock()
	owner.events = slices.DeleteFunc(owner.events, func(e any) bool { return e == any(fs[0]) })
	owner.mu.Unlock()
	c.ask(owner, strategy)
	return false
}

// nothing fails the test where an attack has gained anything.
func nothing(t testing.TB, r Report) {
	t.Helper()
	t.Logf("%s on %s: sent %d packets, received %d; %v; it ended as %s", r.Attack, r.Machine, r.Sent.Packets, r.Received.Packets, r.Counts, r.Ended)
	for _, g := range r.Gained {
		t.Errorf("%s gained: %s", r.Attack, g)
	}
}

func network(m *lab.Machine) device.Network {
	return device.Network{
		Addrs: m.Addrs, Gateway: m.Gateway(), ListenUDP: m.ListenUDP, ListenTCP: m.ListenTCP, DialTCP: m.DialTCP,
		ListenPacket: m.ListenPacket, DialContext: m.DialContext,
	}
}

// limited ends a source after so many access units.
type limited struct {
	media.Source
	left int
}

func (l *limited) Next() (media.AccessUnit, error) {
	if l.left--; l.left < 0 {
		return media.AccessUnit{}, io.EOF
	}
	return l.Source.Next()
}
