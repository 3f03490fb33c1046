package lab_test

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab"
)

// twoWays is a home with a host that can also hang on a mobile carrier's network.
func twoWays(t *testing.T, engine string) *lab.Topology {
	t.Helper()
	topo := &lab.Topology{
		Name: "two-ways",
		Sites: []lab.Site{
			{Name: "wifi", NAT: "port-restricted-cone", Link: "lan", Hosts: []lab.Host{{Name: "viewer"}}},
			{Name: "lte", NAT: "symmetric", Link: "lan", Hosts: []lab.Host{{Name: "viewer", Standby: true}}},
		},
		Public: []lab.PublicHost{{Name: "rendezvous", Link: "lan"}, {Name: "other", Link: "lan"}},
	}
	topo.UseEngine(engine)
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	return topo
}

// Every event does what it says, on either engine, and is undone by its undo and by a Reset.
func TestEvents(t *testing.T) {
	t.Parallel()
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		t.Run(engine, func(t *testing.T) {
			l := up(t, f, twoWays(t, engine))
			for _, tt := range []struct {
				event lab.Event
				want  func(t *testing.T, l *lab.Lab)
			}{
				{lab.Event{Do: lab.DoReaddress, Site: "wifi"}, seenAs(l.Topology().FreeWAN("wifi", 1)[0])},
				{lab.Event{Do: lab.DoUplinkDown, Site: "wifi"}, unreachable},
				{lab.Event{Do: lab.DoUplinkDown, Host: "rendezvous"}, unreachable},
				{lab.Event{Do: lab.DoBlackhole, Between: [2]string{"wifi", "rendezvous"}}, unreachable},
				{lab.Event{Do: lab.DoBlackhole, Between: [2]string{"wifi", "other"}}, seenAs(l.Topology().Site("wifi").WAN[0])},
				{lab.Event{Do: lab.DoReboot, Site: "wifi", For: time.Second}, unreachable},
				{lab.Event{Do: lab.DoReboot, Site: "wifi"}, seenAs(l.Topology().Site("wifi").WAN[0])},
				{lab.Event{Do: lab.DoMove, Host: "viewer", To: "lte"}, seenAs(l.Topology().Site("lte").WAN[0])},
				{lab.Event{Do: lab.DoNAT, Site: "wifi", NAT: "udp-blocked"}, unreachable},
				{lab.Event{Do: lab.DoMTUBlackhole, Site: "wifi", MTU: 600}, largePacketsVanish},
			} {
				t.Run(tt.event.String(), func(t *testing.T) {
					for _, mend := range []string{"undo", "reset"} {
						undo, err := l.Do(tt.event)
						if err != nil {
							t.Fatal(err)
						}
						tt.want(t, l)
						if mend == "reset" {
							undo = func() error { return l.Reset(1) }
						}
						if err := undo(); err != nil {
							t.Fatal(err)
						}
						seenAs(l.Topology().Site("wifi").WAN[0])(t, l)
						if t.Failed() {
							t.Fatalf("after %s", mend)
						}
					}
				})
			}
		})
	}
}

func seenAs(want netip.Addr) func(*testing.T, *lab.Lab) {
	return func(t *testing.T, l *lab.Lab) {
		t.Helper()
		switch seen, err := ask(t, l, "viewer", "rendezvous"); {
		case err != nil:
			t.Errorf("the viewer does not reach the rendezvous: %v", err)
		case seen.Addr() != want:
			t.Errorf("the viewer was seen as %v, want %v", seen, want)
		}
	}
}

func unreachable(t *testing.T, l *lab.Lab) {
	t.Helper()
	if seen, err := askWithin(t, l, 300*time.Millisecond, "viewer", "rendezvous"); err == nil {
		t.Errorf("the viewer reaches the rendezvous, as %v", seen)
	}
}

// largePacketsVanish: small ones pass, large ones don't, and nobody says why.
func largePacketsVanish(t *testing.T, l *lab.Lab) {
	t.Helper()
	seenAs(l.Topology().Site("wifi").WAN[0])(t, l)
	at := netip.AddrPortFrom(l.Host("rendezvous").Addr(), 8)
	server, client := listen(t, l, "rendezvous", at), listen(t, l, "viewer", netip.AddrPort{})
	defer server.Close()
	defer client.Close()
	for range 2 { // an ICMP error would come back by the second
		if _, err := client.WriteToUDPAddrPort(make([]byte, 1000), at); err != nil {
			t.Fatalf("the viewer was told that the packet is too large: %v", err)
		}
		server.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if _, _, err := server.ReadFromUDPAddrPort(make([]byte, 2000)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a large packet: %v, want nothing to arrive", err)
		}
	}
}

// A reboot loses the mappings: the rendezvous no longer reaches the viewer at the endpoint that it saw.
func TestRebootLosesMappings(t *testing.T) {
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		t.Run(engine, func(t *testing.T) {
			l := up(t, f, twoWays(t, engine))
			at := netip.AddrPortFrom(l.Host("rendezvous").Addr(), 9)
			server, client := listen(t, l, "rendezvous", at), listen(t, l, "viewer", netip.AddrPort{})
			if _, err := client.WriteToUDPAddrPort([]byte("hello"), at); err != nil {
				t.Fatal(err)
			}
			server.SetReadDeadline(time.Now().Add(patience))
			_, seen, err := server.ReadFromUDPAddrPort(make([]byte, 100))
			if err != nil {
				t.Fatal(err)
			}
			answer := func(within time.Duration) error {
				if _, err := server.WriteToUDPAddrPort([]byte("hello back"), seen); err != nil {
					t.Fatal(err)
				}
				client.SetReadDeadline(time.Now().Add(within))
				_, _, err := client.ReadFromUDPAddrPort(make([]byte, 100))
				return err
			}
			if err := answer(patience); err != nil {
				t.Fatalf("before the reboot: %v", err)
			}
			if _, err := l.Do(lab.Event{Do: lab.DoReboot, Site: "wifi"}); err != nil {
				t.Fatal(err)
			}
			if err := answer(time.Second); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("after the reboot: %v, want nothing to arrive", err)
			}
		})
	}
}

// A host on standby in two sites moves from one to the other, and home.
func TestStandbyInTwoSites(t *testing.T) {
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		for _, mode := range []string{"", "firewall"} {
			t.Run(engine+"/"+mode, func(t *testing.T) {
				topo := twoWays(t, engine)
				topo.Sites = append(topo.Sites, lab.Site{Name: "cafe", NAT: "full-cone", Engine: topo.Sites[0].Engine, Link: "lan",
					Hosts: []lab.Host{{Name: "viewer", Standby: true}, {Name: "guest"}}})
				for i := range topo.Sites {
					topo.Sites[i].IPv6 = mode
				}
				if err := topo.Resolve(); err != nil {
					t.Fatal(err)
				}
				l := up(t, f, topo)
				at := func(site string) func(*testing.T, *lab.Lab) { return seenAs(topo.Site(site).WAN[0]) }
				at("wifi")(t, l)
				one := do(t, l, lab.Event{Do: lab.DoMove, Host: "viewer", To: "lte"})
				at("lte")(t, l)
				two := do(t, l, lab.Event{Do: lab.DoMove, Host: "viewer", To: "cafe"})
				at("cafe")(t, l)
				if _, err := ask(t, l, "viewer", "guest"); err != nil {
					t.Errorf("on the cafe's LAN: %v", err)
				}
				two()
				at("lte")(t, l)
				one()
				at("wifi")(t, l)
				if mode != "" {
					reaches(t, l, "viewer")
				}
			})
		}
	}
}
