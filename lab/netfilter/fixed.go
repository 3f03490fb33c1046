package netfilter

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/punchlab/punchlab/lab/nat"
	"golang.org/x/sys/unix"
)

// fixed holds the port mappings of one protocol that somebody asked for (see Router.Map). They come before all others,
// and no packet refreshes or shortens them. Where the mapping behavior is endpoint-independent, all that their endpoints
// send leaves by them; otherwise answers do, by an entry in fwd.
//
//	in    external endpoint → internal endpoint
//	out   internal endpoint → external endpoint
//	from  external endpoint, remote address: who may send; 0.0.0.0 is anyone
type fixed struct {
	in, out, from   *nftables.Set
	inward, outward *nftables.Chain // for packets to and from a mapped endpoint; no outward unless it gets them all
}

// newFixed declares the sets of a protocol.
func (t *table) newFixed(name string, p byte) fixed {
	mapOf := func(prefix string) *nftables.Set {
		return t.add(&nftables.Set{Name: prefix + name, KeyType: endpoint, IsMap: true, DataType: endpoint, HasTimeout: true})
	}
	f := fixed{
		in: mapOf("fixed_in_"), out: mapOf("fixed_out_"),
		from: t.add(&nftables.Set{Name: "fixed_from_" + name, KeyType: endpointAddr, HasTimeout: true}),
	}
	t.asked = append(t.asked, f.in, f.out, f.from)
	if t.fixedOf == nil {
		t.fixedOf = map[byte]fixed{}
	}
	t.fixedOf[p] = f
	return f
}

// passes matches a packet whose external endpoint is in its words if its sender may send there: anyone, or it.
func (f fixed) passes() [2]rule {
	may := has(f.from, external)
	return [2]rule{join(immediate(external+2, make([]byte, 4)), may), join(network(external+2, ipSrc, 4), may)}
}

// fixedRules let packets to mapped endpoints in, and give packets from them their external endpoint.
func (p *plane) fixedRules(in *nftables.Chain) {
	if p.query {
		return
	}
	inward, outward := p.fixed.inward, p.fixed.outward
	look := join(p.nearIn(external), get(p.fixed.in, external, internal))
	if p.filter != nil && outward != nil { // one that admits a single remote admits too whom its owner has called
		p.rule(outward, p.nearOut(internal), get(p.fixed.out, internal, external), p.farOut(remote), p.farOut(remoteAgain), put(p.filter, p.owner(), 0))
	}
	may := p.fixed.passes()
	admits := may[:]
	if p.filter != nil {
		admits = append(admits, join(p.farIn(remote), p.farIn(remoteAgain), has(p.filter, p.owner())))
	}
	for _, admit := range admits {
		if p.stateless && outward == nil {
			p.rule(inward, look, admit, p.farIn(remote), putIfAbsent(p.fwd, internal, external))
		}
		if !p.stateless {
			p.rule(inward, look, admit, accept)
			continue
		}
		for _, set := range p.setNearIn(internal) {
			p.rule(inward, look, admit, set, accept)
		}
	}
	p.reject(inward)
	if outward == nil {
		return
	}
	if p.hairpin() == nat.HairpinInternalSource || !p.stateless {
		p.hairpinJudged(outward, p.fixed.out)
	}
	if !p.stateless {
		p.rule(outward, accept)
		return
	}
	for _, set := range p.setNearOut(external) {
		p.rule(outward, p.nearOut(internal), get(p.fixed.out, internal, external), set)
	}
	if p.hairpin() == nat.HairpinExternalSource {
		p.rule(outward, p.toSelf(), goTo(in))
	}
	p.rule(outward, accept)
}

// declareFixed makes the plane's sets and chains of port mappings; a ping can't be asked for.
func (p *plane) declareFixed() {
	if p.query {
		return
	}
	p.fixed = p.newFixed(p.name, p.proto)
	p.fixed.inward = p.chain("fixed_inward_" + p.name)
	if p.Mapping == nat.EndpointIndependent {
		p.fixed.outward = p.chain("fixed_outward_" + p.name)
	}
}

// transports are the protocols that have ports.
var transports = []struct {
	name  string
	proto byte
}{{"udp", unix.IPPROTO_UDP}, {"tcp", unix.IPPROTO_TCP}}

// fixedMasquerade is what a port mapping daemon adds to a masquerading router.
func (t *table) fixedMasquerade(src *nftables.Chain) {
	dst := t.hook("dst", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, -100)
	for _, p := range transports {
		f := t.newFixed(p.name, p.proto)
		for _, may := range f.passes() {
			t.rule(dst, iif(t.cfg.WAN), proto(p.proto), dest(external), get(f.in, external, keyCopy), may, dnat(keyCopy))
		}
		t.rule(src, oif(t.cfg.WAN), proto(p.proto), original(), get(f.out, internal, external), snat(external))
	}
}

// mapped matches packets of connections whose destination a port mapping has rewritten.
func mapped() rule {
	const ipsDstNAT = 1 << 5 // IPS_DST_NAT of linux/netfilter/nf_conntrack_common.h
	return join(rule{&expr.Ct{Register: w(scratch), Key: expr.CtKeySTATUS}}, and(scratch, numBytes(ipsDstNAT)), notEqual(scratch, numBytes(0)))
}
