package netfilter

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The register plan. A word is 4 bytes; every key and value of the maps is a run of words, so that one lookup moves a
// whole endpoint, and a key is widened by reading more words. Registers do not survive a rule.
//
//	w0 internal address   w2 remote address   w4 external address   w6, w7 the remote endpoint again
//	w1 internal port      w3 remote port      w5 external port      w8…w11 copy of a mapping's key
//
// A port is held as it comes from the packet: 2 bytes in network order, then 2 zero bytes.
const (
	internal    = 0
	remote      = 2
	external    = 4
	remoteAgain = 6
	keyCopy     = 8
	scratch     = 12 // to w15: an interface name fills four words
)

func w(word int) uint32 { return unix.NFT_REG32_00 + uint32(word) }

// dynsetDelete is NFT_DYNSET_OP_DELETE of linux/netfilter/nf_tables.h, which x/sys/unix lacks.
const dynsetDelete = 2

// rule is a list of expressions; join makes one of several.
type rule []expr.Any

func join(parts ...rule) rule {
	var out rule
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// Offsets into the headers.
const (
	ipFragment = 6
	ipTTL      = 8
	ipCsum     = 10
	ipSrc      = 12
	ipDst      = 16
	l4Src      = 0
	l4Dst      = 2
	udpCsum    = 6
	tcpBits    = 13
)

func load(word int, base expr.PayloadBase, off, n uint32) rule {
	return rule{&expr.Payload{DestRegister: w(word), Base: base, Offset: off, Len: n}}
}

func network(word int, off, n uint32) rule {
	return load(word, expr.PayloadBaseNetworkHeader, off, n)
}

func transport(word int, off, n uint32) rule {
	return load(word, expr.PayloadBaseTransportHeader, off, n)
}

func dest(word int) rule {
	return join(network(word, ipDst, 4), transport(word+1, l4Dst, 2))
}

// original loads source and destination of a connection's first packet as they were before any NAT. Direction 0 is
// the only one that google/nftables sends right.
func original() rule {
	get := func(word int, key expr.CtKey) expr.Any { return &expr.Ct{Register: w(word), Key: key} }
	return rule{
		get(internal, expr.CtKeySRC), get(internal+1, expr.CtKeyPROTOSRC),
		get(remote, expr.CtKeyDST), get(remote+1, expr.CtKeyPROTODST),
	}
}

// setAddr writes an IP address; it is part of the pseudo header that the UDP and TCP checksums cover.
func setAddr(word int, off uint32) rule {
	return rule{&expr.Payload{
		OperationType: expr.PayloadWrite, SourceRegister: w(word),
		Base: expr.PayloadBaseNetworkHeader, Offset: off, Len: 4,
		CsumType: expr.CsumTypeInet, CsumOffset: ipCsum, CsumFlags: unix.NFT_PAYLOAD_L4CSUM_PSEUDOHDR,
	}}
}

// setTransport writes n bytes behind the IP header and mends the 16-bit checksum at csum.
func setTransport(word int, off, n, csum uint32) rule {
	return rule{&expr.Payload{
		OperationType: expr.PayloadWrite, SourceRegister: w(word),
		Base: expr.PayloadBaseTransportHeader, Offset: off, Len: n,
		CsumType: expr.CsumTypeInet, CsumOffset: csum,
	}}
}

// setEndpoint rewrites a UDP endpoint. It comes as two rules, because a checksum of zero means that there is none
// (RFC 768), and mending it would make a wrong one; writing the address minds that by itself.
func setEndpoint(word int, addrOff, portOff uint32) [2]rule {
	bare := rule{&expr.Payload{
		OperationType: expr.PayloadWrite, SourceRegister: w(word + 1),
		Base: expr.PayloadBaseTransportHeader, Offset: portOff, Len: 2,
	}}
	csum := transport(scratch, udpCsum, 2)
	return [2]rule{
		join(csum, notEqual(scratch, []byte{0, 0}), setAddr(word, addrOff), setTransport(word+1, portOff, 2, udpCsum)),
		join(csum, equal(scratch, []byte{0, 0}), setAddr(word, addrOff), bare),
	}
}

func equal(word int, data []byte) rule {
	return rule{&expr.Cmp{Op: expr.CmpOpEq, Register: w(word), Data: data}}
}

func notEqual(word int, data []byte) rule {
	return rule{&expr.Cmp{Op: expr.CmpOpNeq, Register: w(word), Data: data}}
}

// and masks a word in place.
func and(word int, mask []byte) rule {
	return rule{&expr.Bitwise{
		SourceRegister: w(word), DestRegister: w(word), Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask)),
	}}
}

// dying matches packets that this router will not forward.
func dying() rule { return join(network(scratch, ipTTL, 1), equal(scratch, []byte{1})) }

func iif(name string) rule { return device(expr.MetaKeyIIFNAME, name) }
func oif(name string) rule { return device(expr.MetaKeyOIFNAME, name) }

func device(key expr.MetaKey, name string) rule {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	if prefix, ok := strings.CutSuffix(name, "*"); ok {
		b = []byte(prefix)
	}
	return join(rule{&expr.Meta{Key: key, Register: w(scratch)}}, equal(scratch, b))
}

func proto(p byte) rule    { return join(l4proto(), equal(scratch, []byte{p})) }
func notProto(p byte) rule { return join(l4proto(), notEqual(scratch, []byte{p})) }

func l4proto() rule { return rule{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: w(scratch)}} }

// within matches a destination inside the prefix.
func within(p netip.Prefix) rule { return inside(network(scratch, ipDst, 4), p) }

// inside loads an address into the scratch words, by the given rule, and matches one of the prefix.
func inside(load rule, p netip.Prefix) rule {
	return join(load, and(scratch, netmask(p)), equal(scratch, p.Masked().Addr().AsSlice()))
}

func netmask(p netip.Prefix) []byte { return net.CIDRMask(p.Bits(), p.Addr().BitLen()) }

// TCP flags.
const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	ack = 0x10
)

// tcpFlags matches if of the flags in mask exactly those in want are set.
func tcpFlags(mask, want byte) rule {
	return join(transport(scratch, tcpBits, 1), and(scratch, []byte{mask}), equal(scratch, []byte{want}))
}

// ctState matches if any of the state bits is set.
func ctState(bits uint32) rule {
	return join(rule{&expr.Ct{Register: w(scratch), Key: expr.CtKeySTATE}},
		and(scratch, binary.NativeEndian.AppendUint32(nil, bits)), notEqual(scratch, make([]byte, 4)))
}

func ctReply() rule {
	return join(rule{&expr.Ct{Register: w(scratch), Key: expr.CtKeyDIRECTION}}, equal(scratch, []byte{1}))
}

func has(s *nftables.Set, key int) rule {
	return rule{&expr.Lookup{SourceRegister: w(key), SetName: s.Name, SetID: s.ID}}
}

func lacks(s *nftables.Set, key int) rule {
	return rule{&expr.Lookup{SourceRegister: w(key), SetName: s.Name, SetID: s.ID, Invert: true}}
}

func get(s *nftables.Set, key, into int) rule {
	return rule{&expr.Lookup{SourceRegister: w(key), SetName: s.Name, SetID: s.ID, DestRegister: w(into), IsDestRegSet: true}}
}

// put adds an element or starts the timeout of the one that is there afresh, whose value stays.
func put(s *nftables.Set, key, value int) rule {
	return dynset(s, unix.NFT_DYNSET_OP_UPDATE, key, value, s.Timeout)
}

// putFor is put with a timeout of its own.
func putFor(d time.Duration, s *nftables.Set, key, value int) rule {
	return dynset(s, unix.NFT_DYNSET_OP_UPDATE, key, value, d)
}

// putIfAbsent adds an element and leaves the one that is there entirely alone.
func putIfAbsent(s *nftables.Set, key, value int) rule {
	return dynset(s, unix.NFT_DYNSET_OP_ADD, key, value, s.Timeout)
}

func remove(s *nftables.Set, key, value int) rule {
	return dynset(s, dynsetDelete, key, value, s.Timeout)
}

func dynset(s *nftables.Set, op uint32, key, value int, timeout time.Duration) rule {
	d := &expr.Dynset{SrcRegKey: w(key), SetName: s.Name, SetID: s.ID, Operation: op}
	if s.HasTimeout {
		d.Timeout = timeout
	}
	if s.IsMap {
		d.SrcRegData = w(value)
	}
	return rule{d}
}

// count yields offset, offset+1, … modulo mod, in host order. It starts again when its rule is added again.
func count(word int, mod, offset uint32) rule {
	return rule{&expr.Numgen{Register: w(word), Type: unix.NFT_NG_INCREMENTAL, Modulus: mod, Offset: offset}}
}

// hash scatters a word over [offset, offset+mod), in host order. The kernel takes a seed of its own for 0.
func hash(from, into int, seed, mod, offset uint32) rule {
	return rule{&expr.Hash{
		SourceRegister: w(from), DestRegister: w(into), Length: 4, Modulus: mod, Seed: max(seed, 1), Offset: offset, Type: expr.HashTypeJenkins,
	}}
}

func setMark(word int) rule {
	return rule{&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: w(word)}}
}
func mark(word int) rule { return rule{&expr.Meta{Key: expr.MetaKeyMARK, Register: w(word)}} }

// toPort turns a host-order number into a port.
func toPort(word int) rule {
	return rule{&expr.Byteorder{SourceRegister: w(word), DestRegister: w(word), Op: expr.ByteorderHton, Len: 2, Size: 2}}
}

func immediate(word int, data []byte) rule {
	return rule{&expr.Immediate{Register: w(word), Data: data}}
}

func verdict(kind expr.VerdictKind, chain string) rule {
	return rule{&expr.Verdict{Kind: kind, Chain: chain}}
}

func jump(c *nftables.Chain) rule { return verdict(expr.VerdictJump, c.Name) }
func goTo(c *nftables.Chain) rule { return verdict(expr.VerdictGoto, c.Name) }

var (
	accept  = verdict(expr.VerdictAccept, "")
	drop    = verdict(expr.VerdictDrop, "")
	notrack = rule{&expr.Notrack{}}
)

func snat(ep int) rule {
	return rule{&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4,
		RegAddrMin: w(ep), RegProtoMin: w(ep + 1), Specified: true}}
}

func dnat(ep int) rule {
	return rule{&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4,
		RegAddrMin: w(ep), RegProtoMin: w(ep + 1), Specified: true}}
}
