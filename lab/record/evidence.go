package record

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// evidence knows the trials of several runs by their content, in a few bytes each.
type evidence struct {
	seed     maphash.Seed
	params   map[int]map[string]string
	verdicts map[page]*[pageSize]mark
	void     map[[3]int]mark // harness errors, by cell, trial and attempt
	last     map[int]int     // by cell, one past the highest trial with a verdict
}

// mark is a record's content and where it is from.
type mark struct {
	sum  uint64 // 0: no record
	part int32
}

func newEvidence() *evidence {
	return &evidence{
		seed: maphash.MakeSeed(), params: map[int]map[string]string{}, verdicts: map[page]*[pageSize]mark{},
		void: map[[3]int]mark{}, last: map[int]int{},
	}
}

// add notes a record of a part. Where there is one of the same trial with other content, ok is false and before its part.
func (e *evidence) add(part int, t Trial) (before int, ok bool) {
	sum := e.sum(t)
	if !t.Outcome.HasVerdict() {
		k := [3]int{t.Cell, t.Trial, t.Attempt}
		if was, ok := e.void[k]; ok {
			return int(was.part), was.sum == sum
		}
		e.void[k] = mark{sum, int32(part)}
		return 0, true
	}
	k := page{t.Cell, t.Trial / pageSize}
	if e.verdicts[k] == nil {
		e.verdicts[k] = new([pageSize]mark)
	}
	at := &e.verdicts[k][t.Trial%pageSize]
	if at.sum != 0 {
		return int(at.part), at.sum == sum
	}
	*at = mark{sum, int32(part)}
	e.last[t.Cell] = max(e.last[t.Cell], t.Trial+1)
	return 0, true
}

// knows reports whether there is a record of the same attempt.
func (e *evidence) knows(t Trial) bool {
	if t.Outcome.HasVerdict() {
		return e.verdict(t.Cell, t.Trial)
	}
	_, ok := e.void[[3]int{t.Cell, t.Trial, t.Attempt}]
	return ok
}

func (e *evidence) verdict(cell, trial int) bool {
	p := e.verdicts[page{cell, trial / pageSize}]
	return p != nil && p[trial%pageSize].sum != 0
}

// prefix returns how many trials a cell must have that may end before its last: those up to its highest, and one at least.
func (e *evidence) prefix(cell int) int { return max(1, e.last[cell]) }

// checkParams refuses a cell that is another one in each of two parts.
func (e *evidence) checkParams(t Trial) error {
	if p, ok := e.params[t.Cell]; !ok {
		e.params[t.Cell] = t.Params
	} else if !maps.Equal(p, t.Params) {
		return fmt.Errorf("cell %d has params %v here and %v in another part", t.Cell, t.Params, p)
	}
	return nil
}

// sum condenses what a trial says but for when it was made and where its capture is: in simulation two machines say the same.
func (e *evidence) sum(t Trial) uint64 {
	t.StartedAt, t.EndedAt, t.Pcap = time.Time{}, time.Time{}, ""
	b, err := json.Marshal(t)
	if err != nil {
		panic(fmt.Sprintf("encode a trial that was read: %v", err))
	}
	return max(1, maphash.Bytes(e.seed, b))
}

// sameFolder reports whether two paths are of one folder.
func sameFolder(a, b string) bool {
	if x, err := os.Stat(a); err == nil {
		if y, err := os.Stat(b); err == nil {
			return os.SameFile(x, y)
		}
	}
	return filepath.Clean(a) == filepath.Clean(b)
}

// distinct joins what differs.
func distinct(names []string) string {
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// ranges writes numbers in order as 0–3, 7, 9–12.
func ranges(ns []int) string {
	var out []string
	for i := 0; i < len(ns); {
		j := i
		for j+1 < len(ns) && ns[j+1] == ns[j]+1 {
			j++
		}
		if i == j {
			out = append(out, fmt.Sprint(ns[i]))
		} else {
			out = append(out, fmt.Sprintf("%d–%d", ns[i], ns[j]))
		}
		i = j + 1
	}
	return strings.Join(out, ", ")
}
