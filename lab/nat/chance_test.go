package nat_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/nat"
	"pgregory.net/rapid"
)

// The published figures (frp's and Tailscale's arithmetic; ports 1025 to 65535, and a carrier's block of 1,024).
func TestCollisionGivesThePublishedFigures(t *testing.T) {
	for _, test := range []struct {
		sockets, probes, ports int
		percent                float64
	}{
		{256, 174, 64511, 50.0}, {256, 256, 64511, 63.9}, {256, 1024, 64511, 98.35}, {256, 2048, 64511, 99.97},
		{256, 16, 1024, 99.0}, {64, 69, 1024, 98.8},
		{1, 1, 4, 25}, {2, 2, 4, 75}, {4, 1, 4, 100}, {7, 0, 9, 0},
	} {
		if got := 100 * nat.Collision(test.sockets, test.probes, test.ports); math.Abs(got-test.percent) > 0.1 {
			t.Errorf("%d sockets × %d probes among %d ports: %.2f %%, want %.2f %%", test.sockets, test.probes, test.ports, got, test.percent)
		}
	}
}

func path(names ...string) (p []nat.Behavior) {
	for _, n := range names {
		b, ok := nat.Lookup(n)
		if !ok {
			panic("no preset " + n)
		}
		p = append(p, b)
	}
	return p
}

func TestEstimate(t *testing.T) {
	few := path("symmetric")
	few[0].Quota = 11
	block := path("symmetric")
	block[0].PortAssignment, block[0].PortMin, block[0].PortMax = nat.PortBlock, 1024, 65535
	preserving := path("symmetric")
	preserving[0].PortAssignment = nat.PortPreservation
	pool := path("symmetric")
	pool[0].Pooling = nat.Arbitrary
	all := path("symmetric", "symmetric")
	all[1].PortAssignment = nat.PortSequential
	blocked := func(name string) []nat.Behavior {
		p := path(name)
		p[0].UDPBlocked = true
		return p
	}
	tcp := nat.Chance{Prospect: nat.Direct, Sockets: 1, Probes: 1, P: 1, Via: nat.ViaTCP}
	next := nat.Chance{Prospect: nat.Predictable, Sockets: 1, Probes: 1, P: 1, Via: nat.ViaUDP}
	for _, test := range []struct {
		name   string
		a, b   []nat.Behavior
		shared int
		want   nat.Chance
	}{
		{"a default range", path("port-restricted-cone"), path("symmetric"), 0,
			nat.Chance{Prospect: nat.Birthday, Sockets: 256, Probes: 718, Ports: 40001, P: nat.Collision(256, 718, 40001), Via: nat.ViaUDP}},
		{"the whole range", path("mobile-cgn"), path("firewall"), 0,
			nat.Chance{Prospect: nat.Birthday, Sockets: 256, Probes: 1159, Ports: 64512, P: nat.Collision(256, 1159, 64512), Via: nat.ViaUDP}},
		{"a block", block, path("linux"), 0,
			nat.Chance{Prospect: nat.Birthday, Sockets: 256, Probes: 17, Ports: 1024, P: nat.Collision(256, 17, 1024), Via: nat.ViaUDP}},
		{"a quota", few, path("linux"), 0, // ten sockets and the budget's probes: even so more likely than not
			nat.Chance{Prospect: nat.Birthday, Sockets: 10, Probes: 4096, Ports: 40001, P: nat.Collision(10, 4096, 40001), Via: nat.ViaUDP}},
		{"few flows on the side that guesses", path("flow-limit"), path("symmetric"), 0,
			nat.Chance{Prospect: nat.Birthday, Sockets: 256, Probes: 510, Ports: 40001, P: nat.Collision(256, 510, 40001), Via: nat.ViaUDP}},
		{"a peer meets what servers don't", path("misclassified"), path("port-restricted-cone"), 0,
			nat.Chance{Prospect: nat.Birthday, Sockets: 256, Probes: 718, Ports: 40001, P: nat.Collision(256, 718, 40001), Via: nat.ViaUDP}},
		{"both at random", path("mobile-cgn"), path("mobile-cgn"), 0, // 140,600 for 65,535 ports
			nat.Chance{Prospect: nat.RelayOnly, Probes: 138441, Ports: 64512, P: 1 - math.Exp(-math.Pow(4096.0/64512, 2))}},
		{"both in a block", block, block, 0,
			nat.Chance{Prospect: nat.Birthday, Sockets: 256, Probes: 1023, Ports: 1024, P: 1 - math.Pow(1-1/math.Pow(1024, 2), 1023*1023), Via: nat.ViaUDP}},
		{"a sequence against chance", path("symmetric-sequential"), path("symmetric"), 0,
			nat.Chance{Prospect: nat.RelayOnly, Probes: 718 * 256, Ports: 40001, P: nat.Collision(256, 16, 40001)}},
		{"a sequence", path("symmetric-sequential"), path("linux"), 0, next},
		{"two sequences", path("symmetric-sequential"), path("symmetric-sequential"), 0, next},
		{"a fresh socket's port is kept", preserving, path("port-restricted-cone"), 0, next},
		{"a sequence around chance", all, path("port-restricted-cone"), 0, next},
		{"chance around a sequence", path("symmetric-sequential", "cgn-port-block"), path("port-restricted-cone"), 0,
			nat.Chance{Prospect: nat.Birthday, Sockets: 256, Probes: 17, Ports: 1024, P: nat.Collision(256, 17, 1024), Via: nat.ViaUDP}},
		{"addresses by chance", pool, path("port-restricted-cone"), 0,
			nat.Chance{Prospect: nat.Birthday, Sockets: 256, Probes: 4096, Ports: 16 * 40001, P: nat.Collision(256, 4096, 16*40001), Via: nat.ViaUDP}},
		{"TCP through one filter", blocked("port-restricted-cone"), path("firewall"), 0, tcp},
		{"TCP through two", blocked("port-restricted-cone"), blocked("restricted-cone"), 0, tcp},
		{"no TCP either", blocked("port-restricted-cone"), path("symmetric"), 0, nat.Chance{Prospect: nat.RelayOnly}},
		{"no port of a peer", path("tcp443-only"), path("open"), 0, nat.Chance{Prospect: nat.RelayOnly}},
		{"one LAN", path("symmetric"), path("symmetric"), 1, nat.Chance{Prospect: nat.Direct, Sockets: 1, Probes: 1, P: 1, Via: nat.ViaUDP}},
		{"a carrier that does not turn around", path("linux", "symmetric"), path("linux", "symmetric"), 1, nat.Chance{Prospect: nat.RelayOnly}},
	} {
		got := nat.Estimate(test.a, test.b, test.shared)
		if math.Abs(got.P-test.want.P) < 1e-9 {
			got.P = test.want.P
		}
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, d)
		}
	}
}

// The cells of the presets that differ in what decides: d direct, p predictable, b birthday, x relay only; a capital D where
// the row's host must be silent until it hears the column's, a t where TCP alone is direct.
func TestEstimateOfPresets(t *testing.T) {
	names := []string{"full-cone", "port-restricted-cone", "apdm-eif", "adm-adf", "symmetric", "symmetric-sequential", "udp-blocked", "tcp443-only"}
	want := []string{
		"ddddddtx", // full-cone
		"dddbbptx", // port-restricted-cone
		"dDddddTx", // apdm-eif
		"dbdbbbxx", // adm-adf
		"dbdbxxxx", // symmetric
		"dpdbxpxx", // symmetric-sequential
		"tttxxxtx", // udp-blocked
		"xxxxxxxx", // tcp443-only
	}
	var got []string
	for _, a := range names {
		row := ""
		for _, b := range names {
			c := nat.Estimate(path(a), path(b), 0)
			letter := map[nat.Prospect]string{nat.Direct: "d", nat.Predictable: "p", nat.Birthday: "b", nat.RelayOnly: "x"}[c.Prospect]
			if c.Via == nat.ViaTCP {
				letter = "t"
			}
			if c.Silent == 1 {
				letter = strings.ToUpper(letter)
			}
			row += letter
		}
		got = append(got, row)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func drawAny(t *rapid.T) nat.Behavior {
	b := drawBehavior(t)
	if b.Kind == nat.Translate && rapid.Bool().Draw(t, "quota") {
		b.Quota = rapid.IntRange(1, 3000).Draw(t, "mappings")
	}
	return b
}

// A chance may be read from either end, has the prospect that the oracle says by UDP, and its numbers fit each other.
func TestEstimateProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		any := rapid.SliceOfN(rapid.Custom(drawAny), 0, 3)
		a, b := any.Draw(t, "a"), any.Draw(t, "b")
		c, back := nat.Estimate(a, b, 0), nat.Estimate(b, a, 0)
		if c.Silent != 0 && back.Silent != 0 {
			back.Silent = 3 - back.Silent
		}
		if c.Silent == 2 && back.Silent == 1 || c.Silent == 1 && back.Silent == 2 { // either would do
			back.Silent = c.Silent
		}
		if c != back {
			t.Fatalf("%v × %v: %+v, the other way round %+v", a, b, c, back)
		}
		if got := nat.Oracle(a, b); got != c.Prospect && c.Via != nat.ViaTCP {
			t.Fatalf("%v × %v: %v, but the oracle says %v", a, b, c.Prospect, got)
		}
		switch sure := c.P == 1; {
		case c.P < 0 || c.P > 1 || c.Probes < 0 || c.Sockets < 0 || c.Prospect != nat.RelayOnly && (c.Probes < 1 || c.Sockets < 1),
			(c.Prospect == nat.Direct || c.Prospect == nat.Predictable) != (sure && c.Ports == 0),
			c.Prospect == nat.Birthday && (c.P < 0.5 || c.Probes > nat.Budget || c.Sockets > nat.Budget || c.Ports < 2),
			(c.Via == "") != (c.Prospect == nat.RelayOnly):
			t.Fatalf("%v × %v: %+v", a, b, c)
		}
	})
}
