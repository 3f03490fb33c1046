package tape

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Randomness says whether bytes can be told from random ones.
type Randomness struct {
	N       int     // bytes that were looked at
	Random  bool    // they could not be told from random ones, and there were RandomBytes at least
	P       float64 // chance that random bytes look so unlike random ones: the smallest of all tests', times their number
	Entropy float64 // bits per byte, by their frequencies
	Why     string  // what told them apart, or that there were too few; empty: nothing did
}

// RandomBytes is how many bytes it takes to call them random.
const RandomBytes = 256 << 10

// RandomLevel is the chance at which random bytes are called otherwise, over all tests.
const RandomLevel = 1e-7

// maxRandom is how many bytes are looked at.
const maxRandom = 4 << 20

// Random tells whether bytes look random, and by which chance random ones would look so unlike random ones.
func Random(b []byte) (random bool, p float64) {
	r := Measure(b)
	return r.Random, r.P
}

// Measure tests bytes for randomness, 4 MiB of them at most. Each test is of something that encryption leaves no trace of:
//
//	frequencies    of the 256 values: χ² with 255 degrees of freedom. Text, headers, padding, a constant XOR of these
//	differences    of neighbours, likewise. Slopes, counters
//	coincidences   of bytes at the distances 1 to 64, of which one in 256 is by chance. Text under a repeated key
//	triples        of bytes, the most frequent of which should be rare. Start codes and stuffing of H.264, markers
//	repeats        of ten bytes anywhere. A source that plays over and over under a keystream that does, too, or in ECB
//
// Compressed media looks nearly random byte by byte, and it takes up to 256 KiB of it (H.264 by x264, high profile) to tell; hence RandomBytes. That
// nothing was found is no proof of good encryption: a keystream from a poor generator with a good histogram passes.
func Measure(b []byte) Randomness {
	b = b[:min(len(b), maxRandom)]
	r := Randomness{N: len(b), P: 1, Entropy: entropy(b)}
	tests := []struct {
		name string
		test func([]byte) (p float64, found string)
	}{{"frequencies", frequencies}, {"differences", differences}, {"coincidences", coincidences}, {"triples", triples}, {"repeats", repeats}}
	for _, t := range tests {
		p, found := t.test(b)
		if p = min(1, p*float64(len(tests))); p < r.P {
			r.P, r.Why = p, fmt.Sprintf("%s: %s", t.name, found)
		}
	}
	switch {
	case r.P < RandomLevel:
	case r.N < RandomBytes:
		r.Why = fmt.Sprintf("%d bytes say nothing: it takes %d", r.N, RandomBytes)
	default:
		r.Random, r.Why = true, ""
	}
	return r
}

// entropy is that of the values' frequencies, in bits.
func entropy(b []byte) (h float64) {
	var counts [256]int
	for _, c := range b {
		counts[c]++
	}
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(b))
			h -= p * math.Log2(p)
		}
	}
	return h
}

// uniform is the χ² test of 256 counts.
func uniform(counts *[256]int) (p float64, found string) {
	n, most := 0, 0
	for v, c := range counts {
		n += c
		if c > counts[most] {
			most = v
		}
	}
	if n < 5*256 { // χ²'s own rule: five are expected of each
		return 1, ""
	}
	expected, chi := float64(n)/256, 0.0
	for _, c := range counts {
		chi += (float64(c) - expected) * (float64(c) - expected) / expected
	}
	return distuv.ChiSquared{K: 255}.Survival(chi), fmt.Sprintf("χ² is %.0f, about 255 is expected; %#02x is %d of %d", chi, most, counts[most], n)
}

func frequencies(b []byte) (p float64, found string) {
	var counts [256]int
	for _, c := range b {
		counts[c]++
	}
	return uniform(&counts)
}

// differences looks at pairs of which none shares a byte with another, as χ² wants them independent.
func differences(b []byte) (p float64, found string) {
	var counts [256]int
	for i := 0; i+1 < len(b); i += 2 {
		counts[b[i+1]-b[i]]++
	}
	return uniform(&counts)
}

// distances are those at which bytes are compared.
const distances = 64

// coincidences is the test of Friedman (The Index of Coincidence, 1922): whatever the repeated key, bytes a period apart are under the
// same part of it.
func coincidences(b []byte) (p float64, found string) {
	p = 1
	for d := 1; d <= distances && d < len(b); d++ {
		same := 0
		for i, c := range b[d:] {
			if b[i] == c {
				same++
			}
		}
		n := len(b) - d
		if q := distances * atLeast(same, float64(n)/256); q < p {
			p, found = q, fmt.Sprintf("%d of %d bytes are those %d before, about %d are expected", same, n, d, n/256)
		}
	}
	return min(p, 1), found
}

// atLeast bounds the chance of k or more events of which so many are expected, by Chernoff.
func atLeast(k int, expected float64) float64 {
	if float64(k) <= expected || expected <= 0 {
		return 1
	}
	x := float64(k)
	return math.Exp(x - expected - x*math.Log(x/expected))
}

// triples finds the most frequent three bytes.
func triples(b []byte) (p float64, found string) {
	if len(b) < 3 {
		return 1, ""
	}
	counts := make([]uint8, 1<<24)
	most, times := 0, uint8(0)
	v := int(b[0])<<8 | int(b[1])
	for _, c := range b[2:] {
		v = v<<8&0xffffff | int(c)
		if counts[v] < math.MaxUint8 { // more says no more
			counts[v]++
		}
		if counts[v] > times {
			most, times = v, counts[v]
		}
	}
	// A run of one value has itself in it again and again: the chance of that is granted twice over.
	p = (1 << 24) * atLeast(int(times), 2*float64(len(b))/(1<<24))
	return min(p, 1), fmt.Sprintf("%06x is there %d times or more", most, times)
}

// repeated is how many bytes may not come twice.
const repeated = 10

// repeats counts the places at which ten bytes begin that were there before. One in 2^80 pairs of places is by chance.
func repeats(b []byte) (p float64, found string) {
	if len(b) < repeated {
		return 1, ""
	}
	// A hash of eight leads to where they were last; it takes the bytes themselves to say that they are the same.
	bits := 8
	for 1<<bits < 2*len(b) {
		bits++
	}
	last := make([]int32, 1<<bits)
	n, first := 0, 0
	for i := 0; i+repeated <= len(b); i++ {
		h := hash(b[i:]) >> (64 - bits)
		if j := int(last[h]) - 1; j >= 0 && string(b[j:j+repeated]) == string(b[i:i+repeated]) {
			if n++; n == 1 {
				first = i
			}
		}
		last[h] = int32(i) + 1
	}
	if n == 0 {
		return 1, ""
	}
	pairs := float64(len(b)) * float64(len(b)) / 2
	return min(1, pairs*math.Exp2(-8*repeated)), fmt.Sprintf("%d times are ten bytes those of another place, first at %d", n, first)
}

// hash mixes eight bytes (Knuth, The Art of Computer Programming 3, §6.4: by multiplication).
func hash(b []byte) uint64 {
	v := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 |
		uint64(b[7])<<56
	return v * 0x9e3779b97f4a7c15
}
