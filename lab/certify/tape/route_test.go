package tape_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/topologies"
)

// between is a packet that a host exchanges with an address.
func between(host, own, other string, out bool) *tape.Packet {
	p := &tape.Packet{Host: host, Out: out}
	p.Src, p.Dst = netip.AddrPortFrom(netip.MustParseAddr(own), 1), netip.AddrPortFrom(netip.MustParseAddr(other), 2)
	if !out {
		p.Src, p.Dst = p.Dst, p.Src
	}
	return p
}

func TestRoutes(t *testing.T) {
	prefix := netip.MustParsePrefix
	addr := netip.MustParseAddr
	r := tape.Routes{
		Relays: []netip.Addr{addr("198.51.100.9"), addr("2001:db8:9::9")}, Servers: []netip.Addr{addr("198.51.100.1"), addr("198.51.100.9")},
		Public: []netip.Addr{addr("198.51.100.1"), addr("198.51.100.9"), addr("198.51.100.77")},
		Sites: map[string]*tape.Site{
			"carrier": {
				LAN: []netip.Prefix{prefix("100.64.0.0/24")}, Gateways: []netip.Addr{addr("100.64.0.1")}, WAN: []netip.Addr{addr("203.0.113.1")},
			},
			"home": {
				Behind: "carrier", LAN: []netip.Prefix{prefix("192.168.1.0/24"), prefix("2001:db8:1::/64")},
				Gateways: []netip.Addr{addr("192.168.1.1")}, WAN: []netip.Addr{addr("100.64.0.5")}, Net: []netip.Prefix{prefix("2001:db8:1::/48")},
			},
			"next": {Behind: "carrier", LAN: []netip.Prefix{prefix("192.168.2.0/24")}, WAN: []netip.Addr{addr("100.64.0.6")}},
			"away": {LAN: []netip.Prefix{prefix("192.168.3.0/24"), prefix("2001:db8:2::/64")}, WAN: []netip.Addr{addr("203.0.113.33")},
				Net: []netip.Prefix{prefix("2001:db8:2::/48")}},
		},
		Hosts: map[string][]string{"camera": {"home"}, "phone": {"away", "home"}, "viewer": {"away"}},
	}
	r.Plug("box", "home")
	r.Add("away", addr("203.0.113.34"))
	const cam, cam6 = "192.168.1.2", "2001:db8:1::2"
	for _, tt := range []struct {
		host, own, other string
		want             tape.Route
	}{
		{"camera", cam, "192.168.1.3", tape.Local},
		{"camera", cam, "192.168.1.1", tape.Other},
		{"camera", cam, "239.255.255.250", tape.Local},
		{"camera", cam, "255.255.255.255", tape.Local},
		{"camera", "fe80::1", "fe80::2", tape.Local},
		{"camera", cam6, "2001:db8:1::3", tape.Local},
		{"camera", cam6, "2001:db8:1:1::3", tape.Direct}, // behind another router of the site
		{"camera", cam, "100.64.0.5", tape.Hairpin},
		{"camera", cam, "203.0.113.1", tape.Hairpin},
		{"camera", cam, "100.64.0.1", tape.Other},
		{"camera", cam, "100.64.0.6", tape.Direct},
		{"camera", cam, "100.64.0.7", tape.Direct}, // a host of the carrier's LAN
		{"camera", cam, "203.0.113.33", tape.Direct},
		{"camera", cam, "203.0.113.34", tape.Direct}, // which it has got since
		{"camera", cam, "203.0.113.35", tape.Other},
		{"camera", cam, "192.168.3.2", tape.Other}, // of a LAN that is not seen from here
		{"camera", cam6, "2001:db8:2::2", tape.Direct},
		{"camera", cam6, "64:ff9b::203.0.113.33", tape.Direct},
		{"camera", cam6, "64:ff9b::198.51.100.9", tape.Relayed},
		{"camera", cam, "198.51.100.9", tape.Relayed}, // though it is a server, too
		{"camera", cam6, "2001:db8:9::9", tape.Relayed},
		{"camera", cam, "198.51.100.1", tape.Other},
		{"camera", cam, "198.51.100.77", tape.Direct},
		{"camera", cam, "192.0.2.1", tape.Other},
		{"viewer", "192.168.3.2", "203.0.113.1", tape.Direct},
		{"phone", "192.168.3.2", "203.0.113.1", tape.Direct},
		{"phone", "192.168.1.9", "203.0.113.1", tape.Hairpin},
		{"relay", "198.51.100.9", "203.0.113.1", tape.Relayed},
		{"rendezvous", "198.51.100.1", "203.0.113.1", tape.Other},
		{"attacker", "198.51.100.77", "203.0.113.1", tape.Direct},
		{"box", "192.168.1.250", "192.168.1.2", tape.Local},
	} {
		for _, out := range []bool{true, false} {
			p := between(tt.host, tt.own, tt.other, out)
			if got := r.Of(p); got != tt.want {
				t.Errorf("%s at %s with %s, out %v: %v, want %v", tt.host, tt.own, tt.other, out, got, tt.want)
			}
			if !r.By(tape.Other, tt.want)(p) || tt.want != tape.Other && r.By(tape.Other)(p) {
				t.Errorf("%s with %s does not match as it should", tt.host, tt.other)
			}
		}
	}
	want := []netip.Addr{addr("100.64.0.5"), addr("203.0.113.1")}
	if got := r.External("camera"); !slices.Equal(got, want) || r.External("relay") != nil {
		t.Errorf("camera's external addresses are %v, want %v", got, want)
	}
}

// Every topology's routes know the ways between its camera, viewer and rendezvous: by what the others see of each, now and later.
func TestRoutesOfTopologies(t *testing.T) {
	for _, name := range topologies.Names() {
		topo := load(t, name)
		r := tape.RoutesOf(topo, []string{"rendezvous"}, nil)
		cam, view := topo.SiteOf("camera"), topo.SiteOf("viewer")
		for _, a := range topo.HostAddr("rendezvous") {
			if got := r.Of(between("camera", topo.HostAddr("camera")[0].String(), a.String(), true)); got != tape.Relayed {
				t.Errorf("%s: from camera to the rendezvous: %v", name, got)
			}
		}
		if cam == nil || view == nil {
			continue
		}
		outer := topo.Outermost(view)
		want := tape.Direct
		if outer == topo.Outermost(cam) {
			want = tape.Hairpin
		}
		if view.Public() { // it is seen as itself
			continue
		}
		for _, a := range slices.Concat(outer.WAN, topo.OtherWAN(outer.Name)) {
			if got := r.Of(between("camera", topo.HostAddr("camera")[0].String(), a.String(), true)); got != want {
				t.Errorf("%s: from camera to the viewer's router, %v: %v, want %v", name, a, got, want)
			}
			if !slices.Contains(r.External("viewer"), a) {
				t.Errorf("%s: the viewer's external addresses %v have not %v", name, r.External("viewer"), a)
			}
		}
		for _, a := range view.Hosts {
			if cam == view && a.Addr.IsValid() {
				if got := r.Of(between("camera", cam.Hosts[0].Addr.String(), a.Addr.String(), false)); got != tape.Local {
					t.Errorf("%s: from viewer to camera: %v", name, got)
				}
			}
		}
		if a := view.Hosts[0].Addr6; a.IsValid() && cam != view && cam.HasIPv6() {
			if got := r.Of(between("camera", "2001:db8:ffff::1", a.String(), false)); got != tape.Direct {
				t.Errorf("%s: from %v to camera: %v", name, a, got)
			}
		}
	}
}
