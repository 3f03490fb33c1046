package stack

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/sim"
)

// A Simulator is a System that engine sim can try: in virtual time, in memory, in one goroutine.
type Simulator interface {
	System
	// Simulate has a trial on a resolved topology, and the events happen, which are validated. It returns what happened of them, in
	// order; one that could not happen has an Error. The same topology, trial and events give the same answer, byte for byte. It is
	// safe for concurrent use; ctx ends it early, with ctx's error. An error is the lab's fault, as Try's is; of a trial that CheckSim
	// refuses it is CheckSim's.
	Simulate(ctx context.Context, t *lab.Topology, tr Trial, events []lab.Event) (Observation, []record.Event, error)
}

// simulation is a trial of the bundled system in virtual time.
//
//	parts ── cores ── simNode ── sim.Host ── lab.Model
//	watch ◄── events ──┘
//
// Whatever the real trial waits for, this one lets time pass until.
type simulation struct {
	parts
	net           *sim.Net
	server        *simServer
	camera        *camera.Camera
	viewer        *viewer.Viewer
	cameraNode    *simNode
	viewerNode    *simNode
	relayedAtPath *int64 // when a direct path had stood for settle
	happenings    happenings
	fleet         *fleet // other cameras, where the trial has them
}

// Simulate registers a camera, has a viewer ask for it and receives the media, in virtual time.
func (b Bundled) Simulate(ctx context.Context, t *lab.Topology, tr Trial, events []lab.Event) (Observation, []record.Event, error) {
	if err := CheckSim(b, t, tr, events); err != nil {
		return Observation{}, nil, err
	}
	policy, err := punch.Lookup(tr.Strategy)
	if err != nil {
		return Observation{}, nil, err
	}
	net, err := sim.New(t, tr.Seed)
	if err != nil {
		return Observation{}, nil, err
	}
	s := &simulation{net: net}
	s.happenings = happenings{net: net}
	tr.Reached = s.happenings.reach(tr.Reached)
	s.happenings.expect(events)
	if err := s.start(ctx, t, tr, policy); err != nil {
		return Observation{}, nil, err
	}
	o, err := s.try(ctx, t)
	return o, s.happenings.list(), err
}

// start starts the three nodes.
func (s *simulation) start(ctx context.Context, t *lab.Topology, tr Trial, policy punch.Policy) (err error) {
	random := seeded(tr.Seed)
	watch := newWatch(tr, policy, func() {
		s.net.After(settle, func(time.Time) {
			n := s.server.relayedBytes()
			s.relayedAtPath = &n
		})
	})
	if err := s.draw(tr, policy, t, watch, random); err != nil {
		return err
	}
	host := s.net.Host("rendezvous")
	s.server = &simServer{net: s.net, host: host, key: s.serverKey, random: generator(random), observe: watch.rendezvousEvent}
	if err := s.server.Start(); err != nil {
		return err
	}
	host.Run(s.server)
	if err := s.launch(ctx); err != nil {
		return err
	}
	if s.cameraNode, err = s.device("camera"); err != nil {
		return err
	}
	if s.viewerNode, err = s.device("viewer"); err != nil {
		return err
	}
	if s.camera, err = camera.New(s.cameraConfig(s.cameraNode.hosts(), nil, generator(random))); err != nil {
		return err
	}
	s.cameraNode.drive(s.camera, watch.cameraEvent)
	s.cameraNode.do(func(now time.Time) { err = s.camera.Start(now) })
	if err != nil {
		return err
	}
	if s.viewer, err = viewer.New(s.viewerConfig(s.viewerNode.hosts(), nil, generator(random))); err != nil {
		return err
	}
	s.viewerNode.drive(s.viewer, watch.viewerEvent)
	s.viewerNode.do(func(now time.Time) { err = s.viewer.Start(now) })
	return err
}

// launch registers the fleet, if there is one.
func (s *simulation) launch(ctx context.Context) error {
	n, _ := strconv.Atoi(s.trial.Options[optFleet])
	if n == 0 {
		return nil
	}
	host := s.net.Host(fleetHost)
	var err error
	if s.fleet, err = newFleet(n, s.label.RendezvousKey, s.serversFrom["viewer"][0], seeded(s.trial.Seed^fleetSeed)); err != nil {
		return err
	}
	node, err := newSimNode(s.net, host, netip.AddrPortFrom(host.Addrs()[0], 0))
	if err != nil {
		return err
	}
	node.drive(s.fleet, nil)
	node.do(s.fleet.more)
	full, err := s.net.Run(ctx, fleetTimeout, closed(s.fleet.full))
	if err == nil && !full {
		err = fmt.Errorf("the fleet's %d cameras did not register in %v", n, fleetTimeout)
	}
	return err
}

// fleetSeed tells the fleet's randomness from the trial's, which is the same whether there is a fleet or none.
const fleetSeed = 0x666c656574

// device opens the sockets of a camera or a viewer.
func (s *simulation) device(host string) (*simNode, error) {
	h := s.net.Host(host)
	n, err := newSimNode(s.net, h, netip.AddrPort{})
	if err == nil {
		h.Run(n)
	}
	return n, err
}

// hosts are the device's own endpoints, as device.Device.Host lists them.
func (n *simNode) hosts() []netip.AddrPort {
	return slices.DeleteFunc(n.endpoints(), func(a netip.AddrPort) bool { return !punch.Plausible(a) })
}

// try does what Bundled.Try does.
func (s *simulation) try(ctx context.Context, t *lab.Topology) (o Observation, err error) {
	if why, err := s.join(ctx, t); why != "" || err != nil {
		return Observation{Outcome: record.Failed, Cause: why, Error: "no rendezvous"}, err
	}
	before := s.cameraSent()
	if _, err := s.net.Run(ctx, s.trial.Idle, nil); err != nil {
		return o, err
	}
	idle := s.cameraSent() - before
	s.watch.begin()
	s.viewerNode.do(func(now time.Time) { err = s.viewer.Connect(now, s.label, s.trial.Strategy) })
	if err != nil {
		return Observation{Outcome: record.Failed, Cause: fmt.Sprintf("ask for the camera: %v", err)}, nil
	}
	if _, err := s.net.Run(ctx, s.trial.Timeout, closed(s.watch.over)); err != nil {
		return o, err
	}
	o = s.observe()
	if s.trial.Stranger {
		if o.Probes["stranger_reached"], err = s.stranger(ctx, t); err != nil {
			return o, err
		}
	}
	if s.trial.Idle > 0 {
		o.Bytes["camera_idle_up"] = idle
	}
	return o, nil
}

// closed asks whether a channel is.
func closed(c <-chan struct{}) func() bool {
	return func() bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
}

// join waits until the camera is registered, the viewer logged in, and both classified where the policy wants that. Otherwise it
// says what did not come.
func (s *simulation) join(ctx context.Context, t *lab.Topology) (why string, err error) {
	w := s.watch
	end := s.net.Now().Add(joinTimeout)
	await := func(otherwise string, done func() bool) {
		if why != "" || err != nil {
			return
		}
		var did bool
		if did, err = s.net.Run(ctx, end.Sub(s.net.Now()), done); err == nil && !did {
			why = late(otherwise).Error()
		}
	}
	await(unregistered, closed(w.registered))
	await(notLoggedIn, closed(w.loggedIn))
	if device.Maps(s.policy) && why == "" && err == nil {
		_, err = s.net.Run(ctx, s.mapping(t), nil)
	}
	if device.Classifies(s.policy) {
		await(cameraUnclassified, closed(w.cameraReady))
		await(viewerUnclassified, closed(w.viewerReady))
		await(untold, s.told)
	}
	return why, err
}

// mapping is how long devices ask routers for port mappings that map none, as those of CheckSim's trials do.
func (s *simulation) mapping(t *lab.Topology) time.Duration {
	for _, host := range []string{"camera", "viewer"} {
		if site := t.SiteOf(host); site != nil && !site.NoIPv4 && site.Gateway().Is4() {
			return mapTimeout
		}
	}
	return 0
}

// told says whether the rendezvous knows what both devices have found out of their NATs.
func (s *simulation) told() bool {
	return s.server.node != nil && s.informed(s.server.core, s.camera.Stats().Class, s.viewer.Stats().Class)
}

func (s *simulation) cameraSent() int64 { return s.camera.Stats().Traffic.Total().Bytes }

func (s *simulation) observe() Observation {
	return s.watch.observe(account{
		end: s.net.Now(), viewer: s.viewer.Stats(), camera: s.camera.Stats(), sent: int(s.sent.Load()), headers: s.headers,
		relayed: s.server.relayedBytes(), relayAtDirect: s.relayedAtPath,
	})
}

// stranger does what bundle.stranger does.
func (s *simulation) stranger(ctx context.Context, t *lab.Topology) (float64, error) {
	host := s.net.Host("rendezvous")
	addrs := host.Addrs()
	from, err := host.Listen(netip.AddrPortFrom(addrs[len(addrs)-1], 0), func(time.Time, netip.AddrPort, netip.AddrPort, []byte) {})
	if err != nil {
		return 0, err
	}
	defer from.Close()
	before := s.cameraDropped()
	from.Send(s.camera.Stats().Reflexive, 0, bytes.Repeat([]byte{0xff}, 300))
	wait := 2*t.Path("rendezvous", "camera").Delay + 100*time.Millisecond
	reached, err := s.net.Run(ctx, wait, func() bool { return s.cameraDropped() > before })
	if !reached {
		return 0, err
	}
	return 1, err
}

func (s *simulation) cameraDropped() (n int64) {
	for _, k := range s.camera.Stats().Dropped {
		n += k
	}
	return n
}

// happenings lets a trial's events happen:
//
//	moment told ──► At passes ──► Do ──► For passes ──► undo
//
// What has not come to pass when the trial ends does not happen, and leaves no record.
type happenings struct {
	net      *sim.Net
	waiting  map[Moment][]lab.Event
	happened []record.Event
}

// expect takes the events at the trial's start.
func (h *happenings) expect(events []lab.Event) {
	h.waiting = map[Moment][]lab.Event{}
	for _, e := range events {
		if e.On != "" {
			h.waiting[Moment(e.On)] = append(h.waiting[Moment(e.On)], e)
			continue
		}
		h.net.After(e.At, func(time.Time) { h.do(e) })
	}
}

// reach is told of moments, and tells others.
func (h *happenings) reach(others func(Moment)) func(Moment) {
	return func(m Moment) {
		if others != nil {
			others(m)
		}
		for _, e := range h.waiting[m] {
			h.net.After(e.At, func(time.Time) { h.do(e) })
		}
	}
}

func (h *happenings) do(e lab.Event) {
	undo, err := h.net.Do(e)
	h.keep(e.String(), err)
	if err != nil || e.For == 0 {
		return
	}
	h.net.After(e.For, func(time.Time) { h.keep("end of "+e.String(), undo()) })
}

func (h *happenings) keep(what string, err error) {
	r := record.Event{AtS: h.net.Now().Sub(sim.Start).Seconds(), What: what}
	if err != nil {
		r.Error = err.Error()
	}
	h.happened = append(h.happened, r)
}

// list returns what happened, in order.
func (h *happenings) list() []record.Event {
	slices.SortStableFunc(h.happened, func(a, b record.Event) int { return cmp.Compare(a.AtS, b.AtS) })
	return h.happened
}

var _ Simulator = Bundled{}
