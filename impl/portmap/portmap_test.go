package portmap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start maps a port at a gateway that speaks PCP.
func start(t *testing.T, life time.Duration) (*fakeNet, *pcpGateway, *Mapping) {
	t.Helper()
	g := &pcpGateway{started: time.Now().Add(-time.Hour), external: fakeExternal, life: life}
	n := &fakeNet{t: t, datagram: g.handle}
	m, err := Map(t.Context(), n.config())
	must(t, err)
	return n, g, m
}

// changed says whether a change was signalled.
func changed(m *Mapping) bool {
	synctest.Wait()
	select {
	case <-m.Changed():
		return true
	default:
		return false
	}
}

// A mapping is renewed by the same nonce, lost when its life ends in silence, found again, and deleted at last.
func TestMappingLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, g, m := start(t, 2*time.Minute)
		want := netip.AddrPortFrom(fakeExternal, fakeInternal.Port())
		if m.External() != want || m.Method() != PCP || changed(m) {
			t.Errorf("%v by %v", m.External(), m.Method())
		}
		time.Sleep(10*time.Minute + time.Second)
		if k := g.count(); k != 11 || m.External() != want || changed(m) {
			t.Errorf("asked %d times in ten minutes; %v", k, m.External())
		}
		g.set(func() { g.silent = true })
		time.Sleep(90 * time.Second)
		if m.External() != want {
			t.Error("lost before its life had ended")
		}
		time.Sleep(time.Minute)
		if m.External().IsValid() || !changed(m) {
			t.Errorf("not lost: %v", m.External())
		}
		g.set(func() { g.silent = false })
		time.Sleep(lastAgain + 5*time.Second)
		if m.External() != want || !changed(m) {
			t.Errorf("not found again: %v", m.External())
		}
		must(t, m.Close())
		must(t, m.Close())
		if _, open := <-m.Changed(); open || g.deletes != 1 || m.External().IsValid() {
			t.Errorf("closed: %d deletions, %v", g.deletes, m.External())
		}
		m.Seen(netip.Addr{})
		for _, b := range n.requests {
			if !bytes.Equal(b[pcpHeaderSize:pcpHeaderSize+pcpNonceSize], bytes.Repeat([]byte{7}, pcpNonceSize)) {
				t.Errorf("another nonce: %x", b)
			}
		}
	})
}

// The gateway's announcement of a lost state has the mapping asked for at once; one that fits the epoch, is somebody else's or
// is no announcement does not.
func TestAnnouncements(t *testing.T) {
	pcp := func(epoch uint32) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{pcpVersion, pcpResponse | pcpAnnounce, 0, 0, 0, 0, 0, 0}, epoch), make([]byte, 12)...)
	}
	pmp := func(epoch uint32, a netip.Addr) []byte {
		x := a.As4()
		return append(binary.BigEndian.AppendUint32([]byte{pmpVersion, pmpResponse, 0, 0}, epoch), x[:]...)
	}
	synctest.Test(t, func(t *testing.T) {
		n, g, m := start(t, time.Hour)
		for _, c := range []struct {
			name string
			from netip.Addr
			b    func() []byte
			asks bool
		}{
			{"PCP, a new epoch", fakeGateway, func() []byte { return pcp(0) }, true},
			{"NAT-PMP, a new epoch", fakeGateway, func() []byte { return pmp(1, fakeExternal) }, true},
			{"NAT-PMP, another address", fakeGateway, func() []byte { return pmp(g.epoch(), netip.MustParseAddr("203.0.113.6")) }, true},
			{"the same epoch", fakeGateway, func() []byte { return pcp(g.epoch()) }, false},
			{"the same epoch and address", fakeGateway, func() []byte { return pmp(g.epoch(), fakeExternal) }, false},
			{"a stranger's", netip.MustParseAddr("192.168.1.66"), func() []byte { return pcp(0) }, false},
			{"truncated", fakeGateway, func() []byte { return pcp(0)[:11] }, false},
			{"a request", fakeGateway, func() []byte { return append([]byte{2, 0}, make([]byte, 22)...) }, false},
		} {
			time.Sleep(1500 * time.Millisecond)
			before := g.count()
			n.announce(netip.AddrPortFrom(c.from, 5351), c.b())
			synctest.Wait()
			if asked := g.count() > before; asked != c.asks {
				t.Errorf("%s: asked %v, want %v", c.name, asked, c.asks)
			}
		}
		must(t, m.Close())
	})
}

// Another external address counts once the rendezvous sees it too.
func TestAnotherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, g, m := start(t, time.Hour)
		next := netip.MustParseAddr("203.0.113.99")
		g.set(func() { g.external = next })
		m.Check()
		if !changed(m) || m.External().IsValid() {
			t.Errorf("believed: %v", m.External())
		}
		m.Seen(next)
		if !changed(m) || m.External().Addr() != next {
			t.Errorf("not believed: %v", m.External())
		}
		m.Seen(fakeExternal)
		if !changed(m) || m.External().IsValid() {
			t.Errorf("still believed: %v", m.External())
		}
		must(t, m.Close())
	})
}

// Answers that are not the gateway's, not to our request, or that grant nothing, map nothing.
func TestForgedAnswers(t *testing.T) {
	truncated := func(k int) func([]byte) []byte { return func(b []byte) []byte { return b[:k] } }
	change := func(at int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = v; return b }
	}
	zero := func(at, k int) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[at : at+k]); return b }
	}
	cases := map[string]func([]byte) []byte{
		"another nonce": change(pcpHeaderSize, 9), "another protocol": change(pcpHeaderSize+12, 6), "another internal port": change(pcpHeaderSize+17, 9),
		"no port": zero(pcpHeaderSize+18, 2), "no lifetime": zero(4, 4), "an error": change(3, 8), "a request": change(1, 1), "another version": change(0, 9),
		"no address": zero(pcpHeaderSize+32, 4), "a private address": change(pcpHeaderSize+32, 10), "another address": change(pcpHeaderSize+35, 77),
	}
	for k := range pcpHeaderSize + pcpMapSize {
		cases[fmt.Sprintf("%d bytes", k)] = truncated(k)
	}
	for name, f := range cases {
		synctest.Test(t, func(t *testing.T) {
			g := &pcpGateway{started: time.Now(), external: fakeExternal, life: time.Hour}
			n := &fakeNet{t: t, datagram: func(to netip.AddrPort, b []byte) (netip.AddrPort, [][]byte) {
				from, as := g.handle(to, b)
				for i := range as {
					as[i] = f(as[i])
				}
				return from, as
			}}
			if m, err := Map(t.Context(), n.config()); err == nil {
				t.Errorf("%s: mapped to %v", name, m.External())
				must(t, m.Close())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		g := &pcpGateway{started: time.Now(), external: fakeExternal, life: time.Hour}
		n := &fakeNet{t: t, datagram: func(to netip.AddrPort, b []byte) (netip.AddrPort, [][]byte) {
			_, as := g.handle(to, b)
			return netip.MustParseAddrPort("192.168.1.66:5351"), as
		}}
		if _, err := Map(t.Context(), n.config()); !errors.Is(err, ErrNoService) {
			t.Errorf("a stranger's answer: %v", err)
		}
	})
}

// Lies about where the gateway's services are lead nowhere: the test's network fails on connections to anyone else.
func TestUPnPStaysAtTheGateway(t *testing.T) {
	answer := func(location string) []byte {
		return []byte("HTTP/1.1 200 OK\r\nST: " + gatewayDevice + "\r\nLOCATION: " + location + "\r\nUSN: x\r\n\r\n")
	}
	good := "http://192.168.1.1:5000/desc.xml"
	description := func(base, control string) string {
		return `<root xmlns="urn:schemas-upnp-org:device-1-0"><URLBase>` + base + `</URLBase><device><serviceList><service><serviceType>` +
			connections[1] + `</serviceType><controlURL>` + control + `</controlURL></service></serviceList></device></root>`
	}
	page := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	for _, c := range []struct {
		name, location string
		http           http.HandlerFunc
	}{
		{"description elsewhere", "http://192.0.2.1:80/desc.xml", nil},
		{"description by name", "http://victim.example/desc.xml", nil},
		{"description by https", "https://192.168.1.1:5000/desc.xml", nil},
		{"no location", "::", nil},
		{"control elsewhere", good, page(description("", "http://192.0.2.1/ctl"))},
		{"base elsewhere", good, page(description("http://192.0.2.1/", "/ctl"))},
		{"redirection", good, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		}},
		{"no service", good, page(`<root xmlns="urn:schemas-upnp-org:device-1-0"><device></device></root>`)},
		{"endless description", good, func(w http.ResponseWriter, _ *http.Request) {
			for _, err := io.WriteString(w, "<root>"); err == nil; {
				_, err = io.WriteString(w, strings.Repeat("<a>", 1000))
			}
		}},
		{"endless answer", good, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				_, _ = io.WriteString(w, description("", "/ctl"))
				return
			}
			for _, err := io.WriteString(w, "<a>"); err == nil; {
				_, err = io.WriteString(w, strings.Repeat("<a>", 1000))
			}
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := &fakeNet{t: t, http: c.http, datagram: func(to netip.AddrPort, _ []byte) (netip.AddrPort, [][]byte) {
				if to != netip.AddrPortFrom(fakeGateway, 1900) {
					return to, nil
				}
				return to, [][]byte{[]byte("HTTP/1.1"), answer(c.location)}
			}}
			cfg := n.config()
			cfg.Methods = []Method{UPnP}
			if m, err := Map(t.Context(), cfg); err == nil {
				t.Errorf("%s: mapped to %v", c.name, m.External())
				must(t, m.Close())
			}
			n.writers.Wait()
		})
	}
}

func TestLostState(t *testing.T) {
	for _, c := range []struct {
		before, after uint32
		passed        time.Duration
		want          bool
	}{
		{1000, 1060, time.Minute, false},
		{1000, 1057, time.Minute, false}, // a slow clock, 1/16 and 2 s
		{1000, 1063, time.Minute, false},
		{1000, 1000, time.Minute, true},
		{1000, 3, time.Minute, true},
		{1000, 999, 0, false},
		{1000, 998, 0, true},
		{1000, 1100, time.Minute, true},
		{0, 7200, 2 * time.Hour, false},
		{0, 6800, 2 * time.Hour, false},
		{0, 6700, 2 * time.Hour, true},
	} {
		if got := lostState(c.before, c.after, c.passed); got != c.want {
			t.Errorf("epoch %d, %v later %d: lost %v", c.before, c.passed, c.after, got)
		}
	}
}

func TestConfig(t *testing.T) {
	n := &fakeNet{t: t}
	for name, change := range map[string]func(*Config){
		"no gateway":   func(c *Config) { c.Gateway = netip.Addr{} },
		"IPv6 gateway": func(c *Config) { c.Gateway = netip.MustParseAddr("fe80::1") },
		"no internal":  func(c *Config) { c.Internal = netip.AddrPort{} },
		"any address":  func(c *Config) { c.Internal = netip.MustParseAddrPort("0.0.0.0:5000") },
		"port 0":       func(c *Config) { c.Internal = netip.MustParseAddrPort("192.168.1.2:0") },
		"SCTP":         func(c *Config) { c.Transport = 132 },
		"negative":     func(c *Config) { c.Timeout = -1 },
	} {
		c := n.config()
		change(&c)
		if _, err := Map(t.Context(), c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
