package nat

import "fmt"

// String returns the RFC 4787 term, "endpoint-independent" for example.
func (d Dependency) String() string {
	return name(int(d), "none", "endpoint-independent", "address-dependent", "address-and-port-dependent")
}

// Mapping returns the short name as a mapping behavior: EIM, ADM or APDM.
func (d Dependency) Mapping() string { return name(int(d), "none", "EIM", "ADM", "APDM") }

// Filtering returns the short name as a filtering behavior: EIF, ADF or APDF.
func (d Dependency) Filtering() string { return name(int(d), "none", "EIF", "ADF", "APDF") }

// String returns "preservation", "sequential", "random" or "port-block".
func (p PortAssignment) String() string {
	return name(int(p), "none", "preservation", "sequential", "random", "port-block")
}

// String returns "paired" or "arbitrary".
func (p Pooling) String() string { return name(int(p), "paired", "arbitrary") }

// String returns "none", "internal-source" or "external-source".
func (h Hairpinning) String() string {
	return name(int(h), "none", "internal-source", "external-source")
}

// String returns "drop", "icmp", "rst" or "rst-after-6s".
func (r Reaction) String() string { return name(int(r), "drop", "icmp", "rst", "rst-after-6s") }

// String returns "any-order", "in-order" or "dropped".
func (p FragmentPolicy) String() string { return name(int(p), "any-order", "in-order", "dropped") }

// String returns "translated" or "dropped".
func (p ICMPErrorPolicy) String() string { return name(int(p), "translated", "dropped") }

// String returns "none", "open", "firewall", "nptv6" or "nat64".
func (m IPv6Mode) String() string { return name(int(m), "none", "open", "firewall", "nptv6", "nat64") }

// String returns "translate", "no-nat" or "masquerade".
func (k Kind) String() string { return name(int(k), "translate", "no-nat", "masquerade") }

func name(i int, names ...string) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("invalid(%d)", i)
	}
	return names[i]
}

// String names the axes that decide about traversal: "EIM/APDF preservation", or what the router is instead.
func (b Behavior) String() string {
	switch {
	case b.Kind == NoNAT && b.Filtering == 0:
		return "no NAT, no filter"
	case b.Kind == NoNAT:
		return "no NAT, " + b.Filtering.Filtering()
	case b.Kind == Masquerade && b.InputDrop:
		return "masquerade, input drop"
	case b.Kind == Masquerade:
		return "masquerade"
	default:
		return fmt.Sprintf("%s/%s %s", b.Mapping.Mapping(), b.Filtering.Filtering(), b.PortAssignment)
	}
}
