package portmap_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/portmap"
)

func TestPresetsAreValidAndDistinct(t *testing.T) {
	names, abouts := map[string]bool{}, map[string]bool{}
	for _, p := range portmap.Presets() {
		if err := p.Config.Validate(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if names[p.Name] || abouts[p.About] || p.About == "" {
			t.Errorf("preset %q (%s) repeats another, or says nothing", p.Name, p.About)
		}
		names[p.Name], abouts[p.About] = true, true
		if p.Config.Enabled() == (p.Name == "none") {
			t.Errorf("%s: enabled is %v", p.Name, p.Config.Enabled())
		}
		if got, ok := portmap.Lookup(p.Name); !ok || got != p.Config {
			t.Errorf("lookup of %s: %+v, %v", p.Name, got, ok)
		}
	}
	if _, ok := portmap.Lookup("upnpp"); ok {
		t.Error("a preset was found that is not there")
	}
	portmap.Presets()[0].Name = "changed"
	if portmap.Presets()[0].Name != "none" {
		t.Error("a caller changed the presets")
	}
}

func TestDefaults(t *testing.T) {
	want := portmap.Config{IGDVersion: 2, HTTPPort: 5000, MinLifetime: 2 * time.Minute, MaxLifetime: 24 * time.Hour}
	if d := cmp.Diff(want, portmap.Config{}.WithDefaults(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Errorf("defaults (-want +got):\n%s", d)
	}
	if got := (portmap.Config{MaxLifetime: time.Minute}).WithDefaults().MinLifetime; got != time.Minute {
		t.Errorf("the least lifetime under a greatest of 1m is %v", got)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for want, c := range map[string]portmap.Config{
		"NAT-PMP: unknown mode 9":    {NATPMP: 9},
		"IGD version 3":              {IGDVersion: 3},
		"lifetimes from 1ms":         {MinLifetime: time.Millisecond},
		"lifetimes from 2h0m0s":      {MinLifetime: 2 * time.Hour, MaxLifetime: time.Hour},
		"forget after -1s":           {ForgetAfter: -time.Second},
		"claimed external address :": {Claim: netip.IPv6Unspecified()},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}

func TestRouterMustBeWhole(t *testing.T) {
	gw := &fakeGateway{}
	whole := portmap.Router{Address: gateway, External: func() netip.Addr { return external }, Gateway: gw}
	for name, change := range map[string]func(*portmap.Router){
		"no address":   func(r *portmap.Router) { r.Address = netip.Addr{} },
		"IPv6":         func(r *portmap.Router) { r.Address = netip.IPv6LinkLocalAllNodes() },
		"no external":  func(r *portmap.Router) { r.External = nil },
		"no gateway":   func(r *portmap.Router) { r.Gateway = nil },
		"invalid mode": nil,
	} {
		r, c := whole, portmap.Config{}
		if change == nil {
			c.UPnP = 77
		} else {
			change(&r)
		}
		if _, err := portmap.NewCore(r, c, 0); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := portmap.NewCore(whole, portmap.Config{}, 0); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		portmap.OtherPort.String(): "other-port", portmap.Mode(99).String(): "Mode(99)",
		portmap.Foreign.String(): "not from the LAN", portmap.Reason(99).String(): "Reason(99)",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
