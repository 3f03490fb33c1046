package netfilter

import (
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/punchlab/punchlab/lab/nat"
	"golang.org/x/sys/unix"
)

// plane is the translator of one protocol.
type plane struct {
	*table
	nat.Behavior // the router's, but for pings
	name         string
	proto        byte
	stateless    bool          // rewrites packets itself; otherwise conntrack does
	idle         time.Duration // timeout of what no lasting packet has refreshed yet

	// Where the inner side's port is in a packet from inside and in one from outside. An ICMP query's is its
	// identifier, and its remote side has none (RFC 5508 §3.1).
	portOut, portIn uint32
	query           bool

	// fwd: internal endpoint and as much of the remote one as the mapping depends on → external endpoint.
	// rev is its inverse, keyed by the external endpoint alone: no two mappings share one, but for pings to several
	// remotes, where the key has the remote too.
	fwd, rev *nftables.Set
	// filter: internal endpoint (or external, per mapping) and as much of the remote one as the filter depends on.
	// nil for EIF: the mapping is the filter.
	filter *nftables.Set
	fixed  fixed // what the users of the router have mapped
}

// udp, tcp and ping are the planes.
func (t *table) udp() *plane {
	return &plane{table: t, Behavior: t.Behavior, name: "udp", proto: unix.IPPROTO_UDP, stateless: true, idle: t.UDPTimeout, portOut: l4Src, portIn: l4Dst}
}

func (t *table) tcp() *plane {
	return &plane{table: t, Behavior: t.Behavior, name: "tcp", proto: unix.IPPROTO_TCP, idle: t.TCPSynTimeout, portOut: l4Src, portIn: l4Dst}
}

// ping has a mapping for each remote, with the identifier that the host chose if no other ping there has it: what RFC
// 5508 asks for says no more, and Linux does so.
func (t *table) ping() *plane {
	b := t.Behavior
	b.Mapping, b.Filtering, b.FilterPerMapping = nat.AddressAndPortDependent, nat.EndpointIndependent, false
	b.PortAssignment, b.PortMin, b.PortMax = nat.PortPreservation, 1, 65535
	return &plane{table: t, Behavior: b, name: "ping", proto: unix.IPPROTO_ICMP, stateless: true, idle: t.ICMPTimeout, portOut: icmpID, portIn: icmpID, query: true}
}

// nearOut is the inner side's endpoint of a packet from inside, farOut the remote one's; nearIn and farIn are those of a
// packet from outside.
func (p *plane) nearOut(word int) rule {
	return join(network(word, ipSrc, 4), transport(word+1, p.portOut, 2))
}
func (p *plane) farOut(word int) rule { return join(network(word, ipDst, 4), p.farPort(word+1, l4Dst)) }
func (p *plane) nearIn(word int) rule {
	return join(network(word, ipDst, 4), transport(word+1, p.portIn, 2))
}
func (p *plane) farIn(word int) rule { return join(network(word, ipSrc, 4), p.farPort(word+1, l4Src)) }

func (p *plane) farPort(word int, off uint32) rule {
	if p.query {
		return immediate(word, make([]byte, 4))
	}
	return transport(word, off, 2)
}

// setNearOut and setNearIn rewrite the inner side's endpoint.
func (p *plane) setNearOut(word int) []rule { return p.setNear(word, ipSrc, p.portOut) }
func (p *plane) setNearIn(word int) []rule  { return p.setNear(word, ipDst, p.portIn) }

func (p *plane) setNear(word int, addrOff, portOff uint32) []rule {
	if p.query {
		return []rule{join(setAddr(word, addrOff), setTransport(word+1, portOff, 2, icmpCsum))}
	}
	both := setEndpoint(word, addrOff, portOff)
	return both[:]
}

// life is what a packet that lasts gives a flow.
func (p *plane) life() time.Duration {
	if p.stateless {
		return p.idle
	}
	return p.TCPEstablished
}

func (p *plane) build() {
	p.fwd = p.dynamicMap("fwd_"+p.name, keyType(p.Mapping), endpoint, p.idle)
	p.rev = p.dynamicMap("rev_"+p.name, keyType(p.revKey()), keyType(p.Mapping), p.idle)
	if p.revOf == nil {
		p.revOf, p.fwdOf = map[byte]*nftables.Set{}, map[byte]*nftables.Set{}
	}
	p.revOf[p.proto], p.fwdOf[p.proto] = p.rev, p.fwd
	if p.Filtering != nat.EndpointIndependent {
		p.filter = p.dynamic("filter_"+p.name, keyType(p.Filtering), p.idle)
	}
	p.declareFixed()
	in, out, hit, draw := p.chain("in_"+p.name), p.chain("out_"+p.name), p.chain("hit_"+p.name), p.chain("draw_"+p.name)
	p.drawRules(draw)
	p.outRules(out, draw, hit)
	p.hitRules(hit, in)
	p.inRules(in)
	p.fixedRules(in)

	// Inbound packets are judged before conntrack sees them: one that is dropped later would leave an entry behind,
	// and the host's own packet, coming next, would be moved to another port.
	p.rule(p.raw, iif(p.cfg.WAN), p.mine(icmpEchoReply), network(internal, ipDst, 4), has(p.ext, internal), goTo(in))
	if p.stateless {
		p.rule(p.raw, iif(p.cfg.LAN), p.mine(icmpEcho), goTo(out))
		p.icmpErrors()
		return
	}
	p.rule(p.mangle, iif(p.cfg.LAN), proto(p.proto), goTo(out))
	p.rule(p.mangle, iif(p.cfg.WAN), proto(p.proto), ctState(expr.CtStateBitINVALID), drop) // else the router's own stack gets it
	p.rule(p.dst, proto(p.proto), p.nearIn(external), get(p.fixed.in, external, keyCopy), dnat(keyCopy))
	p.rule(p.dst, proto(p.proto), p.nearIn(external), get(p.rev, external, keyCopy), dnat(keyCopy))
	maps := []*nftables.Set{p.fwd}
	if p.fixed.outward != nil {
		maps = []*nftables.Set{p.fixed.out, p.fwd}
	}
	for _, m := range maps {
		translate := join(proto(p.proto), original(), get(m, internal, external), snat(external))
		p.rule(p.src, oif(p.cfg.WAN), translate)
		if p.Hairpinning == nat.HairpinExternalSource {
			p.rule(p.src, oif(p.cfg.LAN), translate)
		}
	}
}

// mine matches the plane's packets; of ICMP those of one type.
func (p *plane) mine(icmp byte) rule {
	if !p.query {
		return proto(p.proto)
	}
	return join(proto(p.proto), transport(scratch, 0, 1), equal(scratch, []byte{icmp}))
}

// revKey is how much of the remote endpoint rev's key has.
func (p *plane) revKey() nat.Dependency {
	if p.query {
		return nat.AddressAndPortDependent
	}
	return nat.EndpointIndependent
}

// farKey completes rev's key, behind the external endpoint.
func (p *plane) farKey(far func(word int) rule) rule {
	if !p.query {
		return nil
	}
	return far(remoteAgain)
}

func (p *plane) overloads() bool { return p.PortOverloading && p.proto == unix.IPPROTO_UDP }

// hairpin is what the plane does with a packet to one of the external addresses. The router itself answers a ping.
func (p *plane) hairpin() nat.Hairpinning {
	if p.query {
		return nat.HairpinNone
	}
	return p.Hairpinning
}

// refreshed tells whether packets out and in keep a flow alive. The behavior speaks of UDP: an echo request always does,
// and a TCP connection lives by its packets in both directions.
func (p *plane) refreshed() (out, in bool) {
	switch {
	case p.query:
		return true, false
	case p.stateless:
		return !p.NoOutboundRefresh, p.InboundRefresh
	}
	return true, true
}

// toSelf matches packets to one of the external addresses.
func (p *plane) toSelf() rule { return join(network(remoteAgain, ipDst, 4), has(p.ext, remoteAgain)) }

func (p *plane) mappingKey() rule { return join(p.nearOut(internal), p.farOut(remote)) }

// outRules find the mapping of a packet from inside, or make one.
func (p *plane) outRules(out, draw, hit *nftables.Chain) {
	if p.query {
		p.rule(out, p.toSelf(), accept)
	} else if p.hairpin() == nat.HairpinNone {
		p.rule(out, p.toSelf(), drop)
	}
	if !p.stateless {
		p.rule(out, ctState(expr.CtStateBitINVALID), drop) // it can't be translated: let it leave no mapping
	} else {
		p.rule(out, notrack)
		p.rule(out, dying(), accept) // the ICMP error goes to the packet's source: leave that as it is
	}
	if p.fixed.outward != nil {
		p.rule(out, p.nearOut(internal), has(p.fixed.out, internal), goTo(p.fixed.outward))
	}
	known := join(p.mappingKey(), get(p.fwd, internal, external), goTo(hit))
	p.rule(out, known)
	if !p.stateless && p.Mapping != nat.EndpointIndependent {
		// A reply to a connection from outside leaves by the mapping that let it in, and gets none of its own.
		if p.filter != nil && !p.FilterPerMapping {
			p.rule(out, p.mappingKey(), put(p.filter, internal, 0))
		}
		p.rule(out, ctReply(), accept)
	}
	p.rule(draw, known)
	for range drawTries {
		p.rule(out, jump(draw))
	}
	p.refuse(out) // no port is left
}

// hitRules open the filter, keep the mapping alive, and translate.
func (p *plane) hitRules(hit, in *nftables.Chain) {
	mapped := join(p.mappingKey(), get(p.fwd, internal, external))
	if p.filter != nil {
		p.rule(hit, p.opens(putIfAbsent(p.filter, p.owner(), 0)))
	}
	if refreshed, _ := p.refreshed(); refreshed {
		if p.filter != nil {
			p.rule(hit, p.lasts(), p.opens(putFor(p.life(), p.filter, p.owner(), 0)))
		}
		refresh := join(p.lasts(), mapped, putFor(p.life(), p.fwd, internal, external))
		if p.overloads() {
			refresh = join(refresh, remove(p.rev, external, internal)) // take the port back
		}
		if p.fixed.in != nil && p.fixed.outward == nil { // an answer by a port mapping, which nothing refreshes
			refresh = join(refresh, lacks(p.fixed.in, external))
		}
		p.rule(hit, refresh, p.farKey(p.farOut), putFor(p.life(), p.rev, external, internal))
	}
	if p.hairpin() == nat.HairpinInternalSource || !p.stateless {
		p.hairpinJudged(hit, p.fwd)
	}
	if !p.stateless {
		p.rule(hit, accept) // not back into the draws
		return
	}
	for _, set := range p.setNearOut(external) {
		p.rule(hit, mapped, set) // once the source is rewritten, the other rule's lookup fails
	}
	if p.hairpin() == nat.HairpinExternalSource {
		p.rule(hit, p.toSelf(), goTo(in)) // by now it is one more packet from outside
	}
	p.rule(hit, accept)
}

// hairpinJudged decides about packets to an external address that still have their internal source, and for UDP
// delivers them so. The sender has its mapping in the given map.
func (p *plane) hairpinJudged(hit *nftables.Chain, sender *nftables.Set) {
	if p.hairpin() == nat.HairpinNone {
		return
	}
	p.rule(hit, p.toSelf(), p.nearIn(external), has(p.fixed.in, external), goTo(p.fixed.inward))
	// The filter knows the sender by its external endpoint: look that up, and the target's mapping.
	look := join(p.nearOut(keyCopy), p.farOut(keyCopy+2), p.nearIn(external))
	if p.FilterPerMapping {
		look = join(look, get(sender, keyCopy, remoteAgain))
		if p.Filtering == nat.EndpointIndependent {
			look = join(look, get(p.rev, external, internal))
		}
	} else {
		look = join(look, get(p.rev, external, internal), get(sender, keyCopy, remote))
	}
	if p.stateless {
		for _, set := range p.setNearIn(internal) {
			p.rule(hit, p.toSelf(), look, p.passes(), get(p.rev, external, internal), set, accept)
		}
	} else {
		p.rule(hit, p.toSelf(), look, p.passes(), accept)
	}
	p.reject(hit, p.toSelf())
}

// owner is the word of the endpoint that the filter's entries belong to.
func (p *plane) owner() int {
	if p.FilterPerMapping {
		return external
	}
	return internal
}

// opens enters the packet's remote endpoint into the filter, by the given dynset expression.
func (p *plane) opens(enter rule) rule {
	if p.FilterPerMapping {
		return join(p.mappingKey(), get(p.fwd, internal, external), p.farOut(remoteAgain), enter)
	}
	return join(p.mappingKey(), enter)
}

// passes looks a packet up in the filter. It expects the target's internal and external endpoints in their words and
// the remote one behind each.
func (p *plane) passes() rule {
	if p.filter == nil {
		return nil
	}
	return has(p.filter, p.owner())
}

// inRules let packets to an external address in, or not.
func (p *plane) inRules(in *nftables.Chain) {
	if p.stateless {
		p.rule(in, notrack)
	}
	// The mapping's key lands in w0…w3; the packet's own remote endpoint then replaces the key's.
	if p.fixed.in != nil {
		p.rule(in, p.nearIn(external), has(p.fixed.in, external), goTo(p.fixed.inward))
	}
	look := join(p.nearIn(external), p.farKey(p.farIn), get(p.rev, external, internal), p.farIn(remote), p.farIn(remoteAgain))
	if _, refreshed := p.refreshed(); refreshed {
		refresh := join(get(p.rev, external, keyCopy), putFor(p.life(), p.fwd, keyCopy, external), putFor(p.life(), p.rev, external, keyCopy))
		if p.filter != nil {
			refresh = join(refresh, putFor(p.life(), p.filter, p.owner(), 0))
		}
		p.rule(in, p.lasts(), look, p.passes(), refresh)
	}
	if !p.stateless {
		p.rule(in, look, p.passes(), accept)
		p.reject(in)
		return
	}
	if !p.query && !p.ReplyByNewMapping && p.Mapping != nat.EndpointIndependent {
		reply := putIfAbsent(p.fwd, internal, external)
		if p.InboundRefresh {
			reply = put(p.fwd, internal, external)
		}
		p.rule(in, look, p.passes(), reply)
	}
	for _, set := range p.setNearIn(internal) {
		p.rule(in, look, p.passes(), set, accept)
	}
	p.reject(in)
}

// lasts matches the packets that keep a flow alive: all of UDP, and of TCP those that neither begin nor end a
// connection. What TCP has not established so lives for the transitory timeout (RFC 5382 REQ-5); a packet that ends a
// connection shortens nothing, since others may use the mapping.
func (p *plane) lasts() rule {
	if p.stateless {
		return nil
	}
	return established()
}

func established() rule { return tcpFlags(syn|fin|rst, 0) }
