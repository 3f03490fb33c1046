package reports

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

var limitInCause = regexp.MustCompile(`limit(?: of)? (\d[\d.]* ?[µmn]?s)\b`)

// lateLimit is the lateness in seconds over which a trial is a harness error: the manifest's, or else what the causes of
// late trials say. 0 if neither tells.
func (m *model) lateLimit() float64 {
	if l := m.run.Manifest.LateLimitS; l > 0 {
		return l
	}
	for _, t := range m.refused() {
		if s := limitInCause.FindStringSubmatch(t.Cause() + " " + t.Error()); s != nil {
			if d, err := time.ParseDuration(strings.ReplaceAll(s[1], " ", "")); err == nil {
				return d.Seconds()
			}
		}
	}
	return 0
}

// refused are the harness errors, in the order of cells.
func (m *model) refused() (ts []*trial) {
	for _, c := range m.cells {
		for i := range c.trials {
			if !c.trials[i].outcome.HasVerdict() {
				ts = append(ts, &c.trials[i])
			}
		}
	}
	return ts
}

// lateness shows the lab's own: judged trials beside those that were refused, and why these were.
func (m *model) lateness() topic {
	t := topic{id: "lateness", title: "Was the lab itself on time?", says: "Each trial is judged by how late the lab delivered its packets, at the 99th percentile."}
	q := quantity{"lab-lateness", "Lateness of the lab", "p99 lateness of a trial", sampler(latenessS), ofValues, "share of attempts", "trials", seconds, nil, "", nil, 0, ""}
	if l := m.lateLimit(); l > 0 {
		t.says += fmt.Sprintf(" One over %s is a harness error, kept and run again: an overloaded machine is seen and never measured.", seconds(l))
		q.fixed = []mark{{l, l, "limit " + seconds(l)}}
	}
	judged, refused := &group{name: "counted", order: 0}, &group{name: "harness errors", order: 1, judged: m.refused()}
	for _, c := range m.cells {
		for i := range c.trials {
			if t := &c.trials[i]; t.outcome.HasVerdict() {
				judged.judged = append(judged.judged, t)
			}
		}
	}
	groups := []*group{judged}
	if len(refused.judged) > 0 {
		groups = append(groups, refused)
		t.says += " " + m.refusedSays(refused.judged)
	}
	t.figures = []figure{m.figure(q, &panel{groups: groups})}
	return t
}

// refusedSays tells why trials were refused, how they cluster, and what to do about it.
func (m *model) refusedSays(refused []*trial) string {
	kinds, at := map[string]int{}, map[int64]bool{}
	late := 0
	for _, t := range refused {
		k := kindOf(t)
		kinds[k]++
		if isLate(k) {
			late++
			at[t.endedAt] = true
		}
	}
	names := slices.SortedFunc(maps.Keys(kinds), func(a, b string) int {
		return cmp.Or(kinds[b]-kinds[a], strings.Compare(a, b))
	})
	var why []string
	for i, k := range names {
		if i == 3 {
			why = append(why, fmt.Sprintf("%s more", plural(len(names)-i, "cause")))
			break
		}
		why = append(why, fmt.Sprintf("%s (%s)", k, count(kinds[k])))
	}
	s := fmt.Sprintf("Here %s of %s were refused: %s.", count(len(refused)), plural(m.attempts, "attempt"), strings.Join(why, ", "))
	if late > 1 {
		s += fmt.Sprintf(" One pause of the machine makes every trial in flight late: the late ones ended in only %s of the %s that the run took.", plural(len(at), "different second"), seconds(m.run.Wall().Seconds()))
	}
	if late > 0 {
		s += " The cause is often the hypervisor, which takes the processor away for milliseconds (“steal” in top), or other work on the machine; where it happens much, run on an idle machine or lower the concurrency."
	}
	return s
}

// kindOf names why a trial was refused without its figures: "the fabric delivered late: p99 …" is "the fabric delivered
// late". Lateness explains whatever else went wrong in the same trial.
func kindOf(t *trial) string {
	kind := t.Error()
	if kind == "" || isLate(t.Cause()) {
		kind = cmp.Or(t.Cause(), t.Error())
	}
	kind, _, _ = strings.Cut(kind, ":")
	return kind
}

func isLate(cause string) bool {
	return strings.Contains(cause, "fabric") && strings.Contains(cause, "late")
}
