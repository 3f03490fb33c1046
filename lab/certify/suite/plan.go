package suite

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
)

// task is a case to be run, or the honesty probe.
type task struct {
	certify.Selected
	probe bool
}

// plan puts tasks into the order in which they are begun: the longest first, since the others fit beside it. The probe, if it is
// to be asked, is at a place that follows from the seed, so that no program can tell it by its time.
func plan(cases []certify.Selected, seed uint64, probe bool) []task {
	var all []task
	for _, s := range cases {
		all = append(all, task{Selected: s})
	}
	slices.SortStableFunc(all, func(a, b task) int { return cmp.Compare(b.Case.Takes, a.Case.Takes) })
	if !probe {
		return all
	}
	rng := rand.New(rand.NewPCG(CaseSeed(seed, "honesty probe"), 0))
	return slices.Insert(all, rng.IntN(len(all)+1), task{probe: true, Selected: certify.Selected{Case: unknownCase(seed), Applicable: true}})
}

// CaseSeed is the seed of a case of a run: what everything random in it follows from.
func CaseSeed(seed uint64, id string) uint64 {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64([]byte("punchlab case\x00"), seed), id...))
	return binary.BigEndian.Uint64(sum[:8])
}

// Limits of a case's time.
const (
	briefLimit = 2 * time.Minute // a box has to boot
	spare      = 2 * time.Minute
)

// limit is how long a case may take before it is given up.
func limit(c certify.Case, brief bool) time.Duration {
	if brief {
		return briefLimit
	}
	return 3*c.Takes + spare
}

// Estimate is about how long cases take, so many at once: of all workers the busiest's time.
func Estimate(cases []certify.Selected, jobs int, brief bool) time.Duration {
	free := make([]time.Duration, max(1, jobs))
	for _, t := range plan(cases, 0, false) {
		i := 0
		for k := range free {
			if free[k] < free[i] {
				i = k
			}
		}
		free[i] += Takes(t.Case, brief)
	}
	return slices.Max(free)
}

// Takes is about how long a case runs.
func Takes(c certify.Case, brief bool) time.Duration {
	const inBrief = 10 * time.Second
	if brief {
		return min(inBrief, c.Takes)
	}
	return c.Takes
}

// About writes a duration for people: 15m, 1h10m, 20s.
func About(d time.Duration) string {
	switch {
	case d >= time.Minute:
		d = d.Round(time.Minute)
	case d >= time.Second:
		d = d.Round(time.Second)
	}
	s := d.String()
	s = strings.TrimSuffix(s, "0s")
	if s == "" || !strings.ContainsAny(s, "hm") {
		return d.String()
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
