package live_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"golang.org/x/sys/unix"
)

// TestManyMembers: the counts of more members than one message holds arrive.
func TestManyMembers(t *testing.T) {
	n := newNet(t, start(t, live.Options{}))
	const routers = 700
	for i := range routers {
		wan := netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)})
		c := home(t, "full-cone", wan, lanA)
		newRouter(t, n, c)
	}
	for range 2 {
		s, err := n.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Routers) != routers || len(s.Uplinks) != routers || s.Routers[routers-1].Name != "home 203.0.2.187" {
			t.Errorf("counts of %d routers and %d uplinks, want %d", len(s.Routers), len(s.Uplinks), routers)
		}
	}
}

// TestLongRequests: what is too long is refused, and no net ends of it.
func TestLongRequests(t *testing.T) {
	n := newNet(t, start(t, live.Options{}))
	for _, size := range []int{100, 150_000, 190_000, 200_000, 208_000, 1_000_000} {
		name := strings.Repeat("x", size)
		err := n.Blackhole(name, "", true)
		if errors.Is(err, live.ErrFabricEnded) {
			t.Fatalf("a request of %d bytes: %v", size, err)
		}
		if err == nil || size < 192<<10 && !strings.Contains(err.Error(), name) {
			t.Errorf("a request of %d bytes: an error of %d bytes", size, len(fmt.Sprint(err)))
		}
		if _, err := n.Stats(); err != nil {
			t.Errorf("after a request of %d bytes: %v", size, err)
		}
	}
}

// TestOutOfDescriptors: a fabric process without room for a descriptor says so and goes on.
func TestOutOfDescriptors(t *testing.T) {
	netnstest.Require(t, "netns")
	f := start(t, live.Options{})
	n := newNet(t, f)
	a, b := newSite(t, n, "a", addrA, link.Profile{}), newSite(t, n, "b", addrB, link.Profile{})
	path := filepath.Join(t.TempDir(), "capture.pcapng")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var old unix.Rlimit
	if err := unix.Prlimit(f.PID(), unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(f.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max}, nil); err != nil {
		t.Fatal(err)
	}
	if err := n.Capture(file, live.CaptureOptions{}); err == nil || !strings.Contains(err.Error(), "descriptor") {
		t.Errorf("without a descriptor left: %v", err)
	}
	if err := unix.Prlimit(f.PID(), unix.RLIMIT_NOFILE, &old, nil); err != nil {
		t.Fatal(err)
	}
	if err := n.Capture(file, live.CaptureOptions{}); err != nil {
		t.Error(err)
	}
	a.send(t, b, "x")
	b.receive(t)
	if k, err := n.StopCapture(); k != 3 || err != nil {
		t.Errorf("captured %d packets, %v; want 3", k, err)
	}
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestErrorsLeaveNoDescriptors counts the descriptors of both processes.
func TestErrorsLeaveNoDescriptors(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		failAtAll(t, f, ns) // the runtime opens some of its own
		ours, theirs := descriptors(t, os.Getpid()), descriptors(t, f.PID())
		for range 3 {
			failAtAll(t, f, ns)
		}
		if a, b := descriptors(t, os.Getpid()), descriptors(t, f.PID()); a > ours || b > theirs {
			t.Errorf("%d descriptors here and %d in the fabric process; before the errors %d and %d", a, b, ours, theirs)
		}
	})
}

// failAtAll makes two nets, makes every mistake that brings a descriptor with it, and closes the nets.
func failAtAll(t *testing.T, f *live.Fabric, ns *netns.NS) {
	n, other := newNet(t, f), newNet(t, f)
	c := home(t, "full-cone", wanA, lanA)
	r, foreign := newRouter(t, n, c), newRouter(t, other, c)
	up, err := n.Attach(live.UplinkConfig{Name: "up", NS: ns, Addrs: []netip.Prefix{netip.PrefixFrom(serverAddr, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := n.Capture(file, live.CaptureOptions{}); err != nil {
		t.Fatal(err)
	}
	attach := func(c live.UplinkConfig) error {
		c.NS = ns
		_, err := n.Attach(c)
		return err
	}
	station := func(r *live.Router, addr netip.Prefix) error {
		_, err := r.Attach(live.StationConfig{Name: "s", NS: ns, Device: "e1", Addrs: []netip.Prefix{addr}})
		return err
	}
	broken, inner := c, c
	broken.Name, broken.NAT.External, broken.NS, broken.Device = "broken", nil, ns, "lan9"
	inner.Name, inner.Behind = "inner", foreign
	_, brokenErr := n.AttachRouter(broken)
	_, innerErr := n.AttachRouter(inner)
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"uplink of a name taken":         attach(live.UplinkConfig{Name: "up", Device: "w1"}),
		"uplink of an address taken":     attach(live.UplinkConfig{Name: "up2", Device: "w2", Addrs: []netip.Prefix{netip.PrefixFrom(wanA, 32)}}),
		"device taken":                   attach(live.UplinkConfig{Name: "up3"}),
		"device's name impossible":       attach(live.UplinkConfig{Name: "up4", Device: strings.Repeat("x", 40)}),
		"router without an address":      brokenErr,
		"router behind a foreign":        innerErr,
		"station of a wrong address":     station(r, netip.Prefix{}),
		"second capture":                 n.Capture(file, live.CaptureOptions{}),
		"monitor of no device":           n.Monitor("m", ns, "nowhere"),
		"station of a closed net":        station(foreign, netip.PrefixFrom(hostA, 24)),
		"capture of a closed net":        other.Capture(file, live.CaptureOptions{}),
		"monitor of a closed net":        other.Monitor("m", ns, "wan0"),
		"stop of a closed net's capture": func() error { _, err := other.StopCapture(); return err }(),
	} {
		if err == nil || errors.Is(err, live.ErrFabricEnded) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = n.StopCapture()
	if err := errors.Join(err, up.Close(), n.Close()); err != nil {
		t.Error(err)
	}
}

// TestForeignMembers: a member's number means nothing in another net.
func TestForeignMembers(t *testing.T) {
	f := start(t, live.Options{})
	n, other := newNet(t, f), newNet(t, f)
	r := newRouter(t, n, home(t, "full-cone", wanA, lanA))
	newRouter(t, other, home(t, "full-cone", wanA, lanA))
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"SetDown": r.SetDown(true), "Reset": r.Reset(1), "Unmap": r.Unmap(nat.PortMap{}), "SetProfile": r.Uplink().SetProfile(link.Profile{}),
	} {
		if err == nil || errors.Is(err, live.ErrFabricEnded) {
			t.Errorf("%s of a router of a closed net: %v", what, err)
		}
	}
	if s, err := other.Stats(); err != nil || len(s.Routers) != 1 {
		t.Errorf("the other net: %+v, %v", s, err)
	}
}

// TestFlood: a host that sends as fast as it can delays the packets of another net by little.
func TestFlood(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		loud, n := newNet(t, f), newNet(t, f)
		a, b := newSite(t, loud, "a", addrA, link.Profile{}), newSite(t, loud, "b", addrB, link.Profile{})
		c, d := newSite(t, n, "a", addrA, link.Profile{}), newSite(t, n, "b", addrB, link.Profile{})
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = a.conn.WriteToUDPAddrPort([]byte("flood"), b.addr)
				}
			}
		}()
		stats(t, loud, "the flood to come", func(s live.Stats) bool { return s.Uplinks[1].Down.Packets > 1000 })
		var took []time.Duration
		round := func() {
			took = took[:0]
			for i := range 50 {
				began := time.Now()
				c.send(t, d, fmt.Sprint(i))
				if got := d.receive(t); got != fmt.Sprint(i) {
					t.Errorf("received %q, want %d", got, i)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
		}
		// Others on this machine may keep the receiver waiting for a while, which is none of the flood's doing.
		const little = 20 * time.Millisecond
		end := time.Now().Add(patience)
		for round(); took[25] > little && time.Now().Before(end); {
			round()
		}
		close(stop)
		<-ended
		if took[25] > little {
			t.Errorf("beside a flood packets took %v, %v at the worst", took[25], took[49])
		}
		if s, err := n.Stats(); err != nil || s.DeviceDrops() != 0 {
			t.Errorf("dropped %d of the quiet net's packets, %v", s.DeviceDrops(), err)
		}
	})
}
