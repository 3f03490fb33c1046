package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
)

var errClosed = errors.New("the lab is closed")

// Do has an event happen now; its At and On are the caller's business, and so is when undo is called, by For. An event
// that can't be done changes nothing. Undo takes back what the event did, and leaves what others have done to the same
// thing since; what is not undone Reset mends. Do and undo are safe for concurrent use, with Reset and Close too: after
// either, undo does nothing.
func (l *Lab) Do(e Event) (undo func() error, err error) {
	l.events.Lock()
	defer l.events.Unlock()
	if l.closed {
		return nil, fmt.Errorf("%s: %w", e, errClosed)
	}
	if err := e.Validate(l.topo); err != nil {
		return nil, fmt.Errorf("%s: %w", e, err)
	}
	back, err := l.perform(e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e, err)
	}
	begun := l.resets
	return func() error {
		l.events.Lock()
		defer l.events.Unlock()
		if back == nil || l.closed || l.resets != begun {
			return nil
		}
		once := back
		back = nil
		if err := once(); err != nil {
			return fmt.Errorf("undo %s: %w", e, err)
		}
		return nil
	}, nil
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
		return change(&l.faults, "uplink "+e.Site+e.Host, false, l.cutter(e), to(e.Do == DoUplinkDown))
	case DoMove:
		m := l.hosts[e.Host]
		return change(&l.faults, "host "+m.Name, m.current(), m.move, to(e.To))
	case DoLink:
		p, _ := l.topo.LookupLink(e.Link)
		return l.changeLink(e, to(p))
	case DoMTUBlackhole:
		return l.changeLink(e, func(p link.Profile) link.Profile { return blackholeMTU(p, e.MTU) })
	case DoKill:
		m := l.hosts[e.Host]
		return change(&l.faults, "programs on "+m.Name, false, m.kill, to(true))
	case DoSleep:
		m := l.hosts[e.Host]
		return change(&l.faults, "sleep of "+m.Name, false, m.sleep, to(true))
	case DoBlackhole:
		return l.blackhole(e.Between[0], e.Between[1])
	}
	return nil, fmt.Errorf("unknown action %q", e.Do)
}

// to makes a change that what was before does not matter to.
func to[T any](v T) func(T) T { return func(T) T { return v } }

// reboot has the router forget everything. With a pause nothing passes it, and its servers say nothing, until it is undone.
func (l *Lab) reboot(p *place, pause bool) (undo func() error, err error) {
	undo = func() error { return nil }
	if pause {
		back, err := change(&l.faults, "silence of "+p.site.Name, false, p.router.Silence, to(true))
		if err != nil {
			return nil, err
		}
		undo = func() error { return errors.Join(back(), p.rebootMaps()) }
	}
	if err := p.router.Reset(rebootSeed(p.site.Name)); err != nil {
		return nil, errors.Join(err, undo())
	}
	if pause {
		return undo, nil // its servers come up with it
	}
	return undo, p.rebootMaps()
}

// rebootSeed starts the random ports of a router that has rebooted at another place.
func rebootSeed(site string) uint64 { return routerSeed(0x7265626f6f74, site) }

// rebootMaps tells the port mapping servers that the router has rebooted, after the forwards of its owner are back.
func (p *place) rebootMaps() error {
	if err := p.forwardAgain(); err != nil || p.maps == nil {
		return err
	}
	return p.maps.Reboot()
}

// readdress gives the router the addresses that the plan has left for it.
func (l *Lab) readdress(p *place) (undo func() error, err error) {
	other := l.topo.otherWAN(p.site)
	if len(other) == 0 {
		return nil, fmt.Errorf("no other address is left for the router of %s", p.site.Name)
	}
	set := func(addrs []netip.Addr) error {
		if err := p.router.Readdress(addrs); err != nil {
			return err
		}
		p.external.Store(&addrs[0])
		return nil
	}
	back, err := change(&l.faults, "addresses of "+p.site.Name, slices.Clone(p.site.WAN), set, to(other))
	return p.forgetful(back, err)
}

func (l *Lab) switchNAT(p *place, preset string) (undo func() error, err error) {
	b, err := l.topo.SwitchNAT(p.site.Name, preset)
	if err != nil {
		return nil, err
	}
	set := func(b nat.Behavior) error { return p.router.Apply(b, rebootSeed(p.site.Name)) }
	back, err := change(&l.faults, "NAT of "+p.site.Name, p.site.Behavior, set, to(b))
	return p.forgetful(back, err)
}

// forgetful is a change that loses the router's mappings, as undoing it does: its port mapping servers are told.
func (p *place) forgetful(back func() error, err error) (undo func() error, _ error) {
	if err != nil {
		return nil, err
	}
	undo = func() error { return errors.Join(back(), p.rebootMaps()) }
	if err := p.rebootMaps(); err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

// cutter cuts the access link that the event names by its site or public host, or mends it.
func (l *Lab) cutter(e Event) func(bool) error {
	if p := l.sites[e.Site]; p != nil {
		return p.router.Cut
	}
	return l.uplinks[e.Host].SetDown
}

// changeLink gives the access link that the event names another profile.
func (l *Lab) changeLink(e Event, to func(link.Profile) link.Profile) (undo func() error, err error) {
	name := e.Site + e.Host
	return change(&l.faults, "link of "+name, l.topo.profileOf(e), l.uplinks[name].SetProfile, to)
}

// profileOf is the profile of the access link that the event names.
func (t *Topology) profileOf(e Event) link.Profile {
	if s := t.Site(e.Site); s != nil {
		return s.Profile
	}
	for _, p := range t.Public {
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

func (l *Lab) blackhole(a, b string) (undo func() error, err error) {
	if b != "" && b < a {
		a, b = b, a // both ways are one
	}
	set := func(on bool) error { return l.net.Blackhole(a, b, on) }
	return change(&l.faults, "between "+a+" and "+b, false, set, to(true))
}
