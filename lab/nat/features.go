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

// agreed is a script that all engines run, with one answer.
func agreed(script string) Support { return tested("lab/agree " + script) }

func onKernel(test string) Support { return tested("lab/netfilter " + test) }

var nested = tested("lab/nat TestNestedTablesClassifyAsPromised")

var features = []row{
	{"mapping-eim", "mapping: endpoint-independent", "4787 REQ-1", agreed("TestRFC4787/req01-mapping"), agreed("TestRFC4787/req01-mapping")},
	{"mapping-adm", "mapping: address-dependent", "4787 §4.1", agreed("TestRFC4787/req01-mapping"), agreed("TestRFC4787/req01-mapping")},
	{"mapping-apdm", "mapping: address- and port-dependent", "4787 §4.1", agreed("TestRFC4787/req01-mapping"), agreed("TestRFC4787/req01-mapping")},
	{"filtering-eif", "filtering: endpoint-independent", "4787 REQ-8", agreed("TestRFC4787/req08-filtering"), agreed("TestRFC4787/req08-filtering")},
	{"filtering-adf", "filtering: address-dependent", "4787 REQ-8", agreed("TestRFC4787/req08-filtering"), agreed("TestRFC4787/req08-filtering")},
	{"filtering-apdf", "filtering: address- and port-dependent", "4787 §5", agreed("TestRFC4787/req08-filtering"), agreed("TestRFC4787/req08-filtering")},
	{"filter-per-mapping", "filter of the mapping, or of the internal endpoint", "4787 §5", agreed("TestRFC4787/req08-filtering"), agreed("TestRFC4787/req08-filtering")},
	{"reply-by-new-mapping", "a reply takes a mapping of its own, or the one that let the packet in", "", agreed("TestMore/reply"), agreed("TestMore/reply")},
	{"nested", "routers behind routers", "", nested, onKernel("TestNestedRouters")},

	{"port-preservation", "ports: preserved", "4787 §4.2.1", agreed("TestRFC4787/req03-port-assignment"), agreed("TestRFC4787/req03-port-assignment")},
	{"port-sequential", "ports: sequential, with a step", "", agreed("TestRFC4787/req03-port-assignment"), agreed("TestRFC4787/req03-port-assignment")},
	{"port-random", "ports: random, in a seeded order", "4787 §4.2.1", tested("lab/nat TestTable/ports"), onKernel("TestPortRandomIsSeeded").
		differs("another order for the same seed; a new mapping fails after eight draws that are taken")},
	{"port-block", "ports: a block for each host", "6888 §2", agreed("TestRFC6888/req01-base"), agreed("TestRFC6888/req01-base").differs("at most 64 blocks")},
	{"port-parity", "ports: odd stays odd", "4787 REQ-4", agreed("TestRFC4787/req04-parity"), lacks("nftables cannot draw a port by its parity")},
	{"port-contiguity", "ports: neighbors stay neighbors", "4787 §4.2.3", agreed("TestRFC4787/req04-parity"), lacks("nftables cannot look a neighbor's port up and add one to it")},
	{"port-overloading", "ports: overloaded, the last sender owns one", "4787 REQ-3", agreed("TestRFC4787/req03-port-assignment"), agreed("TestRFC4787/req03-port-assignment")},
	{"port-hold-down", "ports: held down after use", "6888 REQ-8", agreed("TestRFC6888/req08-hold-down"), lacks("a set's element leaves nothing behind when it ends")},
	{"pooling-paired", "pooling: paired", "4787 REQ-2", agreed("TestRFC6888/req02-pooling"), agreed("TestRFC6888/req02-pooling")},
	{"pooling-arbitrary", "pooling: arbitrary", "4787 REQ-2", agreed("TestRFC4787/req02-pooling"), agreed("TestRFC4787/req02-pooling")},
	{"quota", "a quota of mappings for each host", "6888 REQ-4", agreed("TestRFC6888/req04-quota"), lacks("nftables cannot count the elements of a set by host")},
	{"exhausted", "no mapping left: dropped, or ICMP administratively prohibited", "5508 REQ-8", agreed("TestRFC5508/req08-prohibited"), agreed("TestRFC5508/req08-prohibited")},

	{"hairpin-none", "hairpinning: none", "4787 §6", agreed("TestRFC4787/req09-hairpinning"), agreed("TestRFC4787/req09-hairpinning")},
	{"hairpin-internal", "hairpinning: with the internal source", "4787 §6", agreed("TestRFC4787/req09-hairpinning"), agreed("TestRFC4787/req09-hairpinning")},
	{"hairpin-external", "hairpinning: with the external source", "4787 REQ-9", agreed("TestRFC4787/req09-hairpinning"), agreed("TestRFC4787/req09-hairpinning")},

	{"timeout-udp", "timeout of UDP mappings", "4787 REQ-5", agreed("TestRFC4787/req05-timeout"), agreed("TestRFC4787/req05-timeout").differs("to 4 ms")},
	{"refresh-outbound", "outbound packets refresh, or not", "4787 REQ-6", agreed("TestRFC4787/req06-refresh"), agreed("TestRFC4787/req06-refresh")},
	{"refresh-inbound", "inbound packets refresh, or not", "4787 REQ-6", agreed("TestRFC4787/req06-refresh"), agreed("TestRFC4787/req06-refresh")},

	{"tcp", "TCP: mapping and filtering", "5382 REQ-1, REQ-3", agreed("TestRFC5382/req01-mapping"), agreed("TestRFC5382/req01-mapping").
		differs("conntrack drops segments that fit no state of their connection")},
	{"tcp-simultaneous", "TCP: simultaneous open", "5382 REQ-2", agreed("TestRFC5382/req02-simultaneous-open"), agreed("TestRFC5382/req02-simultaneous-open")},
	{"tcp-timeouts", "TCP: timeouts of opening, open and closing connections", "5382 REQ-5", agreed("TestRFC5382/req05-timeouts"), agreed("TestRFC5382/req05-timeouts").
		differs("a closed connection's mapping lives as long as an open one's; whole seconds")},
	{"tcp-ports", "only some TCP ports out", "", agreed("TestRFC5508/req08-prohibited"), agreed("TestRFC5508/req08-prohibited")},
	{"udp-blocked", "no UDP", "", agreed("TestRFC5508/req08-prohibited"), agreed("TestRFC5508/req08-prohibited")},

	{"unsolicited-drop", "unsolicited packets: dropped", "5382 REQ-4", agreed("TestRFC5382/req04-unsolicited-syn"), agreed("TestRFC5382/req04-unsolicited-syn")},
	{"unsolicited-icmp", "unsolicited packets: ICMP", "5382 REQ-4", agreed("TestRFC5382/req04-unsolicited-syn"), agreed("TestRFC5382/req04-unsolicited-syn")},
	{"unsolicited-rst", "unsolicited packets: RST", "5382 REQ-4", agreed("TestRFC5382/req04-unsolicited-syn"), agreed("TestRFC5382/req04-unsolicited-syn")},
	{"unsolicited-rst-6s", "unsolicited SYN: RST after 6 s of silence", "5382 REQ-4", agreed("TestRFC5382/req04-unsolicited-syn"), lacks("nftables cannot send a packet later")},

	{"router-ping", "the router answers a ping to its external address", "1812 §4.3.3.6", lacks("a table has no host stack outside: it stays silent, as home routers do"), tested("lab TestPingTheRouter")},
	{"icmp-echo", "ping", "5508 REQ-1, REQ-2", agreed("TestRFC5508/req01-queries"), agreed("TestRFC5508/req01-queries")},
	{"icmp-errors", "ICMP errors are translated with what they quote", "5508 REQ-4, REQ-5", agreed("TestRFC5508/req04-errors-in"), agreed("TestRFC5508/req04-errors-in").
		differs("checksums of errors about UDP are not verified; a quote with IP options is dropped")},
	{"icmp-keeps", "an ICMP error neither refreshes nor ends a mapping", "4787 REQ-12, 5508 REQ-6", agreed("TestRFC4787/req12-icmp"), agreed("TestRFC4787/req12-icmp")},
	{"icmp-hairpin", "ICMP errors about hairpinned packets", "5508 REQ-7", agreed("TestRFC5508/req07-hairpin-errors"), agreed("TestRFC5508/req07-hairpin-errors")},
	{"icmp-dropped", "ICMP errors are dropped", "", agreed("TestRFC5508/req09-policy"), agreed("TestRFC5508/req09-policy")},
	{"fragments-any-order", "fragments in any order", "4787 REQ-14", agreed("TestRFC4787/req14-fragments"), agreed("TestRFC4787/req14-fragments").
		differs("the kernel reassembles a datagram and cuts it again")},
	{"fragments-in-order", "fragments in order only", "4787 REQ-13", agreed("TestRFC4787/req14-fragments"), lacks("the kernel reassembles them in any order")},
	{"fragments-dropped", "fragments are dropped", "", agreed("TestRFC4787/req14-fragments"), agreed("TestRFC4787/req14-fragments")},

	{"no-nat", "no translation, no filter", "", agreed("TestRFC4787/req08-filtering"), agreed("TestRFC4787/req08-filtering")},
	{"firewall", "no translation, a stateful firewall", "", agreed("TestRFC4787/req08-filtering"), agreed("TestRFC4787/req08-filtering")},
	{"masquerade", "plain Linux masquerade, with or without an input drop", "", agreed("TestMore/first-remap").
		differs("conntrack's TCP states are opening, open and closing"), agreed("TestMore/first-remap").
		differs("as on Linux, what conntrack can't place leaves with its internal source")},
	{"inbound-first-remap", "quirk: an early inbound packet moves the mapping", "", agreed("TestMore/first-remap"), agreed("TestMore/first-remap").
		differs("only of masquerade without an input drop")},
	{"inbound-first-block", "quirk: who sends before it may is kept out for a while", "", tested("lab/nat TestTable/quirks"), lacks("it would take a set of its own: only the table has it")},
	{"lenient-ports", "quirk: other behavior towards servers' ports", "", tested("lab/nat TestTable/quirks"), lacks("the sets have keys of one width, whatever the remote port")},
	{"flow-limit", "quirk: too many flows crash the router", "", tested("lab/nat TestTable/quirks"), lacks("nftables cannot count the elements of a set")},
	{"alg", "quirk: payloads are rewritten", "4787 REQ-10", agreed("TestRFC4787/req10-alg"), lacks("nftables cannot search a payload")},
	{"port-map", "port mappings that are asked for", "6887 §11", agreed("TestMore/port-mapping"), agreed("TestMore/port-mapping")},
	{"bounded", "state is bounded, whatever comes", "", tested("lab/nat FuzzTable"), lacks("sets grow with the flows; the kernel's memory is the bound")},
	{"bad-packets", "malformed and spoofed packets are dropped and change nothing", "", agreed("TestMore/bad-input"), agreed("TestMore/bad-input").
		differs("a wrong UDP checksum passes, and is found by the host")},

	{"ipv6-open", "IPv6 is routed", "", agreed("TestMore/ipv6-firewall"), agreed("TestMore/ipv6-firewall")},
	{"ipv6-firewall", "IPv6 behind a stateful firewall", "6092", agreed("TestMore/ipv6-firewall"), agreed("TestMore/ipv6-firewall")},
	{"nptv6", "IPv6 prefixes are translated", "6296", agreed("TestMore/nptv6"), agreed("TestMore/nptv6")},
	{"nat64", "IPv6 to IPv4", "6146", agreed("TestMore/nat64"), lacks("the kernel has no NAT64")},
}
