package fabric

import (
	"math/bits"
	"time"
)

// The buckets are those of an HDR histogram: each power of two of nanoseconds is cut into perOctave equal parts, so
// that the relative error is the same everywhere.
const (
	octaveBits = 5
	perOctave  = 1 << octaveBits
	smallest   = 10 // durations below 2¹⁰ ns share the first octave
	octaves    = 26 // up to 2³⁵ ns, 34 s; longer ones count in the last bucket
	buckets    = octaves * perOctave
)

// histogram counts durations in logarithmic buckets.
type histogram struct {
	n      uint64
	max    time.Duration
	counts [buckets]uint32
}

// bucket of d: the first octave is linear from 0, the others start at powers of two.
func bucket(d time.Duration) int {
	v := uint64(max(d, 0)) >> (smallest - octaveBits)
	if v < perOctave {
		return int(v)
	}
	octave := bits.Len64(v) - octaveBits
	return min(octave*perOctave+int(v>>(octave-1))-perOctave, buckets-1)
}

// upper is the end of a bucket.
func upper(b int) time.Duration {
	octave, part := b/perOctave, b%perOctave
	v := uint64(part + 1)
	if octave > 0 {
		v = uint64(perOctave+part+1) << (octave - 1)
	}
	return time.Duration(v << (smallest - octaveBits))
}

func (h *histogram) add(d time.Duration) {
	h.n++
	h.max = max(h.max, d)
	h.counts[bucket(d)]++
}

func (h *histogram) reset() {
	if h.n > 0 {
		*h = histogram{}
	}
}

// summarize reads the quantiles of several histograms together.
func summarize(hs ...*histogram) (l Lateness) {
	for _, h := range hs {
		l.N += h.n
		l.Max = max(l.Max, h.max)
	}
	l.P50, l.P99 = quantile(l, 0.50, hs), quantile(l, 0.99, hs)
	return l
}

func quantile(l Lateness, q float64, hs []*histogram) time.Duration {
	left := uint64(q * float64(l.N))
	for b := range buckets {
		var c uint64
		for _, h := range hs {
			c += uint64(h.counts[b])
		}
		if c > left {
			return min(upper(b), l.Max)
		}
		left -= c
	}
	return l.Max
}

// windowLength is how long one of a window's two histograms collects.
const windowLength = 500 * time.Millisecond

// window forgets: it covers the last half to whole second.
type window struct {
	start     time.Duration
	cur, prev histogram
}

func (w *window) roll(now time.Duration) {
	switch age := now - w.start; {
	case age < windowLength:
		return
	case age < 2*windowLength:
		w.prev = w.cur
	default:
		w.prev.reset()
	}
	w.cur.reset()
	w.start = now
}
