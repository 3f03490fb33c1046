package nat

import "encoding/binary"

// together is how many packets' memory Prefetch has on its way at a time.
const together = 32

// Prefetch reads ahead what Translate will look up for packets that come from a side. It changes nothing, and answers
// nothing. Who has a burst of packets at hand gets their cache misses at once instead of one after the other, as DPDK
// and VPP do; one for a single packet gains nothing:
//
//	one by one   bucket ······ mapping ······ bucket ······ mapping ······ bucket ······ mapping ······
//	prefetched   bucket ······ mapping ······
//	             bucket ······ mapping ······
//	             bucket ······ mapping ······
func (t *Table) Prefetch(from Side, packets [][]byte) {
	x := &t.fwd
	if from == Outside {
		x = &t.rev
	}
	var hashes [together]uint32
	var refs [together]uint32
	seen := uint64(0)
	for len(packets) > 0 {
		n := min(len(packets), together)
		for i, b := range packets[:n] {
			hashes[i] = t.hashAhead(from, b)
		}
		for _, h := range hashes[:n] { // loops this short let the processor have many misses open
			seen += x.home(h).tags
		}
		known := 0
		for _, h := range hashes[:n] {
			if i, _, ok := x.probe(h, 0); ok {
				refs[known] = i
				known++
			}
		}
		for _, i := range refs[:known] {
			seen += uint64(t.maps.at(i).expires)
		}
		packets = packets[n:]
	}
	t.ahead += seen
}

// hashAhead is the hash that a look-up of a UDP or TCP packet begins with. Of others it is anything.
func (t *Table) hashAhead(from Side, b []byte) uint32 {
	if len(b) < 20 || b[0]>>4 != 4 {
		return 0
	}
	at := int(b[0]&15) * 4
	if len(b) < at+4 {
		return 0
	}
	be := binary.BigEndian
	proto := b[9]
	src, dst := endpoint{be.Uint32(b[12:]), be.Uint16(b[at:])}, endpoint{be.Uint32(b[16:]), be.Uint16(b[at+2:])}
	switch keyed := t.connectionKeyed(proto); {
	case from == Inside && keyed:
		return t.flowHash(proto, src, dst)
	case from == Inside:
		return t.flowHash(proto, src, dst.narrowed(t.mappingFor(dst)))
	case keyed:
		return t.flowHash(proto, dst, src)
	default:
		return t.flowHash(proto, dst, endpoint{})
	}
}
