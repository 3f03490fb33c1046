package nat

import (
	"encoding/binary"
	"net/netip"

	"github.com/punchlab/punchlab/lab/packet"
)

// view is a packet that has been looked at once.
type view struct {
	ip       packet.IPv4
	l4       []byte // what follows the IP header
	src, dst endpoint
	proto    uint8
	flags    uint8 // TCP
	kind     uint8
	fragment bool // one of several; then it is the first
}

// Kinds of packets.
const (
	other   = iota // no protocol that is translated
	segment        // UDP or TCP
	echo           // ICMP echo request or reply
	failure        // ICMP error
)

func word(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(w uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], w)
	return netip.AddrFrom4(b)
}

func (e endpoint) addrPort() netip.AddrPort { return netip.AddrPortFrom(address(e.addr), e.port) }

func endpointOf(a netip.AddrPort) endpoint { return endpoint{word(a.Addr()), a.Port()} }

// look reads a packet's headers and verifies what is not about its route. The view must be fresh.
func (v *view) look(p packet.IPv4) Reason {
	v.ip, v.l4, v.proto, v.fragment = p, p.Payload(), p.Protocol(), p.MoreFragments()
	v.src.addr, v.dst.addr = be32(p[12:]), be32(p[16:])
	switch v.proto {
	case protoUDP:
		return v.lookUDP()
	case protoTCP:
		return v.lookTCP()
	case protoICMP:
		return v.lookICMP()
	}
	return Passed
}

// headerOK verifies an IP header's checksum.
func headerOK(p packet.IPv4) bool {
	if n := p.HeaderLen(); n > packet.IPv4HeaderLen {
		return folded(onesSum(0, p[:n])) == 0xffff
	}
	le := binary.LittleEndian
	s := uint64(le.Uint32(p)) + uint64(le.Uint32(p[4:])) + uint64(le.Uint32(p[8:])) + uint64(le.Uint32(p[12:])) + uint64(le.Uint32(p[16:]))
	return folded(s) == 0xffff
}

func (v *view) ports() {
	v.src.port, v.dst.port = binary.BigEndian.Uint16(v.l4), binary.BigEndian.Uint16(v.l4[2:])
	v.kind = segment
}

func (v *view) lookUDP() Reason {
	if len(v.l4) < packet.UDPHeaderLen {
		return Malformed
	}
	n := int(binary.BigEndian.Uint16(v.l4[4:]))
	if n < packet.UDPHeaderLen || n > len(v.l4) && !v.fragment {
		return Malformed
	}
	v.ports()
	if !v.fragment && (v.l4[6] != 0 || v.l4[7] != 0) && !v.sumOK(n) {
		return BadChecksum
	}
	return Passed
}

func (v *view) lookTCP() Reason {
	if len(v.l4) < packet.TCPHeaderLen {
		return Malformed
	}
	if n := int(v.l4[12]>>4) * 4; n < packet.TCPHeaderLen || n > len(v.l4) && !v.fragment {
		return Malformed
	}
	v.ports()
	v.flags = v.l4[13]
	if !v.fragment && !v.sumOK(len(v.l4)) {
		return BadChecksum
	}
	return Passed
}

func (v *view) lookICMP() Reason {
	if len(v.l4) < packet.ICMPHeaderLen {
		return Malformed
	}
	if !v.fragment && folded(onesSum(0, v.l4)) != 0xffff {
		return BadChecksum // RFC 5508 REQ-3
	}
	switch v.l4[0] {
	case 0, 8:
		v.kind = echo
		v.src.port = binary.BigEndian.Uint16(v.l4[4:])
	case 3, 11, 12:
		v.kind = failure
		if v.fragment {
			return Malformed // its quote would have to be whole
		}
	}
	return Passed
}

// sumOK verifies the checksum of the first n bytes under the pseudo-header.
func (v *view) sumOK(n int) bool {
	pseudo := uint64(v.proto)<<8 + uint64(n>>8) + uint64(n&0xff)<<8
	return folded(onesSum(onesSum(pseudo, v.ip[12:20]), v.l4[:n])) == 0xffff
}

// change32 is what replacing a word adds to the complement of a checksum (RFC 1624 §3).
func change32(old, new uint32) uint64 {
	return uint64(^old>>16) + uint64(^old&0xffff) + uint64(new>>16) + uint64(new&0xffff)
}

func change16(old, new uint16) uint64 { return uint64(^old) + uint64(new) }

// amend applies changes to the checksum at the beginning of b.
func amend(b []byte, change uint64) {
	s := uint64(^binary.BigEndian.Uint16(b)) + change
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	binary.BigEndian.PutUint16(b, ^uint16(s))
}

// replaceAddr writes an address into an IP header at 12 or 16 and returns what the transport's checksum has to add.
func replaceAddr(ip []byte, at int, addr uint32) uint64 {
	c := change32(binary.BigEndian.Uint32(ip[at:]), addr)
	binary.BigEndian.PutUint32(ip[at:], addr)
	amend(ip[10:], c)
	return c
}

// Where source and destination are in the two headers.
const (
	srcAddr, dstAddr = 12, 16
	srcPort, dstPort = 0, 2
)

// setSource gives a packet another source endpoint, setDest another destination.
func (v *view) setSource(e endpoint) { v.set(srcAddr, srcPort, e) }
func (v *view) setDest(e endpoint)   { v.set(dstAddr, dstPort, e) }

func (v *view) set(addrAt, portAt int, e endpoint) {
	c := replaceAddr(v.ip, addrAt, e.addr)
	setTransport(v.proto, v.l4, portAt, e.port, c)
}

// setTransport writes a port, or an ICMP identifier, and mends the transport's checksum, which may be cut off.
func setTransport(proto uint8, l4 []byte, at int, port uint16, addrs uint64) {
	sum := 6
	switch proto {
	case protoTCP:
		sum = 16
	case protoICMP:
		sum, at, addrs = 2, 4, 0
	}
	addrs += change16(binary.BigEndian.Uint16(l4[at:]), port)
	binary.BigEndian.PutUint16(l4[at:], port)
	if len(l4) < sum+2 {
		return
	}
	if proto == protoUDP {
		if l4[6] == 0 && l4[7] == 0 {
			return // the sender computed none
		}
		amend(l4[6:], addrs)
		if l4[6] == 0 && l4[7] == 0 {
			l4[6], l4[7] = 0xff, 0xff
		}
		return
	}
	amend(l4[sum:], addrs)
}

// outFlow and inFlow are the flow of a packet on its way out or in.
func (v *view) outFlow() flow {
	return flow{proto: v.proto, flags: v.flags, local: v.src, remote: v.dst}
}

func (v *view) inFlow() flow {
	f := flow{proto: v.proto, flags: v.flags, local: v.dst, remote: v.src}
	if v.kind == echo {
		f.local.port, f.remote.port = v.src.port, 0
	}
	return f
}
