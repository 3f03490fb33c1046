package live

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/internal/sniff"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"github.com/punchlab/punchlab/lab/packet"
	"golang.org/x/sys/unix"
)

// newTestLoop is a loop in this process whose turns the test takes.
func newTestLoop(t testing.TB) *loop {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLoop(pair[0], false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.finish()
		for _, fd := range []int{pair[0], pair[1], l.epoll, l.timer, l.writer.wake, l.queued.fd} {
			unix.Close(fd)
		}
	})
	return l
}

// forward moves the loop's clock.
func (l *loop) forward(d time.Duration) { l.start = l.start.Add(-d) }

// ask has the loop serve a request.
func (l *loop) ask(t testing.TB, o op, member uint32, fd int, body func(*encoder)) error {
	t.Helper()
	var e encoder
	if body != nil {
		body(&e)
	}
	return l.handle(&request{op: o, id: 1, net: 1, member: member, body: decoder{b: e.b}, fd: fd})
}

func (l *loop) mustAsk(t testing.TB, o op, member uint32, fd int, body func(*encoder)) {
	t.Helper()
	if err := l.ask(t, o, member, fd, body); err != nil && err != errLater {
		t.Fatalf("request %d: %v", o, err)
	}
}

func noProfile(e *encoder) {
	e.impairment(link.Impairment{}, 0)
	e.impairment(link.Impairment{}, 0)
}

var testWAN, testPeer = netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("198.51.100.9")

// outputs is a fabric.Output that takes everything.
type outputs struct{}

func (outputs) Deliver(*fabric.Packet) bool { return true }

// TestRequestsComeAfterWhatIsDue: what a router's table does by itself happens when it is due, also if a request about
// the router, by which its table learns the time, comes first.
func TestRequestsComeAfterWhatIsDue(t *testing.T) {
	l := newTestLoop(t)
	l.mustAsk(t, opNewNet, 0, -1, func(e *encoder) { e.u64(1) })
	lan := netip.MustParsePrefix("192.168.1.0/24")
	config := nat.Config{External: []netip.Addr{testWAN}, LAN: []netip.Prefix{lan}, Behavior: anyBehavior()}
	config.Behavior.Unsolicited = nat.RSTAfter6s
	l.mustAsk(t, opAttachRouter, 7, -1, func(e *encoder) {
		noProfile(e)
		e.json(routerBody{Name: "r", NAT: config, LAN: []netip.Prefix{lan}, WAN: []netip.Prefix{netip.PrefixFrom(testWAN, 32)}})
	})
	n := l.nets[1]
	u, err := n.Attach(fabric.UplinkConfig{Name: "peer", Routed: []netip.Prefix{netip.PrefixFrom(testPeer, 32)}, Output: outputs{}})
	if err != nil {
		t.Fatal(err)
	}
	var at []time.Duration
	n.SetTap(func(e fabric.TapEvent) {
		if e.Where == fabric.AtRouter && e.Point == fabric.Outbound {
			at = append(at, e.T)
		}
	})
	now := l.now()
	k := l.fab.Get()
	k.Set(syn(netip.AddrPortFrom(testPeer, 1), netip.AddrPortFrom(testWAN, 2)))
	u.Send(now, k)
	l.forward(10 * time.Second)
	l.mustAsk(t, opRouterPortMaps, 7, -1, nil)
	if want := now + 6*time.Second; len(at) != 1 || at[0] != want {
		t.Errorf("the table sent something at %v, want once at %v", at, want)
	}
}

// anyBehavior is one that the tests may change: full cone.
func anyBehavior() nat.Behavior {
	all := nat.Presets()
	return all[slices.IndexFunc(all, func(p nat.Preset) bool { return p.Name == "full-cone" })].Behavior
}

func syn(from, to netip.AddrPort) []byte {
	b := packet.AppendUDP(nil, from, to, make([]byte, packet.TCPHeaderLen-packet.UDPHeaderLen))
	b[9], b[10], b[11] = packet.ProtocolTCP, 0, 0
	sum := packet.Checksum(b[:packet.IPv4HeaderLen])
	b[10], b[11] = byte(sum>>8), byte(sum)
	s := b[packet.IPv4HeaderLen:]
	clear(s[4:])
	s[12], s[13] = 5<<4, packet.SYN
	sum = packet.PseudoChecksum(from.Addr(), to.Addr(), packet.ProtocolTCP, s)
	s[16], s[17] = byte(sum>>8), byte(sum)
	return b
}

func TestGather(t *testing.T) {
	for name, c := range map[string]struct {
		packets       int
		window        time.Duration // since it began
		more, precise bool
		want          bool
	}{
		"many packets":           {manyPackets, rateWindow, false, false, true},
		"few packets":            {manyPackets - 1, rateWindow, false, false, false},
		"many, but long ago":     {manyPackets, 2 * rateWindow, false, false, false},
		"many, and more waiting": {manyPackets, rateWindow, true, false, false},
		"many, but precise":      {manyPackets, rateWindow, false, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // the test's own thread may be slow
				l := &loop{start: time.Now(), packets: c.packets, more: c.more, precise: c.precise}
				l.forward(time.Second)
				now := l.now()
				l.window = now - c.window
				paused := l.gather()
				if l.window-now >= rateWindow && c.window < 2*rateWindow { // when gather looked, the window was another case's
					continue
				}
				if (paused >= gather) != c.want || l.more || l.packets != 0 {
					t.Errorf("paused for %v, want it to: %v; %d packets counted still", paused, c.want, l.packets)
				}
				return
			}
		})
	}
}

// TestStarvedPacketsAreLate: a packet that nobody could read for want of a buffer counts as late, whatever net filled
// the pool.
func TestStarvedPacketsAreLate(t *testing.T) {
	l := newTestLoop(t)
	l.fab = fabric.New(fabric.Config{MaxPackets: 1})
	l.mustAsk(t, opNewNet, 0, -1, func(e *encoder) { e.u64(1) })
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[1])
	l.mustAsk(t, opAttach, 3, pair[0], func(e *encoder) {
		e.impairment(link.Impairment{Delay: time.Second}, 0)
		e.impairment(link.Impairment{}, 0)
		e.json(uplinkBody{Name: "a", Routed: []netip.Prefix{netip.PrefixFrom(testPeer, 32)}, Device: deviceBody{Kind: kindPacket}})
	})
	frame := append([]byte{12: 8, 13: 0}, packet.AppendUDP(nil, netip.AddrPortFrom(testPeer, 1), netip.AddrPortFrom(testPeer, 2), nil)...)
	for range 2 {
		if rawWrite(pair[1], frame) != 0 {
			t.Fatal("cannot write to the device")
		}
	}
	ready := []unix.EpollEvent{{Fd: int32(l.nets[1].members[3].port.index)}}
	turn := func() {
		l.deliver()
		l.held = 0
		if err := l.turn(ready); err != nil {
			t.Fatal(err)
		}
	}
	turn()
	turn()
	l.forward(5 * time.Second)
	turn() // the first has left; the second is read
	l.forward(time.Second)
	l.deliver()
	s := l.nets[1].Stats(nil)
	if s.Uplinks[0].Down.Packets != 2 || s.Lateness.Max < 4500*time.Millisecond {
		t.Errorf("%d packets delivered, lateness %+v; want 2, the second waited for 5 s", s.Uplinks[0].Down.Packets, s.Lateness)
	}
	if turn(); l.starved != 0 {
		t.Error("the loop thinks that it is short of buffers still")
	}
}

// TestUnwatchableDevice: a descriptor that epoll refuses, as a file's, makes no member and stays the request's.
func TestUnwatchableDevice(t *testing.T) {
	l := newTestLoop(t)
	l.mustAsk(t, opNewNet, 0, -1, func(e *encoder) { e.u64(1) })
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var e encoder
	noProfile(&e)
	e.json(uplinkBody{Name: "a", Routed: []netip.Prefix{netip.PrefixFrom(testPeer, 32)}, Device: deviceBody{Kind: kindTUN}})
	for range 2 { // the name and the address are free again
		r := &request{op: opAttach, net: 1, member: 3, body: decoder{b: e.b}, fd: int(file.Fd())}
		err := l.handle(r)
		if err == nil || !strings.Contains(err.Error(), "watch descriptor") || r.fd < 0 {
			t.Errorf("%v, and the request's descriptor is %d", err, r.fd)
		}
		if n := l.nets[1]; len(n.members) != 0 || len(n.Stats(nil).Uplinks) != 0 || len(l.ports) > 1 || len(l.ports) == 1 && l.ports[0] != nil {
			t.Errorf("%d members and %d ports are left", len(n.members), len(l.ports))
		}
	}
}

// TestMonitorIsMuteAgain: a monitor costs its namespace nothing when no capture runs, and what it had seen before the
// capture's end is in the file.
func TestMonitorIsMuteAgain(t *testing.T) {
	netnstest.Require(t, "netns")
	l := newTestLoop(t)
	l.mustAsk(t, opNewNet, 0, -1, func(e *encoder) { e.u64(1) })
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	fd, sender := monitorLoopback(t, ns)
	defer unix.Close(sender)
	send := func(n int) {
		for range n {
			if err := unix.Sendto(sender, []byte("x"), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}); err != nil && err != unix.ECONNREFUSED {
				t.Fatal(err)
			}
		}
	}
	queued := func() bool {
		_, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err == nil
	}
	l.mustAsk(t, opMonitor, 0, fd, func(e *encoder) { e.text("lo") })
	for range 2 {
		if send(3); queued() {
			t.Error("a monitor without a capture receives")
		}
		file, err := os.Create(filepath.Join(t.TempDir(), "capture.pcapng"))
		if err != nil {
			t.Fatal(err)
		}
		kept, err := unix.Dup(int(file.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		file.Close()
		l.mustAsk(t, opCapture, 0, kept, func(e *encoder) { e.u32(0) })
		c := l.nets[1].capture
		const sent = 3 * readBurst
		send(sent)
		l.mustAsk(t, opStopCapture, 0, -1, nil)
		if c.packets < 2*sent || c.lost != 0 { // out and in again; and errors that nobody listens
			t.Errorf("%d packets in the capture and %d lost, want %d", c.packets, c.lost, 2*sent)
		}
	}
	if send(3); queued() {
		t.Error("a monitor receives after the capture")
	}
}

// monitorLoopback is a monitor of the namespace's loopback device, and a socket to send from.
func monitorLoopback(t *testing.T, ns *netns.NS) (fd, sender int) {
	t.Helper()
	err := ns.Do(func() error {
		nl, err := openNetlink()
		if err != nil {
			return err
		}
		defer unix.Close(nl)
		const loopback = 1
		var b batch
		b.up(loopback, 0, 0, false)
		if err := b.do(nl); err != nil {
			return err
		}
		if sender, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		fd, err = sniff.Open(loopback, true)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fd, sender
}
