package record

import (
	"fmt"
	"strconv"
	"strings"
)

// Shard is part I of N of a run's trials, I from 1. The zero value is the whole.
type Shard struct{ I, N int }

// ParseShard reads "i/n"; an empty text is the whole.
func ParseShard(s string) (Shard, error) {
	if s == "" {
		return Shard{}, nil
	}
	a, b, ok := strings.Cut(s, "/")
	i, errI := strconv.Atoi(a)
	n, errN := strconv.Atoi(b)
	if !ok || errI != nil || errN != nil || n < 1 || i < 1 || i > n {
		return Shard{}, fmt.Errorf("shard %q: write i/n with 1 ≤ i ≤ n, as 2/4", s)
	}
	return Shard{I: i, N: n}, nil
}

// Whole reports whether s is all of a run.
func (s Shard) Whole() bool { return s.N <= 1 }

func (s Shard) String() string {
	if s.Whole() {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.I, s.N)
}

// Has reports whether a trial of a cell is the shard's, in a run of so many trials a cell. Trials are dealt out one by one, so
// that shards take about the same time. Under a stop rule (Manifest.Stop) whole cells are: when one ends is known to whoever
// has all of its trials.
func (s Shard) Has(cell, trial, trials int, stop bool) bool {
	switch {
	case s.Whole():
		return true
	case stop:
		return cell%s.N == s.I-1
	}
	return (cell*trials+trial)%s.N == s.I-1
}
