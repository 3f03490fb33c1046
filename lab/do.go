package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
)

// faults are what events have changed and nobody has undone yet.
type faults struct {
	mu   sync.Mutex
	list []*fault // in the order in which they came
}

type fault struct {
	once sync.Once
	undo func() error
	err  error
}

func (f *fault) mend() error {
	f.once.Do(func() { f.err = f.undo() })
	return f.err
}

func (f *faults) add(undo func() error) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := &fault{undo: undo}
	f.list = append(f.list, one)
	return one
}

// mend undoes all that is left, the last first.
func (f *faults) mend() error {
	f.mu.Lock()
	list := f.list
	f.list = nil
	f.mu.Unlock()
	var errs []error
	for _, one := range slices.Backward(list) {
		errs = append(errs, one.mend())
	}
	return errors.Join(errs...)
}

// Do has an event happen now; its At, On and For are the caller's business. Undo takes it back, once; what is not undone
// Reset mends. It is safe for concurrent use.
func (l *Lab) Do(e Event) (undo func() error, err error) {
	if err := e.Validate(l.topo); err != nil {
		return nil, fmt.Errorf("%s: %w", e, err)
	}
	back, err := l.perform(e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e, err)
	}
	return l.faults.add(back).mend, nil
}

// perform does the event and returns what takes it back.
func (l *Lab) perform(e Event) (undo func() error, err error) {
	switch e.Do {
	case DoReboot:
		return l.reboot(l.sites[e.Site], e.For > 0)
	case DoReaddress:
		return l.readdress(l.sites[e.Site])
	case DoNAT:
		return l.switchNAT(l.sites[e.Site], e.NAT)
	case DoUplinkDown, DoUplinkUp:
		up := l.uplinkOf(e)
		down := e.Do == DoUplinkDown
		return func() error { return up.SetDown(false) }, up.SetDown(down)
	case DoMove:
		return l.move(l.hosts[e.Host], e.To)
	case DoLink:
		p, _ := l.topo.LookupLink(e.Link)
		return l.changeLink(e, func(link.Profile) link.Profile { return p })
	case DoMTUBlackhole:
		return l.changeLink(e, func(p link.Profile) link.Profile { return blackholeMTU(p, e.MTU) })
	case DoKill:
		return l.hosts[e.Host].kill()
	case DoBlackhole:
		a, b := e.Between[0], e.Between[1]
		return func() error { return l.net.Blackhole(a, b, false) }, l.net.Blackhole(a, b, true)
	}
	return nil, fmt.Errorf("unknown action %q", e.Do)
}

// reboot has the router forget everything. With a pause nothing passes until it is undone.
func (l *Lab) reboot(p *place, pause bool) (func() error, error) {
	if pause {
		if err := p.router.Silence(true); err != nil {
			return nil, err
		}
	}
	undo := func() error {
		if pause {
			return p.router.Silence(false)
		}
		return nil
	}
	return undo, errors.Join(p.router.Reset(rebootSeed(p.site.Name)), p.rebootMaps())
}

// rebootSeed starts the random ports of a router that has rebooted at another place.
func rebootSeed(site string) uint64 { return routerSeed(0x7265626f6f74, site) }

// rebootMaps tells the port mapping servers that the router has rebooted.
func (p *place) rebootMaps() error {
	if p.maps == nil {
		return nil
	}
	return p.maps.Reboot()
}

// readdress gives the router the addresses that the plan has left for it.
func (l *Lab) readdress(p *place) (func() error, error) {
	change := func(addrs []netip.Addr) error {
		if err := p.router.Readdress(addrs); err != nil {
			return err
		}
		p.external.Store(&addrs[0])
		return p.rebootMaps()
	}
	before := slices.Clone(p.site.WAN)
	return func() error { return change(before) }, change(l.otherWAN(p.site))
}

func (l *Lab) switchNAT(p *place, preset string) (func() error, error) {
	b, err := l.topo.SwitchNAT(p.site.Name, preset)
	if err != nil {
		return nil, err
	}
	seed := rebootSeed(p.site.Name)
	before := p.site.Behavior
	return func() error { return p.router.Apply(before, seed) }, errors.Join(p.router.Apply(b, seed), p.rebootMaps())
}

// uplinkOf is the access link that the event names by its site or public host.
func (l *Lab) uplinkOf(e Event) *live.Uplink { return l.uplinks[e.Site+e.Host] }

// changeLink gives an uplink another profile, made of the one that the topology says.
func (l *Lab) changeLink(e Event, change func(link.Profile) link.Profile) (func() error, error) {
	up, before := l.uplinkOf(e), l.profileOf(e)
	return func() error { return up.SetProfile(before) }, up.SetProfile(change(before))
}

func (l *Lab) profileOf(e Event) link.Profile {
	if s := l.topo.Site(e.Site); s != nil {
		return s.Profile
	}
	for _, p := range l.topo.Public {
		if p.Name == e.Host {
			return p.Profile
		}
	}
	return link.Profile{}
}

// blackholeMTU lets nothing larger pass, and nobody hear of it.
func blackholeMTU(p link.Profile, mtu int) link.Profile {
	for _, i := range []*link.Impairment{&p.Up, &p.Down} {
		i.MTU, i.MTUBlackhole = mtu, true
	}
	return p
}

// move takes a host from the LAN that it is on to another.
func (l *Lab) move(m *Machine, to string) (func() error, error) {
	from := m.current()
	change := func(from, to string) error {
		leave, enter := m.card(from), m.card(to)
		if err := leave.leave(m.ns); err != nil {
			return err
		}
		m.use(to)
		return enter.enter(m.ns)
	}
	return func() error { return change(to, from) }, change(from, to)
}
