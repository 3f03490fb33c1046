package classify

import (
	"math"
	"math/bits"
	"slices"

	"github.com/punchlab/punchlab/impl/wire"
)

// What the port model is judged by.
//
//	preserved    most sockets have their own port outside in their first mapping. Where mappings differ by the remote
//	             endpoint their later ones then have other ports, since that one is taken
//	sequential   the ports rise (or fall) in the order in which they were asked for, in steps that are small beside the
//	             range: multiples of one, where other hosts take ports in between
//	block        all ports lie in one aligned block of 2^k, or close together, much closer than the range allows
//	random       none of these
const (
	enoughSamples = 5
	enoughFirst   = 3
	maxGap        = 256 // between neighboring samples of a sequence, median
	manySamples   = 8   // of fewer, five say, one random order in 60 rises or falls throughout
	maxGapOfFew   = 32
	minBlock      = 64   // ports
	maxBlock      = 8192 // of a random 64,512 ports, 8 samples lie in one such block by chance once in 10^6
	wrapFactor    = 8    // a gap so much greater than the median is where the sequence starts over
)

// sample is the external port of a mapping.
type sample struct {
	local, port uint16
	first       bool // of its socket
	from, to    int  // it was made by one of the packets of these numbers
}

// model says how a NAT chooses ports. A mapping must not be among the samples twice.
func model(samples []sample) portModel {
	first, kept := 0, 0
	var others []sample
	for _, s := range samples {
		if s.first {
			first++
		}
		switch {
		case s.local != s.port:
			others = append(others, s)
		case s.first:
			kept++
		}
	}
	switch {
	case first >= enoughFirst && 2*kept > first:
		return portModel{ports: wire.PortsPreserved}
	case len(others) < enoughSamples:
		return portModel{}
	}
	if step := sequence(others); step != 0 {
		return portModel{ports: wire.PortsSequential, step: step}
	}
	if start, size := block(others); size != 0 {
		return portModel{ports: wire.PortsBlock, start: start, size: size}
	}
	return portModel{ports: wire.PortsRandom}
}

// portModel is a class's part about ports.
type portModel struct {
	ports       wire.PortModel
	step        int16
	start, size uint16
}

// sequence returns the step of a sequential allocator; 0: it is none.
func sequence(samples []sample) int16 {
	ports, order := unwrapped(samples)
	n := float64(len(ports))
	// Three standard deviations of Kendall's tau for a random order, and never less than where a few packets overtook others.
	if least := max(3*math.Sqrt(2*(2*n+5)/(9*n*(n-1))), 0.85); math.Abs(order) < min(least, 1) {
		return 0
	}
	slices.Sort(ports)
	var gaps []int
	for i := 1; i < len(ports); i++ {
		if g := ports[i] - ports[i-1]; g != 0 {
			gaps = append(gaps, g)
		}
	}
	if len(gaps) == 0 {
		return 0
	}
	slices.Sort(gaps)
	median := gaps[len(gaps)/2]
	if median > maxGap || n < manySamples && median > maxGapOfFew {
		return 0
	}
	step := 0
	for _, g := range gaps {
		if g <= wrapFactor*median {
			step = gcd(step, g)
		}
	}
	if order < 0 {
		step = -step
	}
	return int16(step)
}

// unwrapped cuts the ring of ports where the order in which they were asked for then agrees best with their own, and returns
// them continued beyond the ring's end, with that order's Kendall tau. A sequence that starts over at the least port of its
// range leaves one of the two widest gaps there.
func unwrapped(samples []sample) (best []int, tau float64) {
	const ring = 1 << 16
	sorted := make([]int, len(samples))
	for i, s := range samples {
		sorted[i] = int(s.port)
	}
	slices.Sort(sorted)
	type cut struct{ width, from int }
	cuts := []cut{{sorted[0] + ring - sorted[len(sorted)-1], 0}}
	for i := 1; i < len(sorted); i++ {
		cuts = append(cuts, cut{sorted[i] - sorted[i-1], sorted[i]})
	}
	slices.SortStableFunc(cuts, func(a, b cut) int { return b.width - a.width })
	for _, c := range cuts[:2] {
		moved := make([]int, len(samples))
		for i, s := range samples {
			if moved[i] = int(s.port); moved[i] < c.from {
				moved[i] += ring
			}
		}
		if t := kendall(samples, moved); best == nil || math.Abs(t) > math.Abs(tau) {
			best, tau = moved, t
		}
	}
	return best, tau
}

// kendall is the rank correlation of ports with the order in which they were asked for: 1 rising, −1 falling, about 0 for
// random ones. Pairs whose order is not known, because one was asked for several times, are left out, 0 if they are more
// than half.
func kendall(samples []sample, ports []int) float64 {
	agree, known := 0, 0
	for i, a := range samples {
		for j, b := range samples {
			if a.to >= b.from { // not surely before b
				continue
			}
			known++
			switch {
			case ports[j] > ports[i]:
				agree++
			case ports[j] < ports[i]:
				agree--
			}
		}
	}
	if all := len(samples) * (len(samples) - 1) / 2; 2*known < all {
		return 0
	}
	return float64(agree) / float64(known)
}

// block returns where the ports lie, if that is a small part of the range. An aligned block of 2^k that is not much wider
// than they lie apart is taken for the carrier's; otherwise the ends are those to be expected of as many samples.
func block(samples []sample) (start, size uint16) {
	low, high := 1<<16-1, 0
	for _, s := range samples {
		low, high = min(low, int(s.port)), max(high, int(s.port))
	}
	margin := (high-low)/(len(samples)-1) + 1
	aligned := 1 << max(bits.Len(uint(low^high)), bits.Len(minBlock-1))
	if aligned == minBlock || aligned <= min(maxBlock, 4*(high-low+2*margin)) {
		return uint16(low &^ (aligned - 1)), uint16(aligned)
	}
	low, high = max(low-margin, 1), min(high+margin, 1<<16-1)
	if high-low >= maxBlock/2 {
		return 0, 0
	}
	return uint16(low), uint16(high - low + 1)
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
