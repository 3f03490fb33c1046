package suite

import (
	"fmt"
	"strings"

	"github.com/punchlab/punchlab/lab/certify"
)

// measure is the case by which a result is judged.
func (r *run) measure(c certify.Case) certify.Case {
	if !r.o.Brief {
		return c
	}
	return Brief(c)
}

// Brief is the case by which a brief run's result is judged: one that asks for something of each kind to have been seen, and for one try,
// since so few show no rate.
func Brief(c certify.Case) certify.Case {
	var least []certify.Need
	for _, n := range c.Observed {
		n.Min = 1
		least = append(least, n)
	}
	c.Observed = least
	if c.Rate > 0 {
		c.Rate = anyRate
	}
	return c
}

// anyRate is a success rate that one try shows.
const anyRate = 0.01

// judge is what the cases come to: the suite, and what was run of it by itself.
func (r *run) judge(complete bool) (s certify.Suite, ran certify.Verdict) {
	var selected []certify.Selected
	for _, sel := range certify.Select(r.o.Declaration) {
		if len(r.o.Only) > 0 && !r.o.Asked(sel) {
			continue
		}
		sel.Case = r.measure(sel.Case)
		selected = append(selected, sel)
	}
	var results []certify.Result
	for _, sel := range selected {
		if rec, done := r.records[sel.Case.ID]; done {
			results = append(results, rec.Result)
		}
	}
	s = certify.Judge(selected, results)
	if r.probe != nil && !r.probe.Passed() {
		s.Verdict = certify.Fail
		s.Reasons = append([]string{dishonest(r.probe)}, s.Reasons...)
	}
	ran = s.Verdict
	r.restore(&s)
	if why := r.lesser(complete); why != "" && ran != certify.Fail {
		s.Verdict = certify.Inconclusive
		s.Reasons = append([]string{why}, s.Reasons...)
	}
	return s, ran
}

// restore gives the suite every case as the catalogue has it, those that were not asked for among them.
func (r *run) restore(s *certify.Suite) {
	judged := map[string]certify.Judged{}
	for _, j := range s.Cases {
		judged[j.Case.ID] = j
	}
	s.Cases = nil
	for _, sel := range certify.Select(r.o.Declaration) {
		j, there := judged[sel.Case.ID]
		if !there {
			j.Result = certify.Result{Case: sel.Case.ID, Verdict: certify.Inconclusive, Reason: "not run"}
			if !sel.Applicable {
				j.Result.Verdict, j.Result.Reason = certify.NotApplicable, sel.Why
			}
			s.Counts[j.Result.Verdict]++
		}
		j.Selected = sel
		s.Cases = append(s.Cases, j)
	}
}

// lesser says why a run certifies nothing, however its cases came out; "" if it may.
func (r *run) lesser(complete bool) string {
	var why []string
	if r.o.Brief {
		why = append(why, "the run was brief: few tries, short watches")
	}
	if r.o.Named {
		why = append(why, "the programs were told which case was run (--no-blind)")
	}
	if n := len(r.o.Only); n > 0 {
		const shown = 5
		switch {
		case n == 1:
			why = append(why, "only "+r.o.Only[0]+" was asked for")
		case n <= shown:
			why = append(why, fmt.Sprintf("only %s of the cases were asked for", list(r.o.Only)))
		default:
			why = append(why, fmt.Sprintf("only %s and %d more of the cases were asked for", list(r.o.Only[:shown-1]), n-shown+1))
		}
	}
	if !complete {
		why = append(why, "the run was cut short")
	}
	if len(why) == 0 {
		return ""
	}
	return strings.Join(why, ", and ") + ": nothing is certified by that"
}
