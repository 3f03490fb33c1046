package live_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The benchmarks' paths: pairs of hosts, each host a namespace, and between the two hosts of a pair
//
//	veth        a cable:                 a ─ b
//	forwarding  the kernel's routing:    a ─ router ─ b    one router for all pairs
//	fabric      two perfect uplinks:     a ─ fabric ─ b
//
// What sends and receives is the same for all: sockets in batches, one thread for each direction.

// path is a set of pairs.
type path struct {
	a, b         []*netns.NS
	addrA, addrB []netip.Addr
	net          *live.Net // nil: not through the fabric
	fabric       *live.Fabric
}

// cpu is how long the fabric's thread has run.
func (p *path) cpu(t testing.TB) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", p.fabric.PID()))
	if err != nil {
		return 0
	}
	var ns int64
	_, _ = fmt.Sscan(string(b), &ns)
	return time.Duration(ns)
}

func (p *path) add(t testing.TB) (a, b *netns.NS) {
	t.Helper()
	i := len(p.a)
	for _, side := range []*[]*netns.NS{&p.a, &p.b} {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ns.Close() })
		*side = append(*side, ns)
	}
	p.addrA = append(p.addrA, netip.AddrFrom4([4]byte{10, 1, byte(i), 1}))
	p.addrB = append(p.addrB, netip.AddrFrom4([4]byte{10, 2, byte(i), 1}))
	return p.a[i], p.b[i]
}

func fabricPath(t testing.TB, o live.Options, pairs int, profiles ...link.Profile) *path {
	t.Helper()
	f := start(t, o)
	if f.TUN() == o.NoTUN {
		t.Skip("/dev/net/tun cannot be opened here")
	}
	p := &path{net: newNet(t, f), fabric: f}
	for i := range pairs {
		a, b := p.add(t)
		var profile link.Profile
		if len(profiles) > 0 {
			profile = profiles[i%len(profiles)]
		}
		for _, c := range []live.UplinkConfig{
			{Name: fmt.Sprint("a", i), NS: a, Addrs: []netip.Prefix{netip.PrefixFrom(p.addrA[i], 32)}, Profile: profile},
			{Name: fmt.Sprint("b", i), NS: b, Addrs: []netip.Prefix{netip.PrefixFrom(p.addrB[i], 32)}},
		} {
			if _, err := p.net.Attach(c); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

func vethPath(t testing.TB, pairs int) *path {
	t.Helper()
	p := &path{}
	for i := range pairs {
		a, b := p.add(t)
		cable(t, a, "eth0", p.addrA[i], b, "eth0", p.addrB[i])
	}
	return p
}

func forwardingPath(t testing.TB, pairs int) *path {
	t.Helper()
	p := &path{}
	router, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { router.Close() })
	if err := router.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
	gateway := netip.MustParseAddr("10.0.0.1")
	for i := range pairs {
		a, b := p.add(t)
		cable(t, router, fmt.Sprint("a", i), gateway, a, "eth0", p.addrA[i])
		cable(t, router, fmt.Sprint("b", i), gateway, b, "eth0", p.addrB[i])
	}
	return p
}

// cable joins two namespaces by a veth. Both ends get an address; the second gets a default route, and the first one to
// the second's address.
func cable(t testing.TB, ns *netns.NS, device string, addr netip.Addr, far *netns.NS, farDevice string, farAddr netip.Addr) {
	t.Helper()
	near := netlink.NewLinkAttrs()
	near.Name = device
	veth := &netlink.Veth{LinkAttrs: near, PeerName: farDevice, PeerNamespace: netlink.NsFd(far.FD())}
	if err := ns.Netlink().LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	ends := []struct {
		ns     *netns.NS
		device string
		addr   netip.Addr
		to     *net.IPNet
	}{{ns, device, addr, host(farAddr)}, {far, farDevice, farAddr, &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}}}
	var macs []net.HardwareAddr
	for _, e := range ends {
		l, err := e.ns.Netlink().LinkByName(e.device)
		if err == nil {
			err = e.ns.Netlink().AddrAdd(l, &netlink.Addr{IPNet: host(e.addr)})
		}
		if err == nil {
			err = e.ns.Netlink().LinkSetUp(l)
		}
		if err == nil {
			err = e.ns.Netlink().RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: e.to, Scope: netlink.SCOPE_LINK})
		}
		if err != nil {
			t.Fatal(err)
		}
		macs = append(macs, l.Attrs().HardwareAddr)
	}
	// What is on the other end of the cable is known: the kernel's table of neighbors is too small for all pairs.
	for i, e := range ends {
		l, err := e.ns.Netlink().LinkByName(e.device)
		if err != nil {
			t.Fatal(err)
		}
		to := ends[1-i].addr
		if i == 1 && ns != far {
			if err := e.ns.Netlink().RouteReplace(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: host(to), Scope: netlink.SCOPE_LINK}); err != nil {
				t.Fatal(err)
			}
			if err := e.ns.Netlink().RouteReplace(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: e.to, Gw: to.AsSlice()}); err != nil {
				t.Fatal(err)
			}
		}
		err = e.ns.Netlink().NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: to.AsSlice(), HardwareAddr: macs[1-i]})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func host(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

// socket opens a UDP socket in the namespace, connected if to is valid.
func socket(t testing.TB, ns *netns.NS, at, to netip.AddrPort) int {
	t.Helper()
	var s int
	err := ns.Do(func() (err error) {
		if s, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
			return err
		}
		for force, plain := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
			if unix.SetsockoptInt(s, unix.SOL_SOCKET, force, 8<<20) != nil {
				_ = unix.SetsockoptInt(s, unix.SOL_SOCKET, plain, 8<<20)
			}
		}
		if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return err
		}
		if err := unix.Bind(s, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}); err != nil || !to.IsValid() {
			return err
		}
		return unix.Connect(s, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sockets opens a connected socket on each host at the port.
func (p *path) sockets(t testing.TB, port uint16) (from, to []int) {
	t.Helper()
	for i := range p.a {
		a, b := netip.AddrPortFrom(p.addrA[i], port), netip.AddrPortFrom(p.addrB[i], port)
		from, to = append(from, socket(t, p.a[i], a, b)), append(to, socket(t, p.b[i], b, netip.AddrPort{}))
	}
	return from, to
}

func closeAll(fds ...int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// vector is what sendmmsg and recvmmsg work on.
type vector struct {
	headers []struct {
		unix.Msghdr
		n uint32
		_ uint32
	}
	iovs    []unix.Iovec
	bufs    [][]byte
	control [][64]byte
}

func newVector(count, size int) *vector {
	v := &vector{iovs: make([]unix.Iovec, count), bufs: make([][]byte, count), control: make([][64]byte, count)}
	v.headers = make([]struct {
		unix.Msghdr
		n uint32
		_ uint32
	}, count)
	for i := range count {
		v.bufs[i] = make([]byte, size)
		v.iovs[i] = unix.Iovec{Base: &v.bufs[i][0], Len: uint64(size)}
		v.headers[i].Iov, v.headers[i].Iovlen = &v.iovs[i], 1
	}
	return v
}

func (v *vector) send(fd, count int) int {
	n, _, e := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&v.headers[0])), uintptr(count), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

// receive fills the vector; stamps asks for the kernel's time of each.
func (v *vector) receive(fd int, stamps bool) int {
	if stamps {
		for i := range v.headers {
			v.headers[i].Control, v.headers[i].Controllen = &v.control[i][0], uint64(len(v.control[i]))
		}
	}
	n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&v.headers[0])), uintptr(len(v.headers)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}

// stamp is when the kernel had the packet, since 1970.
func (v *vector) stamp(i int) int64 {
	b := v.control[i][unix.SizeofCmsghdr:]
	return int64(order.Uint64(b))*1e9 + int64(order.Uint64(b[8:]))
}

var order = binary.NativeEndian

// sink receives on sockets until stopped, on a thread of its own.
type sink struct {
	packets atomic.Int64
	delays  []time.Duration // from the stamp in each packet to the kernel's at the receiver
	stop    atomic.Bool
	done    chan struct{}
}

func newSink(t testing.TB, fds []int, stamps bool) *sink {
	t.Helper()
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
			t.Fatal(err)
		}
	}
	s := &sink{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer unix.Close(epoll)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		v := newVector(64, 2048)
		var events [64]unix.EpollEvent
		for !s.stop.Load() {
			n, _ := unix.EpollWait(epoll, events[:], 20)
			for _, e := range events[:max(n, 0)] {
				k := v.receive(int(e.Fd), stamps)
				s.packets.Add(int64(k))
				for i := range k {
					if stamps {
						s.delays = append(s.delays, time.Duration(v.stamp(i)-int64(order.Uint64(v.bufs[i]))))
					}
				}
			}
		}
	}()
	return s
}

func (s *sink) end() {
	s.stop.Store(true)
	<-s.done
}

// send sends batches of packets of size bytes on the sockets in turn, on a thread of its own; rate is in packets a
// second, or 0 for as many as can be. It returns how many it sent.
func send(fds []int, size, batch int, rate float64, d time.Duration, stamp bool) (sent int) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		v := newVector(batch, size)
		began := time.Now()
		for turn := 0; ; turn++ {
			elapsed := time.Since(began)
			if elapsed >= d {
				return
			}
			n := batch
			if rate > 0 {
				if n = min(n, int(rate*elapsed.Seconds())-sent); n <= 0 {
					pause := unix.NsecToTimespec(int64(1e9 / rate))
					_ = unix.Nanosleep(&pause, nil)
					continue
				}
			}
			if stamp {
				now := uint64(time.Now().UnixNano())
				for _, b := range v.bufs[:n] {
					order.PutUint64(b, now)
				}
			}
			sent += v.send(fds[turn%len(fds)], n)
		}
	}()
	<-done
	return sent
}

// quantile sorts d.
func quantile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(p*float64(len(d))))]
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func ptr(b []byte) unsafe.Pointer { return unsafe.Pointer(&b[0]) }
