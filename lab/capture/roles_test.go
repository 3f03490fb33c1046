package capture

import (
	"net/netip"
	"strings"
	"testing"
)

// moving has a phone that can be on two LANs, a site of a host's name, a router behind another one and a shared one.
var moving = Roles{
	Viewer: "phone", Rendezvous: "rendezvous", Camera: "camera",
	Hosts: []Host{
		{Name: "phone", Behind: "wifi"}, {Name: "phone", Behind: "carrier"}, {Name: "camera", Behind: "camera"}, {Name: "shed/light", Behind: "shed"},
		{Name: "rendezvous", Addrs: []netip.Addr{rendezvousEnd.Addr()}},
	},
	Routers: []Router{{Name: "wifi"}, {Name: "carrier"}, {Name: "camera", Behind: "carrier", Addrs: []netip.Addr{cameraWAN}}, {Name: "shed"}},
}

func TestPlaces(t *testing.T) {
	for i, want := range map[Interface][2]string{
		{"uplink", "rendezvous"}:     {"rendezvous", "uplink rendezvous"},
		{"uplink", "wifi"}:           {"router wifi", "uplink wifi"},
		{"router", "camera"}:         {"router camera", ""},
		{"station", "wifi/phone"}:    {"phone", "wifi/phone"},
		{"monitor", "carrier/phone"}: {"phone", "carrier/phone"},
		{"station", "camera/camera"}: {"camera", "camera/camera"},
		{"monitor", "camera"}:        {"router camera", "carrier/camera"},
		{"station", "shed/light"}:    {"shed/light", "shed/shed/light"},
		{"monitor", "stranger"}:      {"stranger", ""},
	} {
		node, cable := moving.place(i)
		if got := [2]string{node, cable}; got != want {
			t.Errorf("%v is at %q, want %q", i, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for node, want := range map[string]string{
		"phone": "the viewer", "camera": "the camera", "rendezvous": "the rendezvous", "": "the network", "shed/light": "shed/light",
		"router wifi": "the viewer's router wifi", "router carrier": "the shared router carrier", "router camera": "the camera's router camera",
		"router shed": "router shed",
	} {
		if got := moving.name(node); got != want {
			t.Errorf("%q is called %q, want %q", node, got, want)
		}
	}
	if got := moving.owner(cameraWAN); got != "router camera" {
		t.Errorf("%v belongs to %q", cameraWAN, got)
	}
}

func TestLanes(t *testing.T) {
	l := Timeline{view: View{Roles: moving}}
	l.lanes()
	var got []string
	for _, k := range l.Lanes {
		got = append(got, k.Title+" "+k.Name)
	}
	if s, want := strings.Join(got, ", "), "viewer phone, viewer's router wifi, shared router carrier, rendezvous rendezvous, camera's router camera, camera camera"; s != want {
		t.Errorf("lanes are %s; want %s", s, want)
	}
}

func TestBadRolesAreRefused(t *testing.T) {
	for want, change := range map[string]func(r *Roles){
		`viewer "x" is not one of the hosts`:              func(r *Roles) { r.Viewer = "x" },
		`host y is behind "x", which is not one of`:       func(r *Roles) { r.Hosts = append(r.Hosts, Host{Name: "y", Behind: "x"}) },
		`router y is behind "x", which is not one of the`: func(r *Roles) { r.Routers = append(r.Routers, Router{Name: "y", Behind: "x"}) },
	} {
		r := moving
		r.Hosts, r.Routers = append([]Host(nil), r.Hosts...), append([]Router(nil), r.Routers...)
		change(&r)
		if _, err := (&Trace{}).Follow(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
