package nat

import (
	"slices"

	"github.com/punchlab/punchlab/lab/packet"
)

// drop is the verdict of a packet that goes nowhere.
func drop(r Reason) Verdict { return Verdict{Reason: r} }

// translate4 is Translate for IPv4.
func (t *Table) translate4(from Side, b []byte) Verdict {
	p, err := packet.ParseIPv4(b)
	if err != nil {
		return drop(Malformed)
	}
	if !headerOK(p) {
		return drop(BadChecksum)
	}
	if r := t.route(from, be32(p[12:]), be32(p[16:])); r != Passed {
		return drop(r)
	}
	if p.MoreFragments() || p.FragmentOffset() != 0 {
		return t.translateFragment(from, p)
	}
	var v view
	if r := v.look(p); r != Passed {
		return drop(r)
	}
	return t.decide(from, &v)
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// inLAN tells whether an address is inside.
func (t *Table) inLAN(a uint32) bool {
	for _, p := range t.lan {
		if a&p.mask == p.addr {
			return true
		}
	}
	return false
}

// own tells whether an address is one of the external ones.
func (t *Table) own(a uint32) bool {
	_, ok := t.ports.numberOf(a)
	return ok
}

// unicast tells whether an address can be a host's.
func unicast(a uint32) bool {
	const loopback, multicast = 127, 224
	top := a >> 24
	return top != 0 && top != loopback && top < multicast
}

// route judges the two addresses.
func (t *Table) route(from Side, src, dst uint32) Reason {
	translates := t.b.Kind != NoNAT
	switch {
	case !unicast(src) || from == Inside && len(t.lan) > 0 && !t.inLAN(src) || from == Outside && t.inLAN(src):
		return Spoofed
	case !unicast(dst):
		return NoRoute
	case from == Outside && translates && !t.own(dst), from == Outside && !translates && len(t.lan) > 0 && !t.inLAN(dst):
		return NoRoute
	}
	return Passed
}

// decide judges a whole packet or a first fragment whose route is right, and rewrites it if it passes.
func (t *Table) decide(from Side, v *view) Verdict {
	verdict := Verdict{To: from.other()}
	switch {
	case from == Inside && t.inLAN(v.dst.addr) && !t.own(v.dst.addr):
		verdict.To = Inside // it needs no router
	case t.blocked(from, v):
		verdict.Reason = Blocked
		if from == Inside {
			t.refuse(v)
		}
	case t.b.Kind == NoNAT:
		verdict.Reason, verdict.Created = t.firewall(from, v)
	case v.kind == other:
		verdict.Reason = Unsupported
	case v.kind == failure:
		verdict.Reason, verdict.To = t.translateError(from, v)
	case from == Inside:
		verdict = t.leave(v)
	default:
		verdict = t.arrive(v)
	}
	if verdict.Reason != Passed {
		return Verdict{Reason: verdict.Reason, Created: verdict.Created}
	}
	if verdict.Packet == nil {
		verdict.Packet = v.ip
	}
	return verdict
}

// blocked tells whether the behavior lets such packets pass at all.
func (t *Table) blocked(from Side, v *view) bool {
	switch v.proto {
	case protoUDP:
		return t.b.UDPBlocked
	case protoTCP:
		return from == Inside && len(t.b.TCPPorts) > 0 && v.flags&(packet.SYN|packet.ACK) == packet.SYN && !slices.Contains(t.b.TCPPorts, v.dst.port)
	}
	return false
}

// leave translates a packet from inside.
func (t *Table) leave(v *view) Verdict {
	toSelf := t.own(v.dst.addr)
	f := v.outFlow()
	switch {
	case toSelf && (t.b.Hairpinning == HairpinNone || v.kind == echo):
		if t.b.Kind == Masquerade {
			t.react(Inside, v, RST) // Linux takes it for its own
		}
		return drop(HairpinOff)
	case v.kind == echo && v.l4[0] == 0:
		return drop(NoMapping) // the reply to nobody's request
	case v.proto == protoTCP && !mayBegin(f.flags):
		if i, _ := t.lookOut(f); i == none {
			return drop(NoMapping)
		}
	}
	ext, created, r := t.outbound(f)
	if r != Passed {
		t.refuse(v)
		return drop(r)
	}
	if v.proto == protoTCP {
		t.answered(ext, v)
	}
	if toSelf {
		return t.hairpin(v, ext, created)
	}
	inside := v.src
	v.setSource(ext)
	return Verdict{To: Outside, Created: created, Packet: t.payload(Inside, v, inside, ext)}
}

// hairpin turns a packet to an external endpoint around (RFC 4787 §6).
func (t *Table) hairpin(v *view, ext endpoint, created bool) Verdict {
	in, _, r := t.inbound(flow{proto: v.proto, flags: v.flags, local: v.dst, remote: ext})
	if r != Passed {
		t.react(Inside, v, t.b.Unsolicited)
		return Verdict{Reason: r, Created: created}
	}
	if t.b.Hairpinning == HairpinExternalSource {
		v.setSource(ext)
	}
	v.setDest(in)
	return Verdict{To: Inside, Created: created}
}

// arrive translates a packet from outside.
func (t *Table) arrive(v *view) Verdict {
	if v.kind == echo && v.l4[0] != 0 {
		return drop(NoMapping) // a request, for the router's own stack
	}
	in, created, r := t.inbound(v.inFlow())
	if r != Passed {
		t.claim(v.inFlow())
		reaction := t.b.Unsolicited
		if t.b.Kind == Masquerade && !t.b.InputDrop {
			reaction = RST // Linux's own stack answers
		}
		t.react(Outside, v, reaction)
		return drop(r)
	}
	ext := v.dst
	if v.kind == echo {
		ext.port = v.src.port
	}
	v.setDest(in)
	return Verdict{To: Inside, Created: created, Packet: t.payload(Outside, v, in, ext)}
}

// payload has the ALG rewrite what a UDP payload says, if there is one. Nil means that the packet stays as it is.
func (t *Table) payload(from Side, v *view, inside, outside endpoint) []byte {
	if !t.b.ALG || v.proto != protoUDP || v.fragment {
		return nil
	}
	return t.alg(from, v.ip, inside.addrPort(), outside.addrPort())
}

// firewall judges a packet where nothing is translated. What leaves opens the filter for its answers.
func (t *Table) firewall(from Side, v *view) (r Reason, created bool) {
	if t.b.Filtering == 0 {
		return Passed, false
	}
	if v.kind == failure {
		return t.firewallError(from, v), false
	}
	if v.kind == other {
		return Unsupported, false
	}
	f, far := v.outFlow(), v.dst.narrowed(t.b.Filtering)
	if from == Outside {
		f = v.inFlow()
		far = f.remote.narrowed(t.b.Filtering)
	}
	if v.kind == echo {
		far = f.remote
		if from == Inside && v.l4[0] == 0 || from == Outside && v.l4[0] != 0 {
			return Filtered, false // requests from outside and their replies do not pass
		}
	}
	i := t.findPin(filterPin, f.proto, f.local, far)
	if from == Outside && i == none {
		if t.staticFor(f) != nil {
			return Passed, false
		}
		t.react(Outside, v, t.b.Unsolicited)
		return Filtered, false
	}
	life, refresh := t.firewallLife(from, f)
	if i != none {
		if p := t.pins.at(i); refresh {
			p.expires = max(p.expires, t.after(life))
		}
		return Passed, false
	}
	if !t.pin(filterPin, f.proto, f.local, far, t.after(life)) {
		t.refuse(v)
		return Full, false
	}
	return Passed, true
}

// firewallLife is what a packet gives a firewall's entry, and whether it gives it to one that is there.
func (t *Table) firewallLife(from Side, f flow) (int64, bool) {
	switch {
	case f.proto == protoTCP && f.flags&(begins|ends) == 0:
		return t.times.established, true
	case f.proto == protoTCP:
		return t.times.syn, true
	case f.proto == protoICMP:
		return t.times.icmp, from == Inside
	case from == Inside:
		return t.times.udp, !t.b.NoOutboundRefresh
	default:
		return t.times.udp, t.b.InboundRefresh
	}
}
