package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/portmap"
)

// place is a site that is up: its router, and where its LAN is.
//
//	engine netfilter   kernel: the router's namespace; the LAN is a veth to each host
//	engine table       table: in the fabric; the LAN is a TUN device in each host
type place struct {
	site   *Site // of the topology that is realised now
	router router
	kernel *netns.NS    // nil: engine table
	table  *live.Router // nil: engine netfilter
	uplink *live.Uplink // nil: behind another site
	ports  int          // LAN devices that a kernel router has
	cables []cable      // those of them that are ends of veth pairs, or were plugged in

	outlets   []*Outlet
	unplugged []int // of the LAN devices' numbers: there is none any more

	stations []*live.Station // on a table router's LAN
	inner    []*tableRouter  // table routers behind it, if it is one
	forwards []forwarded     // by its owner; Lab.events guards them

	silent   atomic.Bool                // while it boots
	maps     *portmap.Server            // nil: none
	external atomic.Pointer[netip.Addr] // first IPv4 address on the WAN side, as it is now
}

// cable is one of a kernel router's LAN devices.
type cable struct {
	port string // the device
	to   string // the name of what hangs on it
}

// lans are the site's LANs, one for each family that it has.
func (s *Site) lans() (ps []netip.Prefix) {
	if s.LAN.IsValid() && !s.NoIPv4 {
		ps = append(ps, s.LAN)
	}
	if s.LAN6.IsValid() {
		ps = append(ps, s.LAN6)
	}
	return ps
}

// wans are the addresses of the router's WAN side.
func (s *Site) wans() []netip.Addr { return slices.Concat(s.WAN, s.WAN6) }

// routed are the networks behind the router that are visible under their own addresses.
func (s *Site) routed() (ps []netip.Prefix) {
	if s.Public() && s.LAN.IsValid() {
		ps = append(ps, s.LAN)
	}
	if s.Net6.IsValid() {
		ps = append(ps, s.Net6)
	}
	return ps
}

func (l *Lab) addSite(s *Site, seed uint64) error {
	p := &place{site: s}
	if len(s.WAN) > 0 {
		p.external.Store(&s.WAN[0])
	}
	l.sites[s.Name] = p
	if s.EngineOf("") == EngineTable {
		return l.addTableRouter(p, routerSeed(seed, s.Name))
	}
	return l.addKernelRouter(p, routerSeed(seed, s.Name))
}

func (l *Lab) addKernelRouter(p *place, seed uint64) (err error) {
	s := p.site
	if p.kernel, err = l.newSpace(); err != nil {
		return err
	}
	if err := l.connectWAN(p); err != nil {
		return err
	}
	c := netfilter.Config{
		LAN: lanPrefix + "*", WAN: wanDevice, External: s.WAN, LANPrefix: s.LAN,
		External6: s.Net6, LANPrefix6: s.Inside6, Behavior: s.realized(s.Behavior), Seed: seed,
	}
	if s.NoIPv4 {
		c.LANPrefix = noNetwork
	}
	r, err := netfilter.Install(p.kernel, c)
	if err != nil {
		return fmt.Errorf("install NAT %s: %w", s.NAT, err)
	}
	p.router = &kernelRouter{r: r, place: p}
	l.closers = append(l.closers, r)
	return nil
}

// noNetwork is what a kernel router without IPv4 takes for its LAN: a network that nobody has (RFC 7335 §5).
var noNetwork = netip.MustParsePrefix("192.0.0.0/29")

// realized is the behaviour as a router gets it: without IPv4 there is nothing to translate, unless IPv6 becomes IPv4.
func (s *Site) realized(b nat.Behavior) nat.Behavior {
	if !s.NoIPv4 || b.IPv6 == nat.NAT64 {
		return b
	}
	return nat.Behavior{Kind: nat.NoNAT, Filtering: nat.AddressAndPortDependent, IPv6: b.IPv6, Filtering6: b.Filtering6}
}

// connectWAN gives a kernel router its WAN device: on the fabric, or on the LAN of another router.
func (l *Lab) connectWAN(p *place) (err error) {
	s := p.site
	if s.Behind != "" {
		return l.join(l.sites[s.Behind], attachment{
			name: s.Name, ns: p.kernel, device: wanDevice, addrs: s.wans(), routed: append(s.routed(), singles(l.topo.otherWAN(s))...),
		})
	}
	p.uplink, err = l.net.Attach(live.UplinkConfig{
		Name: s.Name, NS: p.kernel, Device: wanDevice, Addrs: singles(s.wans()), Routed: s.routed(), Profile: s.Profile,
	})
	if err != nil {
		return fmt.Errorf("attach uplink: %w", err)
	}
	l.uplinks[s.Name] = p.uplink
	return nil
}

// otherWAN are the addresses that a router gets when it is readdressed, as many as it has now. Routers on one LAN share
// what that has left.
func (t *Topology) otherWAN(s *Site) []netip.Addr {
	n, before, total := len(s.WAN), 0, 0
	for i := range t.Sites {
		o := &t.Sites[i]
		if s.Behind == "" || o.Behind != s.Behind {
			continue
		}
		if o.Name == s.Name {
			before = total
		}
		total += len(o.WAN)
	}
	free := t.FreeWAN(s.Name, before+n)
	return free[min(before, len(free)):]
}

func (l *Lab) addTableRouter(p *place, seed uint64) (err error) {
	s := p.site
	c := live.RouterConfig{
		Name: s.Name, Gateway: s.Gateway(), Gateway6: s.Gateway6(), Profile: s.Profile,
		WAN: toward(s, s.WAN), LAN: insides(s), NAT: s.tableConfig(seed),
	}
	if s.Behind != "" {
		outer := l.sites[s.Behind]
		c.Behind = outer.table
		if outer.kernel != nil {
			c.NS, c.Device = outer.kernel, lanPrefix+strconv.Itoa(outer.ports)
			c.DeviceAddrs = gateways(outer.site)
			outer.ports++
		}
	}
	p.table, err = l.net.AttachRouter(c)
	if err != nil {
		return fmt.Errorf("attach router: %w", err)
	}
	r := &tableRouter{Router: p.table, place: p}
	p.router = r
	if c.Behind != nil {
		outer := l.sites[s.Behind]
		outer.inner = append(outer.inner, r)
	}
	if s.Behind == "" {
		p.uplink = p.table.Uplink()
		l.uplinks[s.Name] = p.uplink
	}
	return nil
}

func (s *Site) tableConfig(seed uint64) nat.Config {
	return nat.Config{Behavior: s.realized(s.Behavior), External: s.WAN, LAN: insides(s), External6: s.Net6, Seed: seed}
}

// insides are the networks behind the router, those of routers behind it included.
func insides(s *Site) (ps []netip.Prefix) {
	if s.LAN.IsValid() && !s.NoIPv4 {
		ps = append(ps, s.LAN)
	}
	if s.Inside6.IsValid() {
		ps = append(ps, s.Inside6)
	}
	return ps
}

// attachment is something that hangs on a LAN: a host, a kernel router's WAN side, or a router's own servers.
type attachment struct {
	name    string // unique among what hangs on the fabric's LANs
	ns      *netns.NS
	device  string
	addrs   []netip.Addr
	routed  []netip.Prefix // reached through it
	standby bool           // without routes, for now
	self    bool           // the router's own host stack
}

// join connects a namespace to a site's LAN.
func (l *Lab) join(p *place, a attachment) error {
	if p.table != nil {
		station, err := p.table.Attach(live.StationConfig{
			Name: a.name, NS: a.ns, Device: a.device, Addrs: lanPrefixes(p.site, a.addrs), Routed: a.routed,
			Gateways: gateways(p.site), Self: a.self, Standby: a.standby,
		})
		if err != nil {
			return fmt.Errorf("attach to the LAN of %s: %w", p.site.Name, err)
		}
		p.stations = append(p.stations, station)
		return nil
	}
	number := p.ports
	p.ports++
	p.cables = append(p.cables, cable{lanPrefix + strconv.Itoa(number), a.name})
	return connectLAN(lanCable{
		router: p.kernel, port: lanPrefix + strconv.Itoa(number), index: firstLANIndex + number,
		inner: a.ns, device: a.device, addrs: a.addrs, lans: p.site.lans(), routed: a.routed, standby: a.standby,
	})
}

func gateways(s *Site) (gs []netip.Addr) {
	for _, lan := range s.lans() {
		gs = append(gs, gatewayOf(lan))
	}
	return gs
}

// lanPrefixes gives each address the length of its LAN.
func lanPrefixes(s *Site, addrs []netip.Addr) (ps []netip.Prefix) {
	for _, a := range addrs {
		bits := s.LAN.Bits()
		if a.Is6() {
			bits = s.LAN6.Bits()
		}
		ps = append(ps, netip.PrefixFrom(a, bits))
	}
	return ps
}

// awaitLANs waits until every LAN of a kernel router carries packets, and takes what is sent to its addresses.
func (l *Lab) awaitLANs() error {
	for name, p := range l.sites {
		if p.kernel == nil {
			continue
		}
		for _, c := range p.cables {
			if err := awaitRunning(p.kernel, c.port); err != nil {
				return fmt.Errorf("site %s: %w", name, err)
			}
		}
		if len(p.cables) == 0 {
			continue // nothing has its LAN addresses
		}
		addrs := slices.Clone(p.site.WAN6)
		if p.site.LAN6.IsValid() {
			addrs = append(addrs, p.site.Gateway6())
		}
		if err := awaitLocal(p.kernel, addrs); err != nil {
			return fmt.Errorf("site %s: %w", name, err)
		}
	}
	for name, m := range l.hosts {
		if len(m.cards) > 0 && m.in == "" {
			continue // it has no address in use
		}
		if err := awaitLocal(m.ns, m.Addrs); err != nil {
			return fmt.Errorf("host %s: %w", name, err)
		}
	}
	return nil
}

// eachSite calls f for every site in the topology's order and joins what it returns.
func (l *Lab) eachSite(f func(p *place) error) error {
	var errs []error
	for i := range l.topo.Sites {
		name := l.topo.Sites[i].Name
		if err := f(l.sites[name]); err != nil {
			errs = append(errs, fmt.Errorf("site %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
