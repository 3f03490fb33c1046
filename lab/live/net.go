package live

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
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
	devices map[place]struct{} // of open uplinks
	closed  bool
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
	return &Fabric{client: c, veth: o.NoTUN || !tunUsable(), nets: map[*Net]struct{}{}, devices: map[place]struct{}{}}, nil
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
	n := &Net{fab: f, id: f.ids.Add(1)}
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
	uplinks []*Uplink // by name
	core    *netns.NS // the fabric's ends of veth pairs; nil where there is none yet
	closed  bool
}

// Uplink is an access link in a net. It is safe for concurrent use.
type Uplink struct {
	name  string
	net   *Net
	id    uint32
	dev   *device
	place place
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
	for _, p := range c.Addrs {
		if !p.IsValid() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("address %v is not one of IPv4 or IPv6 with its prefix length", p)
		}
	}
	if c.Device == "" {
		c.Device = "wan0"
	}
	u := &Uplink{name: c.Name, net: n, id: n.fab.ids.Add(1)}
	var err error
	if u.place, err = n.fab.claim(c.NS, c.Device); err != nil {
		return nil, err
	}
	if u.dev, err = n.makeDevice(u.id, c); err != nil {
		n.fab.unclaim(u.place)
		return nil, explainDevice(err)
	}
	if err := n.connect(u, c); err != nil {
		u.dev.abandon()
		n.fab.unclaim(u.place)
		return nil, err
	}
	return u, nil
}

// connect hands the uplink's device to the fabric process.
func (n *Net) connect(u *Uplink, c UplinkConfig) error {
	routed := slices.Clone(c.Routed)
	for _, p := range c.Addrs {
		if host := netip.PrefixFrom(p.Addr(), p.Addr().BitLen()); !slices.Contains(routed, host) {
			routed = append(routed, host)
		}
	}
	a := attachment{kind: u.dev.kind, dst: u.dev.host, src: u.dev.far, name: c.Name, routed: routed, up: c.Profile.Up, down: c.Profile.Down}
	if _, err := n.fab.client.call(opAttach, n.id, u.id, func(e *encoder) { e.attachment(a) }, u.dev.fd); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return fmt.Errorf("net is %w", ErrClosed)
	}
	at, _ := slices.BinarySearchFunc(n.uplinks, u.name, func(u *Uplink, name string) int { return strings.Compare(u.name, name) })
	n.uplinks = slices.Insert(n.uplinks, at, u)
	return nil
}

func (n *Net) makeDevice(serial uint32, c UplinkConfig) (*device, error) {
	mtu := c.Profile.Up.MTU
	if mtu == 0 {
		mtu = link.DefaultMTU
	}
	d := deviceConfig{name: c.Device, addrs: c.Addrs, mtu: mtu}
	if !n.fab.veth {
		return newTUN(c.NS, d)
	}
	core, err := n.coreNS()
	if err != nil {
		return nil, err
	}
	return newVeth(c.NS, core, serial, d)
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
	for _, u := range n.snapshot() {
		if err := u.dev.reset(); err != nil {
			return fmt.Errorf("reset uplink %q: %w", u.name, err)
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
	core := d.stats()
	if d.err != nil {
		return Stats{}, fmt.Errorf("read counts of net: %w", d.err)
	}
	s := Stats{Lateness: core.Lateness, Uplinks: make([]UplinkStats, len(core.Uplinks))}
	uplinks := n.snapshot()
	for i, k := range core.Uplinks {
		s.Uplinks[i].UplinkStats = k
		at := slices.IndexFunc(uplinks, func(u *Uplink) bool { return u.name == k.Name })
		if at < 0 {
			continue // closed in between
		}
		if s.Uplinks[i].DeviceDrops, err = uplinks[at].dev.dropped(); err != nil && !errors.Is(err, ErrClosed) {
			return Stats{}, fmt.Errorf("read counts of uplink %q: %w", k.Name, err)
		}
	}
	return s, nil
}

func (n *Net) snapshot() []*Uplink {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.uplinks)
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
	for _, u := range n.uplinks {
		err = errors.Join(err, u.dev.close(false))
		n.fab.unclaim(u.place)
	}
	n.uplinks = nil
	if n.core != nil {
		err = errors.Join(err, n.core.Close())
		n.core = nil
	}
	return err
}

// SetProfile changes the link for the packets to come, and the device's MTU.
func (u *Uplink) SetProfile(p link.Profile) error {
	err := p.Validate()
	if err == nil {
		_, err = u.net.fab.client.call(opProfile, u.net.id, u.id, func(e *encoder) {
			e.impairment(p.Up)
			e.impairment(p.Down)
		}, -1)
	}
	if err == nil {
		mtu := p.Up.MTU
		if mtu == 0 {
			mtu = link.DefaultMTU
		}
		err = u.dev.setMTU(mtu)
	}
	if err != nil {
		return fmt.Errorf("change link of uplink %q: %w", u.name, err)
	}
	return nil
}

// Close detaches the uplink and removes its device, which takes the kernel tens of milliseconds: where the
// namespace is closed too, close the net instead.
func (u *Uplink) Close() error {
	n := u.net
	n.mu.Lock()
	at := slices.Index(n.uplinks, u)
	if at >= 0 {
		n.uplinks = slices.Delete(n.uplinks, at, at+1)
	}
	n.mu.Unlock()
	if at < 0 {
		return nil
	}
	_, err := n.fab.client.call(opDetach, n.id, u.id, nil, -1)
	if errors.Is(err, ErrFabricEnded) {
		err = nil
	}
	err = errors.Join(err, u.dev.close(true))
	n.fab.unclaim(u.place)
	return err
}
