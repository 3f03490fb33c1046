package nat

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// An index holds what a map would, whatever collides.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		x.reset()
		want := map[uint32]uint32{} // record → hash
		for i, h := range rapid.SliceOfN(rapid.Uint32Range(0, 40), 1, 400).Draw(t, "hashes") {
			h *= 0x2000001 // the same home for some, at the end of the table for others
			if ref := uint32(i); i%3 != 2 {
				x.insert(h, ref)
				want[ref] = h
				continue
			}
			for ref := range uint32(i) { // the oldest goes
				if h, ok := want[ref]; ok {
					x.remove(h, ref)
					delete(want, ref)
					break
				}
			}
		}
		if x.n != len(want) {
			t.Fatalf("%d entries, want %d", x.n, len(want))
		}
		for ref, h := range want {
			found := false
			for got, at, ok := x.probe(h, 0); ok; got, at, ok = x.probe(h, at) {
				found = found || got == ref
			}
			if !found {
				t.Fatalf("record %d with hash %x is lost", ref, h)
			}
		}
		for ref, h := range want {
			x.remove(h, ref)
		}
		for i, b := range x.buckets {
			if b != (bucket{}) {
				t.Fatalf("bucket %d of an empty index holds %x", i, b)
			}
		}
	})
}

// More go past a bucket than it can count: they are found all the same, and what is not there ends a look-up.
func TestIndexOfOneHash(t *testing.T) {
	const h = 0x77000003
	for n := range uint32(400) {
		var x index
		x.reset()
		for ref := range n {
			x.insert(h, ref)
		}
		count := uint32(0)
		for _, at, ok := x.probe(h, 0); ok; _, at, ok = x.probe(h, at) {
			count++
		}
		if count != n {
			t.Errorf("%d records are found, want %d", count, n)
		}
		for ref := range n {
			if ref%3 != 0 {
				x.remove(h, ref)
			}
		}
		count = 0
		for ref, at, ok := x.probe(h, 0); ok; ref, at, ok = x.probe(h, at) {
			if count++; ref%3 != 0 {
				t.Errorf("of %d record %d was taken out", n, ref)
			}
		}
		if count != (n+2)/3 || x.n != int(count) {
			t.Errorf("of %d records %d are found, want %d", n, count, (n+2)/3)
		}
		if ref, _, ok := x.probe(h+1<<24, 0); ok {
			t.Errorf("record %d has another hash", ref)
		}
		for ref := range n {
			if ref%3 == 0 {
				x.remove(h, ref)
			}
		}
		for i, b := range x.buckets {
			if b != (bucket{}) && n < mostSpill {
				t.Errorf("bucket %d of an index that had %d holds %x", i, n, b)
			}
		}
	}
}

// A slot that is free is no record, whatever hash is looked for.
func TestIndexEmpty(t *testing.T) {
	for h := range uint32(1 << 16) {
		var x index
		x.reset()
		x.insert(h<<16&^7, 1) // the first slot of the first bucket
		for _, other := range []uint32{0, h<<16&^7 ^ 1<<24, h<<16&^7 + 8} {
			if ref, _, ok := x.probe(other, 0); ok && other != h<<16&^7 {
				t.Fatalf("with %x in the index %x finds %d", h<<16&^7, other, ref)
			}
		}
	}
}

// The heap gives in order of time what was put in.
func TestTimers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Int64Range(0, 50), 1, 200).Draw(t, "times")
		var h timers
		for _, at := range want {
			h.push(due{at: at})
		}
		var got []int64
		for len(h) > 0 {
			got = append(got, h.pop().at)
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// Ones' complement sums do not depend on how they are taken.
func TestOnesSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "bytes")
		var want uint32
		for i, x := range b {
			want += uint32(x) << (8 * (i % 2)) // little-endian words
		}
		for want>>16 != 0 {
			want = want>>16 + want&0xffff
		}
		if got := folded(onesSum(0, b)); uint32(got)%0xffff != want%0xffff {
			t.Fatalf("sum of % x is %x, want %x", b, got, want)
		}
	})
}

func TestNextFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var u portUse
		for _, p := range rapid.SliceOfN(rapid.Uint16Range(1000, 1200), 0, 300).Draw(t, "taken") {
			u[p/64] |= 1 << (p % 64)
		}
		from := rapid.IntRange(990, 1210).Draw(t, "from")
		to := rapid.IntRange(from-1, 1210).Draw(t, "to")
		odd := rapid.Bool().Draw(t, "odd")
		mask := ^uint64(0)
		if odd {
			mask = 0xaaaaaaaaaaaaaaaa
		}
		want := from
		for want <= to && (u.taken(uint16(want)) || odd && want%2 == 0) {
			want++
		}
		got, ok := u.nextFree(from, to, mask)
		if ok != (want <= to) || ok && got != want {
			t.Fatalf("next free in [%d, %d] is %d %v, want %d", from, to, got, ok, want)
		}
	})
}
