package netfilter

import (
	"github.com/google/nftables"
	"github.com/punchlab/punchlab/lab/nat"
	"golang.org/x/sys/unix"
)

// ICMP errors quote the packet they are about; the quote starts 8 bytes into the message and is taken to have an IP
// header without options.
//
//	0     1     2         4         8                    20    24    28      30      34
//	│type │code │ checksum│ unused  │ quoted IP … csum … │ src │ dst │ sport │ dport │ UDP csum │ …
//	                                                                 or type │ csum │ identifier │
const (
	icmpCsum      = 2
	icmpID        = 4
	icmpEchoReply = 0
	icmpEcho      = 8

	quoted     = 8
	quotedSrc  = quoted + ipSrc
	quotedDst  = quoted + ipDst
	quotedPart = quoted + 20 // the transport header
)

// errorTypes are destination unreachable, time exceeded and parameter problem (RFC 792).
var errorTypes = []byte{3, 11, 12}

// errorSet holds the types of ICMP errors.
func (t *table) errorSet() *nftables.Set {
	if t.errors == nil {
		var elems []nftables.SetElement
		for _, typ := range errorTypes {
			elems = append(elems, nftables.SetElement{Key: []byte{typ}})
		}
		t.errors = t.add(&nftables.Set{Name: "errors", KeyType: nftables.TypeICMPType}, elems...)
	}
	return t.errors
}

// isError matches ICMP errors.
func (t *table) isError() rule {
	return join(proto(unix.IPPROTO_ICMP), transport(scratch, 0, 1), has(t.errorSet(), scratch))
}

// quotes matches ICMP errors about a packet of a protocol.
func (t *table) quotes(p byte) rule {
	return join(t.isError(),
		transport(scratch, quoted, 1), equal(scratch, []byte{0x45}),
		transport(scratch, quoted+9, 1), equal(scratch, []byte{p}))
}

// quotesMine is quotes for the plane's packets; of ICMP those of one type.
func (p *plane) quotesMine(icmp byte) rule {
	if !p.query {
		return p.quotes(p.proto)
	}
	return join(p.quotes(p.proto), transport(scratch, quotedPart, 1), equal(scratch, []byte{icmp}))
}

// setQuoted rewrites the inner side's endpoint in a quote, with all three checksums: the quoted header's, the quoted
// transport's and the message's own. A change together with the checksum that covers it leaves an outer checksum as it
// was. The address has two checksums inside a UDP quote, so it is written thrice: with UDP's, back with the message's
// (which so takes up what the second one will change), and again with the header's.
func (p *plane) setQuoted(word int, addrOff, portOff uint32) []rule {
	addr := setTransport(word, addrOff, 4, quoted+ipCsum)
	if p.query {
		const csum = quotedPart + icmpCsum
		return []rule{join(addr, setTransport(word+1, portOff, 2, csum))}
	}
	const csum = quotedPart + udpCsum
	old, sum := scratch, scratch+1
	return []rule{
		join(transport(sum, csum, 2), notEqual(sum, []byte{0, 0}), transport(old, addrOff, 4),
			setTransport(word, addrOff, 4, csum), setTransport(old, addrOff, 4, icmpCsum), addr, setTransport(word+1, portOff, 2, csum)),
		join(transport(sum, csum, 2), equal(sum, []byte{0, 0}), addr, setTransport(word+1, portOff, 2, icmpCsum)),
	}
}

// icmpErrors translates ICMP errors about UDP packets and pings, which conntrack would do for tracked ones (RFC 5508
// REQ-4, 5). What a mapping does not explain goes on to the leak guard.
func (p *plane) icmpErrors() {
	// About a packet that this router has let out, and about one that it has let in.
	inward, outward := p.chain("error_in_"+p.name), p.chain("error_out_"+p.name)
	source := join(transport(external, quotedSrc, 4), p.quotedPort(external+1, p.portOut), p.farKey(p.quotedRemote))
	dest := join(transport(internal, quotedDst, 4), p.quotedPort(internal+1, p.portIn), transport(remote, quotedSrc, 4), p.quotedFarPort(remote+1, l4Src))
	sent, came := []rule{join(source, get(p.rev, external, internal))}, []rule{join(dest, get(p.fwd, internal, external))}
	if p.fixed.in != nil {
		sent = append(sent, join(source, get(p.fixed.in, external, internal)))
	}
	if p.fixed.outward != nil {
		came = append([]rule{join(dest, get(p.fixed.out, internal, external))}, came...)
	}
	p.rule(p.raw, iif(p.cfg.WAN), p.quotesMine(icmpEcho), goTo(inward))
	p.rule(p.raw, iif(p.cfg.LAN), p.quotesMine(icmpEchoReply), goTo(outward))

	// The router's own errors are about packets that it has translated already: path MTU and expired TTL.
	own := p.ownErrors()
	for _, look := range sent {
		for _, set := range p.setQuoted(internal, quotedSrc, quotedPart+p.portOut) {
			p.rule(inward, look, notrack, setAddr(internal, ipDst), set, accept)
			p.rule(own, p.quotesMine(icmpEcho), look, notrack, setAddr(internal, ipDst), set)
		}
	}
	for _, look := range came {
		for _, set := range p.setQuoted(external, quotedDst, quotedPart+p.portIn) {
			done := accept
			if p.hairpin() == nat.HairpinExternalSource { // the sender is inside too, and knows itself by its external endpoint
				done = goTo(inward)
			}
			p.rule(outward, look, notrack, setAddr(external, ipSrc), set, done)
			p.rule(own, p.quotesMine(icmpEchoReply), look, notrack, set)
		}
	}
}

func (p *plane) quotedPort(word int, off uint32) rule { return transport(word, quotedPart+off, 2) }

func (p *plane) quotedFarPort(word int, off uint32) rule {
	if p.query {
		return immediate(word, make([]byte, 4))
	}
	return p.quotedPort(word, off)
}

// quotedRemote is the remote endpoint of a quoted ping.
func (p *plane) quotedRemote(word int) rule {
	return join(transport(word, quotedDst, 4), p.quotedFarPort(word+1, l4Dst))
}

// ownErrors is the chain that sees the router's own errors.
func (t *table) ownErrors() *nftables.Chain {
	if t.own == nil {
		t.own = t.hook("own_errors", nftables.ChainTypeRoute, nftables.ChainHookOutput, -300)
	}
	return t.own
}

// dropErrors drops the ICMP errors that come through the router.
func (t *table) dropErrors() {
	for _, device := range []string{t.cfg.LAN, t.cfg.WAN} {
		t.rule(t.raw, iif(device), t.isError(), drop)
	}
}

// guard keeps internal addresses inside: what no mapping explains, be it a protocol that has none (GRE, SCTP) or an
// ICMP error about a packet that nobody sent (RFC 5508 REQ-5).
func (t *table) guard() {
	leaving := t.hook("guard", nftables.ChainTypeFilter, nftables.ChainHookPostrouting, 300)
	t.rule(leaving, oif(t.cfg.WAN), inside(network(scratch, ipSrc, 4), t.cfg.LANPrefix), drop)
	t.rule(leaving, oif(t.cfg.WAN), t.isError(), inside(transport(scratch, quotedDst, 4), t.cfg.LANPrefix), drop)
}
