package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/punchlab/punchlab/lab/netns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoOutlet means that a site has no place for a device that is not the lab's.
var ErrNoOutlet = errors.New("nothing can be plugged in here")

// MaxOutletAddrs is how many addresses an outlet has at most: what hangs on it may be a switch with a few devices.
const MaxOutletAddrs = 8

// Outlet is a place on a site's LAN with an interface in it that is not the lab's own: what hangs on that is a host of the
// site, whose addresses somebody has to tell it (lab/certify/plug does).
//
//	vendor's device ── eth7, then lan3 ┐
//	host ──────────────────────── lan0 ├ router's namespace, engine netfilter ── wan0 ── fabric
//	host ──────────────────────── lan1 ┘
//
// The LAN is no switch: the router answers ARP for the LAN's other addresses, and forwards. What is sent to groups or
// broadcast reaches the router alone. It is safe for concurrent use.
type Outlet struct {
	Site    string
	Name    string       // what captures call it: SITE/box
	Device  string       // of the interface, while it is here
	Gateway netip.Addr   // the router, on the device
	LAN     netip.Prefix // the whole of it
	Addrs   []netip.Addr // free on the LAN and routed to the device; never empty

	lab   *Lab
	place *place
	port  int // the device's number
	moved moved
	out   bool // the interface is back
}

// Plug moves an interface from a namespace into the router of a site, as one of its LAN's devices. It must carry nothing
// there: no address but link-local ones, no bridge. Close, and the lab's Close, give it back as it was. If the program is
// killed the kernel does, which returns a card to the namespace of the machine's start (as lan7, with its own name for an
// alternative one), and removes a virtual device with its peer.
//
// Only routers of engine netfilter have a namespace for it, and only an IPv4 LAN has addresses to give.
func (l *Lab) Plug(site string, from *netns.NS, device string) (*Outlet, error) {
	l.events.Lock()
	defer l.events.Unlock()
	o, err := l.plug(site, from, device)
	if err != nil {
		return nil, fmt.Errorf("plug %s into site %s: %w", device, site, err)
	}
	return o, nil
}

func (l *Lab) plug(site string, from *netns.NS, device string) (*Outlet, error) {
	p := l.sites[site]
	switch {
	case l.closed:
		return nil, errClosed
	case p == nil:
		return nil, Unknown("site", "site", site, l.siteNames())
	case p.kernel == nil:
		return nil, fmt.Errorf("%w: its router is of engine %s and has no namespace: give the site engine: %s",
			ErrNoOutlet, EngineTable, EngineNetfilter)
	case p.site.NoIPv4 || !p.site.LAN.IsValid():
		return nil, fmt.Errorf("%w: the site has no IPv4", ErrNoOutlet)
	}
	addrs := l.topo.spareOnLAN(p)
	if len(addrs) == 0 {
		return nil, fmt.Errorf("%w: no address of %v is free: give the site a larger lan", ErrNoOutlet, p.site.LAN)
	}
	o := &Outlet{
		Site: site, Name: p.boxName(), Device: lanPrefix + strconv.Itoa(p.ports), Gateway: p.site.Gateway(), LAN: p.site.LAN.Masked(),
		Addrs: addrs, lab: l, place: p, port: p.ports,
	}
	if err := o.take(from, device); err != nil {
		return nil, err
	}
	l.closers = append(l.closers, unplugger{o})
	return o, nil
}

func (l *Lab) siteNames() (names []string) {
	for i := range l.topo.Sites {
		names = append(names, l.topo.Sites[i].Name)
	}
	return names
}

// spareOnLAN are addresses that neither hosts nor inner routers nor other outlets have or will have, readdressed ones included.
func (t *Topology) spareOnLAN(p *place) (spare []netip.Addr) {
	reserved := 0
	for _, c := range t.children(p.site) {
		reserved += len(c.WAN)
	}
	given := p.pluggedAddrs()
	free := t.freeOnLAN(p.site, reserved+len(given)+MaxOutletAddrs)
	for _, a := range free[min(reserved, len(free)):] {
		if !slices.Contains(given, a) && len(spare) < MaxOutletAddrs {
			spare = append(spare, a)
		}
	}
	return spare
}

// pluggedAddrs are those of the site's outlets.
func (p *place) pluggedAddrs() (addrs []netip.Addr) {
	for _, o := range p.outlets {
		addrs = append(addrs, o.Addrs...)
	}
	return addrs
}

// boxName is unlike any that a station of the site has.
func (p *place) boxName() string {
	taken := func(name string) bool {
		return slices.ContainsFunc(p.cables, func(c cable) bool { return c.to == name })
	}
	name := stationName(p.site.Name, "box")
	for n := 2; taken(name); n++ {
		name = stationName(p.site.Name, "box"+strconv.Itoa(n))
	}
	return name
}

// pulled is for how long a cable is out at least, once the kernel knows of it: a card has to lose its link.
const pulled = 250 * time.Millisecond

// unnoticed is how long the kernel may take to know of it.
const unnoticed = 10 * time.Second

// pull leaves the cable out until the box knows. A veth's other end is told by a worker of the kernel's (net/core/link_watch.c), which may
// come late on a busy machine: of a cable that is in again by then it would say nothing, and the box would not ask for an address. The
// worker tells this end first.
func (o *Outlet) pull() error {
	nl := o.place.kernel.Netlink()
	for end := time.Now().Add(unnoticed); ; time.Sleep(2 * time.Millisecond) {
		link, err := nl.LinkByName(o.Device)
		if err != nil {
			return fmt.Errorf("look at %s of site %s: %w", o.Device, o.Site, err)
		}
		if link.Attrs().OperState != netlink.OperUp || time.Now().After(end) {
			time.Sleep(pulled)
			return nil
		}
	}
}

// take moves the interface and has the router serve it. After an error it is back.
func (o *Outlet) take(from *netns.NS, device string) (err error) {
	if o.moved, err = moveIn(from, device, o.place.kernel, o.Device); err != nil {
		return err
	}
	o.place.ports++
	o.place.cables = append(o.place.cables, cable{o.Device, o.Name})
	if err := o.pull(); err != nil {
		return errors.Join(err, o.unplug())
	}
	if err := o.wire(); err != nil {
		return errors.Join(fmt.Errorf("wire it: %w", err), o.unplug())
	}
	o.place.outlets = append(o.place.outlets, o)
	if o.lab.watched {
		if err := o.lab.net.Monitor(o.Name, o.place.kernel, o.Device); err != nil {
			return errors.Join(err, o.unplug())
		}
	}
	if err := o.lab.remap(o.place); err != nil {
		return errors.Join(err, o.unplug())
	}
	return nil
}

// wire gives the router its address on the device, routes to it, and what it answers ARP for there.
func (o *Outlet) wire() error {
	ns := o.place.kernel
	nl := ns.Netlink()
	link, err := nl.LinkByName(o.Device)
	if err != nil {
		return err
	}
	if link.Attrs().MTU > lanMTU {
		if err := nl.LinkSetMTU(link, lanMTU); err != nil {
			return err
		}
	}
	if err := quietUp(nl, link); err != nil {
		return err
	}
	if err := nl.AddrAdd(link, address(netip.PrefixFrom(o.Gateway, o.Gateway.BitLen()))); err != nil {
		return err
	}
	for _, a := range o.Addrs {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: ipNet(netip.PrefixFrom(a, a.BitLen()))}
		if err := nl.RouteReplace(route); err != nil {
			return err
		}
	}
	// At once: a host's own answer would not wait either.
	if err := ns.Sysctl("net/ipv4/neigh/"+o.Device+"/proxy_delay", "0"); err != nil {
		return err
	}
	if err := o.standFor(append(o.lab.topo.onLAN(o.place.site), o.place.pluggedAddrs()...)); err != nil {
		return err
	}
	for _, other := range o.place.outlets {
		if err := other.standFor(o.Addrs); err != nil {
			return err
		}
	}
	return nil
}

// standFor has the router answer ARP for others' addresses on the device.
func (o *Outlet) standFor(addrs []netip.Addr) error {
	nl := o.place.kernel.Netlink()
	link, err := nl.LinkByName(o.Device)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil // another's, whose cable is gone; this one was there a moment ago
	}
	if err != nil {
		return err
	}
	for _, a := range addrs {
		err := nl.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, Family: netlink.FAMILY_V4, Flags: netlink.NTF_PROXY, IP: a.AsSlice()})
		if err != nil {
			return fmt.Errorf("answer ARP for %v on %s: %w", a, o.Device, err)
		}
	}
	return nil
}

// onLAN are the IPv4 addresses of a site's LAN that somebody has, or may have later, beside its router.
func (t *Topology) onLAN(s *Site) (addrs []netip.Addr) {
	for _, h := range s.Hosts {
		if h.Addr.IsValid() {
			addrs = append(addrs, h.Addr)
		}
	}
	for _, c := range t.children(s) {
		addrs = append(append(addrs, c.WAN...), t.otherWAN(c)...)
	}
	return addrs
}

// remap starts a router's port mapping servers again, for the LAN devices that it has now.
func (l *Lab) remap(p *place) error {
	if p.maps == nil {
		return nil
	}
	err := p.maps.Close()
	p.maps = nil
	return errors.Join(err, l.startMapping(p))
}

// Do runs fn on a thread inside the router's namespace, where the device is.
func (o *Outlet) Do(fn func() error) error { return o.place.kernel.Do(fn) }

// Silent tells whether the router says nothing, as while it boots: its servers on the outlet must not either.
func (o *Outlet) Silent() bool { return o.place.silent.Load() }

// Carrier tells whether something answers at the other end of the cable.
func (o *Outlet) Carrier() (bool, error) {
	link, err := o.place.kernel.Netlink().LinkByName(o.Device)
	if err != nil {
		return false, fmt.Errorf("look at %s of site %s: %w", o.Device, o.Site, err)
	}
	return link.Attrs().OperState == netlink.OperUp, nil
}

// Answers waits until something on the outlet answers ARP for an address: it may have been given it a moment ago. The router has it in
// its cache then.
func (o *Outlet) Answers(ctx context.Context, a netip.Addr) error {
	for {
		known, err := o.ask(a)
		for end := time.Now().Add(100 * time.Millisecond); err == nil && !known && time.Now().Before(end); {
			time.Sleep(2 * time.Millisecond)
			known, err = o.knows(a)
		}
		switch {
		case err != nil:
			return fmt.Errorf("ask for %v on %s of site %s: %w", a, o.Device, o.Site, err)
		case known:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("nothing on %s of site %s answers for %v: %w", o.Device, o.Site, a, ctx.Err())
		}
	}
}

// ask has the router forget who has an address, and send a question for it (NTF_USE).
func (o *Outlet) ask(a netip.Addr) (known bool, err error) {
	nl := o.place.kernel.Netlink()
	link, err := nl.LinkByName(o.Device)
	if err != nil {
		return false, err
	}
	n := &netlink.Neigh{LinkIndex: link.Attrs().Index, Family: netlink.FAMILY_V4, IP: a.AsSlice()}
	if err := nl.NeighDel(n); err != nil && !errors.Is(err, unix.ENOENT) {
		return false, err
	}
	n.Flags, n.State = netlink.NTF_USE, netlink.NUD_NONE
	return false, nl.NeighSet(n)
}

// knows reports whether the question was answered.
func (o *Outlet) knows(a netip.Addr) (bool, error) {
	nl := o.place.kernel.Netlink()
	link, err := nl.LinkByName(o.Device)
	if err != nil {
		return false, err
	}
	all, err := nl.NeighList(link.Attrs().Index, netlink.FAMILY_V4)
	return slices.ContainsFunc(all, func(n netlink.Neigh) bool {
		return n.IP.Equal(a.AsSlice()) && n.State&(netlink.NUD_REACHABLE|netlink.NUD_STALE|netlink.NUD_DELAY) != 0
	}), err
}

// Forward is Lab.Forward for one of the outlet's addresses.
func (o *Outlet) Forward(to netip.Addr, port uint16) (netip.AddrPort, error) {
	l := o.lab
	l.events.Lock()
	defer l.events.Unlock()
	var err error
	switch {
	case l.closed:
		err = errClosed
	case port == 0:
		err = errors.New("port 0 is none: give 1 to 65535")
	case !slices.Contains(o.Addrs, to):
		err = fmt.Errorf("the outlet's addresses are %v", o.Addrs)
	}
	var ext netip.AddrPort
	if err == nil {
		ext, err = o.place.forwardTo(forwarded{netip.AddrPortFrom(to, port), port})
	}
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("forward port %d of site %s to %v: %w", port, o.Site, to, err)
	}
	return ext, nil
}

// Close gives the interface back to where it came from, as it was.
func (o *Outlet) Close() error {
	l := o.lab
	l.events.Lock()
	defer l.events.Unlock()
	l.closers = slices.DeleteFunc(l.closers, func(c io.Closer) bool { return c == unplugger{o} })
	return o.unplug()
}

// unplugger closes an outlet with its lab, which is locked then.
type unplugger struct{ *Outlet }

func (u unplugger) Close() error { return u.unplug() }

func (o *Outlet) unplug() error {
	if o.out {
		return nil
	}
	o.out = true
	p := o.place
	p.cables = slices.DeleteFunc(p.cables, func(c cable) bool { return c.port == o.Device })
	p.outlets = slices.DeleteFunc(p.outlets, func(other *Outlet) bool { return other == o })
	p.unplugged = append(p.unplugged, o.port)
	if err := errors.Join(o.moved.back(), o.lab.remap(p)); err != nil {
		return fmt.Errorf("unplug from site %s: %w", o.Site, err)
	}
	return nil
}
