package netfilter

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// transient are the flags of an address that the kernel sets by itself.
const transient = unix.IFA_F_PERMANENT | unix.IFA_F_SECONDARY | unix.IFA_F_TENTATIVE

// SetExternal gives the router other external addresses, and its WAN device too: one that goes is taken off the device
// if it was there, and the new ones come with its prefix length. All flows and port mappings are lost. Routes from
// outside to the new addresses are the outer network's business.
func (r *Router) SetExternal(addrs []netip.Addr) error {
	c := r.table.cfg
	old := c.External
	c.External = slices.Clone(addrs)
	if err := c.validate(); err != nil {
		return fmt.Errorf("set external addresses: %w", err)
	}
	if err := r.readdress(old, addrs); err != nil {
		return fmt.Errorf("set external addresses: %w", err)
	}
	if err := r.load(c); err != nil {
		return fmt.Errorf("set external addresses: %w", err)
	}
	return nil
}

// readdress replaces the WAN device's addresses. The new ones come first: without any the kernel drops the routes.
func (r *Router) readdress(old, now []netip.Addr) error {
	nl := r.ns.Netlink()
	link, err := nl.LinkByName(r.table.cfg.WAN)
	if err != nil {
		return fmt.Errorf("find WAN device: %w", err)
	}
	has, err := nl.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list WAN addresses: %w", err)
	}
	var gone []netlink.Addr
	present := map[netip.Addr]bool{}
	for _, a := range has {
		ip, _ := netip.AddrFromSlice(a.IP.To4())
		present[ip] = true
		if slices.Contains(old, ip) {
			gone = append(gone, a)
		}
	}
	if len(gone) == 0 {
		return nil // they are routed here and on no device
	}
	for _, a := range now {
		if present[a] {
			continue
		}
		like := netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: gone[0].Mask}, Flags: gone[0].Flags &^ transient}
		if err := nl.AddrAdd(link, &like); err != nil {
			return fmt.Errorf("add WAN address %v: %w", a, err)
		}
	}
	for _, a := range gone {
		ip, _ := netip.AddrFromSlice(a.IP.To4())
		if slices.Contains(now, ip) {
			continue
		}
		if err := nl.AddrDel(link, &a); err != nil {
			return fmt.Errorf("take WAN address %v off: %w", ip, err)
		}
	}
	return nil
}
