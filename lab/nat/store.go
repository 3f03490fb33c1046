package nat

import (
	"encoding/binary"
	"math/bits"
)

// index finds records by the hash of their keys: open addressing, linear probing. A slot is the hash's upper half of 64
// bits and the record's number + 1 below it, so that a probe reads a record only if the hash is right. Order of
// insertion aside nothing shows through: it is never iterated.
type index struct {
	slots []uint64
	n     int
}

const firstSlots = 64

func (x *index) reset() { x.slots, x.n = make([]uint64, firstSlots), 0 }

// probe returns the next record of that hash at or behind a slot, and the slot.
func (x *index) probe(h, at uint32) (ref, slot uint32, ok bool) {
	mask := uint32(len(x.slots) - 1)
	for ; ; at++ {
		s := x.slots[at&mask]
		if s == 0 {
			return 0, 0, false
		}
		if uint32(s>>32) == h {
			return uint32(s) - 1, at, true
		}
	}
}

func (x *index) insert(h, ref uint32) {
	if (x.n+1)*4 > len(x.slots)*3 {
		x.grow()
	}
	x.n++
	x.place(uint64(h)<<32 | uint64(ref+1))
}

func (x *index) place(s uint64) {
	mask := uint32(len(x.slots) - 1)
	at := uint32(s>>32) & mask
	for x.slots[at] != 0 {
		at = (at + 1) & mask
	}
	x.slots[at] = s
}

func (x *index) grow() {
	old := x.slots
	x.slots = make([]uint64, 2*len(old))
	for _, s := range old {
		if s != 0 {
			x.place(s)
		}
	}
}

// remove takes out a record that is in the index and closes the gap.
func (x *index) remove(h, ref uint32) {
	mask := uint32(len(x.slots) - 1)
	want := uint64(h)<<32 | uint64(ref+1)
	gap := h & mask
	for x.slots[gap] != want {
		if x.slots[gap] == 0 {
			return
		}
		gap = (gap + 1) & mask
	}
	x.n--
	for at := (gap + 1) & mask; x.slots[at] != 0; at = (at + 1) & mask {
		home := uint32(x.slots[at]>>32) & mask
		if (at-home)&mask >= (at-gap)&mask { // it may move back to the gap
			x.slots[gap], gap = x.slots[at], at
		}
	}
	x.slots[gap] = 0
}

// slab holds records in chunks that never move and hold no pointers.
type slab[T any] struct {
	chunks [][]T
	free   []uint32
	n      int // records in use
}

const (
	chunkBits = 10
	chunkSize = 1 << chunkBits
)

func (s *slab[T]) at(i uint32) *T { return &s.chunks[i>>chunkBits][i&(chunkSize-1)] }

func (s *slab[T]) alloc() uint32 {
	s.n++
	if last := len(s.free) - 1; last >= 0 {
		i := s.free[last]
		s.free = s.free[:last]
		return i
	}
	i := uint32(s.n - 1)
	if int(i>>chunkBits) == len(s.chunks) {
		s.chunks = append(s.chunks, make([]T, chunkSize))
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
