package nat

// Feature is a behavior that some engines realise and others refuse: a row of `punchlab list nats --engine E` and of
// the table in the README.
type Feature struct {
	ID      string             // "mapping-eim"; stable
	Title   string             // for people
	RFC     string             // "4787 REQ-1"; empty for what no RFC words
	Engines map[string]Support // by "netfilter" and "table"
}

// Support says that an engine has a feature, by the test that shows it, or why it has not.
type Support struct {
	Test   string // "lab/nat TestTable/mapping": a package and a test in it; empty if the engine has not got the feature
	Reason string // why not; or beside a test, in which detail the engine differs
}

// Features returns all rows, with copies of their maps.
//
// The engines agree on what both have, but for what stands beside a test as its reason. In short: the table verifies
// the checksums of whole packets, where netfilter passes on a wrong one of UDP; it ends a closed connection's mapping
// after the transitory timeout, where netfilter keeps it for the established one; and it looks for the next free port
// where netfilter gives up after eight draws.
func Features() []Feature {
	var all []Feature
	for _, r := range features {
		all = append(all, Feature{r.id, r.title, r.rfc, map[string]Support{"table": r.table, "netfilter": r.netfilter}})
	}
	return all
}

type row struct {
	id, title, rfc   string
	table, netfilter Support
}

// tested is a package's test; differs says in what an engine differs; lacks says why it has not got the feature.
func tested(name string) Support { return Support{Test: name} }

func (s Support) differs(reason string) Support {
	s.Reason = reason
	return s
}

func lacks(reason string) Support { return Support{Reason: reason} }

func onTable(script string) Support { return tested("lab/nat TestTable/" + script) }
func onKernel(test string) Support  { return tested("lab/netfilter " + test) }

var (
	classified = tested("lab/nat TestTablesClassifyAsPromised")
	nested     = tested("lab/nat TestNestedTablesClassifyAsPromised")
)

var features = []row{
	{"mapping-eim", "mapping: endpoint-independent", "4787 REQ-1", classified, onKernel("TestPresetsClassifyAsPromised")},
	{"mapping-adm", "mapping: address-dependent", "4787 §4.1", classified, onKernel("TestPresetsClassifyAsPromised")},
	{"mapping-apdm", "mapping: address- and port-dependent", "4787 §4.1", classified, onKernel("TestPresetsClassifyAsPromised")},
	{"filtering-eif", "filtering: endpoint-independent", "4787 REQ-8", classified, onKernel("TestGrid")},
	{"filtering-adf", "filtering: address-dependent", "4787 REQ-8", classified, onKernel("TestGrid")},
	{"filtering-apdf", "filtering: address- and port-dependent", "4787 §5", classified, onKernel("TestGrid")},
	{"filter-per-mapping", "filter of the mapping, or of the internal endpoint", "4787 §5", onTable("timeouts"), onKernel("TestGrid")},
	{"reply-by-new-mapping", "a reply takes a mapping of its own, or the one that let the packet in", "", onTable("timeouts"), onKernel("TestReply")},
	{"nested", "routers behind routers", "", nested, onKernel("TestNestedRouters")},

	{"port-preservation", "ports: preserved", "4787 §4.2.1", onTable("ports"), onKernel("TestPortPreservation")},
	{"port-sequential", "ports: sequential, with a step", "", onTable("ports"), onKernel("TestPortSequential")},
	{"port-random", "ports: random, in a seeded order", "4787 §4.2.1", onTable("ports"), onKernel("TestPortRandomIsSeeded").
		differs("another order for the same seed; a new mapping fails after eight draws that are taken")},
	{"port-block", "ports: a block for each host", "6888 §2", onTable("ports"), onKernel("TestPortBlock").differs("at most 64 blocks")},
	{"port-parity", "ports: odd stays odd", "4787 REQ-4", onTable("ports"), lacks("nftables cannot draw a port by its parity")},
	{"port-contiguity", "ports: neighbors stay neighbors", "4787 §4.2.3", onTable("ports"), lacks("nftables cannot look a neighbor's port up and add one to it")},
	{"port-overloading", "ports: overloaded, the last sender owns one", "4787 REQ-3", onTable("ports"), onKernel("TestPortOverloading")},
	{"port-hold-down", "ports: held down after use", "6888 REQ-8", onTable("ports"), lacks("a set's element leaves nothing behind when it ends")},
	{"pooling-paired", "pooling: paired", "4787 REQ-2", onTable("ports"), onKernel("TestPooling")},
	{"pooling-arbitrary", "pooling: arbitrary", "4787 REQ-2", onTable("ports"), onKernel("TestPooling")},
	{"quota", "a quota of mappings for each host", "6888 REQ-4", onTable("ports"), lacks("nftables cannot count the elements of a set by host")},
	{"exhausted", "no mapping left: dropped, or ICMP administratively prohibited", "5508 REQ-8", onTable("ports"), onKernel("TestExhausted")},

	{"hairpin-none", "hairpinning: none", "4787 §6", onTable("hairpin"), onKernel("TestHairpinning")},
	{"hairpin-internal", "hairpinning: with the internal source", "4787 §6", onTable("hairpin"), onKernel("TestHairpinning")},
	{"hairpin-external", "hairpinning: with the external source", "4787 REQ-9", onTable("hairpin"), onKernel("TestHairpinning")},

	{"timeout-udp", "timeout of UDP mappings", "4787 REQ-5", onTable("timeouts"), onKernel("TestTimeoutAndRefresh").differs("to 4 ms")},
	{"refresh-outbound", "outbound packets refresh, or not", "4787 REQ-6", onTable("timeouts"), onKernel("TestTimeoutAndRefresh")},
	{"refresh-inbound", "inbound packets refresh, or not", "4787 REQ-6", onTable("timeouts"), onKernel("TestTimeoutAndRefresh")},

	{"tcp", "TCP: mapping and filtering", "5382 REQ-1, REQ-3", onTable("tcp"), onKernel("TestTCPMapping")},
	{"tcp-simultaneous", "TCP: simultaneous open", "5382 REQ-2", onTable("tcp"), onKernel("TestTCPSimultaneousOpen")},
	{"tcp-timeouts", "TCP: timeouts of opening, open and closing connections", "5382 REQ-5", onTable("tcp"), onKernel("TestTCPLifetimes").
		differs("a closed connection's mapping lives as long as an open one's; whole seconds")},
	{"tcp-ports", "only some TCP ports out", "", onTable("mapping"), onKernel("TestTCPPortsAndBlockedUDP")},
	{"udp-blocked", "no UDP", "", onTable("mapping"), onKernel("TestTCPPortsAndBlockedUDP")},

	{"unsolicited-drop", "unsolicited packets: dropped", "5382 REQ-4", onTable("mapping"), onKernel("TestUnsolicited")},
	{"unsolicited-icmp", "unsolicited packets: ICMP", "5382 REQ-4", onTable("hairpin"), onKernel("TestUnsolicited")},
	{"unsolicited-rst", "unsolicited packets: RST", "5382 REQ-4", onTable("tcp"), onKernel("TestUnsolicited")},
	{"unsolicited-rst-6s", "unsolicited SYN: RST after 6 s of silence", "5382 REQ-4", onTable("tcp"), lacks("nftables cannot send a packet later")},

	{"icmp-echo", "ping", "5508 REQ-1, REQ-2", onTable("icmp"), onKernel("TestPing")},
	{"icmp-errors", "ICMP errors are translated with what they quote", "5508 REQ-4, REQ-5", onTable("icmp"), onKernel("TestICMPErrors")},
	{"icmp-keeps", "an ICMP error neither refreshes nor ends a mapping", "4787 REQ-12, 5508 REQ-6", onTable("icmp"), onKernel("TestICMPErrors")},
	{"icmp-hairpin", "ICMP errors about hairpinned packets", "5508 REQ-7", onTable("hairpin"), onKernel("TestErrorAboutHairpin")},
	{"icmp-dropped", "ICMP errors are dropped", "", onTable("icmp"), onKernel("TestICMPErrorsDropped")},
	{"fragments-any-order", "fragments in any order", "4787 REQ-14", onTable("fragments"), onKernel("TestOddPackets").
		differs("the kernel reassembles a datagram and cuts it again")},
	{"fragments-in-order", "fragments in order only", "4787 REQ-13", onTable("fragments"), lacks("the kernel reassembles them in any order")},
	{"fragments-dropped", "fragments are dropped", "", onTable("fragments"), onKernel("TestFragmentsDropped")},

	{"no-nat", "no translation, no filter", "", onTable("icmp"), onKernel("TestFirewall")},
	{"firewall", "no translation, a stateful firewall", "", onTable("icmp"), onKernel("TestFirewall")},
	{"masquerade", "plain Linux masquerade, with or without an input drop", "", onTable("quirks").
		differs("conntrack's TCP states are opening, open and closing"), onKernel("TestEarlyPacket")},
	{"inbound-first-remap", "quirk: an early inbound packet moves the mapping", "", onTable("quirks"), onKernel("TestEarlyPacket").
		differs("only of masquerade without an input drop")},
	{"alg", "quirk: payloads are rewritten", "4787 REQ-10", tested("lab/nat TestALG"), lacks("nftables cannot search a payload")},
	{"port-map", "port mappings that are asked for", "6887 §11", onTable("portmap"), onKernel("TestPortMap")},
	{"bounded", "state is bounded, whatever comes", "", tested("lab/nat FuzzTable"), lacks("sets grow with the flows; the kernel's memory is the bound")},
	{"bad-packets", "malformed and spoofed packets are dropped and change nothing", "", tested("lab/nat FuzzTable"), onKernel("TestOddPackets").
		differs("a wrong UDP checksum passes, and is found by the host")},

	{"ipv6-open", "IPv6 is routed", "", tested("lab/nat TestIPv6"), onKernel("TestIPv6Open")},
	{"ipv6-firewall", "IPv6 behind a stateful firewall", "6092", tested("lab/nat TestIPv6/firewall"), onKernel("TestIPv6Firewall")},
	{"nptv6", "IPv6 prefixes are translated", "6296", tested("lab/nat TestIPv6/nptv6"), onKernel("TestNPTv6")},
	{"nat64", "IPv6 to IPv4", "6146", tested("lab/nat TestIPv6/nat64"), lacks("the kernel has no NAT64")},
}
