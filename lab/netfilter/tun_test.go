package netfilter_test

import (
	"encoding/binary"
	"net"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestTUNUplink has the translator write to a TUN device, as in the lab: what leaves must have good checksums, which no
// device fills in later, and what comes in is checked by the host.
func TestTUNUplink(t *testing.T) {
	core := newCore(t)
	home := newSite(t, core, wanA, "10.0", 1)
	wan, err := home.ns.Netlink().LinkByName("wan0")
	must(t, err)
	must(t, home.ns.Netlink().LinkDel(wan))
	tun := openTUN(t, home)
	for _, name := range []string{"full-cone", "symmetric", "linux", "cgn-port-block"} {
		home.install(preset(t, name))
		c := home.host(0, 0)
		token := c.send(at("198.51.100.1", 3478))
		must(t, tun.SetReadDeadline(time.Now().Add(comes)))
		buf := make([]byte, 2000)
		n := 0
		for n < 28 || buf[9] != unix.IPPROTO_UDP { // the kernel also sends what it likes, over IPv6
			n, err = tun.Read(buf)
			must(t, err)
		}
		p := buf[:n]
		if sum(0, p[:20]) != 0xffff {
			t.Errorf("%s: bad IP checksum: %x", name, p)
		}
		pseudo := uint32(unix.IPPROTO_UDP + n - 20)
		if sum(sum(pseudo, p[12:20]), p[20:]) != 0xffff {
			t.Errorf("%s: bad UDP checksum: %x", name, p)
		}
		if src := [4]byte(p[12:16]); src != [4]byte{203, 0, 113, 2} {
			t.Errorf("%s: source is %v", name, src)
		}
		// The answer: with source and destination exchanged, all sums stay as they are.
		for i := range 4 {
			p[12+i], p[16+i] = p[16+i], p[12+i]
		}
		p[20], p[21], p[22], p[23] = p[22], p[23], p[20], p[21]
		_, err = tun.Write(p)
		must(t, err)
		if from, ok := c.receive(token, comes); !ok || from != at("198.51.100.1", 3478) {
			t.Errorf("%s: the answer comes from %v, %v", name, from, ok)
		}
	}
}

// openTUN gives the site a TUN device as its uplink.
func openTUN(t *testing.T, s *site) *os.File {
	t.Helper()
	fd := -1
	err := s.ns.Do(func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		req, err := unix.NewIfreq("wan0")
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	})
	if err != nil {
		t.Skipf("no TUN device: %v", err)
	}
	f := os.NewFile(uintptr(fd), "/dev/net/tun")
	t.Cleanup(func() { f.Close() })
	l, err := s.ns.Netlink().LinkByName("wan0")
	must(t, err)
	must(t, s.ns.Netlink().LinkSetUp(l))
	addAddr(t, s.ns, "wan0", s.wan+".2/32")
	must(t, s.ns.Netlink().RouteAdd(&netlink.Route{
		LinkIndex: l.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
	}))
	return f
}

// sum is the one's complement sum of RFC 1071.
func sum(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return s
}
