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
	idle      time.Duration // timeout of what no lasting packet has refreshed yet

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
	p.rule(draw, known)
	for range drawTries {
		p.rule(out, jump(draw))
	}
	p.rule(out, drop) // no port is left
}

// hitRules open the filter, keep the mapping alive, and translate.
func (p *plane) hitRules(hit, in *nftables.Chain) {
	mapped := join(mappingKey(), get(p.fwd, internal, external))
	if p.filter != nil {
		p.rule(hit, p.opens(putIfAbsent(p.filter, p.owner(), 0)))
	}
	if !p.NoOutboundRefresh || !p.stateless {
		if p.filter != nil {
			p.rule(hit, p.lasts(), p.opens(putFor(p.life(), p.filter, p.owner(), 0)))
		}
		refresh := join(p.lasts(), mapped, putFor(p.life(), p.fwd, internal, external))
		if p.overloads() {
			refresh = join(refresh, remove(p.rev, external, internal)) // take the port back
		}
		p.rule(hit, refresh, putFor(p.life(), p.rev, external, internal))
	}
	if p.Hairpinning == nat.HairpinInternalSource || !p.stateless {
		p.hairpinJudged(hit)
	}
	if !p.stateless {
		p.rule(hit, accept) // not back into the draws
		return
	}
	for _, set := range setSource(external) {
		p.rule(hit, mapped, set) // once the source is rewritten, the other rule's lookup fails
	}
	if p.Hairpinning == nat.HairpinExternalSource {
		p.rule(hit, p.toSelf(), goTo(in)) // by now it is one more packet from outside
	}
	p.rule(hit, accept)
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
		return join(mappingKey(), get(p.fwd, internal, external), dest(remoteAgain), enter)
	}
	return join(mappingKey(), enter)
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
	look := join(dest(external), get(p.rev, external, internal), source(remote), source(remoteAgain))
	if p.InboundRefresh || !p.stateless { // a TCP connection lives by its packets in both directions
		refresh := join(get(p.rev, external, keyCopy), putFor(p.life(), p.fwd, keyCopy, external), putFor(p.life(), p.rev, external, keyCopy))
		if p.filter != nil {
			refresh = join(refresh, putFor(p.life(), p.filter, p.owner(), 0))
		}
		p.rule(in, p.lasts(), look, p.passes(), refresh)
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

// life is what a lasting packet gives a flow.
func (p *plane) life() time.Duration {
	if p.stateless {
		return p.UDPTimeout
	}
	return p.TCPEstablished
}
