package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/nat"
)

// Model is a topology in the fabric alone: the same routers, links and places on LANs as Up has, every router a nat.Table, and on
// the hosts whatever the driver says. Its time is the driver's. It is not safe for concurrent use.
//
//	Port.Send ──► router's table ──► link ──► … ──► table ──► Output of another Port
//	driver ──► Fabric.Deadline, Fabric.Deliver
type Model struct {
	Fabric *fabric.Fabric
	Net    *fabric.Net
	topo   *Topology

	routers map[string]*modelRouter
	hosts   map[string]*modelHost
	uplinks map[string]*fabric.Uplink // by site or public host

	now    time.Duration // of the event that happens
	faults faults
}

// Port is a host's place on a LAN or, of a public host, on the internet.
type Port struct {
	Name  string // of the interface, unique in a topology: "station camera/camera", "uplink rendezvous"
	Site  string // empty: a public host's
	Addrs []netip.Addr

	station *fabric.Station // nil: uplink
	uplink  *fabric.Uplink
}

// Send takes a packet that the host sent at now.
func (p *Port) Send(now time.Duration, b *fabric.Packet) {
	if p.station != nil {
		p.station.Send(now, b)
		return
	}
	p.uplink.Send(now, b)
}

// Resident is what lives on a host of a Model.
type Resident interface {
	// Deliver is fabric.Output's. By which of the host's ports a packet came does not matter: only one is plugged in.
	fabric.Output
	Plug(p *Port)            // the host's only port is this one from now on
	Kill(dead bool) error    // its programs die, or start again
	Sleep(asleep bool) error // it sleeps, or wakes
}

// modelHost is a host and where it may be.
type modelHost struct {
	ports    []*Port
	in       *Port // the one that is plugged in
	resident Resident
}

// modelRouter is a router of a Model. Its methods are those of the interface router that events need.
type modelRouter struct {
	*fabric.Router
	model    *Model
	site     *Site
	stations []*fabric.Station
	servers  *fabric.Station // of them, the port mapping servers'; nil: there are none
	inner    []*modelRouter

	cut, silent, dark bool // reasons why its WAN is down: its link, its own silence, that of the LAN it hangs on
}

// Model builds the resolved topology in a fabric of its own, reset to the seed. resident says who lives on a host, by its name.
func (t *Topology) Model(seed uint64, resident func(host string) Resident) (*Model, error) {
	f := fabric.New(fabric.Config{})
	m := &Model{
		Fabric: f, Net: f.NewNet(seed), topo: t,
		routers: map[string]*modelRouter{}, hosts: map[string]*modelHost{}, uplinks: map[string]*fabric.Uplink{},
	}
	if err := m.build(resident); err != nil {
		return nil, fmt.Errorf("model topology %s: %w", t.Name, err)
	}
	m.Net.Reset(seed)
	return m, nil
}

func (m *Model) build(resident func(host string) Resident) error {
	for _, p := range m.topo.Public {
		h := m.host(p.Name, resident)
		u, err := m.Net.Attach(fabric.UplinkConfig{Name: p.Name, Routed: singles(p.Addrs), Profile: p.Profile, Output: h.resident})
		if err != nil {
			return fmt.Errorf("host %s: %w", p.Name, err)
		}
		m.uplinks[p.Name] = u
		h.plug(&Port{Name: "uplink " + p.Name, Addrs: p.Addrs, uplink: u})
	}
	for _, s := range outermostFirst(m.topo) {
		if err := m.addSite(s, resident); err != nil {
			return fmt.Errorf("site %s: %w", s.Name, err)
		}
	}
	return nil
}

func (m *Model) host(name string, resident func(string) Resident) *modelHost {
	h := m.hosts[name]
	if h == nil {
		h = &modelHost{resident: resident(name)}
		m.hosts[name] = h
	}
	return h
}

// plug gives the host its only port.
func (h *modelHost) plug(p *Port) {
	if !slices.Contains(h.ports, p) {
		h.ports = append(h.ports, p)
	}
	h.in = p
	for _, q := range h.ports {
		if q.station != nil {
			q.station.SetDown(q != p)
		}
	}
	h.resident.Plug(p)
}

// addSite adds a site's router and what hangs on its LAN.
func (m *Model) addSite(s *Site, resident func(string) Resident) error {
	table, err := nat.NewTable(s.tableConfig(0))
	if err != nil {
		return err
	}
	c := fabric.RouterConfig{
		Name: s.Name, Table: table, Gateway: s.Gateway(), Gateway6: s.Gateway6(), LAN: insides(s), WAN: toward(s, s.WAN), Profile: s.Profile,
	}
	outer := m.routers[s.Behind]
	if outer != nil {
		c.Behind = outer.Router
	}
	k, err := m.Net.AttachRouter(c)
	if err != nil {
		return err
	}
	r := &modelRouter{Router: k, model: m, site: s}
	m.routers[s.Name] = r
	if outer != nil {
		outer.inner = append(outer.inner, r)
	} else {
		m.uplinks[s.Name] = k.Uplink()
	}
	for j := range s.Hosts {
		if err := r.addHost(&s.Hosts[j], m.host(s.Hosts[j].Name, resident)); err != nil {
			return err
		}
	}
	return r.addServers()
}

func (r *modelRouter) addHost(h *Host, at *modelHost) error {
	name := stationName(r.site.Name, h.Name)
	st, err := r.Attach(fabric.StationConfig{Name: name, Addrs: lanPrefixes(r.site, h.addrs()), Output: at.resident})
	if err != nil {
		return err
	}
	r.stations = append(r.stations, st)
	p := &Port{Name: "station " + name, Site: r.site.Name, Addrs: h.addrs(), station: st}
	if h.Standby {
		at.ports = append(at.ports, p)
		st.SetDown(true)
		return nil
	}
	at.plug(p)
	return nil
}

// addServers gives the router's port mapping servers their place, without them.
func (r *modelRouter) addServers() error {
	c, err := mappingConfig(r.site)
	if err != nil || !c.Enabled() {
		return err
	}
	st, err := r.Attach(fabric.StationConfig{
		Name: stationName(r.site.Name, "router"), Addrs: lanPrefixes(r.site, gateways(r.site)), Output: void{}, Self: true,
	})
	if err != nil {
		return err
	}
	r.servers = st
	r.stations = append(r.stations, st)
	return nil
}

// void takes what is delivered to nobody.
type void struct{}

func (void) Deliver(*fabric.Packet) bool { return true }

// Ports lists all ports of all hosts.
func (m *Model) Ports() (ps []*Port) {
	for _, name := range m.topo.Hosts() {
		ps = append(ps, m.hosts[name].ports...)
	}
	return ps
}

// Apply, Readdress, Silence, Cut and Reboot do what the events of these names do to a router.

func (r *modelRouter) Apply(b nat.Behavior, seed uint64) error {
	err := r.Table().Apply(r.site.realized(b), seed)
	r.Changed(r.model.now)
	return err
}

func (r *modelRouter) Reboot(seed uint64) {
	r.Table().Reset(seed)
	r.Changed(r.model.now)
}

func (r *modelRouter) Readdress(addrs []netip.Addr) error {
	err := r.Table().SetExternal(addrs)
	r.Changed(r.model.now)
	if err != nil {
		return err
	}
	return r.SetWAN(toward(r.site, addrs))
}

// Silence pulls every cable of the router, as tableRouter.Silence does.
func (r *modelRouter) Silence(on bool) error {
	r.silent = on
	r.setWAN()
	for _, s := range r.stations {
		s.SetDown(on)
	}
	for _, h := range r.model.hosts { // who is plugged in elsewhere stays so
		for _, p := range h.ports {
			if !on && p != h.in && slices.Contains(r.stations, p.station) {
				p.station.SetDown(true)
			}
		}
	}
	for _, inner := range r.inner {
		inner.dark = on
		inner.setWAN()
	}
	return nil
}

func (r *modelRouter) Cut(on bool) error {
	r.cut = on
	r.setWAN()
	return nil
}

func (r *modelRouter) setWAN() { r.SetDown(r.cut || r.silent || r.dark) }
