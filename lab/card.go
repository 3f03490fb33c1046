package lab

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/punchlab/punchlab/lab/netns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// card is a host's interface on a site's LAN. Of several one is in use: the others have no addresses and no default routes.
type card struct {
	site   string
	device string
	addrs  []netip.Addr
	lans   []netip.Prefix
	cable  bool // it reaches a kernel router's port by a veth; otherwise the fabric, whose devices need no neighbour
}

// leave takes the card out of use: no packet leaves by it, and programs bound to its addresses learn that nothing goes.
func (c card) leave(ns *netns.NS) error {
	nl := ns.Netlink()
	link, err := nl.LinkByName(c.device)
	if err != nil {
		return fmt.Errorf("find device %s: %w", c.device, err)
	}
	routes, err := nl.RouteList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list routes by %s: %w", c.device, err)
	}
	for _, r := range routes {
		if bits, _ := r.Dst.Mask.Size(); bits > 0 {
			continue
		}
		if err := nl.RouteDel(&r); err != nil {
			return fmt.Errorf("remove default route by %s: %w", c.device, err)
		}
	}
	for _, a := range c.addrs {
		err := nl.AddrDel(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, c.bits(a)))})
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) { // it may be out of use already
			return fmt.Errorf("take %v off %s: %w", a, c.device, err)
		}
	}
	return nil
}

// enter puts the card into use.
func (c card) enter(ns *netns.NS) error {
	nl := ns.Netlink()
	link, err := nl.LinkByName(c.device)
	if err != nil {
		return fmt.Errorf("find device %s: %w", c.device, err)
	}
	for _, a := range c.addrs {
		if err := nl.AddrReplace(link, address(netip.PrefixFrom(a, c.bits(a)))); err != nil {
			return fmt.Errorf("give %s address %v: %w", c.device, a, err)
		}
	}
	for _, lan := range c.lans {
		if err := c.route(nl, link, lan); err != nil {
			return fmt.Errorf("route by %s: %w", c.device, err)
		}
	}
	return awaitLocal(ns, c.addrs)
}

func (c card) route(nl *netlink.Handle, link netlink.Link, lan netip.Prefix) error {
	if c.cable {
		return useGateway(nl, link, gatewayOf(lan))
	}
	return nl.RouteReplace(&netlink.Route{
		LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: ipNet(netip.PrefixFrom(unspecified(lan.Addr()), 0)),
	})
}

func (c card) bits(a netip.Addr) int {
	for _, lan := range c.lans {
		if lan.Addr().Is4() == a.Is4() {
			return lan.Bits()
		}
	}
	return a.BitLen()
}
