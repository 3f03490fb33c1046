package nat

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// A packet of a known flow touches two cache lines of the table's big memory, a bucket and a mapping:
//
//	hash ──► bucket, 64 bytes                                                       mapping, 64 bytes
//	         ┌────────────────┬──────────────────┬─────┬──────────────────┐         ┌──────────────────────────┐
//	         │ 7 tags │ spill │ hash │ record 0  │  …  │ hash │ record 6 ─┼──► slab │ key · external · expires │
//	         └────────────────┴──────────────────┴─────┴──────────────────┘         │ first filter entry · …   │
//	              8 bytes            8 bytes                   8 bytes              └──────────────────────────┘
//
// Timers follow when they are due (see timer.go), and no list says who was used last. Where each packet is another
// flow's both lines miss every cache, the second after the first.
// More filter entries than one, TCP sessions and plain masquerade's pins cost a bucket and a record more each.

// index finds records by the hash of their keys, in buckets of a cache line each. A tag is a byte of the hash, never
// zero; all seven are compared at once. What finds its bucket full goes to the next one and is counted in spill, so
// that a look-up knows where to stop: as in Folly's F14, or DPDK's and VPP's hash tables. Nothing ever iterates over it
// in an order that shows.
type index struct {
	buckets []bucket
	mask    uint32
	n       int
}

type bucket struct {
	tags  uint64              // seven, and above them how many entries went past; 255: no longer known
	slots [bucketSlots]uint64 // hash, record + 1
}

const (
	bucketSlots  = 7
	fullBucket   = 5 // on average; then the index grows
	firstBuckets = 8

	everyTag  = 0x0001010101010101
	spill     = 1 << 56
	mostSpill = 255
)

func (x *index) reset() { *x = index{buckets: make([]bucket, firstBuckets), mask: firstBuckets - 1} }

func (x *index) home(h uint32) *bucket { return &x.buckets[h&x.mask] }

// tagOf is at least 2: match can err by the lowest bit, and must not take 0, a free slot, for a tag.
func tagOf(h uint32) uint64 { return uint64(max(h>>24, 2)) }

// match marks the tags that are tag in the uppermost bit of their bytes: all of them, and perhaps above them some that
// differ in the lowest bit.
func (b *bucket) match(tag uint64) uint64 {
	d := b.tags ^ tag*everyTag
	return (d - everyTag) &^ d & (everyTag << 7)
}

// probe returns the next record of a hash, and where to go on after it. The first time at is 0.
func (x *index) probe(h, at uint32) (ref, next uint32, ok bool) {
	for at>>3 <= x.mask {
		b := &x.buckets[(h+at>>3)&x.mask]
		for m := b.match(tagOf(h)) & (^uint64(0) << (at & 7 * 8)); m != 0; m &= m - 1 {
			i := uint32(bits.TrailingZeros64(m)) / 8
			if s := b.slots[i]; uint32(s>>32) == h {
				return uint32(s) - 1, at&^7 + i + 1, true
			}
		}
		if b.tags < spill {
			break
		}
		at = at&^7 + 8
	}
	return 0, 0, false
}

func (x *index) insert(h, ref uint32) {
	if x.n >= fullBucket*len(x.buckets) {
		x.grow()
	}
	x.n++
	x.place(uint64(h)<<32 | uint64(ref+1))
}

func (x *index) place(s uint64) {
	h := uint32(s >> 32)
	for at := h; ; at++ {
		b := x.home(at)
		if free := b.match(0); free != 0 {
			i := bits.TrailingZeros64(free) / 8
			b.tags |= tagOf(h) << (8 * i)
			b.slots[i] = s
			return
		}
		if b.tags>>56 != mostSpill {
			b.tags += spill
		}
	}
}

func (x *index) grow() {
	old := x.buckets
	x.buckets, x.mask = make([]bucket, 2*len(old)), uint32(2*len(old)-1)
	for i := range old {
		for _, s := range old[i].slots {
			if s != 0 {
				x.place(s)
			}
		}
	}
}

// remove takes out a record that is in the index.
func (x *index) remove(h, ref uint32) {
	want := uint64(h)<<32 | uint64(ref+1)
	for at := h; at-h <= x.mask; at++ {
		b := x.home(at)
		i := slices.Index(b.slots[:], want)
		if i < 0 {
			continue
		}
		b.tags &^= 0xff << (8 * i)
		b.slots[i] = 0
		x.n--
		for ; at != h; at-- { // those that it went past
			if b := x.home(at - 1); b.tags>>56 != mostSpill {
				b.tags -= spill
			}
		}
		return
	}
}

// slab holds records in chunks that never move and hold no pointers. A chunk begins at a page.
type slab[T any] struct {
	chunks []*[chunkSize]T
	free   []uint32
	n      int // records in use
}

const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
)

func (s *slab[T]) at(i uint32) *T { return &s.chunks[i>>chunkBits][i%chunkSize] }

func (s *slab[T]) alloc() uint32 {
	s.n++
	if last := len(s.free) - 1; last >= 0 {
		i := s.free[last]
		s.free = s.free[:last]
		return i
	}
	i := uint32(s.n - 1)
	if int(i>>chunkBits) == len(s.chunks) {
		s.chunks = append(s.chunks, new([chunkSize]T))
	}
	return i
}

func (s *slab[T]) release(i uint32) {
	s.n--
	s.free = append(s.free, i)
}

func (s *slab[T]) reset() { *s = slab[T]{} }

// hash mixes a key of two words with the table's seed: wyhash's multiplication.
func (t *Table) hash(a, b uint64) uint32 {
	hi, lo := bits.Mul64(a^t.salt, b^0xe7037ed1a0b428db)
	hi, lo = bits.Mul64(hi^lo^0x8ebc6af09c88c6e3, lo^t.salt|1)
	return uint32((hi ^ lo) >> 32)
}

// scramble is SplitMix64's finalizer, from which all that is drawn comes.
func scramble(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// endpoint is an IPv4 address and a port, or an ICMP identifier.
type endpoint struct {
	addr uint32
	port uint16
}

func (e endpoint) word() uint64 { return uint64(e.addr)<<16 | uint64(e.port) }

// narrowed blanks what a dependency ignores.
func (e endpoint) narrowed(d Dependency) endpoint {
	switch d {
	case AddressAndPortDependent:
		return e
	case AddressDependent:
		return endpoint{addr: e.addr}
	default:
		return endpoint{}
	}
}

// onesSum adds b to a ones' complement sum in the machine-independent way of RFC 1071 §2 (B): the result's bytes are
// swapped, which a comparison with 0xffff does not see.
func onesSum(s uint64, b []byte) uint64 {
	var carry uint64
	for len(b) >= 32 {
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[8:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[16:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[24:]), carry)
		b = b[32:]
	}
	for len(b) >= 8 {
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b), carry)
		b = b[8:]
	}
	var tail [8]byte
	copy(tail[:], b)
	s, carry = bits.Add64(s, binary.LittleEndian.Uint64(tail[:]), carry)
	s, carry = bits.Add64(s, 0, carry)
	return s + carry
}

// folded reduces a sum to 16 bits.
func folded(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}
