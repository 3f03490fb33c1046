package netfilter

import (
	"time"

	"github.com/google/nftables"
	"github.com/punchlab/punchlab/lab/nat"
)

// plane is the translator of one protocol.
type plane struct {
	*table
	name      string
	proto     byte
	stateless bool          // rewrites packets itself; otherwise conntrack does
	idle      time.Duration // default timeout of the sets

	// fwd: internal endpoint and as much of the remote one as the mapping depends on → external endpoint.
	// rev is its inverse, keyed by the external endpoint alone: no two mappings share one.
	fwd, rev *nftables.Set
	// filter: internal endpoint (or external, per mapping) and as much of the remote one as the filter depends on.
	// nil for EIF: the mapping is the filter.
	filter *nftables.Set
}

func (p *plane) build() {
	p.fwd = p.dynamicMap("fwd_"+p.name, keyType(p.Mapping), endpoint, p.idle)
	p.rev = p.dynamicMap("rev_"+p.name, endpoint, keyType(p.Mapping), p.idle)
	if p.Filtering != nat.EndpointIndependent {
		p.filter = p.dynamic("filter_"+p.name, keyType(p.Filtering), p.idle)
	}
	in, out, hit, draw := p.chain("in_"+p.name), p.chain("out_"+p.name), p.chain("hit_"+p.name), p.chain("draw_"+p.name)
	p.drawRules(draw)
	p.outRules(out, draw, hit)
	p.hitRules(hit, in)
	p.inRules(in)

	// Inbound packets are judged before conntrack sees them: one that is dropped later would leave an entry behind,
	// and the host's own packet, coming next, would be moved to another port.
	p.rule(p.raw, iif(p.cfg.WAN), proto(p.proto), network(internal, ipDst, 4), has(p.ext, internal), goTo(in))
	if p.stateless {
		p.rule(p.raw, iif(p.cfg.LAN), proto(p.proto), goTo(out))
		p.icmpErrors()
		return
	}
	p.rule(p.mangle, iif(p.cfg.LAN), proto(p.proto), goTo(out))
	p.rule(p.dst, proto(p.proto), dest(external), get(p.rev, external, keyCopy), dnat(keyCopy))
	translate := join(proto(p.proto), original(), get(p.fwd, internal, external), snat(external))
	p.rule(p.src, oif(p.cfg.WAN), translate)
	if p.Hairpinning == nat.HairpinExternalSource {
		p.rule(p.src, oif(p.cfg.LAN), translate)
	}
}

func (p *plane) overloads() bool { return p.PortOverloading && p.stateless }

// toSelf matches packets to one of the external addresses.
func (p *plane) toSelf() rule { return join(network(remoteAgain, ipDst, 4), has(p.ext, remoteAgain)) }

func mappingKey() rule { return join(source(internal), dest(remote)) }

// outRules find the mapping of a packet from inside, or make one.
func (p *plane) outRules(out, draw, hit *nftables.Chain) {
	if p.Hairpinning == nat.HairpinNone {
		p.rule(out, p.toSelf(), drop)
	}
	if p.stateless {
		p.rule(out, notrack)
		p.rule(out, dying(), accept) // the ICMP error goes to the packet's source: leave that as it is
	}
	known := join(mappingKey(), get(p.fwd, internal, external), goTo(hit))
	p.rule(out, known)
	if !p.stateless && p.Mapping != nat.EndpointIndependent {
		// A reply to a connection from outside leaves by the mapping that let it in, and gets none of its own.
		if p.filter != nil && !p.FilterPerMapping {
			p.rule(out, mappingKey(), put(p.filter, internal, 0))
		}
		p.rule(out, ctReply(), accept)
	}
	for range drawTries {
		p.rule(out, jump(draw))
		p.rule(out, known)
	}
	p.rule(out, drop) // no port is left
}

// hitRules open the filter, keep the mapping alive, and translate.
func (p *plane) hitRules(hit, in *nftables.Chain) {
	mapped := join(mappingKey(), get(p.fwd, internal, external))
	for _, phase := range p.phases() {
		if p.filter != nil {
			p.rule(hit, phase.match, p.opens(phase.idle))
		}
		if !p.NoOutboundRefresh {
			refresh := join(phase.match, mapped, putFor(phase.idle, p.fwd, internal, external))
			if p.overloads() {
				refresh = join(refresh, remove(p.rev, external, internal)) // take the port back
			}
			p.rule(hit, refresh, putFor(phase.idle, p.rev, external, internal))
		}
	}
	if p.Hairpinning == nat.HairpinInternalSource || !p.stateless {
		p.hairpinJudged(hit)
	}
	if !p.stateless {
		return
	}
	for _, set := range setSource(external) {
		p.rule(hit, mapped, set) // once the source is rewritten, the other rule's lookup fails
	}
	if p.Hairpinning == nat.HairpinExternalSource {
		p.rule(hit, p.toSelf(), goTo(in)) // by now it is one more packet from outside
	}
}

// hairpinJudged decides about packets to an external address that still have their internal source, and for UDP
// delivers them so.
func (p *plane) hairpinJudged(hit *nftables.Chain) {
	if p.Hairpinning == nat.HairpinNone {
		return
	}
	// The filter knows the sender by its external endpoint: look that up, and the target's mapping.
	look := join(source(keyCopy), dest(keyCopy+2), dest(external))
	if p.FilterPerMapping {
		look = join(look, get(p.fwd, keyCopy, remoteAgain))
		if p.Filtering == nat.EndpointIndependent {
			look = join(look, get(p.rev, external, internal))
		}
	} else {
		look = join(look, get(p.rev, external, internal), get(p.fwd, keyCopy, remote))
	}
	if p.stateless {
		for _, set := range setDest(internal) {
			p.rule(hit, p.toSelf(), look, p.passes(), get(p.rev, external, internal), set, accept)
		}
	} else {
		p.rule(hit, p.toSelf(), look, p.passes(), accept)
	}
	p.rule(hit, p.toSelf(), drop)
}

// opens enters the packet's remote endpoint into the filter.
func (p *plane) opens(idle time.Duration) rule {
	key, word := mappingKey(), internal
	if p.FilterPerMapping {
		key, word = join(mappingKey(), get(p.fwd, internal, external), dest(remoteAgain)), external
	}
	if p.NoOutboundRefresh {
		return join(key, putIfAbsent(p.filter, word, 0))
	}
	return join(key, putFor(idle, p.filter, word, 0))
}

// passes looks a packet up in the filter. It expects the target's internal and external endpoints in their words and
// the remote one behind each.
func (p *plane) passes() rule {
	switch {
	case p.filter == nil:
		return nil
	case p.FilterPerMapping:
		return has(p.filter, external)
	default:
		return has(p.filter, internal)
	}
}

// inRules let packets to an external address in, or not.
func (p *plane) inRules(in *nftables.Chain) {
	if p.stateless {
		p.rule(in, notrack)
	}
	// The mapping's key lands in w0…w3; the packet's own remote endpoint then replaces the key's.
	look := join(dest(external), get(p.rev, external, internal), source(remote), source(remoteAgain))
	if p.InboundRefresh || !p.stateless { // a TCP connection lives by its packets in both directions
		for _, ph := range p.phases() {
			p.rule(in, ph.match, look, p.passes(), p.refreshes(ph.idle))
		}
	}
	if !p.stateless {
		p.rule(in, look, p.passes(), accept)
		p.reject(in, p.proto)
		return
	}
	if !p.ReplyByNewMapping && p.Mapping != nat.EndpointIndependent {
		reply := putIfAbsent(p.fwd, internal, external)
		if p.InboundRefresh {
			reply = put(p.fwd, internal, external)
		}
		p.rule(in, look, p.passes(), reply)
	}
	for _, set := range setDest(internal) {
		p.rule(in, look, p.passes(), set, accept)
	}
	p.reject(in, p.proto)
}

// refreshes keeps the mapping and the filter's entry that let a packet in alive.
func (p *plane) refreshes(idle time.Duration) rule {
	r := join(get(p.rev, external, keyCopy), putFor(idle, p.fwd, keyCopy, external), putFor(idle, p.rev, external, keyCopy))
	switch {
	case p.filter == nil:
		return r
	case p.FilterPerMapping:
		return join(r, putFor(idle, p.filter, external, 0))
	default:
		return join(r, putFor(idle, p.filter, internal, 0))
	}
}

// phase is a part of a flow's life with its own idle timeout.
type phase struct {
	match rule
	idle  time.Duration
}

// phases are one for UDP; for TCP the packets that begin or end a connection make its timeout short (RFC 5382 REQ-5).
func (p *plane) phases() []phase {
	if p.stateless {
		return []phase{{nil, p.idle}}
	}
	return tcpPhases(p.TCPTransitory, p.TCPEstablished)
}

func tcpPhases(transitory, established time.Duration) []phase {
	return []phase{
		{tcpAnyFlag(syn | fin | rst), transitory},
		{tcpFlags(syn|fin|rst, 0), established},
	}
}
