package lab

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"

	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
)

// Lab is a topology that is up. Its methods are not safe for concurrent use, except Do with any other; its hosts are.
type Lab struct {
	topo    *Topology
	digest  string // of topo
	net     *live.Net
	sites   map[string]*place
	hosts   map[string]*Machine
	uplinks map[string]*live.Uplink // by site or public host
	closers []io.Closer             // in the order of making
	proved  string                  // digest of the topology whose NATs were classified
	watched bool                    // the kernel routers' LANs have monitors

	events sync.Mutex // held while one happens or is undone, and by Reset, Configure and Close
	faults faults
	resets int // events from before one are mended
	closed bool
}

// Up realises a resolved topology on a fabric. Seed fixes the order of random ports and every link's decisions. A site
// without an engine gets netfilter (Topology.UseEngine). On an error nothing is left.
func Up(fabric *live.Fabric, t *Topology, seed uint64) (*Lab, error) {
	n, err := fabric.NewNet(seed)
	if err != nil {
		return nil, fmt.Errorf("make network: %w", err)
	}
	l := &Lab{
		topo: t, digest: t.Digest(), net: n,
		sites: map[string]*place{}, hosts: map[string]*Machine{}, uplinks: map[string]*live.Uplink{},
		closers: []io.Closer{n},
	}
	if err := l.build(seed); err != nil {
		return nil, errors.Join(fmt.Errorf("bring up topology %s: %w", t.Name, err), l.Close())
	}
	return l, nil
}

// UseEngine has the routers that name no engine realised by this one. Engine sim has no routers of its own sort, and names none.
func (t *Topology) UseEngine(engine string) {
	for i := range t.Sites {
		// The usual one stays unnamed, so that a topology's digest does not depend on who says it.
		if s := &t.Sites[i]; s.Engine == "" && engine != EngineNetfilter && engine != EngineSim {
			s.Engine = engine
		}
	}
}

func (l *Lab) build(seed uint64) error {
	for i := range l.topo.Public {
		if err := l.addPublic(&l.topo.Public[i]); err != nil {
			return err
		}
	}
	order := outermostFirst(l.topo)
	for _, s := range order {
		if err := l.addSite(s, seed); err != nil {
			return fmt.Errorf("site %s: %w", s.Name, err)
		}
	}
	for _, standby := range []bool{false, true} {
		for _, s := range order {
			if err := l.addHosts(s, standby); err != nil {
				return fmt.Errorf("site %s: %w", s.Name, err)
			}
		}
	}
	if err := l.awaitLANs(); err != nil {
		return err
	}
	return l.eachSite(l.startMapping)
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

// newSpace makes a namespace that closes with the lab.
func (l *Lab) newSpace() (*netns.NS, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	l.closers = append(l.closers, ns)
	return ns, nil
}

func (l *Lab) addPublic(p *PublicHost) error {
	ns, err := l.newSpace()
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

// addHosts connects a site's hosts, or those on standby, which are up elsewhere by then.
func (l *Lab) addHosts(s *Site, standby bool) error {
	for j := range s.Hosts {
		h := &s.Hosts[j]
		if h.Standby != standby {
			continue
		}
		if err := l.addHost(s, h); err != nil {
			return fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	return nil
}

func (l *Lab) addHost(s *Site, h *Host) error {
	m := l.hosts[h.Name]
	if m == nil {
		ns, err := l.newSpace()
		if err != nil {
			return err
		}
		m = &Machine{Name: h.Name, Addrs: h.addrs(), ns: ns}
		l.hosts[h.Name] = m
	}
	c := card{site: s.Name, device: fmt.Sprintf("eth%d", len(m.cards)), addrs: h.addrs(), lans: s.lans(), cable: l.sites[s.Name].kernel != nil}
	m.cards = append(m.cards, c)
	if !h.Standby {
		m.in = s.Name
	}
	err := l.join(l.sites[s.Name], attachment{
		name: stationName(s.Name, h.Name), ns: m.ns, device: c.device, addrs: c.addrs, standby: h.Standby,
	})
	if err != nil || !h.Standby {
		return err
	}
	return c.leave(m.ns)
}

// stationName is a host's on a site's LAN, unique in a topology and unlike any uplink's.
func stationName(site, host string) string { return site + "/" + host }

// Topology returns what the lab realises.
func (l *Lab) Topology() *Topology { return l.topo }

// Host returns a host by name, or nil.
func (l *Lab) Host(name string) *Machine { return l.hosts[name] }

// Hosts returns the names of all hosts, sorted.
func (l *Lab) Hosts() []string { return slices.Sorted(maps.Keys(l.hosts)) }

// Stats returns what the fabric counted since the last Reset.
func (l *Lab) Stats() (live.Stats, error) { return l.net.Stats() }

// Reset forgets every packet in flight, every flow, port mapping and count, mends what events broke, and starts all random
// decisions again from seed.
func (l *Lab) Reset(seed uint64) error {
	l.events.Lock()
	defer l.events.Unlock()
	return l.reset(seed)
}

func (l *Lab) reset(seed uint64) error {
	if l.closed {
		return fmt.Errorf("reset lab: %w", errClosed)
	}
	if err := l.mend(); err != nil {
		return err
	}
	if err := l.net.Reset(seed); err != nil {
		return fmt.Errorf("reset network: %w", err)
	}
	return l.eachSite(func(p *place) error {
		// The net's Reset is that of the routers within it.
		if p.kernel != nil {
			if err := p.router.Reset(routerSeed(seed, p.site.Name)); err != nil {
				return fmt.Errorf("reset router: %w", err)
			}
		}
		return p.forgetMaps()
	})
}

// mend undoes what events did.
func (l *Lab) mend() error {
	l.resets++
	if err := l.faults.mend(); err != nil {
		return fmt.Errorf("mend what events broke: %w", err)
	}
	return nil
}

// Configure turns the lab into another topology of the same shape: other NATs, other links. It implies a Reset. After an
// error the lab is of no use but to be closed.
func (l *Lab) Configure(t *Topology, seed uint64) error {
	if shape(t) != shape(l.topo) {
		return fmt.Errorf("configure lab %s as %s: the topologies differ in more than NATs and links", l.topo.Name, t.Name)
	}
	l.events.Lock()
	defer l.events.Unlock()
	if err := l.mend(); err != nil {
		return err
	}
	old := l.topo
	l.topo, l.digest = t, t.Digest()
	for i := range t.Sites {
		s := &t.Sites[i]
		p := l.sites[s.Name]
		p.site = s
		if !reflect.DeepEqual(s.Behavior, old.Sites[i].Behavior) {
			if err := p.router.Apply(s.Behavior, routerSeed(seed, s.Name)); err != nil {
				return fmt.Errorf("give router %s the NAT %s: %w", s.Name, s.NAT, err)
			}
		}
	}
	if err := l.setLinks(); err != nil {
		return err
	}
	return l.reset(seed)
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
	l.events.Lock()
	defer l.events.Unlock()
	l.closed = true
	errs := []error{l.stopMappings()}
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
