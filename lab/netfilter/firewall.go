package netfilter

import (
	"encoding/binary"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// firewall filters without translating. UDP and TCP flows live in one set each, keyed like a translator's filter;
// only ping is left to conntrack.
func (t *table) firewall() {
	for _, f := range []struct {
		name       string
		proto      byte
		idle, life time.Duration
		lasts      rule
		refresh    [2]bool // by packets out, in
	}{
		{"udp", unix.IPPROTO_UDP, t.UDPTimeout, t.UDPTimeout, nil, [2]bool{!t.NoOutboundRefresh, t.InboundRefresh}},
		{"tcp", unix.IPPROTO_TCP, t.TCPTransitory, t.TCPEstablished, established(), [2]bool{true, true}},
	} {
		seen := t.dynamic("seen_"+f.name, keyType(t.Filtering), f.idle)
		in, out := t.chain("in_"+f.name), t.chain("out_"+f.name)
		t.rule(t.raw, iif(t.cfg.LAN), proto(f.proto), goTo(out))
		t.rule(t.raw, iif(t.cfg.WAN), proto(f.proto), within(t.cfg.LANPrefix), goTo(in))

		outbound := join(source(internal), dest(remote))
		inbound := join(dest(internal), source(remote))
		t.rule(out, notrack)
		t.rule(out, outbound, putIfAbsent(seen, internal, 0))
		if f.refresh[0] {
			t.rule(out, f.lasts, outbound, putFor(f.life, seen, internal, 0))
		}
		t.rule(out, accept)
		t.rule(in, notrack)
		if f.refresh[1] {
			t.rule(in, f.lasts, inbound, has(seen, internal), putFor(f.life, seen, internal, 0))
		}
		t.rule(in, inbound, has(seen, internal), accept)
		t.reject(in, f.proto)

		for _, typ := range errorTypes {
			t.rule(t.raw, iif(t.cfg.WAN), quotes(typ, f.proto), quotedSource(internal), quotedDest(remote), has(seen, internal), notrack, accept)
		}
	}
	forward := t.hook("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, 0)
	t.rule(forward, iif(t.cfg.WAN), ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED|expr.CtStateBitUNTRACKED), accept)
	t.rule(forward, iif(t.cfg.WAN), drop)
}

// masquerade is what a Linux router does with one rule, and with the two that keep new traffic out.
func (t *table) masquerade() {
	src := t.hook("src", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, 100)
	t.rule(src, oif(t.cfg.WAN), rule{&expr.Masq{}})
	if !t.InputDrop {
		return
	}
	for _, c := range []*nftables.Chain{
		t.hook("input", nftables.ChainTypeFilter, nftables.ChainHookInput, 0),
		t.hook("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, 0),
	} {
		t.rule(c, iif(t.cfg.WAN), ctState(expr.CtStateBitNEW|expr.CtStateBitINVALID), drop)
	}
}

// outside matches a destination that is not in the LAN.
func outside(c Config) rule {
	mask := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-c.LANPrefix.Bits()))
	return join(network(scratch, ipDst, 4), and(scratch, mask), notEqual(scratch, c.LANPrefix.Masked().Addr().AsSlice()))
}
