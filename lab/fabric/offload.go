package fabric

import (
	"encoding/binary"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/packet"
)

// GSOType is how a packet is to be segmented; its values are those of virtio (OASIS Virtio 1.2 §5.1.6, gso_type).
type GSOType uint8

// The types that pass.
const (
	GSONone  GSOType = 0
	GSOTCPv4 GSOType = 1
	GSOTCPv6 GSOType = 4
	GSOUDP   GSOType = 5 // UDP_L4: datagrams of Size bytes each, of either IP version
)

// GSO is what the sender's kernel left to be done about a packet, as virtio's header has it. The transport's checksum
// field holds the sum of the pseudo-header while NeedsCsum is set, and always does so in a packet with a Type.
type GSO struct {
	Type       GSOType
	Size       uint16 // payload bytes of a segment
	HdrLen     uint16 // bytes before the payload; a hint that the fabric does not use, as kernels do not always tell the truth
	CsumStart  uint16 // from where on the checksum counts
	CsumOffset uint16 // of the checksum's field behind that
	NeedsCsum  bool
}

// maxHeaders bounds what comes before the payload of a GSO packet, as packet.Segment does.
const maxHeaders = 256

// maxSegments bounds what a GSO packet is split into, so that no host takes the pool with one packet. 64 KiB in Linux's
// smallest segments (net.ipv4.tcp_min_snd_mss) are fewer.
const maxSegments = 1 << 11

// plain tells whether a direction does nothing to a packet but delay it, so that the segments of a big one all fare
// alike: no loss, duplicates, jitter, rate, queue and so on. Its MTU must hold a segment all the same.
func plain(i link.Impairment) bool {
	i.Delay, i.KeepOrder, i.MTU, i.MTUBlackhole = 0, false, 0, false
	i.QueueBytes, i.AQM, i.Target, i.Interval = 0, 0, 0, 0 // of no effect without a rate
	return i == link.Impairment{}
}

// checkOffload refuses what split and finishChecksum could not do. It comes after check.
func checkOffload(p *Packet) link.Cause {
	g := &p.GSO
	version, protocol, segment, ok := transportOf(p.Bytes())
	if g.NeedsCsum && (g.CsumOffset&1 != 0 || int(g.CsumStart)+int(g.CsumOffset)+2 > p.n || int(g.CsumStart) < p.n-len(segment)) {
		return link.Malformed // the IP headers are none of a checksum's business: the packet has been judged by them
	}
	at := -1
	switch protocol {
	case packet.ProtocolTCP:
		at = 16
	case packet.ProtocolUDP:
		at = 6
	}
	if at >= 0 && g.NeedsCsum && (int(g.CsumOffset) != at || int(g.CsumStart) != p.n-len(segment)) {
		return link.Malformed
	}
	switch {
	case g.Type == GSONone:
		return link.Passed
	case !ok || !g.NeedsCsum || g.Size == 0:
		return link.Malformed
	case protocol == packet.ProtocolTCP && (g.Type == GSOTCPv4 && version == 4 || g.Type == GSOTCPv6 && version == 6):
	case protocol == packet.ProtocolUDP && g.Type == GSOUDP:
	default:
		return link.Malformed
	}
	switch header := headersOf(p.Bytes()); {
	case header > maxHeaders, p.n-header > maxSegments*int(g.Size):
		return link.Malformed
	case header+int(g.Size) > link.MaxMTU:
		return link.TooBig
	}
	return link.Passed
}

// transportOf finds the whole transport segment of a packet that is no fragment.
func transportOf(b []byte) (version int, protocol uint8, segment []byte, ok bool) {
	if packet.Version(b) == 4 {
		h := packet.IPv4(b)
		return 4, h.Protocol(), h.Payload(), h.FragmentOffset() == 0 && !h.MoreFragments()
	}
	protocol, segment, ok = packet.IPv6(b).Transport()
	return 6, protocol, segment, ok
}

// headersOf is how many bytes come before the payload of a TCP or UDP packet, or all if it is shorter than a header.
func headersOf(b []byte) int {
	_, protocol, segment, _ := transportOf(b)
	header := packet.UDPHeaderLen
	if protocol == packet.ProtocolTCP {
		t, err := packet.ParseTCP(segment)
		if err != nil {
			return len(b)
		}
		header = t.HeaderLen()
	}
	return min(len(b)-len(segment)+header, len(b))
}

// wireSize is the size of the packet, or of the largest of its segments.
func (p *Packet) wireSize() int {
	if p.GSO.Type == GSONone {
		return p.n
	}
	return min(headersOf(p.Bytes())+int(p.GSO.Size), p.n)
}

// wire counts the packet as a wire would carry it: its segments, and the bytes of all their headers.
func (p *Packet) wire() Count {
	if p.GSO.Type == GSONone {
		return Count{1, uint64(p.n)}
	}
	header := headersOf(p.Bytes())
	segments := max(1, (p.n-header+int(p.GSO.Size)-1)/int(p.GSO.Size))
	return Count{uint64(segments), uint64(p.n + (segments-1)*header)}
}

// finishChecksum does the sender's part of the transport checksum.
func (f *Fabric) finishChecksum(p *Packet) {
	if p.GSO.NeedsCsum {
		_ = packet.FinishChecksum(p.Bytes(), int(p.GSO.CsumStart), int(p.GSO.CsumOffset)) // checkOffload has
		p.GSO.NeedsCsum = false
	}
}

// split segments a packet with a GSO type, or finishes the checksum of one without. A big packet goes back to the
// pool; what the pool has no room for is counted in drops.
func (f *Fabric) split(p *Packet, drops *link.Drops) (c chain) {
	if p.GSO.Type == GSONone {
		f.finishChecksum(p)
		c.add(p)
		return c
	}
	err := packet.Segment(p.Bytes(), int(p.GSO.Size), func(seg []byte) {
		k := f.pool.get()
		if k == nil {
			drops[link.Overload]++
			return
		}
		k.Set(seg)
		k.inherit(p)
		k.id, k.parent = p.net.number(), p.id
		c.add(k)
	})
	if err != nil {
		drops[link.Malformed]++
	}
	f.pool.put(p)
	return c
}

// restorePartial writes the pseudo-header's sum back into the checksum field after the addresses have changed.
func restorePartial(b []byte, g *GSO) {
	version, protocol, segment, _ := transportOf(b)
	s := uint64(protocol) + uint64(len(segment))
	addrs := b[12:20]
	if version == 6 {
		addrs = b[8:40]
	}
	for i := 0; i < len(addrs); i += 2 {
		s += uint64(binary.BigEndian.Uint16(addrs[i:]))
	}
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	binary.BigEndian.PutUint16(b[int(g.CsumStart)+int(g.CsumOffset):], uint16(s))
}
