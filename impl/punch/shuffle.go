package punch

import "math/bits"

// shuffle visits the numbers from 0 to n−1 in a seeded order, each once, without a table: a four-round Feistel network over
// the next even power of two, walked until it comes out below n.
type shuffle struct {
	n    uint32
	half uint // bits
	keys [4]uint64
}

func newShuffle(n int, seed uint64) shuffle {
	s := shuffle{n: uint32(n), half: max(uint(bits.Len32(uint32(n-1))+1)/2, 1)}
	for i := range s.keys {
		seed = scramble(seed)
		s.keys[i] = seed
	}
	return s
}

// at is the i-th number, i below n.
func (s shuffle) at(i int) int {
	mask := uint32(1)<<s.half - 1
	x := uint32(i)
	for {
		left, right := x>>s.half, x&mask
		for _, k := range s.keys {
			left, right = right, left^uint32(scramble(k^uint64(right)))&mask
		}
		if x = left<<s.half | right; x < s.n {
			return int(x)
		}
	}
}

// scramble is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
