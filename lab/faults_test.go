package lab_test

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// do has an event happen and returns what takes it back.
func do(t *testing.T, l *lab.Lab, e lab.Event) (undo func()) {
	t.Helper()
	back, err := l.Do(e)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := back(); err != nil {
			t.Error(err)
		}
	}
}

// Events that change the same thing are undone one by one, in any order: what is left holds.
func TestOverlappingEvents(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		t.Run(engine, func(t *testing.T) {
			l := up(t, f, twoWays(t, engine))
			home := seenAs(l.Topology().Site("wifi").WAN[0])
			away := seenAs(l.Topology().Site("lte").WAN[0])
			for _, tt := range []struct {
				name          string
				first, second lab.Event
				want          func(*testing.T, *lab.Lab) // after the first was undone, and then the second
			}{
				{"two cuts", lab.Event{Do: lab.DoUplinkDown, Site: "wifi"}, lab.Event{Do: lab.DoUplinkDown, Site: "wifi"}, unreachable},
				{"a cut and a reboot", lab.Event{Do: lab.DoUplinkDown, Site: "wifi"}, lab.Event{Do: lab.DoReboot, Site: "wifi", For: 1}, unreachable},
				{"a reboot and a cut", lab.Event{Do: lab.DoReboot, Site: "wifi", For: 1}, lab.Event{Do: lab.DoUplinkDown, Site: "wifi"}, unreachable},
				{"two reboots", lab.Event{Do: lab.DoReboot, Site: "wifi", For: 1}, lab.Event{Do: lab.DoReboot, Site: "wifi", For: 1}, unreachable},
				{"two blackholes", lab.Event{Do: lab.DoBlackhole, Between: [2]string{"wifi", "rendezvous"}},
					lab.Event{Do: lab.DoBlackhole, Between: [2]string{"rendezvous", "wifi"}}, unreachable},
				{"two moves", lab.Event{Do: lab.DoMove, Host: "viewer", To: "lte"}, lab.Event{Do: lab.DoMove, Host: "viewer", To: "lte"}, away},
				{"there and back", lab.Event{Do: lab.DoMove, Host: "viewer", To: "lte"}, lab.Event{Do: lab.DoMove, Host: "viewer", To: "wifi"}, home},
				{"two readdresses", lab.Event{Do: lab.DoReaddress, Site: "wifi"}, lab.Event{Do: lab.DoReaddress, Site: "wifi"},
					seenAs(l.Topology().FreeWAN("wifi", 1)[0])},
				{"a preset and another", lab.Event{Do: lab.DoNAT, Site: "wifi", NAT: "full-cone"}, lab.Event{Do: lab.DoNAT, Site: "wifi", NAT: "udp-blocked"}, unreachable},
				{"a link and an MTU blackhole", lab.Event{Do: lab.DoLink, Site: "wifi", Link: "lan"}, lab.Event{Do: lab.DoMTUBlackhole, Site: "wifi", MTU: 600},
					largePacketsVanish},
			} {
				t.Run(tt.name, func(t *testing.T) {
					one, two := do(t, l, tt.first), do(t, l, tt.second)
					one()
					tt.want(t, l)
					one() // once is enough
					tt.want(t, l)
					two()
					home(t, l)
				})
			}
			t.Run("a fault within a fault", func(t *testing.T) {
				slow := do(t, l, lab.Event{Do: lab.DoLink, Site: "wifi", Link: "satellite"})
				do(t, l, lab.Event{Do: lab.DoMTUBlackhole, Site: "wifi", MTU: 600})()
				start := time.Now()
				home(t, l)
				if d := time.Since(start); d < 250*time.Millisecond {
					t.Errorf("a packet took %v: with the MTU blackhole the satellite link was undone as well", d)
				}
				slow()
			})
		})
	}
}

// An undo that comes after a Reset, or after Close, is of another time.
func TestUndoAfterReset(t *testing.T) {
	l := up(t, startFabric(t), twoWays(t, lab.EngineTable))
	late := do(t, l, lab.Event{Do: lab.DoUplinkDown, Site: "wifi"})
	if err := l.Reset(1); err != nil {
		t.Fatal(err)
	}
	again := do(t, l, lab.Event{Do: lab.DoUplinkDown, Site: "wifi"})
	late()
	unreachable(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	again()
	if _, err := l.Do(lab.Event{Do: lab.DoUplinkDown, Site: "wifi"}); err == nil {
		t.Error("an event happened in a closed lab")
	}
	if err := l.Reset(1); err == nil {
		t.Error("a closed lab was reset")
	}
}

// Events, undoing and Reset may come at once.
func TestEventsDuringReset(t *testing.T) {
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		t.Run(engine, func(t *testing.T) {
			l := up(t, f, twoWays(t, engine))
			var wg sync.WaitGroup
			for _, e := range []lab.Event{
				{Do: lab.DoReaddress, Site: "wifi"}, {Do: lab.DoMove, Host: "viewer", To: "lte"}, {Do: lab.DoNAT, Site: "wifi", NAT: "full-cone"},
				{Do: lab.DoReboot, Site: "wifi", For: 1}, {Do: lab.DoUplinkDown, Site: "wifi"},
			} {
				wg.Go(func() {
					for range 5 {
						undo, err := l.Do(e)
						if err == nil {
							err = undo()
						}
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			for range 5 {
				if err := l.Reset(1); err != nil {
					t.Error(err)
				}
			}
			wg.Wait()
			seenAs(l.Topology().Site("wifi").WAN[0])(t, l)
		})
	}
}

// While a router boots nothing passes it, on its LAN either, and its servers say nothing; what is behind it is cut off too.
func TestRouterIsSilentWhileItBoots(t *testing.T) {
	f := startFabric(t)
	for _, outer := range lab.RouterEngines() {
		for _, inner := range lab.RouterEngines() {
			t.Run(inner+" behind "+outer, func(t *testing.T) {
				topo := &lab.Topology{
					Name: "nested",
					Sites: []lab.Site{
						{Name: "outer", NAT: "full-cone", Engine: outer, Link: "lan", PortMap: "all", Hosts: []lab.Host{{Name: "a"}, {Name: "b"}}},
						{Name: "inner", NAT: "full-cone", Engine: inner, Behind: "outer", Hosts: []lab.Host{{Name: "c"}}},
					},
					Public: []lab.PublicHost{{Name: "rendezvous", Link: "lan"}},
				}
				if err := topo.Resolve(); err != nil {
					t.Fatal(err)
				}
				l := up(t, f, topo)
				pairs := [][2]string{{"a", "b"}, {"a", "rendezvous"}, {"c", "a"}, {"c", "rendezvous"}}
				lives := func(want bool) {
					t.Helper()
					within := patience
					if !want {
						within = 100 * time.Millisecond
					}
					for _, p := range pairs {
						if _, err := askWithin(t, l, within, p[0], p[1]); (err == nil) != want {
							t.Errorf("%s to %s: %v, want an answer: %v", p[0], p[1], err, want)
						}
					}
					if got := externalAddress(t, l, "a", topo.Site("outer").Gateway(), within); got != want {
						t.Errorf("the port mapping server answers: %v, want %v", got, want)
					}
				}
				lives(true)
				undo := do(t, l, lab.Event{Do: lab.DoReboot, Site: "outer", For: time.Second})
				lives(false)
				undo()
				lives(true)
			})
		}
	}
}

// The same by IPv6, where a router is a firewall.
func TestRouterIsSilentByIPv6(t *testing.T) {
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		t.Run(engine, func(t *testing.T) {
			l := up(t, f, on(t, engine, "dual-stack", "link", "lan"))
			reaches(t, l, "camera")
			undo := do(t, l, lab.Event{Do: lab.DoReboot, Site: "camera", For: time.Second})
			to := l.Host("rendezvous").Addrs
			six := netip.AddrPortFrom(to[len(to)-1], 7)
			if seen, err := askAt(t, l, 200*time.Millisecond, "camera", netip.AddrPortFrom(l.Host("camera").Addrs[1], 0), "rendezvous", six); err == nil {
				t.Errorf("a packet by IPv6 came through, from %v", seen)
			}
			undo()
			reaches(t, l, "camera")
		})
	}
}

// externalAddress asks a gateway by NAT-PMP and reports whether it answers (RFC 6886 §3.2).
func externalAddress(t *testing.T, l *lab.Lab, host string, gateway netip.Addr, patience time.Duration) bool {
	t.Helper()
	_, err := natPMP(t, l, host, gateway, patience, 0, 0)
	return err == nil
}

// natPMP sends a request to a gateway and returns its answer.
func natPMP(t *testing.T, l *lab.Lab, host string, gateway netip.Addr, patience time.Duration, request ...byte) ([]byte, error) {
	t.Helper()
	c := listen(t, l, host, netip.AddrPort{})
	defer c.Close()
	if _, err := c.WriteToUDPAddrPort(request, netip.AddrPortFrom(gateway, 5351)); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 100)
	n, _, err := c.ReadFromUDPAddrPort(b)
	return b[:n], err
}

// program counts what events do to it.
type program struct {
	runs, starts atomic.Int32
	err          error
}

func (p *program) Kill() { p.runs.Store(0) }
func (p *program) Start() error {
	p.starts.Add(1)
	p.runs.Store(1)
	return p.err
}

// A program stays dead as long as one event wants it so, also one that starts too late to see the event; what was forgotten
// is never started again.
func TestKill(t *testing.T) {
	l := up(t, startFabric(t), twoWays(t, lab.EngineTable))
	kill := lab.Event{Do: lab.DoKill, Host: "rendezvous"}
	one, two := do(t, l, kill), do(t, l, kill)
	late := &program{}
	late.runs.Store(1)
	forget := l.Host("rendezvous").Run(late)
	if one(); late.runs.Load() != 0 {
		t.Error("a program runs on a host where all are to be dead")
	}
	if two(); late.runs.Load() != 1 || late.starts.Load() != 1 {
		t.Errorf("after the last undo the program runs: %d, started %d times", late.runs.Load(), late.starts.Load())
	}
	undo := do(t, l, kill)
	forget()
	if undo(); late.starts.Load() != 1 {
		t.Error("a forgotten program was started again")
	}
	stuck := &program{err: errors.New("no memory")}
	defer l.Host("rendezvous").Run(stuck)()
	do(t, l, kill)
	if err := l.Reset(1); !errors.Is(err, stuck.err) {
		t.Errorf("reset: %v, want what the program said", err)
	}
	if stuck.err = nil; l.Reset(1) != nil || stuck.starts.Load() != 2 {
		t.Errorf("what could not be mended was not tried again: %d starts", stuck.starts.Load())
	}
}
