package stack

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

// spot is one end of a path that is measured: a namespace with an address.
type spot struct {
	addr netip.Addr
	do   func(func() error) error
	// open has others reach a UDP port, and returns where.
	open func(port uint16) (netip.AddrPort, error)
}

// veth makes two namespaces with a cable between them and nothing else: no router, no fabric.
//
//	10.77.0.1 ── veth ── 10.77.0.2
func veth(b testing.TB) (near, far spot) {
	b.Helper()
	netnstest.Require(b, "netns")
	var ns [2]*netns.NS
	for i := range ns {
		n, err := netns.New()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { n.Close() })
		ns[i] = n
	}
	const cable = "cable0"
	attrs := netlink.NewLinkAttrs()
	attrs.Name = cable
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: cable, PeerNamespace: netlink.NsFd(ns[1].FD())}
	if err := ns[0].Netlink().LinkAdd(pair); err != nil {
		b.Fatal(err)
	}
	var spots [2]spot
	for i, n := range ns {
		addr := netip.AddrFrom4([4]byte{10, 77, 0, byte(1 + i)})
		addressed(b, n.Netlink(), cable, netip.PrefixFrom(addr, 30))
		spots[i] = spot{addr, n.Do, func(port uint16) (netip.AddrPort, error) { return netip.AddrPortFrom(addr, port), nil }}
	}
	return spots[0], spots[1]
}

// addressed gives a link an address and sets it up.
func addressed(b testing.TB, nl *netlink.Handle, name string, p netip.Prefix) {
	b.Helper()
	link, err := nl.LinkByName(name)
	if err != nil {
		b.Fatal(err)
	}
	mask := net.CIDRMask(p.Bits(), p.Addr().BitLen())
	if err := nl.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: mask}}); err != nil {
		b.Fatal(err)
	}
	if err := nl.LinkSetUp(link); err != nil {
		b.Fatal(err)
	}
}

// homes is the lab's path: a camera and a viewer behind routers that forward what is asked of them, over links without
// delay, loss or limit.
func homes(b testing.TB) (cam, view spot) {
	b.Helper()
	l := newLab(b, "two-homes", "camera.nat", "full-cone", "viewer.nat", "full-cone", "link", "perfect")
	of := func(host string) spot {
		m := l.Host(host)
		return spot{m.Addr(), m.Do, func(port uint16) (netip.AddrPort, error) { return l.Forward(host, port) }}
	}
	return of("camera"), of("viewer")
}

// listen opens a UDP socket.
func (s spot) listen(b testing.TB, addr netip.Addr, port uint16) (conn *net.UDPConn) {
	b.Helper()
	err := s.do(func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, port)))
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return conn
}
