package live_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
	"golang.org/x/sys/unix"
)

// stats waits until the counts meet the condition.
func stats(t *testing.T, n *live.Net, what string, ok func(live.Stats) bool) live.Stats {
	t.Helper()
	var s live.Stats
	await(t, what, func() bool {
		var err error
		if s, err = n.Stats(); err != nil {
			t.Fatal(err)
		}
		return ok(s)
	})
	return s
}

func TestLossIsCountedAndRepeats(t *testing.T) {
	netnstest.Require(t, "netns")
	n := newNet(t, start(t, live.Options{}))
	a := newSite(t, n, "a", addrA, link.Profile{Up: link.Impairment{Loss: 0.3}})
	b := newSite(t, n, "b", addrB, link.Profile{})
	const sent = 200
	round := func(seed uint64) (got []string) {
		if err := n.Reset(seed); err != nil {
			t.Fatal(err)
		}
		for i := range sent {
			a.send(t, b, fmt.Sprint(i))
		}
		s := stats(t, n, "all packets to be counted", func(s live.Stats) bool {
			return s.Uplinks[0].Up.Packets == sent && s.Uplinks[1].Down.Packets+s.Uplinks[0].Drops[link.Lost] == sent
		})
		if lost := s.Uplinks[0].Drops[link.Lost]; lost < 30 || lost > 90 {
			t.Errorf("%d of %d lost at 30 %%", lost, sent)
		}
		for range s.Uplinks[1].Down.Packets {
			got = append(got, b.receive(t))
		}
		return got
	}
	first, second, other := round(7), round(7), round(8)
	if strings.Join(first, " ") != strings.Join(second, " ") {
		t.Errorf("the same seed lost other packets: %v and then %v", first, second)
	}
	if strings.Join(first, " ") == strings.Join(other, " ") {
		t.Error("another seed lost the same packets")
	}
}

func TestNetsAreIsolated(t *testing.T) {
	netnstest.Require(t, "netns")
	f := start(t, live.Options{})
	const nets = 30
	type pair struct{ a, b *site }
	var pairs []pair
	var nn []*live.Net
	for range nets { // the same addresses in each
		n := newNet(t, f)
		nn = append(nn, n)
		pairs = append(pairs, pair{newSite(t, n, "a", addrA, delay(2*time.Millisecond)), newSite(t, n, "b", addrB, link.Profile{})})
	}
	var wg sync.WaitGroup
	for i, p := range pairs {
		wg.Go(func() {
			for k := range 20 {
				p.a.send(t, p.b, fmt.Sprint(i, " ", k))
			}
		})
	}
	wg.Wait()
	for i, p := range pairs {
		var got, want []string
		for k := range 20 {
			want = append(want, fmt.Sprint(i, " ", k))
		}
		for range want {
			text, err := p.b.receiveWithin(patience)
			if err != nil {
				got = append(got, err.Error())
				break
			}
			got = append(got, text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("net %d received (-want +got):\n%s", i, diff)
			s, err := nn[i].Stats()
			t.Logf("%+v %v", s, err)
		}
	}
}

func TestResetDropsWhatIsInFlight(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		way := 100 * time.Millisecond
		a, b := newSite(t, n, "a", addrA, delay(way)), newSite(t, n, "b", addrB, link.Profile{})
		for {
			began := time.Now()
			for i := range 50 {
				a.send(t, b, fmt.Sprint("old ", i))
			}
			if err := n.Reset(2); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took < way {
				break
			} else if took > patience {
				t.Fatalf("to send 50 packets and to reset took %v", took)
			}
			for { // the machine paused: some may have arrived before the Reset
				if _, err := b.receiveWithin(quick); err != nil {
					break
				}
			}
			way *= 4
			if err := a.up.SetProfile(delay(way)); err != nil {
				t.Fatal(err)
			}
		}
		s, err := n.Stats()
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range s.Uplinks {
			if u.Up.Packets != 0 || u.Down.Packets != 0 || u.Drops.Total() != 0 {
				t.Errorf("counts after Reset: %+v", u)
			}
		}
		a.send(t, b, "new")
		if got := b.receive(t); got != "new" {
			t.Errorf("after Reset %q was received, want only what was sent later", got)
		}
	})
}

// TestResetDropsWhatWaits: what waits in the devices when Reset is called was sent before it.
func TestResetDropsWhatWaits(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		// With this delay nothing arrives, should the fabric read it before the request.
		a, b := newSite(t, n, "a", addrA, delay(patience)), newSite(t, n, "b", addrB, link.Profile{})
		if err := unix.Kill(f.PID(), unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		for range 300 {
			a.send(t, b, "old")
		}
		time.AfterFunc(50*time.Millisecond, func() { _ = unix.Kill(f.PID(), unix.SIGCONT) })
		if err := n.Reset(2); err != nil {
			t.Fatal(err)
		}
		if s, err := n.Stats(); err != nil || s.Uplinks[0].Up.Packets != 0 {
			t.Errorf("after Reset %+v was read, %v", s.Uplinks[0].Up, err)
		}
	})
}

func TestTooBigIsAnswered(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		a := newSite(t, n, "a", addrA, link.Profile{})
		b := newSite(t, n, "b", addrB, link.Profile{Down: link.Impairment{MTU: 600}})
		raw, err := a.conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		})
		if err != nil {
			t.Fatal(err)
		}
		big := strings.Repeat("x", 1000)
		a.send(t, b, big)
		// The answer reaches the kernel, which then refuses to send such a packet.
		await(t, "EMSGSIZE from path MTU discovery", func() bool {
			_, err := a.conn.WriteToUDPAddrPort([]byte(big), b.addr)
			return errors.Is(err, unix.EMSGSIZE)
		})
		s, err := n.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if s.Uplinks[1].Drops[link.TooBig] == 0 {
			t.Errorf("b's drops: %v, want some that were too big", s.Uplinks[1].Drops)
		}
	})
}

func TestSetProfile(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		a, b := newSite(t, n, "a", addrA, link.Profile{Up: link.Impairment{Loss: 1}}), newSite(t, n, "b", addrB, link.Profile{})
		a.send(t, b, "lost")
		stats(t, n, "the loss", func(s live.Stats) bool { return s.Uplinks[0].Drops[link.Lost] == 1 })
		for _, mtu := range []int{1400, 1400, 0, 1300} {
			if err := a.up.SetProfile(link.Profile{Up: link.Impairment{MTU: mtu}}); err != nil {
				t.Fatal(err)
			}
		}
		a.send(t, b, "passed")
		if got := b.receive(t); got != "passed" {
			t.Errorf("received %q", got)
		}
		err := a.ns.Do(func() error {
			i, err := net.InterfaceByName("wan0")
			if err == nil && i.MTU != 1300 {
				err = fmt.Errorf("the device's MTU is %d, want 1300", i.MTU)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if err := a.up.SetProfile(link.Profile{Up: link.Impairment{Loss: 2}}); err == nil {
			t.Error("a loss of 2 was accepted")
		}
	})
}

func TestAttachAgain(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		for i, closeNet := range []bool{true, false, false} {
			n := newNet(t, f)
			u, err := n.Attach(live.UplinkConfig{Name: "a", NS: ns, Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}})
			if err != nil {
				t.Fatalf("attachment %d: %v", i+1, err)
			}
			if _, err := n.Attach(live.UplinkConfig{Name: "b", NS: ns}); err == nil {
				t.Error("a second uplink took the first one's device over")
			}
			if closeNet {
				err = n.Close()
			} else {
				err = u.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		err = ns.Do(func() error {
			_, err := net.InterfaceByName("wan0")
			return err
		})
		if err == nil {
			t.Error("the device outlived its closed uplink")
		}
	})
}

func TestAttachErrors(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		ns, err := netns.New()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		n := newNet(t, f)
		good := live.UplinkConfig{Name: "a", NS: ns, Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}
		for name, change := range map[string]func(*live.UplinkConfig){
			"no name":       func(c *live.UplinkConfig) { c.Name = "" },
			"no namespace":  func(c *live.UplinkConfig) { c.NS = nil },
			"long device":   func(c *live.UplinkConfig) { c.Device = "a-name-of-seventeen" },
			"bad profile":   func(c *live.UplinkConfig) { c.Profile.Down.Rate = -1 },
			"bad address":   func(c *live.UplinkConfig) { c.Addrs = []netip.Prefix{{}} },
			"double prefix": func(c *live.UplinkConfig) { c.Addrs = append(c.Addrs, c.Addrs[0]) },
		} {
			t.Run(name, func(t *testing.T) {
				c := good
				change(&c)
				if _, err := n.Attach(c); err == nil {
					t.Error("accepted")
				} else {
					t.Log(err)
				}
			})
		}
		if _, err := n.Attach(good); err != nil {
			t.Errorf("a good uplink after the bad ones: %v", err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if _, err := n.Attach(good); err == nil {
			t.Error("attached to a closed net")
		}
	})
}
