package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
)

// Do has an event happen at now, as Lab.Do does; the event must be valid. What is due by then has to be delivered before.
func (m *Model) Do(now time.Duration, e Event) (undo func(now time.Duration) error, err error) {
	m.now = now
	back, err := m.perform(e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e, err)
	}
	return func(now time.Duration) error {
		m.now = now
		if err := back(); err != nil {
			return fmt.Errorf("undo %s: %w", e, err)
		}
		return nil
	}, nil
}

// perform does the event and returns what takes it back.
func (m *Model) perform(e Event) (undo func() error, err error) {
	switch e.Do {
	case DoReboot:
		return m.reboot(m.routers[e.Site], e.For > 0)
	case DoReaddress:
		return m.readdress(m.routers[e.Site])
	case DoNAT:
		return m.switchNAT(m.routers[e.Site], e.NAT)
	case DoUplinkDown, DoUplinkUp:
		return change(&m.faults, "uplink "+e.Site+e.Host, false, m.cutter(e), to(e.Do == DoUplinkDown))
	case DoMove:
		h := m.hosts[e.Host]
		return change(&m.faults, "host "+e.Host, h.in.Site, h.move, to(e.To))
	case DoLink:
		p, _ := m.topo.LookupLink(e.Link)
		return m.changeLink(e, to(p))
	case DoMTUBlackhole:
		return m.changeLink(e, func(p link.Profile) link.Profile { return blackholeMTU(p, e.MTU) })
	case DoKill:
		return change(&m.faults, "programs on "+e.Host, false, m.hosts[e.Host].resident.Kill, to(true))
	case DoSleep:
		return change(&m.faults, "sleep of "+e.Host, false, m.hosts[e.Host].resident.Sleep, to(true))
	case DoBlackhole:
		a, b := e.Between[0], e.Between[1]
		if b != "" && b < a {
			a, b = b, a // both ways are one
		}
		set := func(on bool) error { return m.Net.Blackhole(a, b, on) }
		return change(&m.faults, "between "+a+" and "+b, false, set, to(true))
	}
	return nil, fmt.Errorf("unknown action %q", e.Do)
}

func (m *Model) reboot(r *modelRouter, pause bool) (undo func() error, err error) {
	undo = func() error { return nil }
	if pause {
		if undo, err = change(&m.faults, "silence of "+r.site.Name, false, r.Silence, to(true)); err != nil {
			return nil, err
		}
	}
	r.Reboot(rebootSeed(r.site.Name))
	return undo, nil
}

func (m *Model) readdress(r *modelRouter) (undo func() error, err error) {
	other := m.topo.otherWAN(r.site)
	if len(other) == 0 {
		return nil, fmt.Errorf("no other address is left for the router of %s", r.site.Name)
	}
	return change(&m.faults, "addresses of "+r.site.Name, slices.Clone(r.site.WAN), r.Readdress, to[[]netip.Addr](other))
}

func (m *Model) switchNAT(r *modelRouter, preset string) (undo func() error, err error) {
	b, err := m.topo.SwitchNAT(r.site.Name, preset)
	if err != nil {
		return nil, err
	}
	set := func(b nat.Behavior) error { return r.Apply(b, rebootSeed(r.site.Name)) }
	return change(&m.faults, "NAT of "+r.site.Name, r.site.Behavior, set, to(b))
}

// cutter cuts the access link that the event names by its site or public host, or mends it.
func (m *Model) cutter(e Event) func(bool) error {
	if r := m.routers[e.Site]; r != nil {
		return r.Cut
	}
	return func(down bool) error {
		m.uplinks[e.Host].SetDown(down)
		return nil
	}
}

// changeLink gives the access link that the event names another profile.
func (m *Model) changeLink(e Event, to func(link.Profile) link.Profile) (undo func() error, err error) {
	name := e.Site + e.Host
	return change(&m.faults, "link of "+name, m.topo.profileOf(e), m.uplinks[name].SetProfile, to)
}

// move brings the host to a site where it has a port.
func (h *modelHost) move(site string) error {
	i := slices.IndexFunc(h.ports, func(p *Port) bool { return p.Site == site })
	if i < 0 {
		return fmt.Errorf("it has no interface at site %s", site)
	}
	h.plug(h.ports[i])
	return nil
}
