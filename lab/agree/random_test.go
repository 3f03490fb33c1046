package agree_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	_ "github.com/punchlab/punchlab/lab/internal/steady"
	"github.com/punchlab/punchlab/lab/nat"
	"pgregory.net/rapid"
)

// TestRandomSequences sends drawn sequences of packets through drawn routers and compares each answer, after renaming what the
// engines draw, with the table's.
func TestRandomSequences(t *testing.T) {
	for _, e := range []engine{liveEngine, netfilterEngine} {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			requireTUN(t)
			rapid.Check(t, func(t *rapid.T) { compare(t, e) })
		})
	}
}

// compare runs one sequence on the table and on an engine.
func compare(t *rapid.T, e engine) {
	s, _ := newSetup(nil)
	s.b = drawBehavior(t)
	if e.supports(s.b) != nil {
		t.Skip("refused")
	}
	start := func(e engine) *script {
		r, err := e.start(s)
		if err != nil {
			t.Fatal(err)
		}
		return &script{engine: e, router: r, setup: s, names: newNames(s)}
	}
	model, real := start(tableEngine), start(e)
	defer real.router.close()
	var log strings.Builder
	fmt.Fprintf(&log, "%v\n", s.b)
	g := &generator{names: model.names, translates: s.b.Kind != nat.NoNAT, prefix6: "fd00:1:2:3::"}
	g.wishes = []string{"", " 8000", " 5000"}
	if s.b.Hairpinning != nat.HairpinInternalSource { // which in netfilter never meets a mapping for one remote
		g.wishes = append(g.wishes, " 8000 remote=198.51.100.1")
	}
	if s.b.Kind == nat.Masquerade || s.b.PortOverloading { // two users of one port clash: see the package's doc
		g.wishes = nil
	}
	if s.b.IPv6 == nat.NPTv6 {
		g.prefix6 = "2001:db8:2:3::" // as it would be if nothing had to make up for it: nobody has the address
	}
	for range rapid.IntRange(1, 25).Draw(t, "packets") {
		line := g.packet(t)
		want, err := model.one(line, -1)
		if err != nil {
			t.Fatal(err)
		}
		expect := 0
		if plain(want+"\n") != "dropped\n" {
			expect = 1 + strings.Count(want, " + ")
		}
		got, err := real.one(line, expect)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&log, "%s\n    %s\n", line, want)
		if s.b.Kind == nat.Masquerade && expect == 0 && got == "WAN "+strings.TrimPrefix(line, "out ") {
			continue // it leaves as it is: see rfc5508/req01-queries
		}
		if got != strings.TrimSuffix(plain(want+"\n"), "\n") {
			t.Fatalf("%s: %s\nafter\n%s", e.name, got, log.String())
		}
	}
}

// one does what a line says and tells what became of it.
func (s *script) one(line string, expect int) (string, error) {
	switch cmd, rest, _ := strings.Cut(line, " "); cmd {
	case "reboot":
		s.names.forget()
		return "", s.router.reset(s.setup.seed)
	case "map", "unmap":
		said, err := s.mapPorts(&datadriven.TestData{Cmd: cmd, Input: rest})
		return strings.TrimSuffix(said, "\n"), err
	}
	from, p, err := s.packet(line)
	if err != nil {
		return "", err
	}
	all, reason, err := s.router.send(from, p.Bytes(from == nat.Inside), expect)
	if err != nil {
		return "", err
	}
	words, err := s.names.words(p, all)
	if err == nil && words == "" {
		words = s.nothing(reason)
	}
	return words, err
}

// drawBehavior is one that netfilter can do: a preset or any combination of axes.
func drawBehavior(t *rapid.T) nat.Behavior {
	if rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
		name := rapid.SampledFrom([]string{"firewall", "open", "linux", "cgn-port-block", "mobile-cgn"}).Draw(t, "preset")
		b, _ := nat.Lookup(name)
		return b
	}
	b := nat.Behavior{
		Mapping:           rapid.SampledFrom(dependencies).Draw(t, "mapping"),
		Filtering:         rapid.SampledFrom(dependencies).Draw(t, "filtering"),
		PortAssignment:    rapid.SampledFrom([]nat.PortAssignment{nat.PortPreservation, nat.PortSequential, nat.PortRandom}).Draw(t, "ports"),
		Hairpinning:       rapid.SampledFrom(upTo(nat.HairpinNone, nat.HairpinExternalSource)).Draw(t, "hairpin"),
		Unsolicited:       rapid.SampledFrom(upTo(nat.Drop, nat.RST)).Draw(t, "unsolicited"),
		FilterPerMapping:  rapid.Bool().Draw(t, "per mapping"),
		ReplyByNewMapping: rapid.Bool().Draw(t, "reply by new"),
		Exhausted:         rapid.SampledFrom(upTo(nat.Drop, nat.ICMP)).Draw(t, "exhausted"),
		IPv6:              rapid.SampledFrom(upTo(nat.IPv6None, nat.NPTv6)).Draw(t, "IPv6"),
	}
	if b.PortAssignment == nat.PortSequential && rapid.Bool().Draw(t, "few ports") {
		b.PortMin, b.PortMax = 20000, 20003
	}
	b.PortOverloading = b.PortAssignment == nat.PortPreservation && b.Mapping == nat.EndpointIndependent && rapid.Bool().Draw(t, "overloading")
	if b.IPv6 == nat.IPv6Firewall || b.IPv6 == nat.NPTv6 {
		b.Filtering6 = rapid.SampledFrom(dependencies).Draw(t, "filtering6")
	}
	return b
}

// generator draws packets, so few different ones that they meet each other.
type generator struct {
	names      *names
	translates bool
	prefix6    string   // of the LAN, seen from outside
	wishes     []string // of who asks for a port mapping
}

func (g *generator) packet(t *rapid.T) string {
	inner := rapid.SampledFrom([]string{"192.168.1.2:5000", "192.168.1.2:5001", "192.168.1.3:5000"}).Draw(t, "inner")
	outer := rapid.SampledFrom([]string{"198.51.100.1:80", "198.51.100.1:81", "198.51.100.2:80"}).Draw(t, "outer")
	switch rapid.SampledFrom([]string{"out", "out", "out", "in", "in", "in", "hairpin", "tcp", "tcp", "IPv6 out", "IPv6 in", "port map", "reboot", "ping", "pong", "error in", "error out"}).Draw(t, "what") {
	case "out":
		return "out udp " + inner + " > " + outer
	case "in":
		return "in udp " + outer + " > " + g.external(t, "udp", inner)
	case "hairpin":
		if !g.translates { // it would stay in the LAN
			return "out udp " + inner + " > " + outer
		}
		return "out udp " + inner + " > " + g.external(t, "udp", inner)
	case "tcp":
		if rapid.Bool().Draw(t, "inbound") { // SYNs alone: in netfilter conntrack wants the rest to fit a connection's state
			return "in tcp " + outer + " > " + g.external(t, "tcp", inner) + " syn"
		}
		return "out tcp " + inner + " > " + outer + " syn"
	case "IPv6 out":
		return "out " + rapid.SampledFrom([]string{"udp [fd00:1:2:3::2]:5000 > [2001:db8:5::1]:80", "udp [fd00:1:2:3::2]:5000 > [2001:db8:5::1]:81",
			"tcp [fd00:1:2:3::2]:5000 > [2001:db8:5::1]:80 syn", "icmp fd00:1:2:3::2 > 2001:db8:5::1 echo 7"}).Draw(t, "packet")
	case "IPv6 in":
		return "in " + strings.ReplaceAll(rapid.SampledFrom([]string{"udp [2001:db8:5::1]:80 > [%2]:5000", "udp [2001:db8:5::2]:80 > [%2]:5000",
			"tcp [2001:db8:5::1]:80 > [%2]:5000 syn+ack", "icmp 2001:db8:5::1 > %2 reply 7"}).Draw(t, "packet"), "%", g.prefix6)
	case "port map":
		if len(g.wishes) == 0 {
			return "out udp " + inner + " > " + outer
		}
		return rapid.SampledFrom([]string{"map udp ", "map udp ", "map tcp ", "unmap udp "}).Draw(t, "map") + inner +
			rapid.SampledFrom(g.wishes).Draw(t, "port")
	case "reboot":
		return "reboot"
	case "ping":
		return "out icmp " + addrOf(inner) + " > " + addrOf(outer) + " echo 7"
	case "pong":
		to := g.external(t, "icmp", addrOf(inner)+":7")
		return "in icmp " + addrOf(outer) + " > " + addrOf(to) + " reply " + to[strings.LastIndexByte(to, ':')+1:]
	case "error in":
		ext := g.external(t, "udp", inner)
		return "in icmp 192.0.2.9 > " + addrOf(ext) + " ttl about (udp " + ext + " > " + outer + ")"
	default:
		return "out icmp " + addrOf(inner) + " > " + addrOf(outer) + " unreachable about (udp " + outer + " > " + inner + ")"
	}
}

func addrOf(e string) string { return e[:strings.LastIndexByte(e, ':')] }

// external is where a packet from outside may go: one of the endpoints that are known, or one that would be preserved.
func (g *generator) external(t *rapid.T, proto, inner string) string {
	if !g.translates {
		return inner
	}
	var known []string
	for i, d := range g.names.drawn {
		if d.proto == proto {
			known = append(known, fmt.Sprintf("%s:$%d", d.at.Addr(), i+1))
		}
	}
	port := netip.MustParseAddrPort(inner).Port()
	known = append(known, fmt.Sprintf("203.0.113.2:%d", port), "203.0.113.2:20000", "203.0.113.2:20001", "203.0.113.2:8000")
	return rapid.SampledFrom(known).Draw(t, "external")
}
