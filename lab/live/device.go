package live

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"sync"

	"github.com/punchlab/punchlab/lab/netns"
	"golang.org/x/sys/unix"
)

// deviceKind is how packets get from and to a namespace.
type deviceKind uint8

const (
	kindTUN    deviceKind = iota + 1 // the descriptor is a TUN device's: IP packets
	kindPacket                       // the descriptor is a packet socket's on a veth: Ethernet frames
)

// txQueueLen is how many packets may wait in a device for the fabric. A TUN device drops silently beyond it.
const txQueueLen = 5000

// device is a site's end of its access link. The fabric process reads and writes a copy of its descriptor.
type device struct {
	kind      deviceKind
	fd        int // TUN or packet socket
	nl        int // an rtnetlink socket in the device's namespace
	index     int // there
	host, far [6]byte

	mu     sync.Mutex
	mtu    int
	routes []netip.Prefix
	drops  uint64 // of the packet socket, whose count starts over when it is read
	base   uint64 // count at the last reset
}

// deviceConfig is what a device is made from.
type deviceConfig struct {
	name      string
	addrs     []netip.Prefix
	mtu       int
	gateways  []netip.Addr   // default routes through them; none: straight to the device
	noDefault bool           // no default routes at all
	routes    []netip.Prefix // straight to the device, instead of the default ones
}

// wire describes the device's descriptor to the fabric process.
func (d *device) wire() deviceBody { return deviceBody{Kind: d.kind, Dst: d.host, Src: d.far} }

// configure gives the device its addresses and routes, brings it up and waits until it is of use.
func (d *device) configure(c deviceConfig) error {
	var b batch
	b.quiet(d.index)
	d.mtu, d.routes = c.mtu, c.routes
	b.up(d.index, c.mtu, txQueueLen, d.kind == kindPacket)
	for _, p := range c.addrs {
		b.addr(d.index, p)
	}
	c.addRoutes(&b, d.index)
	if err := b.do(d.nl); err != nil {
		return err
	}
	for _, p := range c.addrs {
		if p.Addr().Is6() {
			if err := awaitLocal(d.nl, p.Addr()); err != nil {
				return err
			}
		}
	}
	return nil
}

// addRoutes asks for the routes that are wanted, default ones for each family of the addresses unless told otherwise.
func (c *deviceConfig) addRoutes(b *batch, index int) {
	switch {
	case c.routes != nil:
		for _, p := range c.routes {
			b.route(index, p)
		}
	case c.noDefault:
	case c.gateways != nil:
		for _, g := range c.gateways {
			b.defaultRoute(index, g, true)
		}
	default:
		var has4, has6 bool
		for _, p := range c.addrs {
			if a := p.Addr(); a.Is4() && !has4 || a.Is6() && !has6 {
				b.defaultRoute(index, a, false)
				has4, has6 = has4 || a.Is4(), has6 || a.Is6()
			}
		}
	}
}

// setMTU changes the MTU and leaves the rest.
func (d *device) setMTU(mtu int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nl < 0 {
		return ErrClosed
	}
	if mtu == d.mtu {
		return nil
	}
	var b batch
	b.up(d.index, mtu, 0, false)
	if err := b.do(d.nl); err != nil {
		return err
	}
	d.mtu = mtu
	return nil
}

// setRoutes replaces the routes that deviceConfig.routes gave.
func (d *device) setRoutes(routes []netip.Prefix) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nl < 0 {
		return ErrClosed
	}
	var b batch
	for _, p := range d.routes {
		if !slices.Contains(routes, p) {
			b.removeRoute(d.index, p)
		}
	}
	for _, p := range routes {
		b.route(d.index, p)
	}
	if err := b.do(d.nl); err != nil {
		return err
	}
	d.routes = slices.Clone(routes)
	return nil
}

// dropped counts the packets since reset that the namespace sent and the fabric never saw.
func (d *device) dropped() (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.total()
	return n - d.base, err
}

// reset starts the count over.
func (d *device) reset() (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.base, err = d.total()
	return err
}

func (d *device) total() (uint64, error) {
	if d.nl < 0 {
		return 0, ErrClosed
	}
	n, err := txDropped(d.nl, d.index)
	if err != nil {
		return 0, err
	}
	if d.kind == kindPacket {
		st, err := unix.GetsockoptTpacketStats(d.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
		if err != nil {
			return 0, fmt.Errorf("read packet socket's counts: %w", err)
		}
		d.drops += uint64(st.Drops)
	}
	return n + d.drops, nil
}

// close lets go of the device, which goes with its namespace; remove takes it away at once.
func (d *device) close(remove bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nl < 0 {
		return nil
	}
	var err error
	if remove {
		var b batch
		b.remove(d.index)
		err = b.do(d.nl)
	}
	err = errors.Join(err, unix.Close(d.fd), unix.Close(d.nl))
	d.fd, d.nl = -1, -1
	return err
}

// tunUsable tells whether this process may make TUN devices: the clone device can be opened.
var tunUsable = sync.OnceValue(func() bool {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
})

const tunPath = "/dev/net/tun"

// newTUN makes a TUN device in the namespace.
func newTUN(ns *netns.NS, c deviceConfig) (*device, error) {
	d := &device{kind: kindTUN, fd: -1, nl: -1}
	err := ns.Do(func() (err error) {
		if d.nl, err = openNetlink(); err != nil {
			return err
		}
		old, err := indexOf(c.name)
		if err != nil {
			return err
		}
		if d.fd, err = openTUN(c.name); err != nil {
			return err
		}
		if old != 0 {
			// One that a closed net left here: its addresses would stay, so it goes and a new one comes.
			if err := unix.IoctlSetInt(d.fd, unix.TUNSETPERSIST, 0); err != nil {
				return fmt.Errorf("remove the former device %q: %w", c.name, err)
			}
			unix.Close(d.fd)
			if d.fd, err = openTUN(c.name); err != nil {
				return err
			}
		}
		if err := unix.IoctlSetInt(d.fd, unix.TUNSETPERSIST, 1); err != nil {
			return fmt.Errorf("make TUN device persistent: %w", err)
		}
		if d.index, err = indexOf(c.name); err != nil {
			return err
		}
		return d.configure(c)
	})
	if err != nil {
		d.abandon()
		return nil, err
	}
	return d, nil
}

// openTUN attaches a new descriptor to the TUN device of the name, making it if there is none.
func openTUN(name string) (int, error) {
	// Not os.OpenFile: it would register the descriptor with Go's netpoller before TUNSETIFF, while a poll on it still
	// reports an error.
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", tunPath, err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err == nil {
		// Since Linux 6.2 UDP may come unsplit, too.
		const tcp, udp = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6, unix.TUN_F_USO4 | unix.TUN_F_USO6
		if err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp|udp); errors.Is(err, unix.EINVAL) {
			err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("make TUN device %q: %w", name, err)
	}
	return fd, nil
}

// abandon removes a device that was made by halves.
func (d *device) abandon() {
	if d.kind == kindTUN && d.fd >= 0 {
		_ = unix.IoctlSetInt(d.fd, unix.TUNSETPERSIST, 0)
	}
	if d.kind == kindPacket && d.nl >= 0 && d.index > 0 {
		var b batch
		b.remove(d.index)
		_ = b.do(d.nl)
	}
	for _, fd := range []int{d.fd, d.nl} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	d.fd, d.nl = -1, -1
}

// explainDevice adds to an error of the kernel what to do about it.
func explainDevice(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: devices need CAP_NET_ADMIN in the namespace; isolate the program first (netns.Isolate)", err)
	}
	return err
}
