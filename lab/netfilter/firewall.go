package netfilter

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/punchlab/punchlab/lab/nat"
	"golang.org/x/sys/unix"
)

// firewall filters without translating. The flows of each protocol live in one set, keyed like a translator's filter;
// conntrack knows the rest of ICMP.
func (t *table) firewall() {
	t.rule(t.raw, iif(t.cfg.WAN), inside(network(scratch, ipSrc, 4), t.cfg.LANPrefix), drop) // spoofed
	for _, p := range []*plane{t.udp(), t.tcp(), t.ping()} {
		p.filterOnly()
	}
	t.rule(t.raw, iif(t.cfg.LAN), t.isError(), drop) // about nothing that was let in
	for _, p := range []byte{unix.IPPROTO_UDP, unix.IPPROTO_TCP, unix.IPPROTO_ICMP} {
		t.rule(t.raw, proto(p), accept)
	}
	for _, device := range []string{t.cfg.LAN, t.cfg.WAN} { // other protocols have no ports to filter by
		t.rule(t.raw, iif(device), drop)
	}
	forward := t.hook("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, 0)
	t.rule(forward, iif(t.cfg.WAN), ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED|expr.CtStateBitUNTRACKED), accept)
	t.rule(forward, iif(t.cfg.WAN), drop)
}

// filterOnly builds the plane of a router that does not translate.
func (p *plane) filterOnly() {
	filtering := p.table.Filtering
	if p.query {
		filtering = nat.AddressAndPortDependent // of the answers to a request
	}
	seen := p.dynamic("seen_"+p.name, keyType(filtering), p.idle)
	in, out := p.chain("in_"+p.name), p.chain("out_"+p.name)
	p.rule(p.raw, iif(p.cfg.LAN), p.mine(icmpEcho), goTo(out))
	p.rule(p.raw, iif(p.cfg.WAN), p.mine(icmpEchoReply), within(p.cfg.LANPrefix), goTo(in))

	outbound := join(p.nearOut(internal), p.farOut(remote))
	inbound := join(p.nearIn(internal), p.farIn(remote))
	byOut, byIn := p.refreshed()
	p.rule(out, notrack)
	p.rule(out, outbound, putIfAbsent(seen, internal, 0))
	if byOut {
		p.rule(out, p.lasts(), outbound, putFor(p.life(), seen, internal, 0))
	}
	p.rule(out, accept)
	p.rule(in, notrack)
	if byIn {
		p.rule(in, p.lasts(), inbound, has(seen, internal), putFor(p.life(), seen, internal, 0))
	}
	p.rule(in, inbound, has(seen, internal), accept)
	if !p.query {
		p.fixed = p.newFixed(p.name, p.proto) // a mapped endpoint is its own external one
		for _, may := range p.fixed.passes() {
			p.rule(in, p.nearIn(external), may, accept)
		}
	}
	p.reject(in)
	about := join(transport(internal, quotedSrc, 4), p.quotedPort(internal+1, p.portOut), transport(remote, quotedDst, 4), p.quotedFarPort(remote+1, l4Dst))
	p.rule(p.raw, iif(p.cfg.WAN), p.quotesMine(icmpEcho), about, has(seen, internal), notrack, accept)
	about = join(transport(internal, quotedDst, 4), p.quotedPort(internal+1, p.portIn), transport(remote, quotedSrc, 4), p.quotedFarPort(remote+1, l4Src))
	p.rule(p.raw, iif(p.cfg.LAN), p.quotesMine(icmpEchoReply), about, has(seen, internal), notrack, accept)
	if p.query {
		return
	}
	for _, way := range []struct {
		device         string
		near, far, off uint32
	}{{p.cfg.WAN, quotedSrc, quotedDst, p.portOut}, {p.cfg.LAN, quotedDst, quotedSrc, p.portIn}} {
		mapped := join(iif(way.device), p.quotes(p.proto), transport(external, way.near, 4), p.quotedPort(external+1, way.off))
		for _, remote := range []rule{immediate(external+2, make([]byte, 4)), transport(external+2, way.far, 4)} {
			p.rule(p.raw, mapped, remote, has(p.fixed.from, external), notrack, accept)
		}
	}
}

// masquerade is what a Linux router does with one rule, and with the two that keep new traffic out.
func (t *table) masquerade() {
	src := t.hook("src", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, 100)
	t.fixedMasquerade(src)
	t.rule(src, oif(t.cfg.WAN), rule{&expr.Masq{}})
	if !t.InputDrop {
		return
	}
	forward := t.hook("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, 0)
	t.rule(forward, iif(t.cfg.WAN), mapped(), accept)
	for _, c := range []*nftables.Chain{forward, t.hook("input", nftables.ChainTypeFilter, nftables.ChainHookInput, 0)} {
		t.rule(c, iif(t.cfg.WAN), ctState(expr.CtStateBitNEW|expr.CtStateBitINVALID), drop)
	}
}

// outside matches a destination that is not in the LAN.
func outside(c Config) rule {
	return join(network(scratch, ipDst, 4), and(scratch, netmask(c.LANPrefix)), notEqual(scratch, c.LANPrefix.Masked().Addr().AsSlice()))
}
