package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
)

const (
	// Ports of the rendezvous: UDP and TCP, the second UDP one that RFC 5780 needs, and TLS.
	bundledPort, alternatePort, tlsPort = 4479, 4480, 443
	// forwardedPort is what the owner of a camera forwards to it: RTSP's second usual one.
	forwardedPort = 8554
	// joinTimeout is for registration and login, which every trial needs before it starts.
	joinTimeout = 10 * time.Second
	// fleetTimeout is how long a fleet may take to register.
	fleetTimeout = 2 * time.Minute
	// settle is how long a direct path has to stand before the relay should carry nothing more: what was on its way has arrived.
	settle = 300 * time.Millisecond
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

// What a trial of the bundled system may have besides.
const (
	optFleet = "fleet"
	optScan  = "scan"
	optLost  = "camera-lost"
)

// maxFleet is how many cameras a trial's fleet has at most: their handshakes are computed here.
const maxFleet = 100_000

// Options lists what a trial may have besides.
func (Bundled) Options() []Option {
	return []Option{
		{Name: optFleet, Summary: "so many other cameras are registered at the rendezvous", Max: maxFleet},
		{Name: optScan, Summary: "it begins with a photo of the camera's label, and a viewer that has never run", Values: []string{"photo"}},
		{Name: optLost, Summary: "after the video the camera goes, and comes back, while the viewer watches its presence",
			Values: []string{lostGoodbye, lostPowerCut, lostUnplugged}},
	}
}

// Setup is what the owner of a camera has to do before it can be watched from elsewhere.
func (Bundled) Setup(strategy string) []string {
	p, err := punch.Lookup(strategy)
	switch {
	case err != nil:
		return nil
	case p.Forward:
		return []string{
			"give the camera a fixed address in the router", "forward a port to it in the router", "get a name from a provider of dynamic names",
			"enter the name's account in the camera", "enter name, port and the camera's key in the viewer",
		}
	case p.Methods&punch.MethodTURN != 0:
		return []string{"run a TURN server, and enter its account in camera and viewer", "scan the camera's label"}
	}
	return []string{"scan the camera's label"}
}

// CheckStrategy says what is wrong with a strategy's parameters.
func (Bundled) CheckStrategy(name string) error {
	_, err := punch.Lookup(name)
	return err
}

// Programs names the rendezvous: a camera or a viewer that was killed has nobody to go on for it. A topology may have up to three of them.
func (Bundled) Programs() []string { return []string{"rendezvous", "rendezvous-2", "rendezvous-3"} }

// Try registers a camera, has a viewer ask for it and receives the media.
func (Bundled) Try(ctx context.Context, l *lab.Lab, t Trial) (o Observation, err error) {
	policy, err := punch.Lookup(t.Strategy)
	if err != nil {
		return o, err
	}
	b, err := newBundle(ctx, l, t, policy)
	if errors.Is(err, errNoCoturn) {
		return Observation{Outcome: record.Unsupported, Cause: err.Error()}, nil
	}
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.join(ctx); err != nil {
		return Observation{Outcome: record.Failed, Cause: err.Error(), Error: "no rendezvous"}, ctx.Err()
	}
	idle := b.idle(ctx, t.Idle)
	window, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	if err := b.ask(window); err != nil {
		return Observation{Outcome: record.Failed, Cause: err.Error()}, ctx.Err()
	}
	b.watch.wait(window)
	o = b.observe()
	if t.Stranger {
		o.Probes["stranger_reached"] = b.stranger(ctx, l)
	}
	if t.Idle > 0 {
		o.Bytes["camera_idle_up"] = idle
	}
	if t.Options[optLost] != "" && o.Error == "" {
		if err := b.lose(ctx, l, &o); err != nil {
			return o, err
		}
	}
	return o, ctx.Err()
}

// bundle is the three nodes of one trial.
type bundle struct {
	parts
	camera *camera.Camera
	viewer *viewer.Viewer

	server                     rendezvousServer // which events may kill
	fleet                      *fleet           // other cameras, where the trial has them
	coturn                     *coturn          // where the policy wants one
	names                      *names           // the DNS, where the camera has a name
	cameraDevice, viewerDevice *hosted
	relayAtDirect              atomic.Pointer[int64] // what was relayed when the direct path had stood for settle
	forwarded                  netip.AddrPort        // the camera's endpoint that its owner set up, if so
	settled                    *time.Timer
	photo                      []byte    // of the label, where the trial begins with it
	scanned                    time.Time // when it was looked at
	cameraRandom, viewerRandom io.Reader
	resolved                   time.Duration // how long it took to resolve the camera's name, if it has one
}

// newBundle opens the sockets and starts the nodes.
func newBundle(ctx context.Context, l *lab.Lab, t Trial, policy punch.Policy) (*bundle, error) {
	b := &bundle{}
	random := seeded(t.Seed)
	watch := newWatch(t, policy, func() {
		b.settled = time.AfterFunc(settle, func() {
			n := b.server.relayedBytes()
			b.relayAtDirect.Store(&n)
		})
	})
	if err := b.parts.draw(t, policy, l.Topology(), watch, random); err != nil {
		return nil, err
	}
	if err := b.start(ctx, l, random); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bundle) start(ctx context.Context, l *lab.Lab, random io.Reader) (err error) {
	m := l.Host("rendezvous")
	if b.server, err = startServers(ctx, l, b.serverKey, generator(random), b.watch.rendezvousEvent); err != nil {
		return err
	}
	if n, _ := strconv.Atoi(b.trial.Options[optFleet]); n > 0 {
		ctx, cancel := context.WithTimeout(ctx, fleetTimeout)
		defer cancel()
		if b.fleet, err = launch(ctx, l, n, b.label.RendezvousKey, b.serversFrom["viewer"][0]); err != nil {
			return err
		}
	}
	if err := b.openDevices(ctx, l, m); err != nil {
		return err
	}
	b.cameraRandom = generator(random)
	if err := b.startCamera(); err != nil {
		return err
	}
	if b.policy.Forward {
		if err := b.forward(ctx, l, m); err != nil {
			return err
		}
	}
	b.viewerRandom = generator(random)
	if b.scanning() && !b.policy.Forward { // whom the owner has told a name and a port scans nothing
		b.photo, err = photograph(b.label, randv2(random))
		return err
	}
	return b.startViewer()
}

// randv2 is a generator of numbers that follows from another one.
func randv2(random io.Reader) *rand.Rand { return rand.New(generator(random).(*rand.ChaCha8)) }

// openDevices opens the two devices' sockets, and lends them what the policy wants of others.
func (b *bundle) openDevices(ctx context.Context, l *lab.Lab, rendezvous *lab.Machine) (err error) {
	port := uint16(0)
	if b.policy.Forward {
		port = forwardedPort
	}
	if b.cameraDevice, err = openDevice(l.Host("camera"), b.policy, port); err != nil {
		return err
	}
	if b.viewerDevice, err = openDevice(l.Host("viewer"), b.policy, 0); err != nil {
		return err
	}
	if b.policy.Methods&punch.MethodTURN == 0 {
		return nil
	}
	if b.coturn, err = startCoturn(rendezvous); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	for _, d := range []*hosted{b.cameraDevice, b.viewerDevice} {
		if err := d.borrow(ctx, b.coturn.addr); err != nil {
			return err
		}
	}
	return nil
}

func (b *bundle) startCamera() (err error) {
	d := b.cameraDevice
	if b.camera, err = camera.New(b.cameraConfig(d.Host(), d.Relayed(), b.cameraRandom)); err != nil {
		return err
	}
	if err := d.Drive(b.camera, b.watch.cameraEvent); err != nil {
		return err
	}
	d.announce()
	d.Node().Do(func(now time.Time) { err = b.camera.Start(now) })
	return err
}

func (b *bundle) startViewer() (err error) {
	d := b.viewerDevice
	if b.viewer, err = viewer.New(b.viewerConfig(d.Host(), d.Relayed(), b.viewerRandom)); err != nil {
		return err
	}
	if err := d.Drive(b.viewer, b.watch.viewerEvent); err != nil {
		return err
	}
	d.announce()
	if !b.policy.Forward {
		d.Node().Do(func(now time.Time) { err = b.viewer.Start(now) })
	}
	return err
}

func (b *bundle) close() error {
	var errs []error
	for _, d := range []*hosted{b.viewerDevice, b.cameraDevice} {
		if d != nil {
			errs = append(errs, d.close())
		}
	}
	if b.settled != nil {
		b.settled.Stop()
	}
	if b.names != nil {
		errs = append(errs, b.names.close())
	}
	if b.coturn != nil {
		errs = append(errs, b.coturn.close())
	}
	if b.fleet != nil {
		errs = append(errs, b.fleet.close())
	}
	if b.server != nil {
		errs = append(errs, b.server.close())
	}
	return errors.Join(errs...)
}

// join waits until both devices are ready: the camera registered, the viewer logged in, both classified and their ports mapped
// where the policy wants that. Otherwise the trial has failed before it began.
func (b *bundle) join(ctx context.Context) error {
	if b.policy.Forward {
		return nil // there is nobody to join
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	if b.photo != nil {
		return b.joinCamera(ctx)
	}
	if err := b.watch.online(ctx); err != nil {
		return err
	}
	if _, several := b.server.(*nodes); several { // the viewer's node has to hear of the camera first
		if err := b.follow(); err != nil {
			return err
		}
		if _, ok := b.told(ctx, time.Time{}, true); !ok {
			return errors.New("the viewer's rendezvous node did not hear that the camera is online")
		}
	}
	if device.Maps(b.policy) {
		b.mapPorts(ctx)
	}
	if !device.Classifies(b.policy) {
		return nil
	}
	if err := b.watch.ready(ctx); err != nil {
		return err
	}
	return b.awaitTold(ctx)
}

// awaitTold waits until the rendezvous knows what both devices have found out of their NATs. Of several nodes nobody asks that.
func (b *bundle) awaitTold(ctx context.Context) error {
	s, ok := b.server.(*server)
	if !ok {
		return nil
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		var ofCamera, ofViewer wire.Class
		b.cameraDevice.Node().Do(func(time.Time) { ofCamera = b.camera.Stats().Class })
		b.viewerDevice.Node().Do(func(time.Time) { ofViewer = b.viewer.Stats().Class })
		if s.do(func(core *rendezvous.Server) bool { return b.informed(core, ofCamera, ofViewer) }) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return late(untold)
		}
	}
}

// mapPorts has both routers asked for a port mapping, at the same time.
func (b *bundle) mapPorts(ctx context.Context) {
	var cameraSeen, viewerSeen netip.Addr
	b.cameraDevice.Node().Do(func(time.Time) { cameraSeen = b.camera.Stats().Reflexive.Addr() })
	b.viewerDevice.Node().Do(func(time.Time) { viewerSeen = b.viewer.Stats().Reflexive.Addr() })
	var wg sync.WaitGroup
	// Most routers map nothing. What they say is the trial's result, not its fault.
	wg.Go(func() { _ = b.cameraDevice.MapPort(ctx, cameraSeen, mapTimeout, b.camera.HandleMapped) })
	wg.Go(func() { _ = b.viewerDevice.MapPort(ctx, viewerSeen, mapTimeout, b.viewer.HandleMapped) })
	wg.Wait()
}

// ask has the viewer ask for the camera.
func (b *bundle) ask(ctx context.Context) (err error) {
	b.watch.begin()
	if b.policy.Forward {
		return b.askByName(ctx)
	}
	if b.photo != nil {
		return b.scan(ctx)
	}
	b.viewerDevice.Node().Do(func(now time.Time) { err = b.viewer.Connect(now, b.label, b.trial.Strategy) })
	if err != nil {
		return fmt.Errorf("ask for the camera: %w", err)
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
	b.cameraDevice.Node().Do(func(time.Time) { n = b.camera.Stats().Traffic.Total().Bytes })
	return n
}
