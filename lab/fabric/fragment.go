package fabric

import (
	"encoding/binary"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/packet"
)

// mayFragment tells whether a router may cut the packet: IPv4 without DF (RFC 791 §2.3).
func mayFragment(b []byte) bool {
	return packet.Version(b) == 4 && !packet.IPv4(b).DontFragment()
}

// maxOffset is where the last byte of an IPv4 packet's payload can be: beyond, the field overflows.
const maxOffset = 1<<16 - 1

// fragment cuts an IPv4 packet into fragments of at most mtu bytes (RFC 791 §3.2). The packet goes back to the pool;
// what the pool has no room for is counted in drops.
func (f *Fabric) fragment(p *Packet, mtu int, drops *link.Drops) (c chain) {
	f.finishChecksum(p)
	h := packet.IPv4(p.Bytes())
	header, payload := h.HeaderLen(), h.Payload()
	offset, last := h.FragmentOffset(), !h.MoreFragments()
	if offset+len(payload) > maxOffset {
		drops[link.Malformed]++
		f.pool.put(p)
		return c
	}
	for start := 0; start < len(payload); {
		k := f.pool.get()
		if k == nil {
			drops[link.Overload]++
			break
		}
		k.inherit(p)
		k.id, k.parent = p.net.number(), p.id
		copy(k.buf[Headroom:], h[:header])
		if offset+start > 0 {
			header = copyOptions(k.buf[Headroom:], h)
		}
		n := min((mtu-header)&^7, len(payload)-start)
		more := start+n < len(payload) || !last
		k.n = header + copy(k.buf[Headroom+header:], payload[start:start+n])
		setFragment(k.Bytes(), header, offset+start, more)
		c.add(k)
		start += n
	}
	f.pool.put(p)
	return c
}

// setFragment writes the fields that a fragment has of its own.
func setFragment(b []byte, header, offset int, more bool) {
	const moreFragments = 0x2000
	word := uint16(offset / 8)
	if more {
		word |= moreFragments
	}
	b[0] = 0x40 | byte(header/4)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[6:], word)
	binary.BigEndian.PutUint16(b[10:], 0)
	binary.BigEndian.PutUint16(b[10:], packet.Checksum(b[:header]))
}

// copyOptions writes the header of a later fragment, with those options only that say so (RFC 791 §3.1, the copied
// flag), and returns its length.
func copyOptions(to []byte, h packet.IPv4) int {
	const copied, end, noOperation = 0x80, 0, 1
	n := copy(to, h[:packet.IPv4HeaderLen])
	for o := h[packet.IPv4HeaderLen:h.HeaderLen()]; len(o) > 0 && o[0] != end; {
		size := 1
		if o[0] != noOperation {
			if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
				break
			}
			size = int(o[1])
		}
		if o[0]&copied != 0 {
			n += copy(to[n:], o[:size])
		}
		o = o[size:]
	}
	for ; n%4 != 0; n++ {
		to[n] = end
	}
	return n
}
