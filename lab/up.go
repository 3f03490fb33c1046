package lab

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"

	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netfilter"
	"github.com/punchlab/punchlab/lab/netns"
)

// Lab is a topology that is up. Its methods are not safe for concurrent use; its hosts are.
type Lab struct {
	topo    *Topology
	digest  string // of topo
	net     *live.Net
	hosts   map[string]*Machine
	routers map[string]*netfilter.Router // by site
	uplinks map[string]*live.Uplink      // by site or public host
	spaces  map[string]*netns.NS         // by site (its router) or host
	lanPort map[string]int               // by site: the number of its next LAN device
	closers []io.Closer                  // in the order of making
	proved  string                       // digest of the topology whose NATs were classified
}

// Up realises a resolved topology on a fabric. Seed fixes the order of random ports and every link's decisions.
// On an error nothing is left.
func Up(fabric *live.Fabric, t *Topology, seed uint64) (*Lab, error) {
	n, err := fabric.NewNet(seed)
	if err != nil {
		return nil, fmt.Errorf("make network: %w", err)
	}
	l := &Lab{
		topo: t, digest: t.Digest(), net: n,
		hosts: map[string]*Machine{}, routers: map[string]*netfilter.Router{}, uplinks: map[string]*live.Uplink{},
		spaces: map[string]*netns.NS{}, lanPort: map[string]int{},
		closers: []io.Closer{n},
	}
	if err := l.build(seed); err != nil {
		return nil, errors.Join(fmt.Errorf("bring up topology %s: %w", t.Name, err), l.Close())
	}
	return l, nil
}

func (l *Lab) build(seed uint64) error {
	for i := range l.topo.Public {
		if err := l.addPublic(&l.topo.Public[i]); err != nil {
			return err
		}
	}
	for _, s := range outermostFirst(l.topo) {
		if err := l.addSite(s, seed); err != nil {
			return fmt.Errorf("site %s: %w", s.Name, err)
		}
	}
	return l.awaitLANs()
}

// awaitLANs waits until every LAN carries packets.
func (l *Lab) awaitLANs() error {
	for site, ports := range l.lanPort {
		for n := range ports {
			if err := awaitRunning(l.spaces["router "+site], lanPrefix+strconv.Itoa(n)); err != nil {
				return fmt.Errorf("site %s: %w", site, err)
			}
		}
	}
	return nil
}

// outermostFirst orders sites so that a router comes after the one it hangs on.
func outermostFirst(t *Topology) []*Site {
	order := make([]*Site, 0, len(t.Sites))
	for i := range t.Sites {
		order = append(order, &t.Sites[i])
	}
	slices.SortStableFunc(order, func(a, b *Site) int { return len(t.route(a)) - len(t.route(b)) })
	return order
}

func (l *Lab) newSpace(name string) (*netns.NS, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	l.spaces[name] = ns
	l.closers = append(l.closers, ns)
	return ns, nil
}

func (l *Lab) addPublic(p *PublicHost) error {
	ns, err := l.newSpace("host " + p.Name)
	if err != nil {
		return fmt.Errorf("host %s: %w", p.Name, err)
	}
	up, err := l.net.Attach(live.UplinkConfig{
		Name: p.Name, NS: ns, Device: "eth0", Addrs: singles(p.Addrs), Profile: p.Profile,
	})
	if err != nil {
		return fmt.Errorf("attach host %s: %w", p.Name, err)
	}
	l.uplinks[p.Name] = up
	l.hosts[p.Name] = &Machine{Name: p.Name, Addrs: p.Addrs, ns: ns}
	return nil
}

func (l *Lab) addSite(s *Site, seed uint64) error {
	ns, err := l.newSpace("router " + s.Name)
	if err != nil {
		return err
	}
	if err := l.addUplink(s, ns); err != nil {
		return err
	}
	for _, h := range s.Hosts {
		if err := l.addHost(s, h); err != nil {
			return fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	r, err := netfilter.Install(ns, netfilter.Config{
		LAN: lanPrefix + "*", WAN: wanDevice, External: s.WAN, LANPrefix: s.LAN, Behavior: s.Behavior, Seed: routerSeed(seed, s.Name),
	})
	if err != nil {
		return fmt.Errorf("install NAT %s: %w", s.NAT, err)
	}
	l.routers[s.Name] = r
	l.closers = append(l.closers, r)
	return nil
}

func (l *Lab) addUplink(s *Site, ns *netns.NS) error {
	if s.Behind != "" {
		return l.joinLAN(l.topo.Site(s.Behind), ns, wanDevice, s.WAN)
	}
	c := live.UplinkConfig{Name: s.Name, NS: ns, Device: wanDevice, Addrs: singles(s.WAN), Profile: s.Profile}
	if s.Public() {
		c.Routed = []netip.Prefix{s.LAN}
	}
	up, err := l.net.Attach(c)
	if err != nil {
		return fmt.Errorf("attach uplink: %w", err)
	}
	l.uplinks[s.Name] = up
	return nil
}

func (l *Lab) addHost(s *Site, h Host) error {
	ns, err := l.newSpace("host " + h.Name)
	if err != nil {
		return err
	}
	addrs := []netip.Addr{h.Addr}
	if err := l.joinLAN(s, ns, "eth0", addrs); err != nil {
		return err
	}
	l.hosts[h.Name] = &Machine{Name: h.Name, Addrs: addrs, ns: ns}
	return nil
}

// joinLAN connects a namespace to the next LAN device of a site's router.
func (l *Lab) joinLAN(s *Site, inner *netns.NS, device string, addrs []netip.Addr) error {
	number := l.lanPort[s.Name]
	l.lanPort[s.Name]++
	return connectLAN(lanCable{
		router: l.spaces["router "+s.Name], port: lanPrefix + strconv.Itoa(number), index: firstLANIndex + number,
		inner: inner, device: device, addrs: addrs, lans: []netip.Prefix{s.LAN}, subnets: l.topo.Subnets(s.Name),
	})
}

// Topology returns what the lab realises.
func (l *Lab) Topology() *Topology { return l.topo }

// Host returns a host by name, or nil.
func (l *Lab) Host(name string) *Machine { return l.hosts[name] }

// Hosts returns the names of all hosts, sorted.
func (l *Lab) Hosts() []string { return slices.Sorted(maps.Keys(l.hosts)) }

// Stats returns what the fabric counted since the last Reset.
func (l *Lab) Stats() (live.Stats, error) { return l.net.Stats() }

// Reset forgets every packet in flight, every flow and every count, and starts all random decisions again from seed.
func (l *Lab) Reset(seed uint64) error {
	if err := l.net.Reset(seed); err != nil {
		return fmt.Errorf("reset network: %w", err)
	}
	for name, r := range l.routers {
		if err := r.Reset(routerSeed(seed, name)); err != nil {
			return fmt.Errorf("reset router %s: %w", name, err)
		}
	}
	return nil
}

// Configure turns the lab into another topology of the same shape: other NATs, other links. It implies a Reset. After an
// error the lab is of no use but to be closed.
func (l *Lab) Configure(t *Topology, seed uint64) error {
	if shape(t) != shape(l.topo) {
		return fmt.Errorf("configure lab %s as %s: the topologies differ in more than NATs and links", l.topo.Name, t.Name)
	}
	old := l.topo
	l.topo, l.digest = t, t.Digest()
	for i := range t.Sites {
		s := &t.Sites[i]
		if !reflect.DeepEqual(s.Behavior, old.Sites[i].Behavior) {
			if err := l.routers[s.Name].Apply(s.Behavior, routerSeed(seed, s.Name)); err != nil {
				return fmt.Errorf("give router %s the NAT %s: %w", s.Name, s.NAT, err)
			}
		}
	}
	if err := l.setLinks(); err != nil {
		return err
	}
	return l.Reset(seed)
}

// setLinks gives every uplink its topology's profile.
func (l *Lab) setLinks() error {
	for i := range l.topo.Sites {
		s := &l.topo.Sites[i]
		if up := l.uplinks[s.Name]; up != nil {
			if err := up.SetProfile(s.Profile); err != nil {
				return fmt.Errorf("set link %s of %s: %w", s.Link, s.Name, err)
			}
		}
	}
	for i := range l.topo.Public {
		p := &l.topo.Public[i]
		if err := l.uplinks[p.Name].SetProfile(p.Profile); err != nil {
			return fmt.Errorf("set link %s of %s: %w", p.Link, p.Name, err)
		}
	}
	return nil
}

// Close undoes everything, in reverse order. Sockets that are still open in a host keep its namespace alive.
func (l *Lab) Close() error {
	var errs []error
	for _, c := range slices.Backward(l.closers) {
		errs = append(errs, c.Close())
	}
	l.closers = nil
	return errors.Join(errs...)
}

func singles(addrs []netip.Addr) (ps []netip.Prefix) {
	for _, a := range addrs {
		ps = append(ps, netip.PrefixFrom(a, a.BitLen()))
	}
	return ps
}

// routerSeed gives each router an order of ports of its own. FNV-1a over the name, mixed with the seed.
func routerSeed(seed uint64, name string) uint64 {
	h := uint64(14695981039346656037) ^ seed
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}
