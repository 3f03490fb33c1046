package live_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/nat"
	"golang.org/x/sys/unix"
)

func TestRouterIPv6(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		server := newSite(t, n, "server", server6, link.Profile{})
		c := home(t, "full-cone", wanA, lanA)
		c.NAT.IPv6 = nat.IPv6Firewall
		c.NAT.LAN, c.LAN = append(c.NAT.LAN, lan6), append(c.LAN, lan6)
		c.Gateway6 = lan6.Addr().Next()
		c.WAN = append(c.WAN, lan6)
		r := newRouter(t, n, c)
		a, _ := newStation(t, r, c.Gateway6.Next(), live.StationConfig{})
		server.send(t, a, "unasked")
		a.nothing(t, "through the firewall")
		a.send(t, server, "ping")
		if from := server.receiveFrom(t, "ping"); from != a.addr {
			t.Errorf("the server saw %v, want %v", from, a.addr)
		}
		server.send(t, a, "pong")
		a.receiveFrom(t, "pong")
	})
}

func TestFaults(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		server := newSite(t, n, "server", serverAddr, link.Profile{})
		r := newRouter(t, n, home(t, "full-cone", wanA, lanA))
		a, station := newStation(t, r, hostA, live.StationConfig{})
		for name, fault := range map[string]func(on bool) error{
			"server's uplink": server.up.SetDown,
			"router's uplink": r.Uplink().SetDown,
			"router's WAN":    r.SetDown,
			"station's cable": station.SetDown,
			"blackhole":       func(on bool) error { return n.Blackhole(r.Name(), "server", on) },
			"wide blackhole":  func(on bool) error { return n.Blackhole("server", "", on) },
		} {
			if err := fault(true); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			a.send(t, server, "lost")
			server.nothing(t, name)
			if err := fault(false); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			a.send(t, server, name)
			server.receiveFrom(t, name)
		}
		if err := n.Blackhole("server", "nobody", true); err == nil {
			t.Error("a blackhole to nobody was accepted")
		}
	})
}

// TestStandby: a device on standby has its addresses and no way out.
func TestStandby(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		r := newRouter(t, n, home(t, "full-cone", wanA, lanA))
		a, _ := newStation(t, r, hostA, live.StationConfig{Standby: true})
		if _, err := a.conn.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(serverAddr, 7000)); !errors.Is(err, unix.ENETUNREACH) {
			t.Errorf("sent to the internet: %v, want %v", err, unix.ENETUNREACH)
		}
		b, _ := newStation(t, r, hostA2, live.StationConfig{})
		b.send(t, a, "neighbor")
		a.receiveFrom(t, "neighbor")
	})
}

func TestUplinkRouted(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		server := newSite(t, n, "server", serverAddr, link.Profile{})
		a := newSite(t, n, "a", addrA, link.Profile{})
		if err := a.up.SetRouted([]netip.Prefix{netip.PrefixFrom(addrB, 32)}); err != nil {
			t.Fatal(err)
		}
		server.send(t, a, "to the former address")
		a.nothing(t, "to an address that is no longer routed")
		if err := a.ns.Do(func() error { return addLoopback(a.ns, addrB) }); err != nil {
			t.Fatal(err)
		}
		moved := listen(t, a.ns, netip.AddrPortFrom(addrB, 7000))
		server.send(t, moved, "to the new one")
		moved.receiveFrom(t, "to the new one")
	})
}

func TestRouterErrors(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n, other := newNet(t, f), newNet(t, f)
		good := home(t, "full-cone", wanA, lanA)
		elsewhere := newRouter(t, other, good)
		ns := kernelRouter(t)
		for name, change := range map[string]func(*live.RouterConfig){
			"no name":      func(c *live.RouterConfig) { c.Name = "" },
			"bad behavior": func(c *live.RouterConfig) { c.NAT.Behavior = nat.Behavior{} },
			"bad profile":  func(c *live.RouterConfig) { c.Profile.Up.Loss = 2 },
			"other net":    func(c *live.RouterConfig) { c.Behind = elsewhere },
			"two places":   func(c *live.RouterConfig) { c.Behind, c.NS = elsewhere, ns },
			"no device":    func(c *live.RouterConfig) { c.NS = ns },
			"long device":  func(c *live.RouterConfig) { c.NS, c.Device = ns, "a-name-of-seventeen" },
			"bad prefix":   func(c *live.RouterConfig) { c.WAN = append(c.WAN, netip.Prefix{}) },
		} {
			c := good
			change(&c)
			if _, err := n.AttachRouter(c); err == nil {
				t.Errorf("%s: accepted", name)
			} else {
				t.Log(err)
			}
		}
		r := newRouter(t, n, good)
		if _, err := n.AttachRouter(good); err == nil {
			t.Error("a second router of the same name was accepted")
		}
		if _, err := r.Attach(live.StationConfig{Name: "x"}); err == nil {
			t.Error("a station without a namespace was accepted")
		}
		_, first := newStation(t, r, hostA, live.StationConfig{})
		if _, err := r.Attach(live.StationConfig{Name: "x", NS: ns, Addrs: []netip.Prefix{netip.PrefixFrom(hostA, 24)}}); err == nil {
			t.Error("a second station of the same address was accepted")
		}
		if err := first.Close(); err != nil {
			t.Error(err)
		}
		if _, err := r.Attach(live.StationConfig{Name: "x", NS: ns, Addrs: []netip.Prefix{netip.PrefixFrom(hostA, 24)}}); err != nil {
			t.Errorf("a station in place of a closed one: %v", err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if err := r.Reset(1); err == nil {
			t.Error("reset a router of a closed net")
		}
	})
}

func TestTracedLink(t *testing.T) {
	both(t, func(t *testing.T, f *live.Fabric) {
		n := newNet(t, f)
		trace := &link.Trace{Name: "ten a second", Times: []uint32{100}}
		slow := link.Profile{Up: link.Impairment{Trace: trace}, Down: link.Impairment{Trace: trace}}
		a, b := newSite(t, n, "a", addrA, slow), newSite(t, n, "b", addrB, link.Profile{})
		began := time.Now()
		payload := fmt.Sprintf("%01400d", 1)
		a.send(t, b, payload)
		a.send(t, b, payload)
		b.receive(t)
		b.receive(t)
		if d := time.Since(began); d < 200*time.Millisecond {
			t.Errorf("two packets passed in %v, want at least 200ms at ten a second", d)
		}
	})
}
