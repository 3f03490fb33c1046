package live_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/punchlab/punchlab/lab/netns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// rawTUN makes a namespace with a TUN device and a UDP socket on it, without the fabric: the measure of what the
// kernel alone can do.
func rawTUN(b *testing.B, addr netip.Addr) (*netns.NS, int, *net.UDPConn) {
	b.Helper()
	ns, err := netns.New()
	if err != nil {
		b.Fatal(err)
	}
	var fd int
	var conn *net.UDPConn
	err = ns.Do(func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			b.Skipf("/dev/net/tun cannot be opened here: %v", err)
		}
		ifr, err := unix.NewIfreq("wan0")
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
			return err
		}
		l, err := ns.Netlink().LinkByName("wan0")
		if err != nil {
			return err
		}
		if err := ns.Netlink().LinkSetTxQLen(l, 5000); err != nil {
			return err
		}
		a := &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(32, 32)}}
		if err := ns.Netlink().AddrAdd(l, a); err != nil {
			return err
		}
		if err := ns.Netlink().LinkSetUp(l); err != nil {
			return err
		}
		everything := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
		if err := ns.Netlink().RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: everything}); err != nil {
			return err
		}
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 7000)))
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return ns, fd, conn
}

// addLoopback gives the namespace an address that is on none of its links.
func addLoopback(ns *netns.NS, a netip.Addr) error {
	lo, err := ns.Netlink().LinkByName("lo")
	if err != nil {
		return err
	}
	return ns.Netlink().AddrAdd(lo, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}})
}
