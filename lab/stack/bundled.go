package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
)

const (
	bundledPort = 4479 // of the rendezvous
	// joinTimeout is for registration and login, which every trial needs before it starts.
	joinTimeout = 10 * time.Second
	// ipUDP and ipv6UDP are the bytes of IP and UDP headers on each packet.
	ipUDP, ipv6UDP = 28, 48
)

// Bundled is this project's own rendezvous, camera and viewer, in this process, on real sockets in the lab's hosts.
type Bundled struct{}

// Name returns "bundled".
func (Bundled) Name() string { return "bundled" }

// Strategies lists the policies of impl/punch.
func (Bundled) Strategies() []string { return punch.Names() }

// Summary is the policy's.
func (Bundled) Summary(strategy string) string {
	p, err := punch.Lookup(strategy)
	if err != nil {
		return ""
	}
	return p.Summary
}

// CheckStrategy says what is wrong with a strategy's parameters.
func (Bundled) CheckStrategy(name string) error {
	_, err := punch.Lookup(name)
	return err
}

// Programs names the rendezvous: a camera or a viewer that was killed has nobody to go on for it.
func (Bundled) Programs() []string { return []string{"rendezvous"} }

// Try registers a camera, has a viewer ask for it and receives the media.
func (Bundled) Try(ctx context.Context, l *lab.Lab, t Trial) (o Observation, err error) {
	b, err := newBundle(l, t)
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.join(ctx); err != nil {
		return Observation{Outcome: record.Failed, Cause: err.Error(), Error: "no rendezvous"}, ctx.Err()
	}
	idle := b.idle(ctx, t.Idle)
	b.watch.mu.Lock()
	b.watch.tell(Requested)
	b.watch.mu.Unlock()
	var asked error
	b.viewerNode.Do(func(now time.Time) { asked = b.viewer.Connect(now, b.label, t.Strategy) })
	if asked != nil {
		return o, fmt.Errorf("ask for the camera: %w", asked)
	}
	window, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	b.watch.wait(window)
	o = b.observe()
	if t.Idle > 0 {
		o.Bytes["camera_idle_up"] = idle
	}
	return o, ctx.Err()
}

// bundle is the three nodes of one trial.
type bundle struct {
	trial  Trial
	label  identity.Label
	camera *camera.Camera
	viewer *viewer.Viewer
	nodes  []*node.Node // camera, viewer

	headers                int     // bytes of IP and UDP on each of the viewer's packets
	server                 *server // the rendezvous, which events may kill
	cameraNode, viewerNode *node.Node
	watch                  *watch
	source                 func() media.Source
	sent                   atomic.Int64 // access units that the camera took from its source
}

// newBundle opens the sockets and starts the nodes. Keys come from the trial's seed: a lab's secrets are nobody's.
func newBundle(l *lab.Lab, t Trial) (*bundle, error) {
	var seed [32]byte
	for i := range 8 {
		seed[i] = byte(t.Seed >> (8 * i))
	}
	random := rand.NewChaCha8(seed)
	b := &bundle{trial: t, watch: newWatch(t)}
	b.source = b.clip
	if err := b.start(l, random); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bundle) start(l *lab.Lab, random io.Reader) error {
	var keys [3]identity.Key
	for i := range keys {
		k, err := identity.NewKey(random)
		if err != nil {
			return fmt.Errorf("make key: %w", err)
		}
		keys[i] = k
	}
	// Where the two find it depends on the families that they have.
	servers := map[string]netip.AddrPort{}
	for _, host := range []string{"camera", "viewer"} {
		addrs := l.Topology().AddrsFrom(host, "rendezvous")
		if len(addrs) == 0 {
			return fmt.Errorf("host %s has no family in common with the rendezvous", host)
		}
		servers[host] = netip.AddrPortFrom(addrs[0], bundledPort)
	}
	b.label = identity.Label{Key: keys[1].Public(), RendezvousKey: keys[0].Public(), Rendezvous: []string{servers["viewer"].String()}}
	if _, err := io.ReadFull(random, b.label.Secret[:]); err != nil {
		return fmt.Errorf("draw pairing secret: %w", err)
	}
	if b.headers = ipUDP; servers["viewer"].Addr().Is6() {
		b.headers = ipv6UDP
	}
	m := l.Host("rendezvous")
	b.server = &server{machine: m, at: listenAt(m), key: keys[0], random: generator(random), observe: b.watch.rendezvousEvent}
	if err := b.server.Start(); err != nil {
		return err
	}
	b.server.forget = m.Run(b.server)
	if err := b.startCamera(l.Host("camera"), servers["camera"], keys[1], generator(random)); err != nil {
		return err
	}
	return b.startViewer(l.Host("viewer"), servers["viewer"], keys[2], generator(random))
}

// listenAt is where a rendezvous listens: at the host's first address of each family.
func listenAt(m *lab.Machine) (at []netip.AddrPort) {
	for _, a := range m.Addrs {
		if !slices.ContainsFunc(at, func(o netip.AddrPort) bool { return o.Addr().Is4() == a.Is4() }) {
			at = append(at, netip.AddrPortFrom(a, bundledPort))
		}
	}
	return at
}

// generator makes one that is seeded from another. Each core has its own: the order of their calls is the scheduler's.
func generator(random io.Reader) io.Reader {
	var seed [32]byte
	_, _ = io.ReadFull(random, seed[:])
	return rand.NewChaCha8(seed)
}

func (b *bundle) startCamera(m *lab.Machine, server netip.AddrPort, k identity.Key, random io.Reader) (err error) {
	b.camera, err = camera.New(camera.Config{
		Static: k, Rendezvous: []netip.AddrPort{server}, RendezvousKey: b.label.RendezvousKey, Secret: b.label.Secret,
		Rand: random, Source: func() media.Source { return &counted{b.source(), &b.sent} },
	})
	if err != nil {
		return err
	}
	// Not bound to an address: a host that moves has another one.
	conn, err := m.ListenUDP(netip.AddrPort{})
	if err != nil {
		return err
	}
	if b.cameraNode, err = b.drive(conn, b.camera, nil); err != nil {
		return err
	}
	b.cameraNode.Do(func(now time.Time) { err = b.camera.Start(now) })
	return err
}

func (b *bundle) startViewer(m *lab.Machine, server netip.AddrPort, k identity.Key, random io.Reader) (err error) {
	conn, err := m.ListenUDP(netip.AddrPort{})
	if err != nil {
		return err
	}
	port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	b.viewer, err = viewer.New(viewer.Config{
		Static: k, Rendezvous: []netip.AddrPort{server}, RendezvousKey: b.label.RendezvousKey, Rand: random,
		Host: []netip.AddrPort{netip.AddrPortFrom(m.Addr(), port)},
	})
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	b.viewerNode, err = b.drive(conn, b.viewer, b.watch.viewerEvent)
	if err != nil {
		return err
	}
	b.viewerNode.Do(func(now time.Time) { err = b.viewer.Start(now) })
	return err
}

func (b *bundle) drive(conn *net.UDPConn, c core.Core, observe func(any)) (*node.Node, error) {
	n, err := drive([]*net.UDPConn{conn}, c, observe)
	if err == nil {
		b.nodes = append(b.nodes, n)
	}
	return n, err
}

// drive runs a core on sockets, which it takes over.
func drive(conns []*net.UDPConn, c core.Core, observe func(any)) (*node.Node, error) {
	n, err := node.New(c, conns, node.Options{Observe: observe})
	if err != nil {
		return nil, errors.Join(err, closeAll(conns))
	}
	return n, nil
}

func closeAll(conns []*net.UDPConn) error {
	var errs []error
	for _, c := range conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (b *bundle) close() error {
	var errs []error
	if b.server != nil {
		errs = append(errs, b.server.close())
	}
	for _, n := range b.nodes {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}

// join waits until the camera is registered and the viewer logged in. Otherwise the trial has failed before it began.
func (b *bundle) join(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	select {
	case <-b.watch.registered:
	case <-ctx.Done():
		return fmt.Errorf("the camera did not register within %v", joinTimeout)
	}
	select {
	case <-b.watch.loggedIn:
	case <-ctx.Done():
		return fmt.Errorf("the viewer did not log in within %v", joinTimeout)
	}
	return nil
}

// idle waits for d and returns how many bytes the camera sent meanwhile.
func (b *bundle) idle(ctx context.Context, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	before := b.cameraSent()
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return b.cameraSent() - before
}

func (b *bundle) cameraSent() (n int64) {
	b.cameraNode.Do(func(time.Time) { n = b.camera.Stats().Traffic.Total().Bytes })
	return n
}

// clip is the embedded clip, as much of it as the trial asks for. A connect-only trial has one access unit that fits a
// packet: the proof that media flows.
func (b *bundle) clip() media.Source {
	if b.watch.connectOnly {
		return &limited{one{}, connectFrames}
	}
	return &limited{media.EmbeddedClip().Loop(), b.watch.frames}
}

// limited ends a source after n access units, so that what was sent and what arrived can be compared one by one.
type limited struct {
	media.Source
	left int
}

func (l *limited) Next() (media.AccessUnit, error) {
	if l.left <= 0 {
		return media.AccessUnit{}, io.EOF
	}
	l.left--
	return l.Source.Next()
}

// counted counts what is taken from a source.
type counted struct {
	media.Source
	n *atomic.Int64
}

func (c *counted) Next() (media.AccessUnit, error) {
	au, err := c.Source.Next()
	if err == nil {
		c.n.Add(1)
	}
	return au, err
}

// one is a source of small key frames.
type one struct{}

// idr is a NAL unit of type 5 (IDR slice) with nothing worth decoding.
var idr = append([]byte{0, 0, 0, 1, 0x65}, bytes.Repeat([]byte{0x88}, 200)...)

func (one) Next() (media.AccessUnit, error) {
	return media.AccessUnit{Key: true, Data: idr, Hash: media.Sum(idr)}, nil
}
