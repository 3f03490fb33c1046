package reports

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// ticks chooses round values for an axis, printed with their unit: as many as fit beside one another.
type ticks struct {
	print func(float64) string
	log   bool
	width vg.Length // of the axis
}

func (t ticks) Ticks(low, high float64) []plot.Tick {
	var out []plot.Tick
	for _, v := range t.values(low, high) {
		out = append(out, plot.Tick{Value: v, Label: t.print(v)})
	}
	return out
}

// values returns the densest of a few round series whose labels do not touch.
func (t ticks) values(low, high float64) (vs []float64) {
	for _, vs = range t.series(low, high) {
		if t.fit(vs, low, high) {
			break
		}
	}
	return vs
}

// series lists round values in the range, densest first.
func (t ticks) series(low, high float64) (all [][]float64) {
	if !t.log {
		for _, parts := range []float64{6, 4, 2.5, 1.5} {
			step := niceStep((high - low) / parts)
			var vs []float64
			for i := math.Ceil(low / step); i*step <= high+step*1e-9; i++ {
				vs = append(vs, i*step)
			}
			all = append(all, vs)
		}
		return all
	}
	decades := math.Log10(high / low)
	for _, of := range []struct {
		multiples   []float64
		every       float64 // decades
		least, most float64 // decades that they suit
	}{
		{[]float64{1, 1.5, 2, 3, 4, 5, 7}, 1, 0, 1}, {[]float64{1, 2, 5}, 1, 0, 3}, {[]float64{1, 3}, 1, 0, 3},
		{[]float64{1}, 1, 1.5, math.Inf(1)}, {[]float64{1}, 2, 4, math.Inf(1)}, {[]float64{1}, 3, 6, math.Inf(1)},
	} {
		if decades < of.least || decades > of.most {
			continue
		}
		var vs []float64
		for e := of.every * math.Floor(math.Log10(low)/of.every); e <= math.Ceil(math.Log10(high)); e += of.every {
			for _, k := range of.multiples {
				if v := k * math.Pow(10, e); v >= low && v <= high {
					vs = append(vs, v)
				}
			}
		}
		all = append(all, vs)
	}
	return all
}

// fit reports whether the labels of vs stand apart.
func (t ticks) fit(vs []float64, low, high float64) bool {
	st := style(9, muted, text.XCenter, text.YTop)
	end := vg.Length(math.Inf(-1))
	for _, v := range vs {
		at := (v - low) / (high - low)
		if t.log {
			at = math.Log(v/low) / math.Log(high/low)
		}
		half := st.Width(t.print(v)) / 2
		if x := vg.Length(at) * t.width; x-half < end {
			return false
		} else {
			end = x + half + 9
		}
	}
	return true
}

// niceStep rounds a step up to 1, 2 or 5 times a power of ten.
func niceStep(s float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(s)))
	for _, k := range []float64{1, 2, 5} {
		if s <= k*p*(1+1e-9) {
			return k * p
		}
	}
	return 10 * p
}
