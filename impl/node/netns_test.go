package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/punchlab/punchlab/impl/core"
)

// inNamespace runs f on a thread with a network namespace of its own, which lives as long as the thread, its sockets and
// devices.
func inNamespace(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err != nil {
			err = fmt.Errorf("make namespace: %w", err)
		} else {
			err = f()
		}
		done <- err
	}()
	err := <-done
	if errors.Is(err, unix.EPERM) && !strings.Contains(os.Getenv("PUNCHLAB_REQUIRE"), "netns") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// up gives a device an MTU and an address.
func up(name string, mtu int, addr string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(addr)
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetMTU(l, mtu), netlink.AddrAdd(l, a), netlink.LinkSetUp(l))
}

// withoutOffload takes a device's checksum offload away, and with it segmentation.
func withoutOffload(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	value := struct{ cmd, data uint32 }{0x17, 0} // ETHTOOL_STXCSUM
	r := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(r.name[:], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return fmt.Errorf("turn off checksums of %s: %w", name, errno)
	}
	return nil
}

// veths opens a socket at each end of a pair of veths between two namespaces.
func veths(t *testing.T, mtu int, offload bool) (here, there *net.UDPConn) {
	t.Helper()
	inNamespace(t, func() error {
		pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "here"}, PeerName: "there"}
		if err := netlink.LinkAdd(pair); err != nil {
			return err
		}
		if !offload {
			if err := withoutOffload("here"); err != nil {
				return err
			}
		}
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return err
		}
		defer ns.Close()
		inNamespace(t, func() error {
			return errors.Join(fetch(ns, "there"), up("there", mtu, "10.9.0.2/24"), listenAt("10.9.0.2:2", &there))
		})
		return errors.Join(up("here", mtu, "10.9.0.1/24"), listenAt("10.9.0.1:1", &here))
	})
	return here, there
}

// fetch takes a device from another namespace into this thread's.
func fetch(from *os.File, name string) error {
	h, err := netlink.NewHandleAt(netns.NsHandle(from.Fd()))
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	mine, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer mine.Close()
	return h.LinkSetNsFd(l, int(mine.Fd()))
}

func listenAt(addr string, c **net.UDPConn) (err error) {
	*c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	return err
}

// Over a pair of veths, whichever way the kernel and the devices segment: all packets come, in order, of their sizes. The MTU
// is that of an access by PPPoE; packets that it does not hold are fragmented as ever.
func TestOffloadOverVeth(t *testing.T) {
	for _, offload := range []bool{true, false} {
		here, there := veths(t, 1492, offload)
		c, s := newTalker(), newTalker()
		m, err := New(c, []*net.UDPConn{there}, Options{ReadBuffer: 4 << 20})
		if err != nil {
			t.Fatal(err)
		}
		n, err := New(s, []*net.UDPConn{here}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		ps := numbered(140, func(i int) int { return []int{1200, 1200, 1200, 700, 1464, 100, 1600}[min(i/20, 6)] })
		ps = append(ps, numbered(60, func(i int) int { return []int{1200, 1200, 1200, 700, 1464, 100}[i%6] })...)
		for sent := 0; sent < len(ps); sent += 20 { // neither the receiver nor the neighbour's resolution holds all of them
			sendAll(n, s, m.LocalAddrs()[0], ps[sent:sent+20])
			c.hearsAll(t, ps[:sent+20])
		}
		out := n.Stats()
		if out.Segmented != 180 || out.WriteErrors != 0 || out.Sent.Packets != int64(len(ps)) {
			t.Errorf("offload %v: stats %+v", offload, out)
		}
		n.Close()
		m.Close()
	}
}

// ifreq is struct ifreq with ifr_flags.
type ifreq struct {
	name  [unix.IFNAMSIZ]byte
	flags uint16
	_     [22]byte
}

// A TUN device without offload gives its program datagrams, not segments of many.
func TestOffloadOverTUN(t *testing.T) {
	var tun *os.File
	var conn *net.UDPConn
	inNamespace(t, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		r := ifreq{flags: unix.IFF_TUN | unix.IFF_NO_PI}
		copy(r.name[:], "tun0")
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&r))); errno != 0 {
			return fmt.Errorf("make TUN device: %w", errno)
		}
		tun = os.NewFile(uintptr(fd), "tun")
		return errors.Join(up("tun0", 1400, "10.9.0.1/24"), listenAt("10.9.0.1:1", &conn))
	})
	defer tun.Close()
	s := newTalker()
	n, err := New(s, []*net.UDPConn{conn}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	ps := numbered(60, func(i int) int { return []int{1200, 1200, 1200, 700}[i%4] })
	sendAll(n, s, netip.MustParseAddrPort("10.9.0.2:2"), ps)
	tun.SetReadDeadline(time.Now().Add(10 * time.Second))
	b := make([]byte, 1<<16)
	for i := 0; i < len(ps); {
		k, err := tun.Read(b)
		if err != nil {
			t.Fatalf("packet %d: %v; %+v", i, err, n.Stats())
		}
		if b[0]>>4 != 4 || b[9] != unix.IPPROTO_UDP {
			continue // the host's own announcements
		}
		if length := int(binary.BigEndian.Uint16(b[24:])); k != 28+len(ps[i]) || length != 8+len(ps[i]) || string(b[28:k]) != string(ps[i]) {
			t.Fatalf("packet %d has %d bytes, want %d", i, k-28, len(ps[i]))
		}
		i++
	}
}

// Error messages of routers on the way, for packets that died there, end no loop.
func TestSurvivesRoutersErrors(t *testing.T) {
	var conn *net.UDPConn
	inNamespace(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		for dst, kind := range map[string]int{"192.0.2.0/24": unix.RTN_UNREACHABLE, "198.51.100.0/24": unix.RTN_PROHIBIT} {
			to, err := netlink.ParseIPNet(dst)
			if err != nil {
				return err
			}
			if err := netlink.RouteAdd(&netlink.Route{Dst: to, Type: kind}); err != nil {
				return fmt.Errorf("add route: %w", err)
			}
		}
		return errors.Join(netlink.LinkSetUp(lo), listenAt("127.0.0.1:1", &conn))
	})
	reportErrors(t, conn)
	c := newTalker()
	n, err := New(c, []*net.UDPConn{conn}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	n.Do(func(time.Time) {
		c.box.Begin()
		for _, to := range []string{"192.0.2.1:1", "198.51.100.1:1", "203.0.113.1:1", "127.0.0.1:1", "192.0.2.2:1", "192.0.2.2:1", "127.0.0.1:1"} {
			c.box.SendTTL(netip.AddrPort{}, netip.MustParseAddrPort(to), 1, core.Punch, []byte("to "+to))
		}
	})
	c.await(t, "both packets to itself", func() bool { return len(c.heard) == 2 })
	if s := n.Stats(); s.WriteErrors != 5 || s.Sent.Packets != 2 {
		t.Errorf("stats %+v", s)
	}
}
