package classify

import (
	"math/bits"
	"slices"

	"github.com/punchlab/punchlab/impl/wire"
)

// What the port model is judged by.
//
//	preserved    more than half of the mappings have the socket's own port; otherwise those that have are left out:
//	             a NAT that keeps ports gives a socket's later mappings others
//	sequential   the ports rise (or fall) in the order in which they were asked for, in steps that are small beside the
//	             range: multiples of one, where other hosts take ports in between
//	block        all ports lie in one aligned block of 2^k, or close together, much closer than the range allows
//	random       none of these
const (
	enoughSamples = 5
	maxGap        = 256  // between neighboring samples of a sequence, median
	minBlock      = 64   // ports
	maxBlock      = 8192 // of a random 64,512 ports, 8 samples lie in one such block by chance once in 10^6
	wrapFactor    = 8    // a gap so much greater than the median is where the sequence starts over
)

// sample is the external port of a mapping, in the order in which the mappings were asked for.
type sample struct {
	local, port uint16
}

// model says how a NAT chooses ports, from mappings in the order in which they were asked for. A mapping must not be in it twice.
func model(samples []sample) (m portModel) {
	kept := 0
	var ports []int
	for _, s := range samples {
		if s.local == s.port {
			kept++
		} else {
			ports = append(ports, int(s.port))
		}
	}
	switch {
	case len(samples) < enoughSamples:
		return portModel{}
	case 2*kept > len(samples):
		return portModel{ports: wire.PortsPreserved}
	case len(ports) < enoughSamples:
		return portModel{}
	}
	if step := sequence(ports); step != 0 {
		return portModel{ports: wire.PortsSequential, step: step}
	}
	if start, size := block(ports); size != 0 {
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
func sequence(ports []int) int16 {
	best, order := unwrapped(ports)
	n := float64(len(ports))
	// Three standard deviations of Kendall's tau for a random order, and never less than where a few packets overtook others.
	if sd2 := 2 * (2*n + 5) / (9 * n * (n - 1)); abs(order) < 1 && (order*order < 9*sd2 || abs(order) < 0.7) {
		return 0
	}
	gaps := make([]int, 0, len(best))
	slices.Sort(best)
	for i := 1; i < len(best); i++ {
		if g := best[i] - best[i-1]; g != 0 {
			gaps = append(gaps, g)
		}
	}
	if len(gaps) == 0 {
		return 0
	}
	slices.Sort(gaps)
	median := gaps[len(gaps)/2]
	if median > maxGap {
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
func unwrapped(ports []int) (best []int, tau float64) {
	const ring = 1 << 16
	sorted := slices.Clone(ports)
	slices.Sort(sorted)
	type cut struct{ width, from int }
	cuts := []cut{{sorted[0] + ring - sorted[len(sorted)-1], 0}}
	for i := 1; i < len(sorted); i++ {
		cuts = append(cuts, cut{sorted[i] - sorted[i-1], sorted[i]})
	}
	slices.SortStableFunc(cuts, func(a, b cut) int { return b.width - a.width })
	for _, c := range cuts[:2] {
		moved := slices.Clone(ports)
		for i := range moved {
			if moved[i] < c.from {
				moved[i] += ring
			}
		}
		if t := kendall(moved); best == nil || abs(t) > abs(tau) {
			best, tau = moved, t
		}
	}
	return best, tau
}

// kendall is the rank correlation of values with their order: 1 rising, −1 falling, about 0 for random ones.
func kendall(v []int) float64 {
	agree := 0
	for i := range v {
		for _, w := range v[i+1:] {
			switch {
			case w > v[i]:
				agree++
			case w < v[i]:
				agree--
			}
		}
	}
	return float64(agree) / float64(len(v)*(len(v)-1)/2)
}

// block returns where the ports lie, if that is a small part of the range. An aligned block of 2^k that is not much wider
// than they lie apart is taken for the carrier's; otherwise the ends are those to be expected of as many samples.
func block(ports []int) (start, size uint16) {
	low, high := slices.Min(ports), slices.Max(ports)
	k := max(bits.Len(uint(low^high)), bits.Len(minBlock-1))
	margin := (high-low)/(len(ports)-1) + 1
	if aligned := 1 << k; aligned <= maxBlock && aligned <= 4*(high-low+2*margin) || aligned == minBlock {
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

func abs(x float64) float64 { return max(x, -x) }
