package nat

import (
	"slices"
	"time"
)

// Preset is a named behavior.
type Preset struct {
	Name     string
	Summary  string // one line, for people
	Behavior Behavior
}

// Presets returns all presets, the nine mapping × filtering pairs first.
//
// The endpoint-independent three ("cones") preserve ports and hairpin, as home routers do that follow RFC 4787. The
// other six assign ports in a seeded random order, do not hairpin, and filter per mapping: that is what RFC 3489
// called symmetric, and why a port-restricted cone can't reach it.
func Presets() []Preset {
	all := slices.Clone(presets)
	for i := range all {
		all[i].Behavior = all[i].Behavior.clone()
	}
	return all
}

// Lookup returns the preset of that name. The nine pairs also answer to their RFC names: "eim-apdf" is
// "port-restricted-cone".
func Lookup(name string) (Behavior, bool) {
	if alias, ok := aliases[name]; ok {
		name = alias
	}
	i := slices.IndexFunc(presets, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		return Behavior{}, false
	}
	return presets[i].Behavior.clone(), true
}

// clone shares no slice.
func (b Behavior) clone() Behavior {
	b.TCPPorts, b.LenientPorts = slices.Clone(b.TCPPorts), slices.Clone(b.LenientPorts)
	return b
}

var aliases = map[string]string{
	"eim-eif":   "full-cone",
	"eim-adf":   "restricted-cone",
	"eim-apdf":  "port-restricted-cone",
	"apdm-apdf": "symmetric",
}

var presets = []Preset{
	{"full-cone", "one mapping for all, anyone may answer (EIM/EIF)", cone(EndpointIndependent)},
	{"restricted-cone", "one mapping for all, contacted addresses may answer (EIM/ADF)", cone(AddressDependent)},
	{"port-restricted-cone", "one mapping for all, contacted endpoints may answer (EIM/APDF)", cone(AddressAndPortDependent)},
	{"adm-eif", "a mapping per remote address, anyone may answer (ADM/EIF)", perRemote(AddressDependent, EndpointIndependent)},
	{"adm-adf", "a mapping per remote address, contacted addresses may answer (ADM/ADF)", perRemote(AddressDependent, AddressDependent)},
	{"adm-apdf", "a mapping per remote address, contacted endpoints may answer (ADM/APDF)", perRemote(AddressDependent, AddressAndPortDependent)},
	{"apdm-eif", "a mapping per remote endpoint, anyone may answer (APDM/EIF)", perRemote(AddressAndPortDependent, EndpointIndependent)},
	{"apdm-adf", "a mapping per remote endpoint, contacted addresses may answer (APDM/ADF)", perRemote(AddressAndPortDependent, AddressDependent)},
	{"symmetric", "a mapping per remote endpoint with a random port, only that endpoint may answer (APDM/APDF)", perRemote(AddressAndPortDependent, AddressAndPortDependent)},
	{"symmetric-sequential", "symmetric, but the next external port can be predicted", with(perRemote(AddressAndPortDependent, AddressAndPortDependent), func(b *Behavior) {
		b.PortAssignment = PortSequential
	})},
	{"cgn-port-block", "a carrier's NAT: EIM/APDF, random ports within a block per subscriber (RFC 6888)", with(cone(AddressAndPortDependent), func(b *Behavior) {
		b.PortAssignment, b.PortMin, b.PortMax, b.PortBlockSize = PortBlock, 1024, 65535, 1024
	})},
	{"linux", "plain Linux masquerade, new traffic to the router dropped (EIM/APDF while ports are free)", masquerade(true)},
	{"linux-no-firewall", "plain Linux masquerade without a firewall: an early inbound packet moves the host's mapping", masquerade(false)},
	{"open", "public addresses, no translation, no filter", Behavior{Kind: NoNAT}},
	{"firewall", "public addresses behind a stateful firewall (APDF)", Behavior{Kind: NoNAT, Filtering: AddressAndPortDependent}},
	{"udp-blocked", "port-restricted-cone that lets no UDP pass", with(cone(AddressAndPortDependent), func(b *Behavior) {
		b.UDPBlocked = true
	})},
	{"tcp443-only", "port-restricted-cone that lets only TCP to port 443 out", with(cone(AddressAndPortDependent), func(b *Behavior) {
		b.UDPBlocked, b.TCPPorts = true, []uint16{443}
	})},
	{"no-hairpin", "port-restricted-cone that does not turn packets to itself around", with(cone(AddressAndPortDependent), func(b *Behavior) {
		b.Hairpinning = HairpinNone
	})},
	{"short-timeout", "port-restricted-cone that forgets UDP after 30 s (against RFC 4787 REQ-5)", with(cone(AddressAndPortDependent), func(b *Behavior) {
		b.UDPTimeout = 30 * time.Second
	})},
	{"shortest-timeout", "port-restricted-cone that forgets UDP after 15 s, as soon as any in the field", with(cone(AddressAndPortDependent), func(b *Behavior) {
		b.UDPTimeout = 15 * time.Second
	})},
	{"mobile-cgn", "a mobile carrier's NAT: symmetric, any port, UDP for 65 s (as Richter et al. 2016 saw in many)", with(perRemote(AddressAndPortDependent, AddressAndPortDependent), func(b *Behavior) {
		b.PortMin, b.PortMax, b.UDPTimeout = 1024, 65535, 65*time.Second
	})},
	{"symmetric-port-block", "a carrier's symmetric NAT: random ports within a block per subscriber", with(perRemote(AddressAndPortDependent, AddressAndPortDependent), func(b *Behavior) {
		b.PortAssignment, b.PortMin, b.PortMax, b.PortBlockSize = PortBlock, 1024, 65535, 1024
	})},
	{"icmp-unreachable", "port-restricted-cone that answers what it does not let in with ICMP port unreachable", with(cone(AddressAndPortDependent), func(b *Behavior) {
		b.Unsolicited = ICMP
	})},
	{"inbound-first-block", "port-restricted-cone that keeps out for 10 s who sends before it may", with(cone(AddressAndPortDependent), func(b *Behavior) {
		b.InboundFirstBlock = 10 * time.Second
	})},
	{"misclassified", "symmetric, but a full cone towards the ports of the lab's servers, which take it for one", with(perRemote(AddressAndPortDependent, AddressAndPortDependent), func(b *Behavior) {
		b.LenientPorts = []uint16{3478, 3479, 4479, 4480} // STUN's, and the bundled rendezvous'
	})},
	{"flow-limit", "port-restricted-cone that crashes at more than 512 flows, for 5 s", with(cone(AddressAndPortDependent), func(b *Behavior) {
		b.FlowLimit = 512
	})},
	{"alg", "port-restricted-cone that rewrites the host's address in UDP payloads", with(cone(AddressAndPortDependent), func(b *Behavior) {
		b.ALG = true
	})},
	{"inbound-first-remap", "port-restricted-cone whose mapping an early inbound packet moves to another port", with(cone(AddressAndPortDependent), func(b *Behavior) {
		b.InboundFirstRemap = true
	})},
}

func cone(filtering Dependency) Behavior {
	return Behavior{Mapping: EndpointIndependent, Filtering: filtering, PortAssignment: PortPreservation, Hairpinning: HairpinExternalSource}
}

func perRemote(mapping, filtering Dependency) Behavior {
	return Behavior{Mapping: mapping, Filtering: filtering, PortAssignment: PortRandom, FilterPerMapping: true}
}

func masquerade(inputDrop bool) Behavior {
	return Behavior{
		Kind: Masquerade, Mapping: EndpointIndependent, Filtering: AddressAndPortDependent, PortAssignment: PortPreservation,
		FilterPerMapping: true, InboundRefresh: true, InputDrop: inputDrop, InboundFirstRemap: !inputDrop,
	}
}

func with(b Behavior, change func(*Behavior)) Behavior {
	change(&b)
	return b
}
