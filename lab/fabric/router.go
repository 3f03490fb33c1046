package fabric

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
)

// RouterConfig describes a router whose translator is a nat.Table. Its WAN hangs on the core by an access link, or on
// another router's LAN, or on a device.
type RouterConfig struct {
	Name              string         // unique among the net's routers and uplinks; the table's seed depends on it and on the net's
	Table             *nat.Table     // the router's own from now on; see Router.Table
	Gateway, Gateway6 netip.Addr     // its addresses on its LAN; zero: none of that family
	LAN               []netip.Prefix // what is on its LAN and goes nowhere else, whether a station has it or not
	WAN               []netip.Prefix // what is routed to it: its WAN addresses and what lies behind it in public
	Profile           link.Profile   // of its access link
	Behind            *Router        // not nil: the WAN hangs on that router's LAN, without a link of its own
	Output            Output         // not nil: the WAN is a device, and what comes from it goes to Receive
	Offload           bool           // of Output, as in StationConfig
}

// Router is a router of engine table: a LAN of stations, whose hops take no time, and a WAN.
type Router struct {
	name     string
	net      *Net
	table    *nat.Table
	gw4, gw6 netip.Addr
	wan4     netip.Addr // its own address for errors to the outside, or the zero Addr
	wan6     netip.Addr
	onLink   []netip.Prefix
	lan      routes[*Station]
	stations []*Station
	gateway  Station  // stands for the router itself while there is no Self station
	uplink   *Uplink  // the WAN, if it hangs on the core
	wan      *Station // the WAN otherwise: a place on another router's LAN, or a device
	closed   bool
	timer    Packet // the event of the table's deadline
	armed    time.Duration
	stats    RouterStats
	headers  [maxHeaders]byte // of the GSO packet that the table has at the moment, as they were
}

// RouterStats counts what one router did since the net's Reset; its table's Counts stand beside it.
type RouterStats struct {
	Name  string
	Out   Count      // what went to its WAN
	In    Count      // what came from its WAN
	Drops link.Drops // what was dropped for other reasons than the table's
}

// notArmed is Router.armed while no deadline is in the heap.
const notArmed = time.Duration(-1)

// AttachRouter adds a router. With neither Behind nor Output it is an uplink of the core too, of the same name. Its
// table is reset with a seed that depends on the net's seed and the router's name.
func (n *Net) AttachRouter(c RouterConfig) (*Router, error) {
	if err := n.checkRouter(c); err != nil {
		return nil, fmt.Errorf("attach router %q: %w", c.Name, err)
	}
	r := &Router{name: c.Name, net: n, table: c.Table, gw4: c.Gateway, gw6: c.Gateway6, onLink: c.LAN, armed: notArmed}
	r.timer.router = r
	r.gateway = Station{name: c.Name, router: r, self: true}
	r.wan4, r.wan6 = ownAddrs(c.WAN)
	if err := r.connect(c); err != nil {
		return nil, fmt.Errorf("attach router %q: %w", c.Name, err)
	}
	r.setHost(&r.gateway)
	r.reset()
	n.routers = append(n.routers, r)
	return r, nil
}

func (n *Net) checkRouter(c RouterConfig) error {
	switch {
	case n.closed:
		return errClosed
	case c.Name == "" || c.Table == nil:
		return errors.New("name and table are required")
	case c.Gateway.IsValid() && !c.Gateway.Is4(), c.Gateway6.IsValid() && !c.Gateway6.Is6():
		return fmt.Errorf("gateways %v and %v: want an IPv4 and an IPv6 address", c.Gateway, c.Gateway6)
	case c.Behind != nil && c.Output != nil:
		return errors.New("its WAN is either behind a router or a device: give one of them")
	case c.Behind != nil && (c.Behind.net != n || c.Behind.closed):
		return fmt.Errorf("router %q, which it is behind, is not in this net", c.Behind.name)
	}
	for _, r := range n.routers {
		if r.name == c.Name {
			return errors.New("the net has one of this name")
		}
	}
	return nil
}

// connect makes the router's WAN.
func (r *Router) connect(c RouterConfig) (err error) {
	switch {
	case c.Behind != nil:
		r.wan = &Station{name: r.name, router: c.Behind, nested: r}
		return c.Behind.join(r.wan, c.WAN)
	case c.Output != nil:
		r.wan = &Station{name: r.name, router: r, out: c.Output, offload: c.Offload}
	default:
		r.uplink, err = r.net.attach(UplinkConfig{Name: c.Name, Routed: c.WAN, Profile: c.Profile}, r)
	}
	return err
}

// ownAddrs are the first single addresses that are routed to a router.
func ownAddrs(routed []netip.Prefix) (a4, a6 netip.Addr) {
	for _, p := range routed {
		switch a := p.Addr(); {
		case p.IsSingleIP() && a.Is4() && !a4.IsValid():
			a4 = a
		case p.IsSingleIP() && a.Is6() && !a6.IsValid():
			a6 = a
		}
	}
	return a4, a6
}

// setHost lets s have the gateway's addresses.
func (r *Router) setHost(s *Station) {
	for _, a := range []netip.Addr{r.gw4, r.gw6} {
		if a.IsValid() {
			p := netip.PrefixFrom(a, a.BitLen())
			r.lan.add(p, s)
		}
	}
}

func (r *Router) isGateway(a netip.Addr) bool { return a == r.gw4 || a == r.gw6 }

// Name is the router's name.
func (r *Router) Name() string { return r.name }

// Uplink is the router's access link; nil if its WAN does not hang on the core.
func (r *Router) Uplink() *Uplink { return r.uplink }

// Table is the router's table. Changed must follow every call of it that may make it send something.
func (r *Router) Table() *nat.Table { return r.table }

// Stats returns the router's counts.
func (r *Router) Stats() RouterStats { return r.stats }

// SetWAN replaces the addresses that are routed to the router, after nat.Table.SetExternal for one.
func (r *Router) SetWAN(routed []netip.Prefix) error {
	var err error
	switch {
	case r.uplink != nil:
		err = r.net.routes.replace(routed, r.uplink)
	case r.wan.nested != nil:
		err = r.wan.router.lan.replace(routed, r.wan)
	}
	if err != nil {
		return fmt.Errorf("route to router %q: %w", r.name, err)
	}
	r.wan4, r.wan6 = ownAddrs(routed)
	return nil
}

// Close takes the router with its stations and the routers behind it out of the net.
func (r *Router) Close() {
	if r.closed {
		return
	}
	r.closed = true
	for _, s := range r.stations {
		s.out = nil
		if s.nested != nil {
			s.nested.Close()
		}
	}
	if r.uplink != nil {
		r.uplink.Close()
	} else if !r.wan.router.closed {
		r.wan.Close()
	}
	n := r.net
	for i, k := range n.routers {
		if k == r {
			n.routers = append(n.routers[:i:i], n.routers[i+1:]...)
			break
		}
	}
}

// reset starts the table and the counts over. An event of the table's that is in the heap will find nothing to do.
func (r *Router) reset() {
	r.table.Reset(tableSeed(r.net.seed, r.name))
	r.stats = RouterStats{Name: r.name}
	for _, s := range r.stations {
		s.stats = StationStats{Name: s.name}
	}
}

// tableSeed is the seed of the router of that name, FNV-1a of the name from the seed: what package lab also gives to a
// router of the kernel's.
func tableSeed(seed uint64, name string) uint64 {
	h := uint64(14695981039346656037) ^ seed
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return h
}

// own is the router's address for an error about b, on that side.
func (r *Router) own(side nat.Side, b []byte) netip.Addr {
	v4 := packet.Version(b) == 4
	switch {
	case side == nat.Inside && v4 && r.gw4.IsValid():
		return r.gw4
	case side == nat.Inside && !v4 && r.gw6.IsValid():
		return r.gw6
	case v4 && r.wan4.IsValid():
		return r.wan4
	case !v4 && r.wan6.IsValid():
		return r.wan6
	case v4:
		return core4
	default:
		return core6
	}
}
