package cases

import (
	"fmt"
	"maps"
	"slices"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/stats"
)

// heard6 is what an asker notices of one answer.
type heard6 struct {
	said     string  // in words: how its program ended, or the code
	packets  int     // from the servers
	bytes    int64   // of these
	after    float64 // seconds until it knew
	answered bool
}

// compare holds answers about cameras that never were, and about one that is offline, to being alike.
func (q *asking6) compare(whose string, got [2][]heard6) (certify.Result, bool) {
	s := q.s
	names := [2]string{"a camera that never was", "one that is offline"}
	var said, sizes [2]map[string]int
	var times [2][]float64
	for kind, hs := range got {
		said[kind], sizes[kind] = map[string]int{}, map[string]int{}
		for _, h := range hs {
			s.Saw("tries", 1)
			s.Saw("answers", 1)
			said[kind][h.said]++
			sizes[kind][fmt.Sprintf("%d packets of %d bytes", h.packets, h.bytes)]++
			if h.answered {
				times[kind] = append(times[kind], h.after)
			}
		}
	}
	d, p := 0.0, 1.0
	if len(times[0]) > 0 && len(times[1]) > 0 {
		d, p = stats.KolmogorovSmirnov(times[0], times[1])
	}
	s.Record(map[string]any{"asked by": whose, "never was": said[0], "offline": said[1], "sizes, never was": sizes[0], "sizes, offline": sizes[1],
		"times D": d, "times p": p, "median never was": median(times[0]), "median offline": median(times[1])})
	s.Note("%s questions: %d about %s, %d about %s; said %v and %v; times D = %.3f, p = %.3g, medians %.1f ms and %.1f ms", whose, len(got[0]), names[0],
		len(got[1]), names[1], said[0], said[1], d, p, 1e3*median(times[0]), 1e3*median(times[1]))
	for _, of := range []struct {
		what   string
		counts [2]map[string]int
	}{{"answer", said}, {"size of the answers", sizes}} {
		if a, b, chance := tellApart(of.counts); a != "" {
			return s.Fail("by %s questions the %s tells %s (%s) from %s (%s), of %d and %d questions (by chance: p = %.2g)",
				whose, of.what, names[0], a, names[1], b, len(got[0]), len(got[1]), chance), true
		}
	}
	if p < sameLevel {
		return s.Fail("by %s questions the times of answers tell %s from %s: D = %.3f, p = %.2g, of %d and %d answers, medians %.2f ms and %.2f ms",
			whose, names[0], names[1], d, p, len(times[0]), len(times[1]), 1e3*median(times[0]), 1e3*median(times[1])), true
	}
	return certify.Result{}, false
}

// tellApart says which sort tells two sorts of cameras apart, by Fisher's exact test; where there are few questions, if it does so each time.
func tellApart(counts [2]map[string]int) (unknown, offline string, p float64) {
	total := [2]int{}
	for kind, c := range counts {
		for _, n := range c {
			total[kind] += n
		}
	}
	for _, what := range slices.Sorted(maps.Keys(counts[0])) {
		k, o := counts[0][what], counts[1][what]
		_, _, p := stats.Fisher(k, total[0], o, total[1])
		if p < sameLevel || alwaysApart(counts, total) {
			return what, most(counts[1]), p
		}
	}
	return "", "", 1
}

// alwaysApart reports whether every answer told which it was: none came of both, and they were few.
func alwaysApart(counts [2]map[string]int, total [2]int) bool {
	for kind, c := range counts {
		if total[kind] < 4 || len(c) > total[kind]/2 {
			return false
		}
		for what := range c {
			if counts[1-kind][what] > 0 {
				return false
			}
		}
	}
	return true
}

// most is the commonest.
func most(counts map[string]int) (what string) {
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		if what == "" || counts[k] > counts[what] {
			what = k
		}
	}
	return what
}

func median(xs []float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	xs = slices.Clone(xs)
	slices.Sort(xs)
	return stats.Quantile(xs, 0.5)
}
