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
	warning bool
	text    string
}

// verdict is the page's first sentence: what the best of the strategies achieved.
func (m *model) verdict() string {
	if len(m.run.Trials) == 0 {
		return "No verdict: no trial was recorded."
	}
	if m.summary.Trials == 0 {
		return fmt.Sprintf("No verdict: %s ended in harness errors.", all(len(m.run.Trials), "trial"))
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
		return fmt.Sprintf("%s ran one trial, and it ended %s: %s for a rate.", who, g.judged[0].Outcome, tooFew)
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
		ns = append(ns, note{warning, fmt.Sprintf(format, args...)})
	}
	if s := m.incomplete(); s != "" {
		add(true, "%s", s)
	}
	if leaks := m.where((*cell).leak); len(leaks) > 0 {
		add(true, "%s went direct where the oracle says that only a relay can connect: suspect the lab before believing it (%s).",
			plural(len(leaks), "cell"), m.some(leaks))
	}
	if n := len(m.run.Trials) - m.summary.Trials; n > 0 {
		add(n*50 > len(m.run.Trials), "%s of %s (%s) ended in a harness error: kept, shown, and counted in no rate.",
			count(n), plural(len(m.run.Trials), "trial"), percent(n, len(m.run.Trials)))
	}
	ns = append(ns, m.oracleNotes()...)
	for _, g := range m.groups {
		if s := g.boundSentence(); s != "" {
			add(false, "%s", s)
		}
	}
	return ns
}

// incomplete says what the run lacks, and nothing where it is complete.
func (m *model) incomplete() string {
	man := m.run.Manifest
	if man.Complete {
		return ""
	}
	full := 0
	for _, c := range m.cells {
		if c.Trials >= man.TrialsPerCell {
			full++
		}
	}
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

// some names a few cells.
func (m *model) some(cells []*cell) string {
	var s []string
	for i, c := range cells {
		if i == 3 {
			s = append(s, "…")
			break
		}
		s = append(s, m.name(c))
	}
	return strings.Join(s, "; ")
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
			if oracleKind(c.Oracle) != "direct" || c.Trials == 0 {
				continue
			}
			cells++
			promised += c.Trials
			direct += c.Outcomes[record.Direct]
			if c.shortfall() {
				short = append(short, c)
			}
		}
		switch {
		case cells == 0:
		case len(short) == 0:
			ns = append(ns, note{false, fmt.Sprintf("%sIn all %s where the oracle promises a direct path, every trial found it (%s of %s).",
				prefix(g), plural(cells, "cell"), count(direct), count(promised))})
		default:
			ns = append(ns, note{false, fmt.Sprintf("%sIn %s of %s where the oracle promises a direct path, some trials did not find it (%s of %s did): %s.",
				prefix(g), count(len(short)), plural(cells, "cell"), count(direct), count(promised), m.some(short))})
		}
	}
	return ns
}

func prefix(g *group) string {
	if g.name == "" {
		return ""
	}
	return g.name + ": "
}

// boundSentence compares the first packet and frame with the least time that physics allows.
func (g *group) boundSentence() string {
	packet, frame := g.sample(packetRatio), g.sample(frameRatio)
	if len(packet) == 0 && len(frame) == 0 {
		return ""
	}
	var s []string
	if len(packet) > 0 {
		s = append(s, fmt.Sprintf("the first media packet came at a median of %s the triangle bound (n = %s)", quantile(packet, 0.5, ratio), count(len(packet))))
	}
	if len(frame) > 0 {
		s = append(s, fmt.Sprintf("the first whole frame at %s its own (n = %s)", quantile(frame, 0.5, ratio), count(len(frame))))
	}
	text := strings.Join(s, ", ") + "."
	if g.name == "" {
		return strings.ToUpper(text[:1]) + text[1:]
	}
	return prefix(g) + text
}
