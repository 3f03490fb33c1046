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
			for got, at, ok := x.probe(h, h); ok; got, at, ok = x.probe(h, at+1) {
				found = found || got == ref
			}
			if !found {
				t.Fatalf("record %d with hash %x is lost", ref, h)
			}
		}
	})
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
