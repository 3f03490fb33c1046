package netfilter_test

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
)

var dependencies = []nat.Dependency{nat.EndpointIndependent, nat.AddressDependent, nat.AddressAndPortDependent}

// pair is one of the nine, with random ports.
func pair(m, f nat.Dependency) nat.Behavior {
	return nat.Behavior{Mapping: m, Filtering: f, PortAssignment: nat.PortRandom}
}

// TestGrid has one socket talk to all four server sockets and then each of these send to each mapping.
func TestGrid(t *testing.T) {
	b := newBench(t, 1)
	all := []*sock{b.server[0][0], b.server[0][1], b.server[1][0], b.server[1][1]}
	for _, m := range dependencies {
		for _, f := range dependencies {
			for _, perMapping := range []bool{false, true} {
				behavior := pair(m, f)
				behavior.FilterPerMapping = perMapping
				b.install(behavior)
				c := b.host(0, 0)
				var maps [4]netip.AddrPort
				for i, srv := range all {
					maps[i] = c.reaches(srv.addr, srv)
				}
				for i, mapping := range maps {
					for j, srv := range all {
						want := mayPass(behavior, i, j)
						from, got := srv.try(mapping, c, want)
						if got != want || got && from != srv.addr {
							t.Errorf("%v, filter per mapping %v: %v to the mapping for %v: passes %v (from %v), want %v",
								behavior, perMapping, srv.addr, all[i].addr, got, from, want)
						}
					}
				}
			}
		}
	}
}

// mayPass says whether server socket j may send to the mapping that was made for i, when the client has sent to all.
// 0 and 1 share an address, and so do 2 and 3.
func mayPass(b nat.Behavior, i, j int) bool {
	if !b.FilterPerMapping {
		return true
	}
	same := func(d nat.Dependency, x, y int) bool {
		return d == nat.EndpointIndependent || d == nat.AddressDependent && x/2 == y/2 || x == y
	}
	for k := range 4 {
		if same(b.Mapping, i, k) && same(b.Filtering, k, j) {
			return true
		}
	}
	return false
}

func TestHairpinning(t *testing.T) {
	t.Parallel()
	b := newBench(t, 2)
	srv := b.server[0][0]
	for _, mode := range []nat.Hairpinning{nat.HairpinNone, nat.HairpinInternalSource, nat.HairpinExternalSource} {
		for _, m := range dependencies {
			for _, f := range dependencies {
				for _, perMapping := range []bool{false, true} {
					behavior := pair(m, f)
					behavior.Hairpinning, behavior.FilterPerMapping = mode, perMapping
					b.install(behavior)
					x, y := b.host(0, 0), b.host(1, 0)
					atX, atY := x.reaches(srv.addr, srv), y.reaches(srv.addr, srv)
					_, cold := x.try(atY, y, mode != nat.HairpinNone && f == nat.EndpointIndependent)
					if cold != (mode != nat.HairpinNone && f == nat.EndpointIndependent) {
						t.Errorf("%v, hairpin %v: first packet passes: %v", behavior, mode, cold)
					}
					y.send(atX)
					// Per mapping, a filter that nothing has opened for this mapping stays shut; by the endpoint, the
					// sender's port must be the one that was contacted.
					want := mode != nat.HairpinNone && (f == nat.EndpointIndependent || m == nat.EndpointIndependent ||
						!perMapping && f == nat.AddressDependent)
					from, got := x.try(atY, y, want)
					if got != want {
						t.Errorf("%v, per mapping %v, hairpin %v: passes %v, want %v", behavior, perMapping, mode, got, want)
						continue
					}
					switch {
					case got && mode == nat.HairpinInternalSource && from != x.addr:
						t.Errorf("%v, hairpin %v: source is %v, want %v", behavior, mode, from, x.addr)
					case got && mode == nat.HairpinExternalSource && from.Addr() != atX.Addr():
						t.Errorf("%v, hairpin %v: source is %v, want one of %v", behavior, mode, from, atX.Addr())
					case got && mode == nat.HairpinExternalSource && m == nat.EndpointIndependent && from != atX:
						t.Errorf("%v, hairpin %v: source is %v, want %v", behavior, mode, from, atX)
					case got:
						y.reaches(from, x) // and the answer finds its way
					}
				}
			}
		}
	}
}

// TestReply has the host answer a packet that an endpoint-independent filter let in.
func TestReply(t *testing.T) {
	b := newBench(t, 1)
	first, stranger := b.server[0][0], b.server[1][1]
	for _, byNew := range []bool{false, true} {
		for _, m := range dependencies {
			behavior := pair(m, nat.EndpointIndependent)
			behavior.ReplyByNewMapping = byNew
			b.install(behavior)
			c := b.host(0, 0)
			mapping := c.reaches(first.addr, first)
			stranger.reaches(mapping, c)
			same := c.reaches(stranger.addr, stranger) == mapping
			if want := !byNew || m == nat.EndpointIndependent; same != want {
				t.Errorf("%v, reply by new mapping %v: answered from the same mapping %v, want %v", behavior, byNew, same, want)
			}
		}
	}
}

func TestLANToLANIsUntouched(t *testing.T) {
	b := newBench(t, 2)
	for _, name := range []string{"symmetric", "full-cone", "linux", "udp-blocked"} {
		b.install(preset(t, name))
		x, y := b.host(0, 0), b.host(1, 0)
		if from := x.reaches(y.addr, y); from != x.addr {
			t.Errorf("%s: source is %v, want %v", name, from, x.addr)
		}
		y.reaches(x.addr, x)
	}
	// And nobody gets from outside to an internal address, even by a route that leads here.
	b.install(preset(t, "full-cone"))
	must(t, addRouteTo(b.core, "10.0.0.0/16", wanA+".2"))
	y := b.host(1, 0)
	b.server[0][0].misses(y.addr, y)
}

// TestReset forgets mappings, on all engines of the package.
func TestReset(t *testing.T) {
	b := newBench(t, 1)
	for _, name := range []string{"full-cone", "symmetric", "cgn-port-block", "linux"} {
		r := b.install(preset(t, name))
		srv, c := b.server[0][0], b.host(0, 0)
		old := c.reaches(srv.addr, srv)
		srv.reaches(old, c)
		must(t, r.Reset(5))
		srv.misses(old, c)
		srv.reaches(c.reaches(srv.addr, srv), c)
	}
}

// until sends every few milliseconds until a packet no longer passes.
func until(t *testing.T, pass func() bool) {
	t.Helper()
	start := time.Now()
	for pass() {
		if time.Since(start) > comes {
			t.Fatalf("still passes after %v", time.Since(start))
		}
	}
}

func TestTimeoutAndRefresh(t *testing.T) {
	const life = 80 * time.Millisecond
	const inexact = 20 * time.Millisecond // the kernel's clock
	b := newBench(t, 1)
	srv := b.server[0][0]
	for _, test := range []struct {
		name                string
		noOutbound, inbound bool
		keptByOut, keptByIn bool
	}{
		{"outbound refreshes", false, false, true, false},
		{"both refresh", false, true, true, true},
		{"nothing refreshes", true, false, false, false},
		{"inbound refreshes", true, true, false, true},
	} {
		for _, f := range []nat.Dependency{nat.EndpointIndependent, nat.AddressAndPortDependent} {
			behavior := pair(nat.EndpointIndependent, f)
			behavior.UDPTimeout, behavior.NoOutboundRefresh, behavior.InboundRefresh = life, test.noOutbound, test.inbound
			b.install(behavior)
			// alive tells whether a mapping lets a packet in after twice its timeout, and how long at most nothing kept it meanwhile.
			alive := func(wait time.Duration, keep func(c *sock, mapping netip.AddrPort)) (got bool, longest time.Duration) {
				c := b.host(0, 0)
				last := time.Now()
				mapping := c.reaches(srv.addr, srv)
				kept := func(by func()) {
					before := time.Now()
					by()
					longest, last = max(longest, time.Since(last)), before
				}
				for start := time.Now(); time.Since(start) < 2*life; {
					kept(func() { keep(c, mapping) })
				}
				var token string
				kept(func() { token = srv.send(mapping) })
				_, got = c.receive(token, wait)
				return got, longest
			}
			// A busy machine may pause for longer than the timeout: that says nothing about what must be kept alive.
			kept := func(want bool, keep func(c *sock, mapping netip.AddrPort)) (got bool) {
				wait := never
				if want {
					wait = 50 * never
				}
				for end := time.Now().Add(comes); ; {
					got, longest := alive(wait, keep)
					if got || !want || longest < life-inexact || time.Now().After(end) {
						return got
					}
				}
			}
			pause := func() { c := time.After(life / 12); <-c }
			if kept(false, func(*sock, netip.AddrPort) { pause() }) {
				t.Errorf("%s, %v: an idle mapping outlives its timeout twice", test.name, behavior)
			}
			if got := kept(test.keptByOut, func(c *sock, _ netip.AddrPort) { c.send(srv.addr); pause() }); got != test.keptByOut {
				t.Errorf("%s, %v: kept by outbound packets: %v, want %v", test.name, behavior, got, test.keptByOut)
			}
			if got := kept(test.keptByIn, func(_ *sock, m netip.AddrPort) { srv.send(m); pause() }); got != test.keptByIn {
				t.Errorf("%s, %v: kept by inbound packets: %v, want %v", test.name, behavior, got, test.keptByIn)
			}
		}
	}
	// And it lasts as long as it should.
	behavior := pair(nat.EndpointIndependent, nat.AddressAndPortDependent)
	behavior.UDPTimeout = life
	b.install(behavior)
	c := b.host(0, 0)
	before := time.Now()
	mapping := c.reaches(srv.addr, srv)
	after := time.Now()
	var passed, ended time.Duration // how old it was at least when the last packet passed, and at most when one did not
	until(t, func() bool {
		age := time.Since(after)
		token := srv.send(mapping)
		ended = time.Since(before)
		_, ok := c.receive(token, 50*never)
		if ok {
			passed = age
		}
		return ok
	})
	if ended < life-inexact || passed > 3*life {
		t.Errorf("a mapping with a timeout of %v let a packet in after %v and none after %v", life, passed, ended)
	}
}

// TestEarlyPacket sends to a mapping's future endpoint before it exists. Only a Linux router without a firewall then
// moves the host to another port.
func TestEarlyPacket(t *testing.T) {
	b := newBench(t, 1)
	for name, moves := range map[string]bool{"port-restricted-cone": false, "linux": false, "linux-no-firewall": true} {
		b.install(preset(t, name))
		srv, c := b.server[0][0], b.host(0, 7000)
		srv.misses(at(wanA+".2", 7000), c)
		port := c.reaches(srv.addr, srv).Port()
		if moved := port != 7000; moved != moves {
			t.Errorf("%s: after an early inbound packet to 7000 the host has port %d", name, port)
		}
		must(t, c.conn.Close())
	}
}

func conntracks(t *testing.T, b *bench) string {
	t.Helper()
	var count []byte
	must(t, b.ns.Do(func() (err error) {
		count, err = os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		return err
	}))
	return strings.TrimSpace(string(count))
}

// TestNoTrace floods a router with what it does not let in, and looks for entries left behind.
func TestNoTrace(t *testing.T) {
	b := newBench(t, 1)
	for _, reaction := range []nat.Reaction{nat.Drop, nat.ICMP, nat.RST} {
		behavior := preset(t, "port-restricted-cone")
		behavior.Unsolicited = reaction
		b.install(behavior)
		for p := range uint16(50) {
			b.server[0][0].send(at(wanA+".2", 9000+p))
			_ = dialTCP(b.core, serverAddrs[0].String(), at(wanA+".2", 9000+p), 0)
		}
		if n := conntracks(t, b); n != "0" {
			t.Errorf("unsolicited %v: %s connections are tracked", reaction, n)
		}
	}
}
