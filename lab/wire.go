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
	router *netns.NS
	port   string // the router's device
	index  int    // its number, unlike the other end's: the kernel holds back equally numbered pairs for up to a second
	inner  *netns.NS
	device string // the other end's
	addrs  []netip.Addr

	gateway netip.Addr // the router's address on its LAN
	bits    int        // length of the LAN's prefix
	subnets []Subnet   // reached through one of addrs
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
	gw := c.gateway
	if err := nl.AddrAdd(link, address(netip.PrefixFrom(gw, gw.BitLen()))); err != nil {
		return err
	}
	for _, a := range c.addrs {
		if err := nl.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: ipNet(netip.PrefixFrom(a, a.BitLen()))}); err != nil {
			return err
		}
		if err := neighbour(nl, link, a, innerMAC); err != nil {
			return err
		}
	}
	for _, sub := range c.subnets {
		if !slices.Contains(c.addrs, sub.Via) {
			continue
		}
		if err := nl.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(sub.Prefix), Gw: sub.Via.AsSlice()}); err != nil {
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
		if err := nl.AddrAdd(link, address(netip.PrefixFrom(a, c.bits))); err != nil {
			return err
		}
	}
	// The LAN is on the cable as far as the gateway; the other hosts are reached through it, as through a switch.
	gw := c.gateway
	if err := neighbour(nl, link, gw, routerMAC); err != nil {
		return err
	}
	onLink := &netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: ipNet(netip.PrefixFrom(gw, gw.BitLen()))}
	if err := nl.RouteReplace(onLink); err != nil {
		return err
	}
	return nl.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gw.AsSlice()})
}

// linkPatience is how long the kernel may take to start a link whose ends are both up.
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

// address brings no route of its own along: the routes are set one by one.
func address(p netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: ipNet(p), Flags: unix.IFA_F_NOPREFIXROUTE}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
