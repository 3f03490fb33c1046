package virtual

import (
	"net/netip"
	"slices"
)

// allocation is a socket that a TURN server lends a host (RFC 8656): at the server's site, without a NAT, closed to all IP addresses but
// those that the host has sent to by it.
type allocation struct {
	server    *Site
	permitted []netip.Addr
}

// Lend gives a host an allocation at an address of a site without a NAT. The host's core sends by it as by a socket of its own.
func (h *Host) Lend(server *Site, at netip.AddrPort) {
	if h.lent == nil {
		h.lent = map[netip.AddrPort]*allocation{}
	}
	h.lent[at] = &allocation{server: server}
}

// lend sends a packet by an allocation.
func (n *Net) lend(h *Host, a *allocation, f *flight) {
	if !slices.Contains(a.permitted, f.to.Addr()) {
		a.permitted = append(a.permitted, f.to.Addr())
	}
	f.at = n.Now
	detour := 2 * a.server.Delay
	if f.site = n.siteOf(f.to.Addr()); f.site == nil {
		n.trace(f.from, f.to, f.b, "no route")
		return
	}
	if n.lost(h.site.Loss) || n.lost(f.site.Loss) {
		n.trace(f.from, f.to, f.b, "lost")
		return
	}
	f.at = h.site.leave(n.Now, len(f.b)).Add(h.site.Delay + detour + f.site.Delay)
	n.push(f)
}

// lentAt finds the host that an address is lent to.
func (n *Net) lentAt(at netip.AddrPort) (*Host, *allocation) {
	for _, h := range n.hosts {
		if a := h.lent[at]; a != nil {
			return h, a
		}
	}
	return nil, nil
}

// lendBack hands on what has come to an allocation.
func (n *Net) lendBack(h *Host, a *allocation, f *flight) {
	if h.down || !slices.Contains(a.permitted, f.from.Addr()) {
		n.trace(f.from, f.to, f.b, "not permitted at the allocation")
		return
	}
	g := *f
	g.at = n.Now.Add(a.server.Delay + h.site.Delay)
	g.timer = func() {
		n.trace(f.from, f.to, f.b, "delivered")
		n.deliver(h, f.from, f.to, f.b)
	}
	n.push(&g)
}
