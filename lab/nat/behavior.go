// Package nat is the vocabulary of NAT behavior: RFC 4787 (UDP), 5382 (TCP), 5508 (ICMP) and 6888 (CGN).
//
// A Behavior is plain data that every engine realises. "Cone" and "symmetric" are names of presets, never of axes:
//
//	            filtering →   endpoint-independent   address-dependent     address-and-port-dependent
//	mapping ↓
//	endpoint-independent      full-cone              restricted-cone       port-restricted-cone
//	address-dependent         adm-eif                adm-adf               adm-apdf
//	address-and-port-dep.     apdm-eif               apdm-adf              symmetric
//
// Table is an engine for it: packets in, translated packets out, in a time that is an argument. Oracle says which pairs
// of paths can meet and Promise what a classification must see, both by playing on a model; Features lists what the
// engines can do.
//
// Where the kernel's netfilter and the table both have a behavior they agree, but for this:
//
//   - The table verifies the checksums of whole packets and drops wrong ones; netfilter passes a wrong one of UDP on.
//   - The table follows a TCP connection to its end, after which mapping and filter live for TCPTransitory. Netfilter
//     keeps them for TCPEstablished, and a repeated SYN refreshes nothing there.
//   - The table passes fragments on as they are. Netfilter reassembles a datagram and cuts it again.
//   - A drawn port that is taken: the table draws eight times and then takes the next free one; netfilter drops the
//     packet after eight. One seed gives each engine an order of its own.
//   - Plain masquerade: the table has the three TCP states above, conntrack has ten.
//   - What a table refuses is told by a Reason; "expired" is remembered for ten minutes.
package nat

import (
	"time"
)

// Dependency is what a mapping or a filter depends on (RFC 4787 §4.1 and §5). The zero value is invalid: an
// experiment must say it.
type Dependency int

// The three dependencies. EndpointIndependent is EIM or EIF, and so on.
const (
	EndpointIndependent Dependency = iota + 1
	AddressDependent
	AddressAndPortDependent
)

// PortAssignment says how the external port of a new mapping is chosen (RFC 4787 §4.2).
type PortAssignment int

// Port assignments.
const (
	PortPreservation PortAssignment = iota + 1 // the internal port where it is free, else random
	PortSequential                             // PortMin, PortMin+PortStep, …
	PortRandom                                 // a seeded order over [PortMin, PortMax]
	PortBlock                                  // random within a block of PortBlockSize per internal host (RFC 6888)
)

// Pooling says which of several external addresses a mapping gets (RFC 4787 REQ-2).
type Pooling int

// Poolings; the zero value is Paired.
const (
	Paired    Pooling = iota // all mappings of an internal host have one external address
	Arbitrary                // any external address for each mapping
)

// Hairpinning says what becomes of a packet from inside to an external endpoint (RFC 4787 §6).
type Hairpinning int

// Hairpinnings; the zero value is none.
const (
	HairpinNone           Hairpinning = iota // dropped
	HairpinInternalSource                    // delivered with the sender's internal endpoint
	HairpinExternalSource                    // delivered with the sender's external endpoint (REQ-9a)
)

// Reaction says what an unsolicited inbound packet gets in answer.
type Reaction int

// Reactions; the zero value is Drop.
const (
	Drop       Reaction = iota
	ICMP                // port unreachable
	RST                 // TCP reset; ICMP for UDP
	RSTAfter6s          // RFC 5382 REQ-4: a SYN meets silence for 6 s, then RST, unless an outbound SYN comes; otherwise as RST
)

// FragmentPolicy says what becomes of IPv4 fragments (RFC 4787 §11). All but the first carry no ports.
type FragmentPolicy int

// Fragment policies; the zero value is any order.
const (
	FragmentsAnyOrder FragmentPolicy = iota // those before the first wait for it (REQ-14)
	FragmentsInOrder                        // those before the first are dropped (REQ-13)
	FragmentsDropped                        // none passes
)

// ICMPErrorPolicy says what becomes of ICMP errors about translated packets.
type ICMPErrorPolicy int

// ICMP error policies; the zero value is translated.
const (
	ICMPErrorsTranslated ICMPErrorPolicy = iota // RFC 5508 REQ-4, REQ-5
	ICMPErrorsDropped                           // path MTU discovery then fails
)

// IPv6Mode says what a router does with IPv6.
type IPv6Mode int

// IPv6 modes; the zero value is none.
const (
	IPv6None     IPv6Mode = iota // no IPv6 at all: dropped
	IPv6Open                     // routed, no filter
	IPv6Firewall                 // routed behind a stateful firewall with Filtering6 (RFC 6092)
	NPTv6                        // prefixes are translated, checksum-neutrally (RFC 6296), behind the same firewall
	NAT64                        // to IPv4 by this router's mappings (RFC 6146)
)

// Kind says what a router is besides a translator. The zero value is Translate.
type Kind int

// Kinds of router.
const (
	Translate  Kind = iota
	NoNAT           // routes without translating; with Filtering 0 it filters nothing, otherwise it is a stateful firewall
	Masquerade      // plain Linux masquerade: conntrack decides, and the axes above are what it is known to do
)

// Behavior describes one router's NAT and firewall.
type Behavior struct {
	Kind      Kind
	Mapping   Dependency
	Filtering Dependency // 0 only with NoNAT: no filter

	PortAssignment    PortAssignment
	PortMin, PortMax  uint16        // zero: 20000 and 60000
	PortStep          int           // PortSequential; zero: 1
	PortBlockSize     int           // PortBlock; zero: 1024
	PortParity        bool          // keep odd odd and even even (REQ-4)
	PortContiguity    bool          // the mapping of the next internal port tries the next external one (§4.2.3)
	PortOverloading   bool          // UDP, with PortPreservation: never another port; the last sender owns it (TCP: RFC 5382 REQ-7 forbids it)
	PortHoldDown      time.Duration // a port whose mapping ended stays unused for so long; zero: none (RFC 6888 REQ-8: 120 s)
	Pooling           Pooling
	Hairpinning       Hairpinning
	FilterPerMapping  bool          // the filter belongs to the mapping, not to the internal endpoint as RFC 4787 §5 words it; differs for ADM and APDM only
	InputDrop         bool          // Masquerade: new traffic to the router itself is dropped before it leaves a trace
	UDPBlocked        bool          // no UDP passes in either direction
	TCPPorts          []uint16      // if not empty, only these TCP destination ports pass outwards
	UDPTimeout        time.Duration // idle life of a UDP mapping; zero: 120 s (REQ-5)
	NoOutboundRefresh bool          // UDP: outbound packets do not refresh (REQ-6 demands that they do)
	InboundRefresh    bool          // UDP: inbound packets refresh too (REQ-6 allows it)
	TCPEstablished    time.Duration // zero: 2 h 4 min (RFC 5382 REQ-5)
	TCPTransitory     time.Duration // of connections being opened or closed; zero: 4 min
	TCPSynTimeout     time.Duration // of connections being opened; zero: TCPTransitory
	ICMPTimeout       time.Duration // of echo requests; zero: 60 s (RFC 5508 REQ-2)
	Quota             int           // mappings per internal host; zero: no limit (RFC 6888 REQ-4)
	Exhausted         Reaction      // what an outbound packet that gets no mapping is answered with: Drop, or ICMP administratively prohibited (RFC 5508 REQ-8)
	Unsolicited       Reaction
	Fragments         FragmentPolicy
	ICMPErrors        ICMPErrorPolicy
	ReplyByNewMapping bool          // UDP: a reply to an inbound packet takes a mapping of its own instead of the one that let it in
	InboundFirstRemap bool          // quirk: an early inbound packet moves the host's own mapping to another port
	InboundFirstBlock time.Duration // quirk: who sends to an external endpoint before he may is kept out of it for so long; zero: not at all
	LenientPorts      []uint16      // quirk: towards these ports of remotes it maps and filters endpoint-independently, so that servers think well of it
	FlowLimit         int           // quirk: at more flows (mappings, and remotes in their filters) the router crashes and forgets all; zero: no limit
	CrashTime         time.Duration // how long nothing passes then; zero: 5 s
	ALG               bool          // quirk: rewrites the inner host's address wherever a UDP payload shows it (against RFC 4787 REQ-10)

	IPv6       IPv6Mode
	Filtering6 Dependency // of IPv6Firewall and NPTv6; zero: address-and-port-dependent
}
