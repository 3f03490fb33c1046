package live

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns"
)

// RouterConfig describes a router of the engine table: it lives in the fabric process and has no namespace. Its WAN is one of
//
//	an uplink to the core   Behind and NS nil: Name is the uplink's name as well, and Profile its link
//	another table router    Behind
//	a kernel router         NS, Device and DeviceAddrs: a device in its namespace, with routes to WAN
type RouterConfig struct {
	Name              string
	NAT               nat.Config     // its Seed counts until the net's Reset or Apply
	Gateway, Gateway6 netip.Addr     // on its LAN; zero: none
	LAN               []netip.Prefix // what is on its LAN and goes nowhere else, whether a station has it or not
	WAN               []netip.Prefix // routed to it: its WAN addresses, and LANs that it does not translate
	Profile           link.Profile
	Behind            *Router

	NS          *netns.NS
	Device      string       // by its name rules take it for a LAN device: lan7
	DeviceAddrs []netip.Addr // of the kernel router on that LAN: its gateway addresses
}

// Router is a router of the engine table. It is safe for concurrent use.
type Router struct {
	member
	uplink *Uplink
}

// AttachRouter adds a router of the engine table to the net.
func (n *Net) AttachRouter(c RouterConfig) (*Router, error) {
	r, err := n.attachRouter(c)
	if err != nil {
		return nil, fmt.Errorf("attach router %q: %w", c.Name, err)
	}
	return r, nil
}

func (n *Net) attachRouter(c RouterConfig) (*Router, error) {
	if err := c.validate(n); err != nil {
		return nil, err
	}
	r := &Router{member: n.newMember(c.Name)}
	w := routerBody{Name: c.Name, NAT: c.NAT, Gateway: c.Gateway, Gateway6: c.Gateway6, LAN: c.LAN, WAN: c.WAN}
	if c.Behind != nil {
		w.Behind = c.Behind.id
	}
	fd := -1
	if c.NS != nil {
		d := deviceConfig{name: c.Device, mtu: link.DefaultMTU, routes: c.WAN}
		for _, a := range c.DeviceAddrs {
			d.addrs = append(d.addrs, netip.PrefixFrom(a, a.BitLen()))
		}
		if err := r.makeDevice(c.NS, d); err != nil {
			return nil, err
		}
		w.Device = r.dev.wire()
		fd = r.dev.fd
	}
	profile, err := n.fab.impairments(c.Profile)
	if err == nil {
		_, err = n.fab.client.call(opAttachRouter, n.id, r.id, func(e *encoder) {
			profile(e)
			e.json(w)
		}, fd)
	}
	if err == nil {
		err = n.add(&r.member)
	}
	if err != nil {
		r.abandon()
		return nil, err
	}
	if c.Behind == nil && c.NS == nil {
		r.uplink = &Uplink{member: r.member}
	}
	return r, nil
}

func (c RouterConfig) validate(n *Net) error {
	switch {
	case c.Behind != nil && c.NS != nil:
		return errors.New("its WAN is said to be behind both a table router and a kernel router: give Behind or NS")
	case c.Behind != nil && c.Behind.net != n:
		return fmt.Errorf("router %q that it is behind is in another net", c.Behind.name)
	case c.NS != nil && c.Device == "":
		return errors.New("no name given for its device in the kernel router's namespace")
	}
	return c.Profile.Validate()
}

// Uplink is the router's access link, or nil if it hangs on another router.
func (r *Router) Uplink() *Uplink { return r.uplink }

// Apply gives the router another behavior, with the effect of a Reset.
func (r *Router) Apply(b nat.Behavior, seed uint64) error {
	_, err := r.call(opRouterApply, func(e *encoder) {
		e.u64(seed)
		e.json(b)
	})
	if err != nil {
		return fmt.Errorf("give router %q another behavior: %w", r.name, err)
	}
	return nil
}

// Reset reboots the router: its mappings are lost. What is in flight stays.
func (r *Router) Reset(seed uint64) error {
	if _, err := r.call(opRouterReset, func(e *encoder) { e.u64(seed) }); err != nil {
		return fmt.Errorf("reset router %q: %w", r.name, err)
	}
	return nil
}

// SetExternal changes the router's external addresses: its mappings are lost. wan, unless nil, replaces what is routed
// to it (RouterConfig.WAN).
func (r *Router) SetExternal(addrs []netip.Addr, wan []netip.Prefix) error {
	_, err := r.call(opRouterExternal, func(e *encoder) { e.json(externalBody{addrs, wan}) })
	if err == nil && wan != nil && r.dev != nil {
		err = r.dev.setRoutes(wan)
	}
	if err != nil {
		return fmt.Errorf("change addresses of router %q: %w", r.name, err)
	}
	return nil
}

// Map asks for a port mapping, as nat.Table.Map does; errors wrap that package's.
func (r *Router) Map(m nat.PortMap) (netip.AddrPort, error) {
	b, err := r.call(opRouterMap, func(e *encoder) { e.json(m) })
	if err != nil {
		return netip.AddrPort{}, err
	}
	var a netip.AddrPort
	d := decoder{b: b}
	d.json(&a)
	return a, d.err
}

// Unmap takes a port mapping back, as nat.Table.Unmap does; errors wrap that package's.
func (r *Router) Unmap(m nat.PortMap) error {
	_, err := r.call(opRouterUnmap, func(e *encoder) { e.json(m) })
	return err
}

// PortMaps lists the port mappings that were asked for, with what is left of their lifetimes.
func (r *Router) PortMaps() ([]nat.PortMap, error) {
	b, err := r.call(opRouterPortMaps, nil)
	if err != nil {
		return nil, fmt.Errorf("list port mappings of router %q: %w", r.name, err)
	}
	var maps []nat.PortMap
	d := decoder{b: b}
	d.json(&maps)
	return maps, d.err
}

// Counts tells what the router's table made of its packets since the last Reset, its own or the net's.
func (r *Router) Counts() (c nat.Counts, err error) {
	b, err := r.call(opRouterCounts, nil)
	if err != nil {
		return c, fmt.Errorf("read counts of router %q: %w", r.name, err)
	}
	d := decoder{b: b}
	for i := range c {
		c[i] = d.u64()
	}
	return c, d.err
}

// Len is how many mappings the router's table has.
func (r *Router) Len() (int, error) {
	b, err := r.call(opRouterLen, nil)
	if err != nil {
		return 0, fmt.Errorf("count mappings of router %q: %w", r.name, err)
	}
	d := decoder{b: b}
	return int(d.u64()), d.err
}

// SetDown cuts the router's WAN, or mends it.
func (r *Router) SetDown(down bool) error {
	if _, err := r.call(opDown, func(e *encoder) { e.boolean(down) }); err != nil {
		return fmt.Errorf("cut WAN of router %q: %w", r.name, err)
	}
	return nil
}

// StationConfig describes a device on a router's LAN: a host's, a kernel router's WAN, or one for the router's own host
// stack. LAN cables take no time and lose nothing.
type StationConfig struct {
	Name     string // unique in the net
	NS       *netns.NS
	Device   string         // empty: eth0
	Addrs    []netip.Prefix // given to the device, each with the LAN's length
	Routed   []netip.Prefix // delivered to this station besides: LANs behind it
	Gateways []netip.Addr   // default routes, at most one for each family; none: straight to the device
	Self     bool           // the router's own host stack: gets what is sent to the router's LAN addresses, and multicast
	Standby  bool           // gets no default route
}

// Station is a device on a router's LAN. It is safe for concurrent use.
type Station struct {
	member
}

// Attach makes the device in the namespace, with addresses and routes, and connects it to the router's LAN.
func (r *Router) Attach(c StationConfig) (*Station, error) {
	s, err := r.attach(c)
	if err != nil {
		return nil, fmt.Errorf("attach station %q to router %q: %w", c.Name, r.name, err)
	}
	return s, nil
}

func (r *Router) attach(c StationConfig) (*Station, error) {
	if c.NS == nil {
		return nil, errors.New("no namespace given")
	}
	if err := checkAddrs(c.Addrs); err != nil {
		return nil, err
	}
	if c.Device == "" {
		c.Device = "eth0"
	}
	n := r.net
	s := &Station{member: n.newMember(c.Name)}
	d := deviceConfig{name: c.Device, addrs: c.Addrs, mtu: link.DefaultMTU, gateways: c.Gateways, noDefault: c.Standby || c.Self}
	if err := s.makeDevice(c.NS, d); err != nil {
		return nil, err
	}
	w := stationBody{Router: r.id, Name: c.Name, Addrs: c.Addrs, Routed: c.Routed, Self: c.Self, Device: s.dev.wire()}
	_, err := n.fab.client.call(opAttachStation, n.id, s.id, func(e *encoder) { e.json(w) }, s.dev.fd)
	if err == nil {
		err = n.add(&s.member)
	}
	if err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

// SetDown pulls the station's cable, or plugs it in again. The device keeps its addresses and routes.
func (s *Station) SetDown(down bool) error {
	if _, err := s.call(opDown, func(e *encoder) { e.boolean(down) }); err != nil {
		return fmt.Errorf("pull cable of station %q: %w", s.name, err)
	}
	return nil
}

// Close takes the station off the LAN and removes its device.
func (s *Station) Close() error { return s.close() }

// SetDown cuts the access link in both directions, or mends it.
func (u *Uplink) SetDown(down bool) error {
	if _, err := u.call(opDown, func(e *encoder) { e.boolean(down) }); err != nil {
		return fmt.Errorf("cut uplink %q: %w", u.name, err)
	}
	return nil
}

// Blackhole has the core drop what goes between two uplinks, in both directions, or ends that. With an empty b it drops
// whatever comes from a or goes there.
func (n *Net) Blackhole(a, b string, on bool) error {
	_, err := n.fab.client.call(opBlackhole, n.id, 0, func(e *encoder) {
		e.boolean(on)
		e.text(a)
		e.text(b)
	}, -1)
	if err != nil {
		return fmt.Errorf("make blackhole: %w", err)
	}
	return nil
}
