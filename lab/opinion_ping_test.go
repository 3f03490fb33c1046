package lab_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/netns/netnstest"
)

// coreAddress is where the core's errors come from: it is no host (RFC 7600 §4.8).
var coreAddress = netip.MustParseAddr("192.0.0.8")

// TestPingCountsTheRouters lets TTLs expire on every hop, as traceroute does. Each router counts one down, and answers from
// the side that the packet came from (RFC 1812 §4.3.2.4):
//
//	camera ── gateway [camera] ── gateway [box] ── core, core, core ── rendezvous
//	viewer ── gateway [viewer] ── core, core, core ── WAN [carrier] ── WAN [camera] ── camera
func TestPingCountsTheRouters(t *testing.T) {
	netnstest.Require(t, "ping")
	f := startFabric(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, outer := range lab.RouterEngines() {
		for _, nats := range []string{"port-restricted-cone", "symmetric", "linux", "firewall"} {
			l := up(t, f, on(t, outer, "two-homes", "camera.nat", nats, "link", "lan"))
			wg.Go(func() { expire(t, l, outer+", "+nats, "camera", "rendezvous") })
		}
		for _, inner := range lab.RouterEngines() {
			name := inner + " behind " + outer
			l := up(t, f, on(t, outer, "double-nat", "camera.engine", inner, "link", "lan"))
			wg.Go(func() { expire(t, l, name, "camera", "rendezvous") })
			public := up(t, f, on(t, outer, "cgn", "camera.engine", inner, "carrier.nat", "open", "camera.nat", "open", "link", "lan"))
			wg.Go(func() {
				expire(t, public, name+", open", "camera", "rendezvous")
				expire(t, public, name+", open", "viewer", "camera")
			})
		}
	}
}

// expire compares the hops between two hosts with those of the topology.
func expire(t *testing.T, l *lab.Lab, name, from, to string) {
	out, in := sitesFrom(l.Topology(), from), sitesFrom(l.Topology(), to)
	slices.Reverse(in)
	var want []string
	for _, s := range out {
		want = append(want, s.Gateway().String())
	}
	for range fabric.CoreHops {
		want = append(want, coreAddress.String())
	}
	for _, s := range in {
		want = append(want, s.WAN[0].String())
	}
	want = append(want, fmt.Sprintf("%v, reply's TTL %d", l.Host(to).Addr(), 64-len(want)))
	var got []string
	for ttl := range len(want) {
		got = append(got, hop(l.Host(from), l.Host(to).Addr(), "-t", strconv.Itoa(ttl+1)))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: hops from %s to %s (-want +got):\n%s", name, from, to, diff)
	}
}

// sitesFrom are the sites from a host out to the core.
func sitesFrom(topo *lab.Topology, host string) (sites []*lab.Site) {
	for s := topo.SiteOf(host); s != nil; s = topo.Site(s.Behind) {
		sites = append(sites, s)
	}
	return sites
}

var (
	expired = regexp.MustCompile(`From (\S+) icmp_seq=1 Time to live exceeded`)
	replied = regexp.MustCompile(`bytes from (\S+): icmp_seq=1 ttl=(\d+)`)
	tooBig  = regexp.MustCompile(`From (\S+) icmp_seq=1 Frag needed and DF set \(mtu = (\d+)\)`)
)

// hop is who answers a ping, or all that ping says.
func hop(m *lab.Machine, to netip.Addr, args ...string) string {
	said := output(m, "ping", append(args, "-n", "-c1", "-W20", to.String())...)
	if e := expired.FindStringSubmatch(said); e != nil {
		return e[1]
	}
	if r := replied.FindStringSubmatch(said); r != nil {
		return r[1] + ", reply's TTL " + r[2]
	}
	return said
}

// TestPingFindsThePathMTU sends large pings over a link of a smaller MTU: the camera's own, or that of the host that it asks.
func TestPingFindsThePathMTU(t *testing.T) {
	netnstest.Require(t, "ping")
	f := startFabric(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, engine := range lab.RouterEngines() {
		for _, c := range []struct{ topology, nat string }{
			{"two-homes", "port-restricted-cone"}, {"two-homes", "symmetric"}, {"two-homes", "linux"}, {"two-homes", "open"},
			{"double-nat", "symmetric"},
		} {
			for _, where := range []string{"site", "host"} {
				topo := on(t, engine, c.topology, "camera.nat", c.nat, "link", "lan")
				outer, from := topo.Outermost(topo.Site("camera")), []netip.Addr{coreAddress}
				if where == "site" {
					outer.Link, outer.Profile = "", narrow
					from = []netip.Addr{outer.Gateway()} // RFC 1812 §4.3.2.4: of the interface that the packet came by
				} else {
					topo.Public[0].Link, topo.Public[0].Profile = "", narrow
				}
				if err := topo.Resolve(); err != nil {
					t.Fatal(err)
				}
				l := up(t, f, topo)
				wg.Go(func() {
					name := fmt.Sprintf("%s, %s, %s, %s's link is narrow", engine, c.topology, c.nat, where)
					discover(t, l, name, "camera", "rendezvous", from)
					if c.nat == "open" && where == "site" { // from outside the core answers
						discover(t, l, name, "rendezvous", "camera", []netip.Addr{coreAddress})
					}
				})
			}
		}
	}
}

// discover pings with DF at and above narrow's MTU, and without.
func discover(t *testing.T, l *lab.Lab, name, from, to string, sources []netip.Addr) {
	m, address := l.Host(from), l.Host(to).Addr().String()
	mtu := narrow.Up.MTU
	ping := func(size int, args ...string) string {
		return output(m, "ping", append(args, "-n", "-W20", "-s", strconv.Itoa(size-20-8), address)...)
	}
	if said := ping(mtu, "-M", "do", "-c1"); !replied.MatchString(said) {
		t.Errorf("%s: %s didn't reach %s with %d bytes:\n%s", name, from, to, mtu, said)
	}
	// Without DF first, while the host knows nothing: the link's router cuts up what the host believes to fit.
	for _, size := range []int{mtu + 1, 1500, 4000} {
		if said := ping(size, "-M", "dont", "-c1"); !replied.MatchString(said) {
			t.Errorf("%s: %d bytes without DF weren't answered:\n%s", name, size, said)
		}
	}
	// The second, or the third where a busy machine was late with the error, is refused by the sender's own kernel: it found its packet in
	// the error's quote, and believed it.
	said := ping(mtu+1, "-M", "do", "-c3", "-i0.5")
	e := tooBig.FindStringSubmatch(said)
	if e == nil || e[2] != strconv.Itoa(mtu) || !slices.Contains(sources, netip.MustParseAddr(e[1])) {
		t.Errorf("%s: %d bytes with DF: want %v to say MTU %d, ping says\n%s", name, mtu+1, sources, mtu, said)
	}
	if want := fmt.Sprintf("local error: message too long, mtu=%d", mtu); !strings.Contains(said, want) {
		t.Errorf("%s: the host didn't believe the error, ping says\n%s\nwant %q", name, said, want)
	}
}

// TestPingTheRouter: the kernel answers for a router's external address, a table does not (nat.Features says so).
func TestPingTheRouter(t *testing.T) {
	netnstest.Require(t, "ping")
	f := startFabric(t)
	for _, engine := range lab.RouterEngines() {
		l := up(t, f, on(t, engine, "two-homes", "camera.nat", "full-cone", "link", "lan"))
		wan := l.Topology().Site("camera").WAN[0].String()
		answers, wait := engine == lab.EngineNetfilter, "1"
		if answers {
			wait = "20"
		}
		said := output(l.Host("rendezvous"), "ping", "-n", "-c1", "-W"+wait, wan)
		if answered := replied.MatchString(said); answered != answers {
			t.Errorf("%s: a ping to its external address was answered: %v\n%s", engine, answered, said)
		}
	}
}
