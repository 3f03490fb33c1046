package live_test

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"golang.org/x/sys/unix"
)

func BenchmarkLiveReset(b *testing.B) {
	benchmarkCall(b, func(n *live.Net, i int) error { return n.Reset(uint64(i)) })
}
func BenchmarkLiveStats(b *testing.B) {
	benchmarkCall(b, func(n *live.Net, i int) error { _, err := n.Stats(); return err })
}

// benchmarkCall times a call on a net of four uplinks.
func benchmarkCall(b *testing.B, call func(n *live.Net, i int) error) {
	netnstest.Require(b, "netns")
	n := newNet(b, start(b, live.Options{}))
	for i := range 4 {
		newSite(b, n, fmt.Sprint("s", i), netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), delay(time.Millisecond))
	}
	i := 0
	for b.Loop() {
		i++
		if err := call(n, i); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLiveSetup makes and closes a net of two sites, namespaces included.
func BenchmarkLiveSetup(b *testing.B) {
	netnstest.Require(b, "netns")
	for _, veth := range []bool{false, true} {
		b.Run(map[bool]string{false: "tun", true: "veth"}[veth], func(b *testing.B) {
			f := start(b, live.Options{NoTUN: veth})
			for b.Loop() {
				n := newNet(b, f)
				for i := range 2 {
					ns, err := netns.New()
					if err != nil {
						b.Fatal(err)
					}
					_, err = n.Attach(live.UplinkConfig{Name: fmt.Sprint(i), NS: ns, Addrs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32)}})
					if err != nil {
						b.Fatal(err)
					}
					ns.Close()
				}
				if err := n.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLiveThroughput floods a path of perfect links with packets of 1200 bytes, and for comparison a raw TUN
// device whose packets another thread copies to a second one without looking at them.
func BenchmarkLiveThroughput(b *testing.B) {
	netnstest.Require(b, "netns")
	b.Run("tun", func(b *testing.B) { benchmarkThroughput(b, live.Options{}) })
	b.Run("veth", func(b *testing.B) { benchmarkThroughput(b, live.Options{NoTUN: true}) })
	b.Run("raw-tun", benchmarkRawTUN)
}

func benchmarkThroughput(b *testing.B, o live.Options) {
	f := start(b, o)
	if f.TUN() == o.NoTUN {
		b.Skip("/dev/net/tun cannot be opened here")
	}
	n := newNet(b, f)
	from, to := newSite(b, n, "a", addrA, link.Profile{}), newSite(b, n, "b", addrB, link.Profile{})
	flood(b, from, to)
}

// flood sends b.N packets as fast as they are received: at most a window of them is under way. It uses blocking
// sockets, so that Go's poller is not what is measured. What does not arrive within patience is lost, and reported.
func flood(b *testing.B, from, to *site) {
	const (
		window   = 64 // fits into the receiver's buffer
		patience = 20 * time.Millisecond
	)
	out, in := blocking(b, from.conn), blocking(b, to.conn)
	if err := unix.Connect(out, &unix.SockaddrInet4{Addr: to.addr.Addr().As4(), Port: int(to.addr.Port())}); err != nil {
		b.Fatal(err)
	}
	limit := unix.NsecToTimeval(int64(10 * patience))
	if err := unix.SetsockoptTimeval(in, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		b.Fatal(err)
	}
	var received atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		var buf [2048]byte
		for int(received.Load()) < b.N {
			if _, err := unix.Read(in, buf[:]); err != nil {
				return
			}
			received.Add(1)
		}
	}()
	payload := make([]byte, 1172)
	b.SetBytes(1200)
	b.ResetTimer()
	var lost int64
	for i := range int64(b.N) {
		for full := time.Now(); i-received.Load()-lost >= window; runtime.Gosched() {
			if time.Since(full) > patience {
				lost = i - received.Load()
			}
		}
		if _, err := unix.Write(out, payload); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	<-done
	got := float64(received.Load())
	b.ReportMetric(got/b.Elapsed().Seconds()/1000, "kpps")
	b.ReportMetric(100*(1-got/float64(b.N)), "%lost")
}

// blocking duplicates the socket's descriptor and makes it block.
func blocking(b *testing.B, c *net.UDPConn) int {
	b.Helper()
	f, err := c.File()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return int(f.Fd()) // Fd makes it block
}

func benchmarkRawTUN(b *testing.B) {
	var fds [2]int
	var sites [2]*site
	for i, addr := range []netip.Addr{addrA, addrB} {
		ns, fd, conn := rawTUN(b, addr)
		defer ns.Close()
		defer conn.Close()
		fds[i], sites[i] = fd, &site{ns: ns, conn: conn, addr: netip.AddrPortFrom(addr, 7000)}
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		runtime.LockOSThread()
		var buf [2048]byte
		for {
			poll := []unix.PollFd{{Fd: int32(fds[0]), Events: unix.POLLIN}, {Fd: int32(stop), Events: unix.POLLIN}}
			if _, err := unix.Poll(poll, -1); err == nil && poll[1].Revents != 0 {
				return
			}
			for {
				n, err := unix.Read(fds[0], buf[:])
				if err != nil {
					break
				}
				_, _ = unix.Write(fds[1], buf[:n])
			}
		}
	}()
	flood(b, sites[0], sites[1])
	_, _ = unix.Write(stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-stopped
	for _, fd := range append(fds[:], stop) {
		unix.Close(fd)
	}
}

// BenchmarkLiveClose closes 50 nets of four sites with their namespaces at once.
func BenchmarkLiveClose(b *testing.B) {
	netnstest.Require(b, "netns")
	for range b.N {
		b.StopTimer()
		f, err := live.Start(live.Options{})
		if err != nil {
			b.Fatal(err)
		}
		var spaces []*netns.NS
		for range 50 {
			n := newNet(b, f)
			for i := range 4 {
				ns, err := netns.New()
				if err != nil {
					b.Fatal(err)
				}
				if _, err := n.Attach(live.UplinkConfig{Name: fmt.Sprint(i), NS: ns}); err != nil {
					b.Fatal(err)
				}
				spaces = append(spaces, ns)
			}
		}
		b.StartTimer()
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
		for _, ns := range spaces {
			ns.Close()
		}
	}
}
