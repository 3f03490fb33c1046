package live

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/netns"
	"golang.org/x/sys/unix"
)

// Fabric is a fabric process. It is safe for concurrent use.
type Fabric struct {
	client *client
	veth   bool
	ids    atomic.Uint32 // of nets and uplinks

	mu      sync.Mutex
	nets    map[*Net]struct{}
	devices map[place]struct{} // of open members
	closed  bool

	traceMu sync.Mutex
	traces  map[string]uint32 // that the fabric process has
}

// place is where a device is: a namespace, by its inode, and a name.
type place struct {
	ns   uint64
	name string
}

// Start starts the fabric process. It ends with Close or with this process.
func Start(o Options) (*Fabric, error) {
	c, err := startProcess(o.Precise)
	if err != nil {
		return nil, err
	}
	return &Fabric{client: c, veth: o.NoTUN || !tunUsable(), nets: map[*Net]struct{}{}, devices: map[place]struct{}{}, traces: map[string]uint32{}}, nil
}

// Done is closed when the fabric process has ended, by Close or by itself.
func (f *Fabric) Done() <-chan struct{} { return f.client.done }

// PID is the fabric process's.
func (f *Fabric) PID() int { return f.client.cmd.Process.Pid }

// TUN tells whether sites get TUN devices; otherwise they get veth pairs.
func (f *Fabric) TUN() bool { return !f.veth }

// Lateness summarizes the packets of all nets of the last half to whole second.
func (f *Fabric) Lateness() (fabric.Lateness, error) {
	b, err := f.client.call(opLateness, 0, 0, nil, -1)
	if err != nil {
		return fabric.Lateness{}, fmt.Errorf("read lateness: %w", err)
	}
	d := decoder{b: b}
	return d.lateness(), d.err
}

// Close ends the fabric process and lets go of all devices, which go with their namespaces.
func (f *Fabric) Close() error {
	f.mu.Lock()
	f.closed = true
	nets := f.nets
	f.nets = map[*Net]struct{}{}
	f.mu.Unlock()
	f.client.close() // first: it holds copies of the descriptors
	var err error
	for n := range nets {
		err = errors.Join(err, n.release())
	}
	return err
}

// NewNet makes a net without uplinks. The seed decides every loss, jitter and so on in it.
func (f *Fabric) NewNet(seed uint64) (*Net, error) {
	n := &Net{fab: f, id: f.ids.Add(1), members: map[uint32]*member{}}
	if _, err := f.client.call(opNewNet, n.id, 0, func(e *encoder) { e.u64(seed) }, -1); err != nil {
		return nil, fmt.Errorf("make net: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, fmt.Errorf("make net: fabric is %w", ErrClosed)
	}
	f.nets[n] = struct{}{}
	return n, nil
}

// Net is an isolated internet. It is safe for concurrent use.
type Net struct {
	fab *Fabric
	id  uint32

	mu      sync.Mutex
	members map[uint32]*member
	core    *netns.NS // the fabric's ends of veth pairs; nil where there is none yet
	closed  bool
}

// Uplink is an access link in a net. It is safe for concurrent use.
type Uplink struct {
	member
}

// claim keeps a second uplink from taking a device over that is in use.
func (f *Fabric) claim(ns *netns.NS, name string) (place, error) {
	var st unix.Stat_t
	if err := unix.Fstat(ns.FD(), &st); err != nil {
		return place{}, fmt.Errorf("look at namespace: %w", err)
	}
	p := place{st.Ino, name}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, taken := f.devices[p]; taken {
		return place{}, fmt.Errorf("device %q of this namespace belongs to another uplink: close that first, or choose another name", name)
	}
	f.devices[p] = struct{}{}
	return p, nil
}

func (f *Fabric) unclaim(p place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.devices, p)
}

// Attach makes the device in the namespace, with its addresses and a default route for each family it has, and
// connects it to the net. The device's MTU is that of the link's upward direction. A device of the same name that a
// closed net left there is replaced.
func (n *Net) Attach(c UplinkConfig) (*Uplink, error) {
	u, err := n.attach(c)
	if err != nil {
		return nil, fmt.Errorf("attach uplink %q: %w", c.Name, err)
	}
	return u, nil
}

func (n *Net) attach(c UplinkConfig) (*Uplink, error) {
	if c.NS == nil {
		return nil, errors.New("no namespace given")
	}
	if err := c.Profile.Validate(); err != nil {
		return nil, err
	}
	if err := checkAddrs(c.Addrs); err != nil {
		return nil, err
	}
	if c.Device == "" {
		c.Device = "wan0"
	}
	u := &Uplink{member: n.newMember(c.Name)}
	d := deviceConfig{name: c.Device, addrs: c.Addrs, mtu: deviceMTU(c.Profile)}
	if err := u.makeDevice(c.NS, d); err != nil {
		return nil, err
	}
	if err := n.connect(u, c); err != nil {
		u.abandon()
		return nil, err
	}
	return u, nil
}

// connect hands the uplink's device to the fabric process.
func (n *Net) connect(u *Uplink, c UplinkConfig) error {
	profile, err := n.fab.impairments(c.Profile)
	if err != nil {
		return err
	}
	w := uplinkBody{Name: c.Name, Routed: withHosts(c.Routed, c.Addrs), Device: u.dev.wire()}
	_, err = n.fab.client.call(opAttach, n.id, u.id, func(e *encoder) {
		profile(e)
		e.json(w)
	}, u.dev.fd)
	if err != nil {
		return err
	}
	return n.add(&u.member)
}

// withHosts adds each address to what is routed.
func withHosts(routed, addrs []netip.Prefix) []netip.Prefix {
	routed = slices.Clone(routed)
	for _, p := range addrs {
		if host := netip.PrefixFrom(p.Addr(), p.Addr().BitLen()); !slices.Contains(routed, host) {
			routed = append(routed, host)
		}
	}
	return routed
}

// deviceMTU is that of the link's upward direction, unless that is a blackhole, of which the site must not know.
func deviceMTU(p link.Profile) int {
	if p.Up.MTU == 0 || p.Up.MTUBlackhole {
		return link.DefaultMTU
	}
	return p.Up.MTU
}

func (n *Net) newDevice(serial uint32, ns *netns.NS, c deviceConfig) (*device, error) {
	if !n.fab.veth {
		return newTUN(ns, c)
	}
	core, err := n.coreNS()
	if err != nil {
		return nil, err
	}
	return newVeth(ns, core, serial, c)
}

func (n *Net) coreNS() (*netns.NS, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, fmt.Errorf("net is %w", ErrClosed)
	}
	if n.core != nil {
		return n.core, nil
	}
	core, err := netns.New()
	if err != nil {
		return nil, fmt.Errorf("make the fabric's namespace: %w", err)
	}
	n.core = core
	return core, nil
}

// Reset drops what is in flight, starts the random decisions over from the seed and zeroes the counts. What the sites
// have sent and the fabric has not read yet is dropped too.
func (n *Net) Reset(seed uint64) error {
	if _, err := n.fab.client.call(opReset, n.id, 0, func(e *encoder) { e.u64(seed) }, -1); err != nil {
		return fmt.Errorf("reset net: %w", err)
	}
	for _, m := range n.snapshot() {
		if m.dev == nil {
			continue
		}
		if err := m.dev.reset(); err != nil {
			return fmt.Errorf("reset device of %q: %w", m.name, err)
		}
	}
	return nil
}

// Stats returns the counts since Reset.
func (n *Net) Stats() (Stats, error) {
	b, err := n.fab.client.call(opStats, n.id, 0, nil, -1)
	if err != nil {
		return Stats{}, fmt.Errorf("read counts of net: %w", err)
	}
	d := decoder{b: b}
	s := d.stats()
	if d.err != nil {
		return Stats{}, fmt.Errorf("read counts of net: %w", d.err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	drops := func(id uint32) (uint64, error) {
		m := n.members[id]
		if m == nil || m.dev == nil {
			return 0, nil // closed in between, or without a device
		}
		k, err := m.dev.dropped()
		if err != nil && !errors.Is(err, ErrClosed) {
			return 0, fmt.Errorf("read counts of %q: %w", m.name, err)
		}
		return k, nil
	}
	for i := range s.Uplinks {
		if s.Uplinks[i].DeviceDrops, err = drops(s.Uplinks[i].id); err != nil {
			return Stats{}, err
		}
	}
	for i := range s.Stations {
		if s.Stations[i].DeviceDrops, err = drops(s.Stations[i].id); err != nil {
			return Stats{}, err
		}
	}
	return s, nil
}

func (n *Net) snapshot() []*member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Values(n.members))
}

// Close detaches the uplinks. Their devices, now without carrier, go with their namespaces: close those as well.
func (n *Net) Close() error {
	n.fab.mu.Lock()
	_, open := n.fab.nets[n]
	delete(n.fab.nets, n)
	n.fab.mu.Unlock()
	if !open {
		return nil
	}
	_, err := n.fab.client.call(opCloseNet, n.id, 0, nil, -1)
	if errors.Is(err, ErrFabricEnded) {
		err = nil // it has let go of them
	}
	return errors.Join(err, n.release())
}

// release closes this process's descriptors.
func (n *Net) release() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	var err error
	for _, m := range n.members {
		err = errors.Join(err, m.release(false))
	}
	clear(n.members)
	if n.core != nil {
		err = errors.Join(err, n.core.Close())
		n.core = nil
	}
	return err
}

// SetProfile changes the link for the packets to come, and the device's MTU.
func (u *Uplink) SetProfile(p link.Profile) error {
	err := p.Validate()
	var profile func(*encoder)
	if err == nil {
		profile, err = u.net.fab.impairments(p)
	}
	if err == nil {
		_, err = u.call(opProfile, profile)
	}
	if err == nil && u.dev != nil {
		err = u.dev.setMTU(deviceMTU(p))
	}
	if err != nil {
		return fmt.Errorf("change link of uplink %q: %w", u.name, err)
	}
	return nil
}

// SetRouted replaces what is delivered to the uplink, its own addresses included: after an address change. The device
// keeps its addresses; who changes those has a handle of its namespace.
func (u *Uplink) SetRouted(routed []netip.Prefix) error {
	if _, err := u.call(opRouted, func(e *encoder) { e.json(routed) }); err != nil {
		return fmt.Errorf("change routes to uplink %q: %w", u.name, err)
	}
	return nil
}

// Close detaches the uplink and removes its device, which takes the kernel tens of milliseconds: where the
// namespace is closed too, close the net instead.
func (u *Uplink) Close() error { return u.close() }
