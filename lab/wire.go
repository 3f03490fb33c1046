package lab

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/netns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	wanDevice = "wan0"
	lanPrefix = "lan" // a router's LAN devices are lan0, lan1, …
	lanMTU    = 1500

	firstLANIndex = 1000 // of lan0; a host's devices are numbered from 1
)

// Every LAN cable has these two hardware addresses, so that each end's neighbour entries can be permanent: the kernel
// has one neighbour table for all namespaces, of about a thousand entries, and permanent ones don't count.
var (
	routerMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	innerMAC  = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

// lanCable joins a host, or an inner router, to a router. The router has the LAN's first address on every port and a
// host route to each neighbour, so that all its ports together look like one subnet.
type lanCable struct {
	router  *netns.NS
	port    string // the router's device
	index   int    // its number, unlike the other end's: the kernel holds back equally numbered pairs for up to a second
	inner   *netns.NS
	device  string // the other end's
	addrs   []netip.Addr
	lans    []netip.Prefix // the site's LAN, one for each family that it has
	routed  []netip.Prefix // reached through the address of their family
	standby bool           // the inner end gets no routes: it waits to be used
}

// gatewayOf is the router's address on a LAN: the first one.
func gatewayOf(lan netip.Prefix) netip.Addr { return lan.Masked().Addr().Next() }

// lanOf returns the LAN of an address' family.
func (c lanCable) lanOf(a netip.Addr) (lan netip.Prefix, ok bool) {
	for _, p := range c.lans {
		if p.Addr().Is4() == a.Is4() {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

func connectLAN(c lanCable) error {
	veth := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: c.port, Index: c.index, MTU: lanMTU, HardwareAddr: routerMAC},
		PeerName:         c.device,
		PeerNamespace:    netlink.NsFd(c.inner.FD()),
		PeerHardwareAddr: innerMAC,
	}
	if err := c.router.Netlink().LinkAdd(veth); err != nil {
		return fmt.Errorf("make veth %s–%s: %w", c.port, c.device, err)
	}
	if err := c.wireRouter(); err != nil {
		return fmt.Errorf("wire router port %s: %w", c.port, err)
	}
	if err := c.wireInner(); err != nil {
		return fmt.Errorf("wire %s: %w", c.device, err)
	}
	return nil
}

func (c lanCable) wireRouter() error {
	nl := c.router.Netlink()
	link, err := nl.LinkByName(c.port)
	if err != nil {
		return err
	}
	if err := quietUp(nl, link); err != nil {
		return err
	}
	for _, lan := range c.lans {
		gw := gatewayOf(lan)
		if err := nl.AddrAdd(link, address(netip.PrefixFrom(gw, gw.BitLen()))); err != nil {
			return err
		}
	}
	for _, a := range c.addrs {
		if err := nl.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: ipNet(netip.PrefixFrom(a, a.BitLen()))}); err != nil {
			return err
		}
		if err := neighbour(nl, link, a, innerMAC); err != nil {
			return err
		}
	}
	for _, p := range c.routed {
		at := slices.IndexFunc(c.addrs, func(a netip.Addr) bool { return a.Is4() == p.Addr().Is4() })
		if at < 0 {
			return fmt.Errorf("nothing to route %v through: the inner end has no address of its family", p)
		}
		if err := nl.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(p), Gw: c.addrs[at].AsSlice()}); err != nil {
			return err
		}
	}
	return nil
}

func (c lanCable) wireInner() error {
	nl := c.inner.Netlink()
	link, err := nl.LinkByName(c.device)
	if err != nil {
		return err
	}
	if err := quietUp(nl, link); err != nil {
		return err
	}
	for _, a := range c.addrs {
		lan, ok := c.lanOf(a)
		if !ok {
			return fmt.Errorf("address %v is of a family that the LAN has not", a)
		}
		if err := nl.AddrAdd(link, address(netip.PrefixFrom(a, lan.Bits()))); err != nil {
			return err
		}
	}
	// The LAN is on the cable as far as the gateway; the other hosts are reached through it, as through a switch.
	for _, lan := range c.lans {
		if !slices.ContainsFunc(c.addrs, func(a netip.Addr) bool { return a.Is4() == lan.Addr().Is4() }) {
			continue // a host without this family
		}
		gw := gatewayOf(lan)
		if err := neighbour(nl, link, gw, routerMAC); err != nil {
			return err
		}
		if c.standby {
			continue
		}
		if err := useGateway(nl, link, gw); err != nil {
			return err
		}
	}
	return nil
}

// useGateway makes a link's gateway the default one.
func useGateway(nl *netlink.Handle, link netlink.Link, gw netip.Addr) error {
	onLink := &netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: ipNet(netip.PrefixFrom(gw, gw.BitLen()))}
	if err := nl.RouteReplace(onLink); err != nil {
		return err
	}
	// IPv6 wants a destination even of a default route.
	anywhere := ipNet(netip.PrefixFrom(unspecified(gw), 0))
	return nl.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: anywhere, Gw: gw.AsSlice()})
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// linkPatience is how long the kernel may take to start a link whose ends are both up, or to make a new IPv6 address its own.
const linkPatience = 10 * time.Second

// awaitRunning waits until a router's LAN device sends. It was up before its peer, so the kernel starts it later, on a
// worker that a busy machine lets wait; what is sent before then is dropped without a trace.
func awaitRunning(router *netns.NS, port string) error {
	for deadline := time.Now().Add(linkPatience); ; time.Sleep(50 * time.Microsecond) {
		link, err := router.Netlink().LinkByName(port)
		if err != nil {
			return fmt.Errorf("await link %s: %w", port, err)
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("await link %s: it is %v after %v although both its ends are up", port, link.Attrs().OperState, linkPatience)
		}
	}
}

// awaitLocal waits until a namespace takes what is sent to its new IPv6 addresses: the kernel says that it has them, but leaves the routes
// to a worker, and what arrives before then is lost.
func awaitLocal(ns *netns.NS, addrs []netip.Addr) error {
	for _, a := range addrs {
		for deadline := time.Now().Add(linkPatience); a.Is6(); time.Sleep(50 * time.Microsecond) {
			// An error is that there is no route, yet.
			if routes, err := ns.Netlink().RouteGet(a.AsSlice()); err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("await address %v: it is not in use %v after it was added", a, linkPatience)
			}
		}
	}
	return nil
}

// quietUp sets a link up without an IPv6 link-local address, whose making sends packets nobody asked for.
func quietUp(nl *netlink.Handle, link netlink.Link) error {
	const addrGenModeNone = 1
	if err := nl.LinkSetIP6AddrGenMode(link, addrGenModeNone); err != nil {
		return err
	}
	return nl.LinkSetUp(link)
}

func neighbour(nl *netlink.Handle, link netlink.Link, ip netip.Addr, mac net.HardwareAddr) error {
	return nl.NeighSet(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: ip.AsSlice(), HardwareAddr: mac,
	})
}

// address brings no route of its own along, the routes are set one by one; nor does it wait until nobody objects to it.
func address(p netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_NODAD}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
