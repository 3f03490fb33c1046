// Package device is what a camera's or a viewer's core has of its host: sockets, the node that drives it, a port mapping.
//
//	Network ── UDP socket, more of them on demand ──┐
//	        ── TCP, dialled and accepted ───────────┼── node ── core
//	        ── a TURN server's allocation (Lend) ───┘
//	router  ── PCP, NAT-PMP, UPnP ── mapping ──────────► core.HandleMapped
//
// A Network says where sockets are made: on this host (Host), or in a network namespace that is somebody else's.
package device

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/portmap"
	"github.com/punchlab/punchlab/impl/punch"
)

// Network is where a device lives.
type Network struct {
	Addrs   []netip.Addr // the host's own, IPv4 first
	Gateway netip.Addr   // the router that may map ports; zero: none is known

	ListenUDP    func(at netip.AddrPort) (*net.UDPConn, error)     // the zero address: any, of both families
	ListenTCP    func(at netip.AddrPort) (*net.TCPListener, error) // with SO_REUSEADDR and SO_REUSEPORT
	DialTCP      func(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error)
	ListenPacket func(network, address string) (net.PacketConn, error)
	DialContext  func(ctx context.Context, network, address string) (net.Conn, error)
}

// Device holds one core's sockets. It is not safe for concurrent use, but for its Node.
type Device struct {
	network Network
	policy  punch.Policy
	conn    *net.UDPConn // until Drive
	port    uint16       // of the main socket
	opt     node.Options
	relayed []netip.AddrPort

	node    *node.Node
	mapping *portmap.Mapping
	wg      sync.WaitGroup
}

// Open opens the sockets that a policy needs. The main one has a port, or any where that is 0.
func Open(n Network, p punch.Policy, port uint16) (*Device, error) {
	d := &Device{network: n, policy: p}
	// Not bound to an address: a host that moves has another one.
	conn, err := n.ListenUDP(netip.AddrPortFrom(netip.Addr{}, port))
	if err != nil {
		return nil, err
	}
	d.conn, d.port = conn, conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	d.opt = node.Options{Listen: func() (*net.UDPConn, error) { return n.ListenUDP(netip.AddrPort{}) }, Dial: n.DialTCP}
	if p.Uplink == punch.UplinkTCP || p.Methods&punch.MethodTCP != 0 {
		// The number of the UDP port, where it is free: one that is told to people, or to a firewall, names both.
		l, err := n.ListenTCP(netip.AddrPortFrom(netip.Addr{}, d.port))
		if err != nil {
			l, err = n.ListenTCP(netip.AddrPort{})
		}
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		d.opt.Accept = []node.Listener{{Listener: l, Proto: core.TCP}}
	}
	return d, nil
}

// maxHost is how many addresses of its own a device tells others.
const maxHost = 8

// Host lists the device's own endpoints: candidates for peers on the same network, and for IPv6.
func (d *Device) Host() (at []netip.AddrPort) {
	for _, a := range d.network.Addrs {
		if e := netip.AddrPortFrom(a, d.port); len(at) < maxHost && punch.Plausible(e) {
			at = append(at, e)
		}
	}
	return at
}

// Lend gives the core a further socket, such as an allocation at a TURN server, before Drive. The caller closes it, after
// the device.
func (d *Device) Lend(c net.PacketConn) {
	d.opt.Extra = append(d.opt.Extra, c)
	d.relayed = append(d.relayed, c.LocalAddr().(*net.UDPAddr).AddrPort())
}

// Relayed lists the addresses of the sockets lent.
func (d *Device) Relayed() []netip.AddrPort { return d.relayed }

// Drive starts the node, which takes the sockets over.
func (d *Device) Drive(c core.Core, observe func(any)) error {
	d.opt.Observe = observe
	n, err := node.New(c, []*net.UDPConn{d.conn}, d.opt)
	if err != nil {
		return err
	}
	d.node, d.conn, d.opt.Accept = n, nil, nil
	return nil
}

// Node is the node that Drive started.
func (d *Device) Node() *node.Node { return d.node }

// MapPort asks the router for a port mapping, for as long as timeout, and tells the core of it, now and whenever it changes,
// until Close. seen is where a rendezvous sees the device. Why there is none is no fault: most routers map nothing.
func (d *Device) MapPort(ctx context.Context, seen netip.Addr, timeout time.Duration, mapped func(now time.Time, external netip.AddrPort)) error {
	if !d.network.Gateway.Is4() || len(d.network.Addrs) == 0 || !d.network.Addrs[0].Is4() {
		return portmap.ErrNoService
	}
	m, err := portmap.Map(ctx, portmap.Config{
		Gateway: d.network.Gateway, Internal: netip.AddrPortFrom(d.network.Addrs[0], d.port), Seen: seen, Timeout: timeout,
		ListenPacket: d.network.ListenPacket, DialContext: d.network.DialContext,
	})
	if err != nil {
		return err
	}
	d.mapping = m
	tell := func() { d.node.Do(func(now time.Time) { mapped(now, m.External()) }) }
	tell()
	d.wg.Go(func() {
		for range m.Changed() {
			tell()
		}
	})
	return nil
}

// Mapped is the endpoint that the router maps to the device; zero: none.
func (d *Device) Mapped() netip.AddrPort {
	if d.mapping == nil {
		return netip.AddrPort{}
	}
	return d.mapping.External()
}

// Close ends everything that the device has.
func (d *Device) Close() error {
	var errs []error
	if d.mapping != nil {
		_ = d.mapping.Close() // a router that has gone keeps it until it expires
		d.wg.Wait()
	}
	if d.node != nil {
		errs = append(errs, d.node.Close())
	}
	if d.conn != nil {
		errs = append(errs, d.conn.Close())
	}
	for _, l := range d.opt.Accept {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Servers is where a device finds a rendezvous, in the order in which it should try: UDP and TCP have at's port.
func Servers(at []netip.AddrPort, tlsPort uint16, u punch.Uplink) (all []netip.AddrPort) {
	var streams []netip.AddrPort
	for _, a := range at {
		switch u {
		case punch.UplinkTCP:
			all = append(all, core.Over(core.TCP, a))
		case punch.UplinkTLS:
			all = append(all, core.Over(core.TLS, netip.AddrPortFrom(a.Addr(), tlsPort)))
		case punch.UplinkAny:
			streams = append(streams, core.Over(core.TLS, netip.AddrPortFrom(a.Addr(), tlsPort)))
			fallthrough
		default:
			all = append(all, a)
		}
	}
	return append(all, streams...)
}

// Classifies reports whether a policy decides by what both sides know of their NATs.
func Classifies(p punch.Policy) bool {
	return p.Methods&(punch.MethodSilence|punch.MethodPrediction|punch.MethodBirthday) != 0
}

// Maps reports whether a policy uses port mappings.
func Maps(p punch.Policy) bool { return p.Methods&punch.MethodMapped != 0 }
