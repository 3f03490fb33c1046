package netfilter_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
)

const (
	host6    = "2001:db8:1:1::2"
	server6  = "2001:db8:5::1"
	another6 = "2001:db8:5::2"
)

// newRaw6 is a router of that mode in front of a public LAN, beside a translator for IPv4.
func newRaw6(t *testing.T, mode nat.IPv6Mode, filtering nat.Dependency) *raw {
	t.Helper()
	b := preset(t, "full-cone")
	b.IPv6, b.Filtering6 = mode, filtering
	return newRaw(t, netfilter.Config{Behavior: b, LANPrefix6: netip.MustParsePrefix("2001:db8:1:1::/64"), External6: netip.MustParsePrefix("2001:db8:2::/48"), Seed: 1})
}

func TestIPv6Open(t *testing.T) {
	for _, mode := range []nat.IPv6Mode{nat.IPv6None, nat.IPv6Open} {
		r := newRaw6(t, mode, 0)
		for _, p := range []string{"udp [" + server6 + "]:1 > [" + host6 + "]:2", "tcp [" + server6 + "]:1 > [" + host6 + "]:2 syn", "icmp " + server6 + " > " + host6 + " echo 3"} {
			want := p
			if mode == nat.IPv6None {
				want = ""
			}
			r.in(p, want)
		}
	}
}

func TestIPv6Firewall(t *testing.T) {
	for _, f := range dependencies {
		t.Run(f.String(), func(t *testing.T) {
			r := newRaw6(t, nat.IPv6Firewall, f)
			same := func(way func(words, want string), words string, passes bool) {
				t.Helper()
				want := words
				if !passes {
					want = ""
				}
				way(words, want)
			}
			same(r.in, "udp ["+server6+"]:1 > ["+host6+"]:5000", false)
			same(r.out, "udp ["+host6+"]:5000 > ["+server6+"]:1", true)
			same(r.in, "udp ["+server6+"]:1 > ["+host6+"]:5000", true)
			same(r.in, "udp ["+server6+"]:2 > ["+host6+"]:5000", f != nat.AddressAndPortDependent)
			same(r.in, "udp ["+another6+"]:1 > ["+host6+"]:5000", f == nat.EndpointIndependent)
			same(r.in, "udp ["+server6+"]:1 > ["+host6+"]:5001", false)

			same(r.in, "tcp ["+server6+"]:80 > ["+host6+"]:5000 syn", false)
			same(r.out, "tcp ["+host6+"]:5000 > ["+server6+"]:80 syn", true)
			same(r.in, "tcp ["+server6+"]:80 > ["+host6+"]:5000 syn+ack", true)

			same(r.in, "icmp "+server6+" > "+host6+" echo 7", false)
			same(r.in, "icmp "+server6+" > "+host6+" reply 7", false)
			same(r.out, "icmp "+host6+" > "+server6+" echo 7", true)
			same(r.in, "icmp "+server6+" > "+host6+" reply 7", true)

			for _, about := range []string{"udp [" + host6 + "]:5000 > [" + server6 + "]:1", "tcp [" + host6 + "]:5000 > [" + server6 + "]:80 syn", "icmp " + host6 + " > " + server6 + " echo 7"} {
				same(r.in, "icmp 2001:db8:9::9 > "+host6+" toobig=1280 about ("+about+")", true)
			}
			same(r.in, "icmp 2001:db8:9::9 > "+host6+" toobig=1280 about (udp ["+host6+"]:5009 > ["+server6+"]:1)", false)
			must(t, r.Router.Reset(2))
			same(r.in, "udp ["+server6+"]:1 > ["+host6+"]:5000", false)
			same(r.in, "tcp ["+server6+"]:80 > ["+host6+"]:5000 ack", false)
			same(r.in, "icmp "+server6+" > "+host6+" reply 7", false)
		})
	}
}

func TestIPv6Timeout(t *testing.T) {
	b := preset(t, "full-cone")
	b.IPv6 = nat.IPv6Firewall
	const answer = "udp [" + server6 + "]:1 > [" + host6 + "]:5000"
	hurried(func(life time.Duration) (time.Duration, func()) {
		b.UDPTimeout = life
		r := newRaw(t, netfilter.Config{Behavior: b, LANPrefix6: netip.MustParsePrefix("2001:db8:1:1::/64")})
		began := time.Now()
		r.out("udp ["+host6+"]:5000 > ["+server6+"]:1", "udp ["+host6+"]:5000 > ["+server6+"]:1")
		must(t, r.WAN.Send(mustParse(t, answer).Bytes(false)))
		took := time.Since(began)
		return took, func() {
			r.expect(r.LAN, answer, answer)
			r.eventually(answer)
		}
	})
}

func TestIPv6Unsolicited(t *testing.T) {
	b := preset(t, "port-restricted-cone")
	b.IPv6, b.Unsolicited = nat.IPv6Firewall, nat.RST
	r := newRaw(t, netfilter.Config{Behavior: b, LANPrefix6: netip.MustParsePrefix("2001:db8:1:1::/64")})
	r.refused("udp ["+server6+"]:1 > ["+host6+"]:2", "icmp 2001:db8:f::2 > "+server6+" prohibited about (udp ["+server6+"]:1 > ["+host6+"]:2)")
	r.refused("tcp ["+server6+"]:1 > ["+host6+"]:2 syn", "tcp ["+host6+"]:2 > ["+server6+"]:1 rst+ack")
}

// TestIPv6ModeSwitch goes from mode to mode; what one of them let pass does not outlive it.
func TestIPv6ModeSwitch(t *testing.T) {
	r := newRaw6(t, nat.IPv6Firewall, nat.EndpointIndependent)
	p := "udp [" + server6 + "]:1 > [" + host6 + "]:5000"
	r.out("udp ["+host6+"]:5000 > ["+server6+"]:1", "udp ["+host6+"]:5000 > ["+server6+"]:1")
	r.in(p, p)
	b := preset(t, "full-cone")
	for _, step := range []struct {
		mode nat.IPv6Mode
		want string
	}{{nat.IPv6Firewall, ""}, {nat.IPv6Open, p}, {nat.IPv6None, ""}, {nat.IPv6Open, p}, {nat.NPTv6, ""}} {
		b.IPv6 = step.mode
		must(t, r.Router.Apply(b, 1))
		r.in(p, step.want)
	}
}

// The prefixes and the address of RFC 6296 §3.4's example, and prefixes whose subnet or identifier has to make up for the change.
func TestNPTv6(t *testing.T) {
	for _, test := range []struct{ in, out, inner, outer string }{
		{"fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405:1::1234", "2001:db8:1:d550::1234"}, // RFC 6296 §2.2
		{"fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405:2ab0::1", "2001:db8:1:0::1"},       // ffff becomes 0
		{"fd01:203:405:1::/64", "2001:db8:1:2::/64", "fd01:203:405:1::2", "2001:db8:1:2:d54e::2"},
		{"fd01:203:405:1::/64", "2001:db8:1:2::/64", "fd01:203:405:1:ffff::2", "2001:db8:1:2:ffff:d54e:0:2"},
		{"fd01:203:405:1::/64", "2001:db8:1:2::/64", "fd01:203:405:1:ffff:ffff:ffff:2", "2001:db8:1:2:ffff:ffff:ffff:d550"},
		{"fd01:203:405:1::/64", "2001:db8:1::/56", "fd01:203:405:1::2", "2001:db8:1:0:d550::2"}, // zero-extended
		{"fd01:203:400::/40", "2001:db8:100::/40", "fd01:203:4ab:1::5", "2001:db8:1ab:d44c::5"},
	} {
		t.Run(test.inner, func(t *testing.T) {
			b := preset(t, "full-cone")
			b.IPv6 = nat.NPTv6
			r := newRaw(t, netfilter.Config{Behavior: b, LANPrefix6: netip.MustParsePrefix(test.in), External6: netip.MustParsePrefix(test.out)})
			in, out := netip.MustParseAddr(test.inner).String(), netip.MustParseAddr(test.outer).String()
			for _, v := range [][2]string{
				{"udp [%]:5 > [" + server6 + "]:1", "udp [" + server6 + "]:1 > [%]:5"},
				{"tcp [%]:5 > [" + server6 + "]:1 syn", "tcp [" + server6 + "]:1 > [%]:5 syn+ack"},
				{"icmp % > " + server6 + " echo 5", "icmp " + server6 + " > % reply 5"},
			} {
				r.in(with(v[1], out), "")
				r.out(with(v[0], in), with(v[0], out))
				r.in(with(v[1], out), with(v[1], in))
				r.in("icmp 2001:db8:9::9 > "+out+" toobig=1280 about ("+with(v[0], out)+")", "icmp 2001:db8:9::9 > "+in+" toobig=1280 about ("+with(v[0], in)+")")
				r.out("icmp "+in+" > "+server6+" unreachable about ("+with(v[1], in)+")", "icmp "+out+" > "+server6+" unreachable about ("+with(v[1], out)+")")
			}
			r.in(with("udp ["+server6+"]:1 > [%]:5", in), "") // by the internal address nobody comes in
		})
	}
}

// with puts an address into a packet's words.
func with(words, addr string) string { return strings.ReplaceAll(words, "%", addr) }

// An identifier of ones has no word to make up for the prefix, and may not leave untranslated.
func TestNPTv6Untranslatable(t *testing.T) {
	b := preset(t, "full-cone")
	b.IPv6 = nat.NPTv6
	for _, prefixes := range [][3]string{
		{"fd01:203:405:1::/64", "2001:db8:1:2::/64", "fd01:203:405:1:ffff:ffff:ffff:ffff"}, {"fd01:203:405::/48", "2001:db8:1::/48", "fd01:203:405:ffff::1"},
	} {
		r := newRaw(t, netfilter.Config{Behavior: b, LANPrefix6: netip.MustParsePrefix(prefixes[0]), External6: netip.MustParsePrefix(prefixes[1])})
		r.out("udp ["+prefixes[2]+"]:5 > ["+server6+"]:1", "")
	}
}
