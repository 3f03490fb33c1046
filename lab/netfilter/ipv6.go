package netfilter

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/punchlab/punchlab/lab/nat"
	"golang.org/x/sys/unix"
)

// IPv6 has a table of its own, of the kind that a router without NAT has: a set of flows for each protocol. The words of
// its keys are
//
//	w0…w3 internal address   w4 its port   w5…w8 remote address   w9 its port
const (
	internal6 = 0
	remote6   = 5
)

// Offsets into the IPv6 header and into an ICMPv6 error's quote.
const (
	ip6Src     = 8
	ip6Dst     = 24
	quotedSrc6 = quoted + ip6Src
	quotedDst6 = quoted + ip6Dst
	quotedL4   = quoted + 40

	icmp6Echo      = 128
	icmp6EchoReply = 129
)

// errorTypes6 are destination unreachable, packet too big, time exceeded and parameter problem (RFC 4443 §2.1).
var errorTypes6 = []byte{1, 2, 3, 4}

// maxNPTBits is the longest prefix that can be translated: the adjustment needs bits behind it (RFC 6296 §3.5).
const maxNPTBits = 64

// validate6 checks what IPv6 needs.
func (c Config) validate6() error {
	switch {
	case c.Behavior.IPv6 == nat.IPv6None:
	case !c.LANPrefix6.Addr().Is6():
		return fmt.Errorf("LAN prefix is %v: IPv6 %v wants an IPv6 prefix", c.LANPrefix6, c.Behavior.IPv6)
	case c.Behavior.IPv6 != nat.NPTv6:
	case !c.External6.Addr().Is6():
		return fmt.Errorf("external prefix is %v: NPTv6 wants an IPv6 prefix", c.External6)
	case max(c.LANPrefix6.Bits(), c.External6.Bits()) > maxNPTBits:
		return fmt.Errorf("prefixes %v and %v: NPTv6 translates at most %d bits", c.LANPrefix6, c.External6, maxNPTBits)
	case c.LANPrefix6.Overlaps(c.External6):
		return fmt.Errorf("prefixes %v and %v overlap", c.LANPrefix6, c.External6)
	}
	return nil
}

// firewall6 builds the IPv6 table: nothing for an open router or one without IPv6, which does not forward it.
func (t *table) firewall6() {
	for _, p := range []*plane{t.udp(), t.tcp(), t.ping()} {
		p.filter6()
	}
	t.rule(t.raw, iif(t.cfg.LAN), t.isError6(), drop) // about nothing that was let in
	forward := t.hook("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, 0)
	t.rule(forward, iif(t.cfg.WAN), ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED|expr.CtStateBitUNTRACKED), accept)
	t.rule(forward, iif(t.cfg.WAN), drop)
}

// build6 queues the whole IPv6 table.
func (t *table) build6() {
	t.t = &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv6}
	t.conn.AddTable(t.t)
	t.conn.DelTable(t.t)
	if t.IPv6 != nat.IPv6Firewall && t.IPv6 != nat.NPTv6 {
		return
	}
	t.conn.AddTable(t.t)
	t.raw = t.hook("raw", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -300)
	t.rule(t.raw, iif(t.cfg.LAN), inside(network(scratch, ip6Dst, 16), t.cfg.LANPrefix6), notrack, accept)
	t.blocked()
	if t.IPv6 == nat.NPTv6 {
		t.translatePrefixes()
	}
	t.firewall6()
}

// mine6 is mine for IPv6.
func (p *plane) mine6(icmp byte) rule {
	if !p.query {
		return proto(p.proto)
	}
	return join(proto(unix.IPPROTO_ICMPV6), transport(scratch, 0, 1), equal(scratch, []byte{icmp}))
}

// isError6 matches ICMPv6 errors.
func (t *table) isError6() rule {
	if t.errors == nil {
		var elems []nftables.SetElement
		for _, typ := range errorTypes6 {
			elems = append(elems, nftables.SetElement{Key: []byte{typ}})
		}
		t.errors = t.add(&nftables.Set{Name: "errors", KeyType: nftables.TypeICMP6Type}, elems...)
	}
	return join(proto(unix.IPPROTO_ICMPV6), transport(scratch, 0, 1), has(t.errors, scratch))
}

// filter6 lets in what answers, as Filtering6 says.
func (p *plane) filter6() {
	filtering := p.Filtering6
	if p.query {
		filtering = nat.AddressAndPortDependent // of the answers to a request
	}
	seen := p.dynamic("seen_"+p.name, keyType6(filtering), p.idle)
	in, out := p.chain("in_"+p.name), p.chain("out_"+p.name)
	p.rule(p.raw, iif(p.cfg.LAN), p.mine6(icmp6Echo), goTo(out))
	p.rule(p.raw, iif(p.cfg.WAN), p.mine6(icmp6EchoReply), inside(network(scratch, ip6Dst, 16), p.cfg.LANPrefix6), goTo(in))

	outbound := join(network(internal6, ip6Src, 16), transport(internal6+4, p.portOut, 2), network(remote6, ip6Dst, 16), p.farPort(remote6+4, l4Dst))
	inbound := join(network(internal6, ip6Dst, 16), transport(internal6+4, p.portIn, 2), network(remote6, ip6Src, 16), p.farPort(remote6+4, l4Src))
	byOut, byIn := p.refreshed()
	p.rule(out, notrack)
	p.rule(out, outbound, putIfAbsent(seen, internal6, 0))
	if byOut {
		p.rule(out, p.lasts(), outbound, putFor(p.life(), seen, internal6, 0))
	}
	p.rule(out, accept)
	p.rule(in, notrack)
	if byIn {
		p.rule(in, p.lasts(), inbound, has(seen, internal6), putFor(p.life(), seen, internal6, 0))
	}
	p.rule(in, inbound, has(seen, internal6), accept)
	p.reject(in)

	// Errors about a packet that was let out, and about one that was let in.
	p.rule(p.raw, iif(p.cfg.WAN), p.about6(icmp6Echo, quotedSrc6, quotedDst6, p.portOut, l4Dst), has(seen, internal6), notrack, accept)
	p.rule(p.raw, iif(p.cfg.LAN), p.about6(icmp6EchoReply, quotedDst6, quotedSrc6, p.portIn, l4Src), has(seen, internal6), notrack, accept)
}

// about6 matches ICMPv6 errors about the plane's packets (of pings those of one type) and loads the flow that they quote.
func (p *plane) about6(icmp byte, near, far, nearPort, farPort uint32) rule {
	number, rest := p.proto, transport(remote6+4, quotedL4+farPort, 2)
	if p.query {
		number = unix.IPPROTO_ICMPV6
		rest = join(transport(scratch, quotedL4, 1), equal(scratch, []byte{icmp}), immediate(remote6+4, make([]byte, 4)))
	}
	return join(p.isError6(), transport(scratch, quoted+6, 1), equal(scratch, []byte{number}),
		transport(internal6, near, 16), transport(internal6+4, quotedL4+nearPort, 2), transport(remote6, far, 16), rest)
}

// keyType6 is keyType for IPv6.
func keyType6(d nat.Dependency) nftables.SetDatatype {
	words := []nftables.SetDatatype{nftables.TypeIP6Addr, portType, nftables.TypeIP6Addr, portType}
	return nftables.MustConcatSetType(words[:1+int(d)]...)
}

// translatePrefixes is NPTv6 (RFC 6296). A destination is translated before it is routed and judged, a source after; a
// quote in an error along with the address that it belongs to.
func (t *table) translatePrefixes() {
	in, out := t.cfg.LANPrefix6, t.cfg.External6
	bits := max(in.Bits(), out.Bits()) // the shorter one is taken to end in zeros
	in, out = netip.PrefixFrom(in.Masked().Addr(), bits), netip.PrefixFrom(out.Masked().Addr(), bits)
	fromWAN, toWAN := iif(t.cfg.WAN), oif(t.cfg.WAN)
	t.rule(t.raw, fromWAN, inside(network(scratch, ip6Dst, 16), in), drop)
	t.swapPrefix(t.raw, fromWAN, at6{expr.PayloadBaseNetworkHeader, ip6Dst}, out, in)
	t.swapPrefix(t.raw, join(fromWAN, t.isError6()), at6{expr.PayloadBaseTransportHeader, quotedSrc6}, out, in)

	leaving := t.hook("leaving", nftables.ChainTypeFilter, nftables.ChainHookPostrouting, 300)
	t.swapPrefix(leaving, toWAN, at6{expr.PayloadBaseNetworkHeader, ip6Src}, in, out)
	t.swapPrefix(leaving, join(toWAN, t.isError6()), at6{expr.PayloadBaseTransportHeader, quotedDst6}, in, out)
	t.rule(leaving, toWAN, inside(network(scratch, ip6Src, 16), in), drop) // there is nowhere to make up for the change
}

// at6 is where in a packet an IPv6 address is.
type at6 struct {
	base expr.PayloadBase
	off  uint32
}

// swapPrefix replaces an address' prefix and makes up for it in another word of the address, so that no checksum of the
// packet changes. The kernel does the arithmetic: it takes the word for the checksum of what is written, and mends it
// (RFC 6296 §3.4, §3.5).
//
//	word  0    1    2    3    4    5    6    7
//	     │ prefix up to 48 │ ✚ │                     the subnet makes up for it
//	     │ prefix of 49 to 64  │ ✚ or, if that is ffff, the next
func (t *table) swapPrefix(c *nftables.Chain, match rule, at at6, from, to netip.Prefix) {
	const full = 0xff
	mask := netmask(from)
	first, last, n := uint32(4), uint32(7), uint32(8)
	if from.Bits() <= 48 {
		first, last, n = 3, 3, 6
	}
	prefix, keep := to.Addr().AsSlice()[:n], make([]byte, n)
	for i := range keep {
		keep[i] = ^mask[i]
	}
	write := func(word int, csum uint32) rule {
		return rule{
			&expr.Bitwise{SourceRegister: w(word), DestRegister: w(word), Len: n, Mask: keep, Xor: prefix},
			&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: w(word), Base: at.base, Offset: at.off, Len: n,
				CsumType: expr.CsumTypeInet, CsumOffset: csum},
		}
	}
	var before rule // the words that can't make up for it
	for i := first; i <= last; i++ {
		place := at.off + 2*i
		word := load(scratch, at.base, place, 2)
		t.rule(c, match, inside(load(scratch, at.base, at.off, 16), from), before, word, notEqual(scratch, []byte{full, full}),
			load(internal6, at.base, at.off, n), write(internal6, place))
		// Zero has two representations, of which ffff is not to be used.
		t.rule(c, match, inside(load(scratch, at.base, at.off, 16), to), before, word, equal(scratch, []byte{full, full}),
			immediate(scratch, make([]byte, 2)), rule{&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: w(scratch), Base: at.base, Offset: place, Len: 2}})
		before = join(before, word, equal(scratch, []byte{full, full}))
	}
}
