// Package netfilter realizes a nat.Behavior in a router's network namespace, with kernel nftables and netlink alone.
//
//	        lan0, lan1, … ┌──────────── router's namespace ─────────────────────────┐ wan0
//	hosts ────────────────┤ prerouting -300  judge; translate UDP, pings and errors ├──────── uplink
//	                      │            -150  draw a TCP mapping                     │
//	                      │            -100  dnat (TCP)                             │
//	                      │ output     -300  the router's own ICMP errors           │
//	                      │ postrouting 100  snat (TCP)                             │
//	                      │             300  guard: no internal address leaves      │
//	                      └─────────────────────────────────────────────────────────┘
//
// UDP and pings are translated without connection tracking: three dynamic sets with timeouts hold a NAT's whole state,
// and the rules rewrite the packet themselves.
//
//	fwd     internal endpoint [remote address [remote port]] → external endpoint     mapping, as wide as its dependency
//	rev     external endpoint → fwd's key                                            its inverse
//	filter  internal or external endpoint [remote address [remote port]]             who may answer
//
//	out:  fwd has it? ── no ──► draw a port that rev lacks, up to 8 times, and enter it in fwd and rev
//	       │ yes
//	      hit:  enter the remote into filter; refresh; rewrite the source; to an external address? hairpin ──► in
//	in:   rev and filter have it? rewrite the destination: drop or reject
//
// Conntrack can't do that for ADM and APDM: it rewrites a remote's source port where two flows clash. TCP does use it,
// behind the same sets, because a connection must outlive neither.
//
// Port mappings (Map) are static elements that come before all this. ICMP errors are translated with what they quote, all
// checksums included. IPv6 has a table of its own: a stateful firewall by one set for each protocol, and NPTv6 by rules
// that have the kernel mend a word of the address as if it were the checksum of the prefix.
//
// What this can't do exactly, Supports names; lab/agree compares the rest with nat.Table, packet by packet.
package netfilter

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	mdlayher "github.com/mdlayher/netlink"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/vishvananda/netlink"
)

// Config says where a router sits and how it behaves.
type Config struct {
	LAN       string       // the inner devices: "lan0", or with a final star "lan*"
	WAN       string       // the outer device: "wan0"
	External  []netip.Addr // the WAN device's IPv4 addresses that mappings may have; a router that only routes needs none
	LANPrefix netip.Prefix // traffic inside it is forwarded untouched; without NAT the public addresses behind the router
	Behavior  nat.Behavior
	Seed      uint64 // of the random port orders

	LANPrefix6 netip.Prefix // the same for IPv6, with NPTv6 the prefix inside; needed where Behavior.IPv6 is not none
	External6  netip.Prefix // NPTv6: the prefix outside
}

func (c Config) validate() error {
	switch {
	case c.LAN == "" || c.WAN == "":
		return errors.New("LAN and WAN devices must be named")
	case len(c.LAN) > 15 || len(c.WAN) > 15:
		return fmt.Errorf("device names %q and %q: at most 15 characters", c.LAN, c.WAN)
	case !c.LANPrefix.Addr().Is4():
		return fmt.Errorf("LAN prefix is %v: want an IPv4 prefix", c.LANPrefix)
	case c.Behavior.Kind == nat.Translate && len(c.External) == 0:
		return errors.New("a translator needs an external address")
	case c.Behavior.Kind == nat.Masquerade && len(c.External) > 1:
		return fmt.Errorf("masquerade uses one external address, not %d", len(c.External))
	}
	if err := c.validate6(); err != nil {
		return err
	}
	for _, a := range c.External {
		if !a.Is4() {
			return fmt.Errorf("external address %v: want IPv4", a)
		}
		if c.LANPrefix.Contains(a) {
			return fmt.Errorf("external address %v lies in the LAN %v", a, c.LANPrefix)
		}
	}
	return Supports(c.Behavior)
}

// Router is a running NAT or firewall. It is not safe for concurrent use.
type Router struct {
	ns      *netns.NS
	conn    *nftables.Conn
	table   *table
	table6  *table // nil until there is IPv6
	sysctls sysctls
}

// Install programs the router's namespace: its settings and one nftables table.
func Install(ns *netns.NS, c Config) (*Router, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("install router: %w", err)
	}
	// A transaction is one sendmsg, and all its answers come at once; the default buffers end both at some 200 KB. (An
	// ordinary user gets what net.core.[rw]mem_max allows.) A connection that lasts, because closing one waits for the
	// kernel to free what transactions replaced: 16 ms instead of 0.04.
	roomy := func(c *mdlayher.Conn) error {
		return errors.Join(c.SetWriteBuffer(8<<20), c.SetReadBuffer(8<<20))
	}
	var conn *nftables.Conn
	// Not nftables.WithNetNSFd: where the kernel refuses a socket (no descriptor is free, no netfilter) it panics.
	err := ns.Do(func() (err error) {
		conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(roomy))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("install router: open nftables: %w", err)
	}
	r := &Router{ns: ns, conn: conn, table: &table{cfg: c}}
	if err := r.start(c); err != nil {
		return nil, errors.Join(fmt.Errorf("install router: %w", err), conn.CloseLasting())
	}
	return r, nil
}

func (r *Router) start(c Config) error {
	if err := r.sysctls.route(r.ns); err != nil {
		return err
	}
	return r.load(c)
}

// Apply replaces the table in one transaction and forgets all flows: a reboot, or another behavior.
func (r *Router) Apply(b nat.Behavior, seed uint64) error {
	c := r.table.cfg
	c.Behavior, c.Seed = b, seed
	if err := c.validate(); err != nil {
		return fmt.Errorf("apply behavior: %w", err)
	}
	if err := r.load(c); err != nil {
		return fmt.Errorf("apply behavior: %w", err)
	}
	return nil
}

func (r *Router) load(c Config) error {
	t := &table{conn: r.conn, cfg: c, Behavior: c.Behavior.WithDefaults()}
	t.build()
	six := &table{conn: r.conn, cfg: c, Behavior: t.Behavior, ids: t.ids}
	if c.Behavior.IPv6 != nat.IPv6None || r.table6 != nil {
		six.build6()
	} else {
		six = nil
	}
	if err := errors.Join(t.err, six.failure()); err != nil {
		return fmt.Errorf("build nftables: %w", err)
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("load nftables: %w", err)
	}
	r.table, r.table6 = t, six
	if err := r.sysctls.route6(r.ns, c.Behavior.IPv6); err != nil {
		return err
	}
	if err := r.sysctls.timeouts(r.ns, c.Behavior); err != nil {
		return err
	}
	return r.flushConntrack()
}

// Reset forgets all flows and keeps the rules; sequential and random port orders start again.
func (r *Router) Reset(seed uint64) error {
	r.table.cfg.Seed = seed
	r.table.reset(seed)
	if r.table6 != nil {
		r.table6.reset(seed)
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("reset router: %w", err)
	}
	return r.flushConntrack()
}

// flushConntrack costs a walk of the kernel's table only if this namespace has a connection in it.
func (r *Router) flushConntrack() error {
	if err := r.ns.Netfilter().ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		return fmt.Errorf("flush conntrack: %w", err)
	}
	return nil
}

// Close ends the netlink connection. The table stays in the namespace, and goes with it.
func (r *Router) Close() error {
	if err := r.conn.CloseLasting(); err != nil {
		return fmt.Errorf("close nftables: %w", err)
	}
	return nil
}
