package nat

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/punchlab/punchlab/lab/packet"
)

// NAT64 (RFC 6146) is RFC 7915's translation of headers before and behind the IPv4 table. Each IPv6 host has a number
// there: an address of 240.0.0.0/4, which no packet from either side can bear, as its internal one. So mappings,
// filters, quotas, timeouts, hairpins, fragments, TCP's states and ICMP errors are those of IPv4.
//
//	host, prefix::server ──► 240.0.0.n, server ──► translate4 ──► external, server      from inside
//	prefix::server, host ◄── server, 240.0.0.n ◄── translate4 ◄── server, external      from outside
//
// What does not fit the other side: an IPv4 packet above 1480 bytes would be more than 1500 in IPv6. With DF it is
// answered by "fragmentation needed", without it is cut into fragments of 1280 bytes (RFC 7915 §4). Fragments of ICMP
// messages are refused: their checksum needs the length of the whole.

// numbered is the first number of an IPv6 host.
const numbered = 0xf0000000

// maxNumbers is how many there can be.
const maxNumbers = 1 << 27

// nat64 is what the table keeps for NAT64.
type nat64 struct {
	prefix     netip.Prefix
	numbers    map[address6]uint32
	hosts      []address6 // by number
	free       []uint32
	swept      int64  // when numbers were last taken back
	id         uint16 // of the last IPv4 packet
	buf4, buf6 []byte
	to4, to6   packet.AddressMap
}

// defaultPrefix64 is RFC 6052 §2.1's well-known prefix.
var defaultPrefix64 = netip.PrefixFrom(netip.AddrFrom16([16]byte{1: 0x64, 2: 0xff, 3: 0x9b}), 96)

// prefix64 is the prefix that stands for IPv4.
func (c Config) prefix64() (netip.Prefix, error) {
	p := c.NAT64Prefix
	if !p.IsValid() {
		return defaultPrefix64, nil
	}
	a := p.Addr().As16()
	switch {
	case !p.Addr().Is6():
		return p, fmt.Errorf("NAT64 prefix %v: want IPv6", p)
	case p.Bits() != 96 && (p.Bits() < 32 || p.Bits() > 64 || p.Bits()%8 != 0):
		return p, fmt.Errorf("NAT64 prefix %v: want 32, 40, 48, 56, 64 or 96 bits (RFC 6052 §2.2)", p)
	case p.Bits() == 96 && a[8] != 0:
		return p, errors.New("NAT64 prefix: want bits 64 to 71 to be zero (RFC 6052 §2.2)")
	}
	return p.Masked(), nil
}

func (n *nat64) set(t *Table) {
	n.prefix, _ = t.cfg.prefix64()
	n.numbers = map[address6]uint32{}
	n.to4, n.to6 = t.to4, t.to6
	n.swept = -sweepEvery
}

// embed puts an IPv4 address behind the prefix (RFC 6052 §2.2). Bits 64 to 71 stay zero.
func (n *nat64) embed(a uint32) (b address6) {
	b = n.prefix.Addr().As16()
	at := n.prefix.Bits() / 8
	for i := range 4 {
		if at == 8 {
			at++
		}
		b[at] = byte(a >> (24 - 8*i))
		at++
	}
	return b
}

// embedded is the IPv4 address behind the prefix.
func (n *nat64) embedded(b address6) (a uint32, ok bool) {
	if !n.prefix.Contains(netip.AddrFrom16(b)) {
		return 0, false
	}
	at := n.prefix.Bits() / 8
	for range 4 {
		if at == 8 {
			at++
		}
		a = a<<8 | uint32(b[at])
		at++
	}
	return a, n.embed(a) == b || n.prefix.Bits() < 96 && b[8] == 0 // a suffix is left to later use
}

// to4 maps the addresses of packets from inside.
func (t *Table) to4(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	if v, ok := t.six.nat64.embedded(b); ok {
		return address(v), true
	}
	if !routed(b) || len(t.six.lan) > 0 && !t.inLAN6(b) {
		return a, false
	}
	v, ok := t.number(b)
	return address(v), ok
}

// to6 maps the addresses of packets to inside.
func (t *Table) to6(a netip.Addr) (netip.Addr, bool) {
	n := &t.six.nat64
	v := word(a)
	if v < numbered {
		return netip.AddrFrom16(n.embed(v)), true
	}
	if i := v - numbered; int(i) < len(n.hosts) {
		return netip.AddrFrom16(n.hosts[i]), n.hosts[i] != address6{}
	}
	return a, false
}

// number finds or makes the number of an inner host. It reports false if there is none left.
func (t *Table) number(a address6) (uint32, bool) {
	n := &t.six.nat64
	if v, ok := n.numbers[a]; ok {
		return v, true
	}
	if len(n.numbers) >= min(t.maxMappings, maxNumbers) {
		t.takeNumbersBack()
		if len(n.numbers) >= min(t.maxMappings, maxNumbers) {
			return 0, false
		}
	}
	var i uint32
	if last := len(n.free) - 1; last >= 0 {
		i, n.free = n.free[last], n.free[:last]
	} else {
		i = uint32(len(n.hosts))
		n.hosts = append(n.hosts, a)
	}
	n.hosts[i], n.numbers[a] = a, numbered+i
	return numbered + i, true
}

// sweepEvery is how often numbers are looked for that nobody needs: it takes a look at every one.
const sweepEvery = int64(1e9)

// takeNumbersBack frees the numbers of hosts without a mapping.
func (t *Table) takeNumbersBack() {
	n := &t.six.nat64
	if t.now-n.swept < sweepEvery {
		return
	}
	n.swept = t.now
	for i, a := range n.hosts {
		v := numbered + uint32(i)
		if a == (address6{}) || t.mappingsOf(v) > 0 {
			continue
		}
		delete(n.numbers, a)
		n.hosts[i] = address6{}
		n.free = append(n.free, uint32(i))
	}
}

// mappingsOf is the number of mappings of an internal address.
func (t *Table) mappingsOf(addr uint32) uint32 {
	h := t.hash(uint64(addr), 0)
	for i, at, ok := t.hosted.probe(h, 0); ok; i, at, ok = t.hosted.probe(h, at) {
		if x := t.hosts.at(i); x.addr == addr {
			return x.count
		}
	}
	return 0
}

// refusal64 is the reason for a packet that the other family cannot express.
func refusal64(err error) Reason {
	switch {
	case errors.Is(err, packet.ErrAddress):
		return NoRoute
	case errors.Is(err, packet.ErrChecksum):
		return BadChecksum
	case errors.Is(err, packet.ErrProtocol):
		return Unsupported
	}
	return Malformed
}

// enter64 takes an IPv6 packet into the IPv4 table.
func (t *Table) enter64(from Side, p packet.IPv6) Verdict {
	n := &t.six.nat64
	src := address6(p[8:24])
	_, fake := n.embedded(src) // it would come back as someone else's (RFC 6146 §5.2)
	if from == Inside && (fake || !routed(src) || len(t.six.lan) > 0 && !t.inLAN6(src)) {
		return drop(Spoofed)
	}
	dst, ok := n.embedded(address6(p[24:40]))
	if from == Outside || !ok || !unicast(dst) || t.inLAN(dst) && !t.own(dst) {
		return drop(NoRoute)
	}
	if _, ok := t.number(src); !ok {
		return drop(Full)
	}
	n.id++
	b, err := packet.AppendIPv4(n.buf4[:0], p, n.id, n.to4)
	if n.buf4 = b; err != nil {
		return drop(refusal64(err))
	}
	v4 := packet.IPv4(b)
	if v4.MoreFragments() || v4.FragmentOffset() != 0 {
		return t.translateFragment(Inside, v4)
	}
	var v view
	if r := v.look(v4); r != Passed {
		return drop(r)
	}
	return t.decide(Inside, &v)
}

// leave64 gives a verdict the IPv6 packet, if it goes to an IPv6 host.
func (t *Table) leave64(v Verdict) Verdict {
	if v.Reason != Passed || v.To != Inside || packet.Version(v.Packet) != 4 {
		return v
	}
	if be32(v.Packet[dstAddr:]) < numbered {
		if be32(v.Packet[srcAddr:]) >= numbered { // a hairpin to an IPv4 host that would show it a number
			return drop(HairpinOff)
		}
		return v
	}
	p := packet.IPv4(v.Packet)
	if len(p) > most64 && p.DontFragment() {
		t.tooBig64(p)
		return drop(Fragmented)
	}
	n := &t.six.nat64
	b, err := packet.AppendIPv6(n.buf6[:0], p, n.to6)
	n.buf6 = b
	if err != nil {
		return drop(refusal64(err))
	}
	if v.Packet = b; len(b) > mtu64 { // of fragments also some that are shorter in IPv4: the IPv6 header grows by eight
		v.Packet = t.split64(b, uint32(p.ID()))
	}
	return v
}

// mtu64 is the inner network's MTU, and most64 the longest IPv4 packet in one piece that fits it as IPv6.
const (
	mtu64  = 1500
	most64 = mtu64 - (packet.IPv6HeaderLen - packet.IPv4HeaderLen)
)

// tooBig64 tells the sender of a packet, which is translated already, that it has to be shorter. The error begins
// inside, where it is about the packet as it is.
func (t *Table) tooBig64(p packet.IPv4) {
	if t.b.ICMPErrors == ICMPErrorsDropped {
		return
	}
	e := t.out.add(Outside, Fragmented)
	if e == nil {
		return
	}
	e.Packet = packet.AppendError(e.Packet, packet.FragmentationNeeded, p.Dst(), most64, p)
	q, err := packet.ParseIPv4(e.Packet)
	if err == nil {
		var v view
		if r := v.look(q); r == Passed {
			if r, to := t.translateError(Inside, &v); r == Passed && to == Outside {
				return
			}
		}
	}
	t.out.list = t.out.list[:len(t.out.list)-1]
}

// split64 cuts an IPv6 packet into fragments that fit the least MTU. It returns the first; the others are emitted.
func (t *Table) split64(b []byte, id uint32) []byte {
	const head, frag = packet.IPv6HeaderLen, 8
	const part = (1280 - head - frag) &^ 7
	whole := append([]byte(nil), b...) // rare: it is not worth a buffer that stays
	next, body, first, more := whole[6], whole[head:], 0, uint16(0)
	if next == 44 { // a fragment: its pieces say so too
		next, first, more = body[0], int(body[2])<<8|int(body[3]&^7), uint16(body[3]&1)
		id = be32(body[4:])
		body = body[frag:]
	}
	out := b[:0]
	for at := 0; at < len(body); at += part {
		piece := body[at:min(at+part, len(body))]
		mark := uint16(first + at)
		if at+part < len(body) || more != 0 {
			mark |= 1
		}
		if at == 0 {
			out = appendPiece(out, whole, next, mark, id, piece)
		} else if e := t.out.add(Inside, Passed); e != nil {
			e.Packet = appendPiece(e.Packet, whole, next, mark, id, piece)
		}
	}
	return out
}

func appendPiece(b, whole []byte, next byte, mark uint16, id uint32, piece []byte) []byte {
	at := len(b)
	b = append(b, whole[:packet.IPv6HeaderLen]...)
	n := 8 + len(piece)
	b[at+4], b[at+5], b[at+6] = byte(n>>8), byte(n), 44
	b = append(b, next, 0, byte(mark>>8), byte(mark), byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
	return append(b, piece...)
}

// emit64 gives an emission the IPv6 packet, if it goes to an IPv6 host. It reports false if that cannot be.
func (t *Table) emit64(e *Emission) bool {
	if e.To != Inside || packet.Version(e.Packet) != 4 || be32(e.Packet[dstAddr:]) < numbered {
		return true
	}
	b, err := packet.AppendIPv6(nil, packet.IPv4(e.Packet), t.six.nat64.to6)
	e.Packet = b
	return err == nil
}
