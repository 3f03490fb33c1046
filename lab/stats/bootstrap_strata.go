package stats

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
)

// side is the values of one side of all strata, in ascending order.
type side []value

type value struct {
	x, weight float64
	stratum   int
}

// sideOf puts the values of one side together, those of each stratum with a weight of N1·N2/(N1+N2) in all.
func sideOf(strata [][2][]float64, which int) side {
	var out side
	for i, s := range strata {
		mustBeNumbers(s[0], s[1])
		if len(s[0]) == 0 || len(s[1]) == 0 {
			continue
		}
		weight := float64(len(s[1-which])) / float64(len(s[0])+len(s[1]))
		for _, x := range s[which] {
			out = append(out, value{x, weight, i})
		}
	}
	slices.SortStableFunc(out, func(a, b value) int { return cmp.Compare(a.x, b.x) })
	return out
}

// position returns where the p-quantile is in the running sum of weights: definition 7's 1+(n−1)p in units of the mean weight.
func (s side) position(p float64) float64 {
	total := 0.0
	for _, v := range s {
		total += v.weight
	}
	mean := total / float64(len(s))
	return mean + p*(total-mean)
}

// quantile returns the weighted p-quantile, Quantile's where all weights are the same.
func (s side) quantile(p float64) float64 {
	times := make([]int, len(s))
	for i := range times {
		times[i] = 1
	}
	return s.walk(times, 0, s.position(p))
}

// walk returns the value at a position, where before is the weight of what is under s and each value is there so many times: between
// a value and the one before by how much of its own weight the position takes.
func (s side) walk(times []int, before, position float64) float64 {
	const rounding = 1e-9
	below := s[0].x
	for i, t := range times {
		if t == 0 {
			continue
		}
		x, w := s[i].x, s[i].weight
		if after := before + w*float64(t); after < position-rounding {
			before, below = after, x
			continue
		}
		if share := (position - before) / w; share < 1 && x != below {
			return below + math.Max(0, share)*(x-below) // between the first of its copies and the value before
		}
		return x
	}
	return s[len(s)-1].x
}

// resampler returns a function that draws the quantile of a resample within each stratum. Of a resample it draws no more than
// decides: how many of each stratum's values fall below, into and above a window around the quantile, and where in it. The
// quantile of a resample leaves the window, eight standard deviations to either side, practically never; its end
// stands for it then.
func (s side) resampler(p float64, rng *rand.Rand) func() float64 {
	position := s.position(p)
	from, to := s.window(position)
	window, times := s[from:to], make([]int, to-from)
	draws := s.draws(from, to)
	return func() float64 {
		clear(times)
		before := 0.0
		for i := range draws {
			d := &draws[i]
			inside := d.inside.draw(d.n, rng)
			for range inside {
				times[d.at[rng.IntN(len(d.at))]]++
			}
			before += d.weight * float64(d.below.draw(d.n-inside, rng))
		}
		return window.walk(times, before, position)
	}
}

// window returns which values the quantiles of resamples lie among.
func (s side) window(position float64) (from, to int) {
	strata := 0
	for _, v := range s {
		strata = max(strata, v.stratum)
	}
	below, n, weight := make([]float64, strata+1), make([]float64, strata+1), make([]float64, strata+1)
	sum := 0.0
	for _, v := range s {
		if sum += v.weight; sum <= position {
			below[v.stratum]++
		}
		n[v.stratum]++
		weight[v.stratum] = v.weight
	}
	variance, heaviest := 0.0, slices.Max(weight)
	for i, b := range below {
		if n[i] > 0 {
			b = clamp(b, 0.5, n[i]-0.5) // a share of 0 or 1 is not that sure
			variance += weight[i] * weight[i] * b * (1 - b/n[i])
		}
	}
	reach := 8*math.Sqrt(variance) + 4*heaviest
	sum, to = 0, len(s)
	for i, v := range s {
		sum += v.weight
		if sum < position-reach {
			from = i
		}
		if sum > position+reach {
			to = i + 1
			break
		}
	}
	return from, to
}

// draws is how one stratum's values fall around the window.
type draws struct {
	n             int
	weight        float64
	at            []int // its values' positions in the window
	inside, below binomials
}

func (s side) draws(from, to int) []draws {
	index := map[int]int{}
	var out []draws
	var below []int
	for i, v := range s {
		at, ok := index[v.stratum]
		if !ok {
			at = len(out)
			index[v.stratum] = at
			out, below = append(out, draws{weight: v.weight}), append(below, 0)
		}
		d := &out[at]
		d.n++
		switch {
		case i < from:
			below[at]++
		case i < to:
			d.at = append(d.at, i-from)
		}
	}
	for i := range out {
		d := &out[i]
		d.inside.p = float64(len(d.at)) / float64(d.n)
		if outside := d.n - len(d.at); outside > 0 {
			d.below.p = float64(below[i]) / float64(outside)
		}
	}
	return out
}

// binomials draws numbers of successes at one rate by inversion, with a table for each number of trials.
type binomials struct {
	p   float64
	cdf [][]float64
}

func (b *binomials) draw(n int, rng *rand.Rand) int {
	if b.p == 0 || n == 0 {
		return 0
	}
	if b.p == 1 {
		return n
	}
	if n >= len(b.cdf) {
		b.cdf = append(b.cdf, make([][]float64, n+1-len(b.cdf))...)
	}
	if b.cdf[n] == nil {
		cdf, sum := binomial(n, b.p), 0.0
		for k, q := range cdf {
			sum += q
			cdf[k] = sum
		}
		b.cdf[n] = cdf
	}
	return min(sort.SearchFloat64s(b.cdf[n], rng.Float64()), n)
}
