package netfilter_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
)

// peer is one end of a meeting.
type peer struct {
	*sock
	known []netip.AddrPort
	heard bool
}

// meet has two fresh sockets punch, in the given order of who starts, and reports whether both heard the other.
func meet(a, b *sock, srv *sock, starts [2]bool, wait time.Duration) bool {
	atA, atB := a.reaches(srv.addr, srv), b.reaches(srv.addr, srv)
	peers := [2]*peer{{sock: a, known: []netip.AddrPort{atB}}, {sock: b, known: []netip.AddrPort{atA}}}
	for round, silent := 0, 0; round < 6 && silent < 2; round++ { // the second time, all filters are open
		for i, p := range peers {
			if starts[i] || p.heard {
				for _, to := range p.known {
					p.send(to)
				}
			}
		}
		learned := false
		for _, p := range peers {
			learned = p.listen(wait) || learned
		}
		if peers[0].heard && peers[1].heard {
			return true
		}
		if silent++; learned {
			silent = 0
		}
	}
	return false
}

// listen takes what comes and reports whether it was news.
func (p *peer) listen(wait time.Duration) (news bool) {
	p.t.Helper()
	must(p.t, p.conn.SetReadDeadline(time.Now().Add(wait)))
	buf := make([]byte, 2048)
	for {
		_, from, err := p.conn.ReadFromUDPAddrPort(buf)
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			return news
		}
		if err != nil || from.Addr().Unmap() == serverAddrs[0] {
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if !p.heard || !slices.Contains(p.known, from) {
			p.heard, news = true, true
			if !slices.Contains(p.known, from) {
				p.known = append(p.known, from)
			}
		}
	}
}

// TestKernelAgreesWithOracle meets between all pairs of the nine on the real thing.
func TestKernelAgreesWithOracle(t *testing.T) {
	t.Parallel()
	core := newCore(t)
	home, away := newSite(t, core, wanA, "10.0", 1), newSite(t, core, wanB, "10.9", 1)
	srv := open(t, core, serverAddrs[0].String(), serverPorts[0])
	possible := func(wait time.Duration) bool {
		for _, starts := range [][2]bool{{true, true}, {true, false}, {false, true}} {
			must(t, home.router.Reset(1))
			must(t, away.router.Reset(2))
			if meet(home.host(0, 0), away.host(0, 0), srv, starts, wait) {
				return true
			}
		}
		return false
	}
	others := []string{"linux", "symmetric-sequential", "cgn-port-block"}
	presets := slices.DeleteFunc(supported(), func(p nat.Preset) bool {
		return !slices.Contains(others, p.Name) && (p.Behavior.Kind != nat.Translate || p.Behavior.UDPBlocked)
	})
	for _, a := range presets {
		home.install(a.Behavior)
		for _, b := range presets {
			away.install(b.Behavior)
			want := nat.Oracle([]nat.Behavior{a.Behavior}, []nat.Behavior{b.Behavior}) == nat.Direct
			got := possible(2 * time.Millisecond)
			if want && !got {
				got = possible(200 * time.Millisecond) // in case the machine was busy
			}
			if got != want {
				t.Errorf("%s × %s: direct is possible here: %v, says the oracle: %v", a.Name, b.Name, got, want)
			}
		}
	}
}

// TestNestedRouters puts a home behind a carrier and classifies the pair.
func TestNestedRouters(t *testing.T) {
	core := newCore(t)
	srv := startServer(t, core)
	carrier := newSite(t, core, wanA, "100.64", 0)
	home := newSite(t, carrier.ns, "100.64.0", "10.0", 1)
	// The carrier's side of the home's link must be one of its LAN devices.
	renameLink(t, carrier.ns, "to100.64.0", "lan0")
	for _, pair := range [][2]string{
		{"port-restricted-cone", "cgn-port-block"}, {"restricted-cone", "full-cone"}, {"full-cone", "adm-adf"},
		{"symmetric", "full-cone"}, {"full-cone", "symmetric"}, {"linux", "linux"},
	} {
		inner, outer := preset(t, pair[0]), preset(t, pair[1])
		home.install(inner)
		carrier.install(outer)
		r := classify(t, home.hosts[0], "10.0.0.2", srv)
		if err := r.Check([]nat.Behavior{inner, outer}); err != nil {
			t.Errorf("%s behind %s: %v", pair[0], pair[1], err)
		}
	}
	home.install(preset(t, "full-cone"))
	carrier.install(preset(t, "symmetric"))
	r := classify(t, home.hosts[0], "10.0.0.2", srv)
	if err := r.Check([]nat.Behavior{preset(t, "full-cone")}); err == nil {
		t.Errorf("%v passes for a full cone alone", r)
	}
}
