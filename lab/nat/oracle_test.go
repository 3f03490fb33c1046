package nat_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/nat"
)

var dependencies = []nat.Dependency{nat.EndpointIndependent, nat.AddressDependent, nat.AddressAndPortDependent}

// nine returns the presets of the nine pairs, by rows of the package's table.
func nine() []nat.Preset { return nat.Presets()[:9] }

// The well-known table, as everyone copies it from Ford, Srisuresh and Kegel (2005) for the classic four, extended to
// nine: rows and columns in the order of nine(), x where only a relay helps.
var table = []string{
	"...|...|...", // full-cone
	"...|...|...", // restricted-cone
	"...|.xx|.xx", // port-restricted-cone
	"...|...|...", // adm-eif
	"..x|.xx|.xx", // adm-adf
	"..x|.xx|.xx", // adm-apdf
	"...|...|...", // apdm-eif
	"..x|.xx|.xx", // apdm-adf
	"..x|.xx|.xx", // symmetric
}

func TestOracleAgreesWithTheTable(t *testing.T) {
	var got []string
	for _, a := range nine() {
		row := ""
		for j, b := range nine() {
			if j > 0 && j%3 == 0 {
				row += "|"
			}
			if nat.Oracle([]nat.Behavior{a.Behavior}, []nat.Behavior{b.Behavior}) == nat.Direct {
				row += "."
			} else {
				row += "x"
			}
		}
		got = append(got, row)
	}
	if d := cmp.Diff(table, got); d != "" {
		t.Errorf("direct cells (-table +oracle):\n%s", d)
	}
}

// direct is the argument behind the table, derived by hand for filters that belong to the mapping: a packet gets in at
// the endpoint that the server saw if nothing filters, or if the other side's punches leave by that same endpoint and
// name the packet's source. One packet that gets in suffices, for the answer takes the way back.
func direct(a, b nat.Behavior) bool {
	gets := func(from, to nat.Behavior) bool {
		switch {
		case to.Filtering == nat.EndpointIndependent:
			return true
		case to.Mapping != nat.EndpointIndependent:
			return false
		default:
			return to.Filtering == nat.AddressDependent || from.Mapping == nat.EndpointIndependent
		}
	}
	return gets(a, b) || gets(b, a)
}

func TestOracleAgreesWithTheArgument(t *testing.T) {
	for _, a := range nine() {
		for _, b := range nine() {
			got := nat.Oracle([]nat.Behavior{a.Behavior}, []nat.Behavior{b.Behavior})
			if (got == nat.Direct) != direct(a.Behavior, b.Behavior) {
				t.Errorf("%s × %s: %v, by hand direct is %v", a.Name, b.Name, got, direct(a.Behavior, b.Behavior))
			}
		}
	}
}

func TestOracle(t *testing.T) {
	path := func(names ...string) (p []nat.Behavior) {
		for _, n := range names {
			b, ok := nat.Lookup(n)
			if !ok {
				t.Fatalf("no preset %q", n)
			}
			p = append(p, b)
		}
		return p
	}
	for _, test := range []struct {
		a, b   []nat.Behavior
		shared int
		want   nat.Prospect
	}{
		{nil, nil, 0, nat.Direct},
		{path("open"), path("symmetric"), 0, nat.Direct},
		{path("firewall"), path("port-restricted-cone"), 0, nat.Direct},
		{path("firewall"), path("symmetric"), 0, nat.Birthday},
		{path("port-restricted-cone"), path("symmetric"), 0, nat.Birthday},
		{path("port-restricted-cone"), path("symmetric-sequential"), 0, nat.Predictable},
		{path("symmetric-sequential"), path("symmetric-sequential"), 0, nat.Predictable},
		{path("symmetric"), path("symmetric"), 0, nat.RelayOnly},
		{path("linux"), path("linux-no-firewall"), 0, nat.Direct},
		{path("udp-blocked"), path("open"), 0, nat.RelayOnly},
		{path("tcp443-only"), path("full-cone"), 0, nat.RelayOnly},
		{path("full-cone", "cgn-port-block"), path("restricted-cone"), 0, nat.Direct},
		{path("full-cone", "symmetric"), path("port-restricted-cone"), 0, nat.Birthday},
		{path("symmetric", "full-cone"), path("port-restricted-cone"), 0, nat.Birthday},
		{path("firewall", "full-cone"), path("symmetric"), 0, nat.Birthday},
		{path("symmetric"), path("symmetric"), 1, nat.Direct},                             // one LAN
		{path("linux", "cgn-port-block"), path("linux", "cgn-port-block"), 1, nat.Direct}, // the carrier's NAT hairpins
		{path("linux", "symmetric"), path("linux", "symmetric"), 1, nat.RelayOnly},        // and this one does not
	} {
		if got := nat.OracleShared(test.a, test.b, test.shared); got != test.want {
			t.Errorf("%v × %v (%d shared): %v, want %v", test.a, test.b, test.shared, got, test.want)
		}
	}
}

// RFC 4787 words the filter as belonging to the internal endpoint: a punch that leaves by another mapping opens the
// first one too. That helps where the answer, which leaves by that other mapping as well, passes a filter by address;
// port-restricted × symmetric stays as it is.
func TestWordingOfTheFilter(t *testing.T) {
	for _, test := range []struct {
		a, b                 string
		internal, perMapping nat.Prospect
	}{
		{"adm-adf", "adm-adf", nat.Direct, nat.Birthday},
		{"apdm-adf", "symmetric", nat.Direct, nat.Birthday},
		{"apdm-adf", "apdm-adf", nat.Direct, nat.Birthday},
		{"port-restricted-cone", "symmetric", nat.Birthday, nat.Birthday},
		{"symmetric", "symmetric", nat.RelayOnly, nat.RelayOnly},
	} {
		a, _ := nat.Lookup(test.a)
		b, _ := nat.Lookup(test.b)
		if got := nat.Oracle([]nat.Behavior{a}, []nat.Behavior{b}); got != test.perMapping {
			t.Errorf("%s × %s, filter per mapping: %v, want %v", test.a, test.b, got, test.perMapping)
		}
		a.FilterPerMapping, b.FilterPerMapping = false, false
		if got := nat.Oracle([]nat.Behavior{a}, []nat.Behavior{b}); got != test.internal {
			t.Errorf("%s × %s, filter of the internal endpoint: %v, want %v", test.a, test.b, got, test.internal)
		}
	}
}

func TestOracleIsSymmetric(t *testing.T) {
	for _, a := range nat.Presets() {
		for _, b := range nat.Presets() {
			there, back := nat.Oracle([]nat.Behavior{a.Behavior}, []nat.Behavior{b.Behavior}), nat.Oracle([]nat.Behavior{b.Behavior}, []nat.Behavior{a.Behavior})
			if there != back {
				t.Errorf("%s × %s: %v one way, %v the other", a.Name, b.Name, there, back)
			}
		}
	}
}

func TestPromise(t *testing.T) {
	for _, p := range nine() {
		c := nat.Promise([]nat.Behavior{p.Behavior})
		b := p.Behavior
		want := nat.Class{
			Mapping: b.Mapping, Filtering: b.Filtering, Translated: true,
			PortPreserved: b.PortAssignment == nat.PortPreservation, Hairpin: b.Hairpinning != nat.HairpinNone,
		}
		if c != want {
			t.Errorf("%s: %+v, want %+v", p.Name, c, want)
		}
	}
}

func TestPromiseOfNestedRouters(t *testing.T) {
	for _, inner := range nine() {
		for _, outer := range nine() {
			got := nat.Promise([]nat.Behavior{inner.Behavior, outer.Behavior})
			want := [2]nat.Dependency{
				max(inner.Behavior.Mapping, outer.Behavior.Mapping), max(inner.Behavior.Filtering, outer.Behavior.Filtering),
			}
			if [2]nat.Dependency{got.Mapping, got.Filtering} != want {
				t.Errorf("%s behind %s: %v/%v, want the stricter of each: %v", inner.Name, outer.Name, got.Mapping, got.Filtering, want)
			}
		}
	}
	for name, want := range map[string]nat.Class{
		"open":        {Mapping: nat.EndpointIndependent, Filtering: nat.EndpointIndependent, PortPreserved: true, Hairpin: true},
		"firewall":    {Mapping: nat.EndpointIndependent, Filtering: nat.AddressAndPortDependent, PortPreserved: true, Hairpin: true},
		"linux":       {Mapping: nat.EndpointIndependent, Filtering: nat.AddressAndPortDependent, PortPreserved: true, Translated: true},
		"udp-blocked": {NoUDP: true},
	} {
		b, _ := nat.Lookup(name)
		if got := nat.Promise([]nat.Behavior{b}); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func ExampleOracle() {
	cone, _ := nat.Lookup("port-restricted-cone")
	symmetric, _ := nat.Lookup("symmetric")
	fmt.Println(nat.Oracle([]nat.Behavior{cone}, []nat.Behavior{cone}))
	fmt.Println(nat.Oracle([]nat.Behavior{cone}, []nat.Behavior{symmetric}))
	fmt.Println(nat.Oracle([]nat.Behavior{symmetric}, []nat.Behavior{symmetric}))
	// Output:
	// direct
	// birthday
	// relay-only
}
