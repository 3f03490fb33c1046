package soak

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
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
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/topologies"
)

// seats is at how many addresses strangers sit who ask the rendezvous: it grants a source so many questions a second.
const seats = 24

// patience is how long an honest device may take. It is long, since the machine may be busy.
const patience = 30 * time.Second

// scene is a lab with the bundled implementation in it.
//
//	camera's home        elsewhere          public
//	cameras              rogue              rendezvous, open (a camera there), victim, seat-1 … seat-24
type scene struct {
	lab    *lab.Lab
	at     netip.AddrPort // the rendezvous
	key    identity.Key   // its
	random *rand.ChaCha8  // for what is set up in its order

	mu      sync.Mutex
	seated  int
	closers []func()
}

func openScene(s Setup) (*scene, error) {
	topo, _, err := topologies.Load("attackers")
	if err != nil {
		return nil, err
	}
	for _, name := range append([]string{"victim", "open"}, seatNames()...) {
		topo.Public = append(topo.Public, lab.PublicHost{Name: name, Link: "lan"})
	}
	topo.UseEngine(s.Engine)
	if err := errors.Join(topo.Set("link", "lan"), topo.Resolve()); err != nil {
		return nil, err
	}
	l, err := lab.Up(s.Fabric, topo, s.Seed)
	if err != nil {
		return nil, err
	}
	c := &scene{lab: l, at: netip.AddrPortFrom(l.Host("rendezvous").Addr(), program.Port), random: random(s.Seed, "set-up", 0)}
	c.closers = append(c.closers, func() { l.Close() })
	if c.key, err = identity.NewKey(c.random); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func seatNames() (names []string) {
	for i := range seats {
		names = append(names, "seat-"+strconv.Itoa(i+1))
	}
	return names
}

// seat is a stranger's host.
func (c *scene) seat(i int) *lab.Machine { return c.lab.Host("seat-" + strconv.Itoa(i%seats+1)) }

// nextSeat is another stranger's host each time, so that no source asks more than it is granted.
func (c *scene) nextSeat() *lab.Machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seated++
	return c.seat(c.seated)
}

func (c *scene) close() {
	c.mu.Lock()
	all := c.closers
	c.closers = nil
	c.mu.Unlock()
	for i := len(all) - 1; i >= 0; i-- {
		all[i]()
	}
}

func (c *scene) atEnd(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closers = append(c.closers, f)
}

// serve starts the bundled rendezvous on a host.
func (c *scene) serve(host string) error {
	m := c.lab.Host(host)
	h, err := program.Start(program.Options{Key: c.key, Network: network(m), Addrs: m.Addrs})
	if err != nil {
		return err
	}
	c.atEnd(func() { h.Close() })
	return nil
}

// unit is a camera of the bundled implementation, and its owner's label.
type unit struct {
	*actor
	key   identity.Key
	label identity.Label
}

func (c *scene) newUnit() (u unit, err error) {
	if u.key, err = identity.NewKey(c.random); err != nil {
		return u, err
	}
	u.label = identity.Label{Key: u.key.Public(), RendezvousKey: c.key.Public(), Rendezvous: []string{c.at.String()}}
	_, err = io.ReadFull(c.random, u.label.Secret[:])
	return u, err
}

// camera starts a camera. An open one listens on the internet, and for viewers in its own network.
func (c *scene) camera(host string, open bool) (unit, error) {
	u, err := c.newUnit()
	if err != nil {
		return u, err
	}
	book := pairing.New(pairing.Config{Camera: u.label.Key, Secret: u.label.Secret})
	seed := c.random.Uint64()
	u.actor, err = c.act(host, func(a *actor) (core.Core, func(time.Time) error, error) {
		cam, err := camera.New(camera.Config{
			Static: u.key, Rendezvous: []netip.AddrPort{c.at}, RendezvousKey: c.key.Public(), Book: book, Rand: random(seed, "camera", 0),
			Source: func() media.Source { return media.EmbeddedClip().Loop() }, Listen: open, LAN: open,
		})
		a.camera = cam
		return cam, cam.Start, err
	})
	if err != nil {
		return u, err
	}
	return u, until("a camera registers", func() bool { return saw[camera.Registered](u.actor) })
}

// viewer starts a viewer.
func (c *scene) viewer(host string, key identity.Key) (*actor, error) {
	seed := c.random.Uint64()
	a, err := c.act(host, func(a *actor) (core.Core, func(time.Time) error, error) {
		v, err := viewer.New(viewer.Config{
			Static: key, Rendezvous: []netip.AddrPort{c.at}, RendezvousKey: c.key.Public(), Rand: random(seed, "viewer", 0),
			SignalTimeout: patience,
		})
		a.viewer = v
		return v, v.Start, err
	})
	if err != nil {
		return nil, err
	}
	return a, until("a viewer logs in", func() bool { return saw[viewer.LoggedIn](a) })
}

// watches has a viewer watch a camera and waits for a picture that the camera has; then it leaves.
func watches(a *actor, label identity.Label) error {
	a.forget()
	if err := a.ask(label); err != nil {
		return err
	}
	err := until("an owner sees a picture", func() bool {
		if fs := all[viewer.Failed](a); len(fs) > 0 {
			a.forget()
			_ = a.ask(label) // the rendezvous may not know the camera yet; patience ends it
		}
		return saw[viewer.FrameReceived](a)
	})
	a.leave(label.UID())
	return err
}

// actor is a device and what it has noticed.
type actor struct {
	device *device.Device
	camera *camera.Camera
	viewer *viewer.Viewer

	notify func(event any) // nil: nobody; set before it is driven

	mu     sync.Mutex
	events []any
}

func (c *scene) act(host string, make func(*actor) (core.Core, func(time.Time) error, error)) (*actor, error) {
	policy, err := punch.Lookup(strategy)
	if err != nil {
		return nil, err
	}
	a := &actor{}
	if a.device, err = device.Open(network(c.lab.Host(host)), policy, 0); err != nil {
		return nil, err
	}
	c.atEnd(func() { a.device.Close() })
	driven, start, err := make(a)
	if err != nil {
		return nil, err
	}
	if err := a.device.Drive(driven, a.observe); err != nil {
		return nil, err
	}
	a.device.Node().Do(func(now time.Time) { err = start(now) })
	return a, err
}

// strategy is by which viewers look for cameras: no relay, so that what is sent goes to whom it is meant for.
const strategy = "direct"

func (a *actor) ask(label identity.Label) (err error) {
	a.device.Node().Do(func(now time.Time) { err = a.viewer.Connect(now, label, strategy) })
	return err
}

func (a *actor) leave(camera identity.UID) {
	a.device.Node().Do(func(now time.Time) { a.viewer.Disconnect(now, camera) })
}

func (a *actor) observe(e any) {
	if a.notify != nil {
		a.notify(e)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.events) < 1000 {
		a.events = append(a.events, e)
	}
}

// forget forgets what an actor has noticed.
func (a *actor) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = nil
}

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

func saw[E any](a *actor) bool { return len(all[E](a)) > 0 }

func network(m *lab.Machine) device.Network {
	return device.Network{
		Addrs: m.Addrs, Gateway: m.Gateway(), ListenUDP: m.ListenUDP, ListenTCP: m.ListenTCP, DialTCP: m.DialTCP,
		ListenPacket: m.ListenPacket, DialContext: m.DialContext,
	}
}

// until waits for a condition that others bring about.
func until(what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v", what, patience)
		case <-tick.C:
		}
	}
	return nil
}

// shoot sends datagrams with whatever source they say, from a host that is off everybody's path. rate is a second's; 0: 1,000.
func (c *scene) shoot(shots []attack.Shot, rate int) error {
	s := &attack.Spoofer{Rate: rate, Next: attack.Once(shots)}
	r, err := s.Run(context.Background(), c.lab.Host("off-path"), attack.Budget{Packets: len(shots) + 1, Duration: time.Minute})
	if err == nil && (r.Sent.Packets != int64(len(shots)) || len(r.Counts) > 0) {
		err = fmt.Errorf("%d of %d forged datagrams were sent: %v", r.Sent.Packets, len(shots), r.Counts)
	}
	return err
}

// random2 is the randomness of honest strangers, which no result depends on.
func (c *scene) random2() io.Reader { return crand.Reader }
