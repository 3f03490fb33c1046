package nat_test

import (
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
	"pgregory.net/rapid"
)

func TestPresets(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range nat.Presets() {
		if err := p.Behavior.Validate(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if seen[p.Name] || p.Summary == "" || strings.ToLower(p.Name) != p.Name {
			t.Errorf("%q: %q: want a name of its own and a summary", p.Name, p.Summary)
		}
		seen[p.Name] = true
		if b, ok := nat.Lookup(p.Name); !ok || b.String() != p.Behavior.String() {
			t.Errorf("Lookup(%q) = %v, %v", p.Name, b, ok)
		}
	}
	for _, name := range strings.Fields(`open firewall full-cone restricted-cone port-restricted-cone symmetric symmetric-sequential
		cgn-port-block linux linux-no-firewall udp-blocked tcp443-only
		no-hairpin short-timeout mobile-cgn alg inbound-first-remap symmetric-port-block
		icmp-unreachable shortest-timeout inbound-first-block misclassified flow-limit adm-eif adm-adf adm-apdf apdm-eif apdm-adf`) {
		if !seen[name] {
			t.Errorf("no preset %q", name)
		}
	}
	if _, ok := nat.Lookup("cone"); ok {
		t.Error(`Lookup("cone") succeeds`)
	}
}

func TestLookupByRFCName(t *testing.T) {
	for _, m := range dependencies {
		for _, f := range dependencies {
			name := strings.ToLower(m.Mapping() + "-" + f.Filtering())
			if b, ok := nat.Lookup(name); !ok || b.Mapping != m || b.Filtering != f {
				t.Errorf("Lookup(%q) = %v, %v", name, b, ok)
			}
		}
	}
}

func TestLookupGivesACopy(t *testing.T) {
	b, _ := nat.Lookup("tcp443-only")
	b.TCPPorts[0] = 80
	if again, _ := nat.Lookup("tcp443-only"); again.TCPPorts[0] != 443 {
		t.Error("a caller changed the preset")
	}
}

func TestValidate(t *testing.T) {
	cone, _ := nat.Lookup("full-cone")
	masq, _ := nat.Lookup("linux")
	for _, test := range []struct {
		want   string
		base   nat.Behavior
		change func(*nat.Behavior)
	}{
		{"mapping is not set", cone, func(b *nat.Behavior) { b.Mapping = 0 }},
		{"filtering is not set", cone, func(b *nat.Behavior) { b.Filtering = 0 }},
		{"port assignment is not set", cone, func(b *nat.Behavior) { b.PortAssignment = 0 }},
		{"mapping is 4", cone, func(b *nat.Behavior) { b.Mapping = 4 }},
		{"kind is -1", cone, func(b *nat.Behavior) { b.Kind = -1 }},
		{"unsolicited is 4", cone, func(b *nat.Behavior) { b.Unsolicited = 4 }},
		{"does not translate", cone, func(b *nat.Behavior) { b.Kind = nat.NoNAT }},
		{"masquerade is known as", cone, func(b *nat.Behavior) { b.Kind = nat.Masquerade }},
		{"exactly when", masq, func(b *nat.Behavior) { b.InputDrop = false }},
		{"belongs to masquerade", cone, func(b *nat.Behavior) { b.InputDrop = true }},
		{"are no range", cone, func(b *nat.Behavior) { b.PortMin, b.PortMax = 5, 4 }},
		{"are no range", cone, func(b *nat.Behavior) { b.PortMax = 4 }},
		{"step 2 needs sequential", cone, func(b *nat.Behavior) { b.PortStep = 2 }},
		{"step 10 does not fit", cone, func(b *nat.Behavior) {
			b.PortAssignment, b.PortStep, b.PortMin, b.PortMax = nat.PortSequential, 10, 5000, 5009
		}},
		{"needs port-block", cone, func(b *nat.Behavior) { b.PortBlockSize = 2 }},
		{"size 200 does not fit", cone, func(b *nat.Behavior) {
			b.PortAssignment, b.PortBlockSize, b.PortMin, b.PortMax = nat.PortBlock, 200, 5000, 5009
		}},
		{"overloading needs preservation", cone, func(b *nat.Behavior) { b.PortAssignment, b.PortOverloading = nat.PortRandom, true }},
		{"quota is -1", cone, func(b *nat.Behavior) { b.Quota = -1 }},
		{"lenient ports contain 0", cone, func(b *nat.Behavior) { b.LenientPorts = []uint16{0} }},
		{"contain 0", cone, func(b *nat.Behavior) { b.TCPPorts = []uint16{0} }},
		{"UDP timeout is -1s", cone, func(b *nat.Behavior) { b.UDPTimeout = -time.Second }},
		{"needs IPv6 mode firewall", cone, func(b *nat.Behavior) { b.Filtering6 = nat.AddressDependent }},
		{"NAT64 needs kind translate", masq, func(b *nat.Behavior) { b.IPv6 = nat.NAT64 }},
		{"IPv6 is 5", cone, func(b *nat.Behavior) { b.IPv6 = 5 }},
		{"fragments is 3", cone, func(b *nat.Behavior) { b.Fragments = 3 }},
		{"exhausted is 2", cone, func(b *nat.Behavior) { b.Exhausted = nat.RST }},
		{"one parity only", cone, func(b *nat.Behavior) { b.PortAssignment, b.PortStep, b.PortParity = nat.PortSequential, 2, true }},
		{"need kind translate", masq, func(b *nat.Behavior) { b.LenientPorts = []uint16{3478} }},
		{"need kind translate", nat.Behavior{Kind: nat.NoNAT}, func(b *nat.Behavior) { b.FlowLimit = 9 }},
		{"need kind translate", masq, func(b *nat.Behavior) { b.InboundFirstBlock = time.Second }},
		{"flow limit is -1", cone, func(b *nat.Behavior) { b.FlowLimit = -1 }},
		{"needs a flow limit", cone, func(b *nat.Behavior) { b.CrashTime = time.Second }},
		{"crash timeout is", cone, func(b *nat.Behavior) { b.FlowLimit, b.CrashTime = 1, -1 }},
		{"inbound-first block timeout is", cone, func(b *nat.Behavior) { b.InboundFirstBlock = -1 }},
		{"does not count the flows of NAT64", cone, func(b *nat.Behavior) { b.FlowLimit, b.IPv6 = 9, nat.NAT64 }},
		{"neither ALG", nat.Behavior{Kind: nat.NoNAT}, func(b *nat.Behavior) { b.ALG = true }},
		{"ICMP timeout is", cone, func(b *nat.Behavior) { b.ICMPTimeout = -1 }},
		{"port hold-down timeout is", cone, func(b *nat.Behavior) { b.PortHoldDown = -1 }},
		{"TCP established timeout is", cone, func(b *nat.Behavior) { b.TCPEstablished = 1 << 62 }},
	} {
		b := test.base
		test.change(&b)
		if err := b.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("want an error with %q, got %v", test.want, err)
		}
	}
}

func TestWithDefaults(t *testing.T) {
	d := nat.Behavior{}.WithDefaults()
	if d.UDPTimeout != 2*time.Minute || d.PortMin != 20000 || d.PortMax != 60000 || d.TCPEstablished != 124*time.Minute {
		t.Errorf("defaults are %+v", d)
	}
	if d := (nat.Behavior{PortMin: 1, PortMax: 2, PortStep: 3}).WithDefaults(); d.PortMin != 1 || d.PortMax != 2 || d.PortStep != 3 {
		t.Errorf("defaults replace what is set: %+v", d)
	}
}

func TestStrings(t *testing.T) {
	for got, want := range map[string]string{
		nat.AddressDependent.String():      "address-dependent",
		nat.Dependency(9).String():         "invalid(9)",
		nat.PortBlock.String():             "port-block",
		nat.Arbitrary.String():             "arbitrary",
		nat.HairpinExternalSource.String(): "external-source",
		nat.RST.String():                   "rst",
		nat.Masquerade.String():            "masquerade",
		nat.RelayOnly.String():             "relay-only",
		nat.Portmap.String():               "portmap",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for name, want := range map[string]string{
		"symmetric": "APDM/APDF random", "open": "no NAT, no filter", "firewall": "no NAT, APDF",
		"linux": "masquerade, input drop", "linux-no-firewall": "masquerade",
	} {
		if b, _ := nat.Lookup(name); b.String() != want {
			t.Errorf("%s is %q, want %q", name, b, want)
		}
	}
}

func drawPath(t *rapid.T, label string) []nat.Behavior {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) nat.Behavior {
		return rapid.SampledFrom(nat.Presets()).Draw(t, "preset").Behavior
	}), 0, 3).Draw(t, label)
}

// A router that neither translates nor filters changes nothing, wherever it stands.
func TestOpenRouterIsNeutral(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPath(t, "a"), drawPath(t, "b")
		i := rapid.IntRange(0, len(a)).Draw(t, "at")
		with := append(append(append([]nat.Behavior{}, a[:i]...), nat.Behavior{Kind: nat.NoNAT}), a[i:]...)
		if got, want := nat.Oracle(with, b), nat.Oracle(a, b); got != want {
			t.Fatalf("%v × %v: %v with an open router, %v without", a, b, got, want)
		}
		if got, want := nat.Promise(with), nat.Promise(a); got != want {
			t.Fatalf("%v: %+v with an open router, %+v without", a, got, want)
		}
	})
}

// A path may be read from either end, and a laxer filter never makes a direct pair worse.
func TestOracleProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPath(t, "a"), drawPath(t, "b")
		got := nat.Oracle(a, b)
		if back := nat.Oracle(b, a); back != got {
			t.Fatalf("%v × %v: %v, the other way round %v", a, b, got, back)
		}
		if got != nat.Direct || len(a) == 0 {
			return
		}
		lax := append([]nat.Behavior{}, a...)
		i := rapid.IntRange(0, len(a)-1).Draw(t, "at")
		if lax[i].Filtering > nat.EndpointIndependent {
			lax[i].Filtering--
		}
		if worse := nat.Oracle(lax, b); worse != nat.Direct {
			t.Fatalf("%v × %v is direct, but %v × %v is %v", a, b, lax, b, worse)
		}
	})
}
