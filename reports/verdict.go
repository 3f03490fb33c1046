package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// note is a sentence beside the verdict. A warning is about the evidence itself.
type note struct {
	warning  bool
	text     string
	to, link string // where more is said, and the words that lead there; empty for none
}

// verdict is the page's first sentence: what the best of the strategies achieved, and whether the run is all there.
func (m *model) verdict() string {
	if m.run.Manifest.Complete {
		return m.achieved()
	}
	return "Incomplete run. " + m.achieved()
}

func (m *model) achieved() string {
	if m.attempts == 0 {
		return "No verdict: no trial was recorded."
	}
	if m.summary.Trials == 0 {
		return fmt.Sprintf("No verdict: %s ended in harness errors.", all(m.attempts, "trial"))
	}
	best := slices.MaxFunc(m.groups, func(a, b *group) int {
		if x, y := share(a.connected(), len(a.judged)), share(b.connected(), len(b.judged)); x != y {
			return compare(x, y)
		}
		if x, y := share(a.outcomes[record.Direct], len(a.judged)), share(b.outcomes[record.Direct], len(b.judged)); x != y {
			return compare(x, y)
		}
		return b.order - a.order
	})
	return best.sentence()
}

// sentence says what became of the group's trials.
func (g *group) sentence() string {
	n, direct, relayed := len(g.judged), g.outcomes[record.Direct], g.outcomes[record.Relayed]
	who := "The viewer"
	if g.name != "" {
		who = "Strategy " + g.name
	}
	switch {
	case n == 0:
		return fmt.Sprintf("%s got no verdict: every trial was a harness error.", who)
	case n == 1:
		return fmt.Sprintf("%s ran one trial, and it ended %s: %s for a rate.", who, g.judged[0].outcome, tooFew)
	case direct+relayed == 0 && g.supported() == 0:
		return fmt.Sprintf("%s is unsupported here: none of %s could run.", who, plural(n, "trial"))
	case direct+relayed == 0:
		return fmt.Sprintf("%s never connected: 0 of %s (at most %s with 95 %% confidence).", who, plural(n, "trial"), upper(0, n))
	case direct == n:
		return fmt.Sprintf("%s connected directly in all of %s (at least %s with 95 %% confidence).", who, plural(n, "trial"), lower(n, n))
	}
	how := fmt.Sprintf("%s directly (95 %% interval %s)", percent(direct, n), interval(direct, n))
	switch {
	case relayed > 0 && direct == 0:
		how = "all through the relay"
	case relayed > 0:
		how += fmt.Sprintf(", %s through the relay", percent(relayed, n))
	case direct > 0:
		how = fmt.Sprintf("always directly (95 %% interval %s)", interval(direct, n))
	}
	if u := g.outcomes[record.Unsupported]; u > 0 {
		how += fmt.Sprintf("; %s could not run", plural(u, "unsupported trial"))
	}
	return fmt.Sprintf("%s connected in %s of %s trials (%s): %s.", who, count(direct+relayed), count(n), percent(direct+relayed, n), how)
}

func share(k, n int) float64 {
	if n == 0 {
		return -1
	}
	return float64(k) / float64(n)
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func upper(k, n int) string {
	_, high := stats.Wilson(k, n, record.Confidence)
	return number(100*high, 1) + " %"
}

func lower(k, n int) string {
	low, _ := stats.Wilson(k, n, record.Confidence)
	return number(100*low, 1) + " %"
}

func all(n int, noun string) string {
	if n == 1 {
		return "the only " + noun
	}
	return "all " + plural(n, noun)
}

// notes follow the verdict: first what weakens the evidence, then what it says about oracle and bounds.
func (m *model) notes() []note {
	var ns []note
	add := func(warning bool, format string, args ...any) {
		ns = append(ns, note{warning: warning, text: fmt.Sprintf(format, args...)})
	}
	if s := m.incomplete(); s != "" {
		add(true, "%s", s)
	}
	if leaks := m.where((*cell).leak); len(leaks) > 0 {
		add(true, "%s went direct where the oracle says that only a relay can connect: suspect the lab before believing it (%s).",
			plural(len(leaks), "cell"), m.some(leaks, true))
	}
	ns = append(ns, m.waitNotes()...)
	ns = append(ns, m.oracleNotes()...)
	for _, s := range []string{
		m.boundSentence("The first media packet", "the triangle bound", packetRatio),
		m.boundSentence("The first whole frame", "its bound", frameRatio),
	} {
		if s != "" {
			add(false, "%s", s)
		}
	}
	return append(ns, m.harnessNote()...)
}

// harnessNote counts what the lab itself spoiled. More than 2 % of it is a warning.
func (m *model) harnessNote() []note {
	n := m.attempts - m.summary.Trials
	if n == 0 {
		return nil
	}
	late := 0
	for _, t := range m.refused() {
		if isLate(kindOf(t)) {
			late++
		}
	}
	why := ""
	switch {
	case late == n:
		why = " because the lab ran late"
	case late > 0:
		why = fmt.Sprintf(", %s of them because the lab ran late", count(late))
	}
	s := fmt.Sprintf("%s of %s (%s) ended in a harness error%s: kept, shown, and counted in no rate.",
		count(n), plural(m.attempts, "attempt"), percent(n, m.attempts), why)
	if m.full() == len(m.cells) && m.run.Manifest.TrialsPerCell > 0 {
		s += " They were run again, so that every cell has all its trials."
	}
	return []note{{n*50 > m.attempts, s, "#lateness", "How late, and why?"}}
}

// full counts the cells that have all their trials.
func (m *model) full() (n int) {
	for _, c := range m.cells {
		if c.Trials >= m.run.Manifest.TrialsPerCell {
			n++
		}
	}
	return n
}

// incomplete says what the run lacks, and nothing where it is complete.
func (m *model) incomplete() string {
	man := m.run.Manifest
	if man.Complete {
		return ""
	}
	full := m.full()
	of := count(max(man.Cells, len(m.cells))) + " cells"
	if man.Cells == 0 {
		of = plural(len(m.cells), "cell") + " begun"
	}
	s := fmt.Sprintf("This run is incomplete: %s of %s have all their trials. Rates below are of what was run.", count(full), of)
	if m.run.Truncated > 0 {
		s += " The last line of trials.jsonl is torn and was left out."
	}
	return s
}

func (m *model) where(is func(*cell) bool) []*cell {
	var cs []*cell
	for _, c := range m.cells {
		if is(c) {
			cs = append(cs, c)
		}
	}
	return cs
}

// some names a few cells, without the strategy where it is known.
func (m *model) some(cells []*cell, strategy bool) string {
	var s []string
	for i, c := range cells {
		if i == 3 {
			return strings.Join(s, ", ") + fmt.Sprintf(" and %s more", count(len(cells)-i))
		}
		s = append(s, m.pairing(c, strategy))
	}
	return strings.Join(s, ", ")
}

// pairing names a cell in a sentence by its values: "full-cone × symmetric (adaptive, lte)".
func (m *model) pairing(c *cell, strategy bool) string {
	var pair, rest []string
	for _, a := range m.axes {
		switch {
		case a.Key == strategyKey && !strategy:
		case a.Key == m.rowKey || a.Key == m.colKey:
			pair = append(pair, c.Params[a.Key])
		default:
			rest = append(rest, c.Params[a.Key])
		}
	}
	switch name := strings.Join(pair, " × "); {
	case name == "":
		return "the only cell"
	case len(rest) == 0:
		return name
	default:
		return name + " (" + strings.Join(rest, ", ") + ")"
	}
}

// oracleNotes compare each strategy with what was possible.
func (m *model) oracleNotes() []note {
	var ns []note
	for _, g := range m.groups {
		if g.name == "relay" {
			continue
		}
		promised, cells, direct, short := 0, 0, 0, []*cell(nil)
		for _, c := range g.cells {
			if oracleKind(c.Oracle) != "direct" || c.Trials == 0 || c.unsupported() {
				continue
			}
			cells++
			promised += c.Trials
			direct += c.Outcomes[record.Direct]
			if c.shortfall() {
				short = append(short, c)
			}
		}
		if cells == 0 {
			continue
		}
		who := "The viewer"
		if g.name != "" {
			who = "Strategy " + g.name
		}
		s := fmt.Sprintf("%s went direct in %s of %s trials where the oracle promises a direct path (%s)", who, count(direct), count(promised), plural(cells, "cell"))
		if len(short) > 0 {
			s += fmt.Sprintf("; it fell short in %s", m.some(short, false))
		}
		ns = append(ns, note{text: s + "."})
	}
	return ns
}

// boundSentence compares a time with the least that physics allows, for each strategy that measured it.
func (m *model) boundSentence(what, bound string, value func(*trial) float64) string {
	var s []string
	for _, g := range m.groups {
		xs := g.sample(value)
		if len(xs) == 0 {
			continue
		}
		one := quantile(xs, 0.5, ratio)
		if g.name != "" {
			one += " with " + g.name
		}
		s = append(s, one+", n = "+count(len(xs)))
	}
	if len(s) == 0 {
		return ""
	}
	return fmt.Sprintf("%s as a multiple of %s, median: %s.", what, bound, strings.Join(s, "; "))
}
