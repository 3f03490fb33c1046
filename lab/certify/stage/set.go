package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/topologies"
)

// Hosts of every topology that a case is run on.
const (
	cameraHost     = "camera"
	viewerHost     = "viewer"
	rendezvousHost = "rendezvous"
	relayHost      = "relay" // where a topology has it; else the relay is on the rendezvous host
)

// UnitsKey is a parameter of Stage.Set beside the topology's own: how many units' hosts the camera's site has. Without it there are as
// many as the case needs.
const UnitsKey = "units"

// Set is a lab that is up, with everything watched. It is safe for concurrent use, but for Close.
type Set struct {
	stage   *Stage
	lab     *lab.Lab
	tape    *tape.Tape
	routes  tape.Routes
	relay   string // host
	capture *os.File
	spare   *spare
	dam     *dam
	drowned bool         // a box has flooded the lab; of the dam alone
	clock   *net.UDPConn // NTP; nil: nobody asks
	ahead   atomic.Int64 // nanoseconds that it is ahead
	box     *cable

	serving sync.Mutex // held while the servers are started
	mu      sync.Mutex
	cast    []*Program
	roles   map[certify.Role]*Program // servers
	served  bool
	closed  bool
	err     error
}

// Set brings up a named topology, changed by parameters (lab.Topology.Set: "camera.nat", "symmetric", …; UnitsKey), with its NATs
// classified, a capture running if the case's evidence has one, and a tape that watches every host. The Set before is closed. The
// hosts of a camera's units are camera, camera-2, …, on one LAN.
//
// A NAT that has been classified on this Stage is not classified again as long as its lab is kept wired (lab.Pool).
func (s *Stage) Set(ctx context.Context, topology string, params ...string) (*Set, error) {
	t, err := s.Load(topology, params...)
	if err != nil {
		return nil, err
	}
	return s.Topology(ctx, t)
}

// Load is the topology that Set would bring up: for a case that changes more of it, resolves it, and gives it to Topology.
func (s *Stage) Load(topology string, params ...string) (*lab.Topology, error) {
	t, _, err := topologies.Load(topology)
	if err != nil {
		return nil, fmt.Errorf("set %s: %w", topology, err)
	}
	if len(params)%2 != 0 {
		return nil, fmt.Errorf("set %s: parameters %q are not keys with values", topology, params)
	}
	units, values := s.o.Case.Units, map[string]string{}
	for i := 0; i < len(params); i += 2 {
		if params[i] != UnitsKey {
			values[params[i]] = params[i+1]
		} else if units, err = strconv.Atoi(params[i+1]); err != nil {
			return nil, fmt.Errorf("set %s: %s: %w", topology, UnitsKey, err)
		}
	}
	if err := t.Configure(values); err != nil {
		return nil, fmt.Errorf("set %s: %w", topology, err)
	}
	if err := addUnits(t, units); err != nil {
		return nil, fmt.Errorf("set %s: %w", topology, err)
	}
	return t, nil
}

// addUnits gives the camera's site hosts for further units.
func addUnits(t *lab.Topology, units int) error {
	changed := false
	site := t.SiteOf(cameraHost)
	for n := 2; n <= units && site != nil; n++ {
		if name := unitHost(n); !slices.Contains(t.Hosts(), name) {
			site.Hosts = append(site.Hosts, lab.Host{Name: name})
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return t.Resolve()
}

// unitHost is where a unit of the camera runs.
func unitHost(unit int) string {
	if unit == 1 {
		return cameraHost
	}
	return cameraHost + "-" + strconv.Itoa(unit)
}

// Topology is Set of a topology that the case made itself, resolved. It needs the hosts camera, viewer and rendezvous.
func (s *Stage) Topology(ctx context.Context, t *lab.Topology) (*Set, error) {
	if s.set != nil {
		if err := s.set.Close(); err != nil {
			return nil, err
		}
	}
	t = t.Clone()
	if err := s.prepare(t); err != nil {
		return nil, fmt.Errorf("set %s: %w", t.Name, err)
	}
	s.mu.Lock()
	s.sets++
	n := s.sets
	s.mu.Unlock()
	began := time.Now()
	l, err := s.pool.Get(ctx, t, s.Seed(n))
	if err != nil {
		return nil, fmt.Errorf("set %s: %w", t.Name, err)
	}
	x := &Set{stage: s, lab: l, tape: tape.New(), relay: rendezvousHost, roles: map[certify.Role]*Program{}}
	if slices.Contains(t.Hosts(), relayHost) {
		x.relay = relayHost
	}
	x.routes = tape.RoutesOf(t, []string{x.relay}, []string{rendezvousHost})
	s.mu.Lock()
	s.set = x
	s.mu.Unlock()
	if err := cmp.Or(x.watch(), x.serveClock()); err != nil {
		return nil, errors.Join(fmt.Errorf("set %s: %w", t.Name, err), x.Close())
	}
	s.Note("lab %d: %s is up and proved after %v\n%s", n, t.Name, time.Since(began).Round(time.Millisecond), t.Draw())
	x.dam = x.newDam()
	return x, nil
}

// prepare gives the routers their engines.
func (s *Stage) prepare(t *lab.Topology) error {
	for _, name := range []string{cameraHost, viewerHost, rendezvousHost} {
		if !slices.Contains(t.Hosts(), name) {
			return fmt.Errorf("it has no host %s", name)
		}
	}
	if site := t.SiteOf(cameraHost); s.Way() == Box && site != nil {
		site.Engine = lab.EngineNetfilter
	}
	if t.CheckEngines(lab.EngineNetfilter) != nil {
		t.UseEngine(lab.EngineTable) // the kernel can't be every NAT
	}
	return t.CheckEngines(lab.EngineNetfilter)
}

// watch begins the capture and the tape.
func (x *Set) watch() error {
	if x.stage.wants("capture.pcapng") {
		f, err := x.stage.paper.capture()
		if err != nil {
			return err
		}
		x.capture = f
		if err := x.lab.Capture(f); err != nil {
			return err
		}
		x.spare = newSpare(x.stage.o.Folder, leastSpare, func(err error) {
			x.stage.tear(errors.Join(err, x.lab.StopCapture()))
			x.stage.Note("the capture ends here: %v", err)
		})
	}
	for _, name := range x.lab.Hosts() {
		if name == cameraHost && x.stage.Way() == Box {
			continue // the box is the camera
		}
		if err := x.tape.Watch(x.lab.Host(name)); err != nil {
			return err
		}
	}
	return nil
}

// Stage is the Set's.
func (x *Set) Stage() *Stage { return x.stage }

// Lab is the lab itself: for attackers' hosts, Forward and Stats. Do is to be used in place of Lab.Do.
func (x *Set) Lab() *lab.Lab { return x.lab }

// Host is a host of the lab; it panics if there is none of that name.
func (x *Set) Host(name string) *lab.Machine {
	m := x.lab.Host(name)
	if m == nil {
		panic("stage: topology " + x.lab.Topology().Name + " has no host " + name)
	}
	return m
}

// Tape has every packet at every host since the Set began.
func (x *Set) Tape() *tape.Tape { return x.tape }

// Routes says which way a packet of the tape went.
func (x *Set) Routes() tape.Routes { return x.routes }

// Relay is the name of the relay's host.
func (x *Set) Relay() string { return x.relay }

// Servers are the addresses of the rendezvous and the relay, as a host reaches them.
func (x *Set) Servers(host string) []netip.Addr {
	t := x.lab.Topology()
	addrs := t.AddrsFrom(host, rendezvousHost)
	if x.relay != rendezvousHost {
		addrs = append(addrs, t.AddrsFrom(host, x.relay)...)
	}
	return addrs
}

// Do has an event happen, and notes it. Undo takes it back.
func (x *Set) Do(e lab.Event) (undo func() error, err error) {
	back, err := x.lab.Do(e)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", e, err)
	}
	x.stage.Note("event: %s", e)
	return func() error {
		x.stage.Note("undone: %s", e)
		return back()
	}, nil
}

// Close ends the programs, the capture and the tape, and takes the lab down. Open and the next Set call it too.
func (x *Set) Close() error {
	x.mu.Lock()
	if x.closed {
		x.mu.Unlock()
		return x.err
	}
	x.closed = true
	cast := slices.Clone(x.cast)
	x.mu.Unlock()
	errs := []error{}
	for _, role := range []certify.Role{certify.RoleViewer, certify.RoleCamera, certify.RoleRelay, certify.RoleRendezvous} {
		errs = append(errs, endAll(cast, role))
	}
	x.dam.close(x)
	if x.box != nil {
		errs = append(errs, x.box.close())
	}
	if x.clock != nil {
		errs = append(errs, x.clock.Close())
	}
	if x.capture != nil {
		if !x.spare.close() {
			errs = append(errs, x.stage.excused(x.lab.StopCapture()))
		}
		errs = append(errs, x.capture.Close())
		x.draw()
	}
	x.holdToDeclaration()
	if err := x.tape.Err(); err != nil {
		x.stage.Note("the tape is not whole: %v", err)
		x.stage.tear(err)
	}
	errs = append(errs, x.tape.Close())
	x.stage.mu.Lock()
	x.stage.set = nil
	x.stage.mu.Unlock()
	if err := errors.Join(errs...); err != nil || x.box != nil || x.stage.flooded() {
		x.err = errors.Join(err, x.lab.Close())
	} else {
		x.err = x.stage.pool.Put(x.lab)
	}
	return x.err
}

// endAll ends all programs of a role, at once.
func endAll(cast []*Program, role certify.Role) error {
	var ending sync.WaitGroup
	errs := make([]error, len(cast))
	for i, p := range cast {
		if p.Role == role {
			ending.Go(func() { errs[i] = p.end() })
		}
	}
	ending.Wait()
	return errors.Join(errs...)
}
