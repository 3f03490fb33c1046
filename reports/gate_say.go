package reports

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/punchlab/punchlab/lab/gate"
)

// isRate tells whether a finding's metric counts trials, from its name: a statistic stands after the last dot.
func isRate(metric string) bool {
	m, err := gate.ParseMetric(metric)
	return err == nil && m.IsRate()
}

// printer is how a metric's values are written.
func printer(metric, unit string) func(float64) string {
	switch {
	case isRate(metric):
		return func(v float64) string { return number(100*v, 1) + " %" }
	case unit == "s":
		return seconds
	case unit == "B":
		return size
	case unit == "bit/s":
		return bits
	case strings.Contains(metric, "_ratio."):
		return ratio
	}
	return func(v float64) string { return number(v, 3) }
}

// figureOf prints one side's value with its n: "657 of 720 (91.2 %)", "41.2 ms (n = 700)".
func figureOf(f gate.Finding, side gate.Figure) string {
	switch {
	case isRate(f.Metric) && side.N > 0:
		return fmt.Sprintf("%s of %s (%s)", count(side.K), count(side.N), percent(side.K, side.N))
	case side.Value != nil:
		return fmt.Sprintf("%s (n = %s)", printer(f.Metric, f.Unit)(*side.Value), count(side.N))
	}
	return "no data"
}

// effectOf prints the difference: points of a rate, percent of a statistic.
func effectOf(f gate.Finding) string {
	if f.Effect == nil {
		return "–"
	}
	return change(*f.Effect, isRate(f.Metric))
}

// change prints a difference with its sign, which is never the only mark of its direction.
func change(v float64, points bool) string {
	s := signed(100*v, 1)
	if points {
		return s + " points"
	}
	return s + " %"
}

// signed prints a number with a sign, and with a minus as wide as a plus.
func signed(v float64, decimals int) string {
	switch s := number(math.Abs(v), decimals); {
	case s == "0":
		return "±0"
	case v < 0:
		return "−" + s
	default:
		return "+" + s
	}
}

// rangeOf prints the interval of the effect: "−12.4 to −6.1 points".
func rangeOf(f gate.Finding) string {
	if f.Range == nil {
		return "–"
	}
	return between(f.Range.Low, f.Range.High, isRate(f.Metric))
}

func between(low, high *float64, points bool) string {
	unit := " %"
	if points {
		unit = " points"
	}
	switch {
	case low == nil && high == nil:
		return "unknown"
	case low == nil:
		return "at most " + signed(100**high, 1) + unit
	case high == nil:
		return "at least " + signed(100**low, 1) + unit
	}
	return signed(100**low, 1) + " to " + signed(100**high, 1) + unit
}

// pOf prints the adjusted p-value.
func pOf(f gate.Finding) string {
	p := f.AdjustedP
	switch {
	case p == nil:
		return "–"
	case *p < 0.0001:
		return "< 0.0001"
	case *p > 0.9999:
		return "1"
	}
	return fmt.Sprintf("%.2g", *p)
}

// subject names what a finding is about: "direct_rate, adaptive".
func subject(f gate.Finding) string {
	if f.Group == "" {
		return f.Metric
	}
	return f.Metric + ", " + f.Group
}

// evidence says a finding's figures in a line: "direct_rate 657 of 720 (91.2 %), was 720 of 720 (100 %): −8.8 points (…)".
func evidence(f gate.Finding, confidence float64) string {
	s := fmt.Sprintf("%s was %s, is %s", f.Metric, figureOf(f, f.A), figureOf(f, f.B))
	if f.Effect != nil {
		s += ": " + effectOf(f)
	}
	if f.Range != nil {
		s += fmt.Sprintf(" (%s interval %s)", number(100*confidence, 1)+" %", rangeOf(f))
	}
	if f.AdjustedP != nil {
		p := pOf(f)
		if !strings.HasPrefix(p, "<") {
			p = "= " + p
		}
		s += ", adjusted p " + p
	}
	return s
}

// worstOverall is the finding over all cells that the decision rests on, with its figures: the worst of those that had to pass,
// or failed.
func worstOverall(v *gate.Verdict) (string, bool) {
	var worst *gate.Finding
	for i, f := range v.Overall {
		if f.Effect == nil || f.Watched && f.Decision != gate.Fail {
			continue
		}
		if worst == nil || byBadness(f, *worst) < 0 {
			worst = &v.Overall[i]
		}
	}
	if worst == nil {
		return "", false
	}
	s := evidence(*worst, v.Confidence)
	if worst.Group != "" {
		s = worst.Group + ": " + s
	}
	return s, true
}

// cellName tells a cell from the others.
func cellName(params map[string]string) string {
	var s []string
	for _, k := range slices.SortedFunc(maps.Keys(params), compareKeys) {
		s = append(s, k+"="+params[k])
	}
	if len(s) == 0 {
		return "the only cell"
	}
	return strings.Join(s, " ")
}

// badness orders findings of one decision: how much worse, measured in what a pass would have to exclude.
func badness(f gate.Finding) float64 {
	if f.Worse == nil || f.Tolerance <= 0 {
		return math.Inf(-1)
	}
	return *f.Worse / f.Tolerance
}

// byBadness orders findings, the worst first.
func byBadness(a, b gate.Finding) int {
	return cmp.Or(cmp.Compare(rank(a.Decision), rank(b.Decision)), cmp.Compare(badness(b), badness(a)))
}

// inOrder sorts findings for a table: what fails, what had to pass and did not, what passed, and what was only watched.
func inOrder(fs []gate.Finding) []gate.Finding {
	group := func(f gate.Finding) int {
		if f.Watched && f.Decision == gate.Undecided {
			return len(fs)
		}
		return rank(f.Decision)
	}
	fs = slices.Clone(fs)
	slices.SortStableFunc(fs, func(a, b gate.Finding) int { return cmp.Compare(group(a), group(b)) })
	return fs
}

// worstFinding is the one that a cell is told by: of undecided ones, that which chance explains least.
func worstFinding(c gate.CellVerdict) (gate.Finding, bool) {
	if len(c.Findings) == 0 {
		return gate.Finding{}, false
	}
	chance := func(f gate.Finding) float64 {
		switch {
		case f.Decision != gate.Undecided:
			return 0
		case f.AdjustedP == nil:
			return 1
		}
		return *f.AdjustedP
	}
	return slices.MinFunc(c.Findings, func(a, b gate.Finding) int {
		return cmp.Or(cmp.Compare(rank(a.Decision), rank(b.Decision)), cmp.Compare(chance(a), chance(b)), cmp.Compare(badness(b), badness(a)))
	}), true
}

// suspect is the adjusted p-value below which an undecided finding is listed.
const suspect = 0.05

// suspected reports whether a finding that does not fail is worse than chance alone would often make it.
func suspected(f gate.Finding) bool {
	return f.Worse != nil && *f.Worse > 0 && f.AdjustedP != nil && *f.AdjustedP < suspect
}

// worstCells lists the cells that say something, the worst first: those that fail, those that are suspected,
// and those without data. quiet counts the other undecided ones: nothing was seen there, and a cell alone is seldom sure.
func worstCells(v *gate.Verdict) (cells []gate.CellVerdict, quiet int) {
	for _, c := range v.Cells {
		known := false
		worse := c.Decision == gate.Fail
		for _, f := range c.Findings {
			known = known || f.Effect != nil
			worse = worse || suspected(f)
		}
		switch {
		case worse || !known && c.Decision != gate.Pass:
			cells = append(cells, c)
		case c.Decision != gate.Pass:
			quiet++
		}
	}
	slices.SortStableFunc(cells, func(a, b gate.CellVerdict) int {
		x, okX := worstFinding(a)
		y, okY := worstFinding(b)
		if r := cmp.Compare(rank(a.Decision), rank(b.Decision)); r != 0 || !okX || !okY {
			return r
		}
		return byBadness(x, y)
	})
	return cells, quiet
}

// quietSays explains the cells that are not listed.
func quietSays(more, quiet int) string {
	var parts []string
	if more > 0 {
		parts = append(parts, plural(more, "cell")+" more like these")
	}
	if quiet > 0 {
		parts = append(parts, plural(quiet, "undecided cell")+" in which nothing worse is seen, with too few trials to exclude it")
	}
	return strings.Join(parts, ", and ")
}

// sideOf describes a run of the comparison in a line.
func sideOf(s gate.Side) string {
	parts := []string{s.Source}
	if s.Strategy != "" {
		parts = append(parts, "strategy "+s.Strategy)
	}
	if s.Commit != "" {
		c := "commit " + s.Commit[:min(12, len(s.Commit))]
		if s.Dirty {
			c += " with uncommitted changes"
		}
		parts = append(parts, c)
	}
	if !s.Start.IsZero() {
		parts = append(parts, s.Start.UTC().Format("2006-01-02 15:04 UTC"))
	}
	parts = append(parts, fmt.Sprintf("seed %d", s.Seed), plural(s.Trials, "trial")+" in "+plural(s.Cells, "cell"))
	if s.HarnessErrors > 0 {
		parts = append(parts, plural(s.HarnessErrors, "harness error"))
	}
	if !s.Complete {
		parts = append(parts, "incomplete")
	}
	return strings.Join(parts, ", ")
}

// unseenSays introduces unseen.
const unseenSays = "What could not be seen: a regression smaller than “finds from” fails less than 95 times of 100"

// unseen lists what cells could have seen at least by themselves; the findings over all have it in their rows.
func unseen(v *gate.Verdict) []string {
	var lines []string
	byMetric, order := map[string]*extremes{}, []string{}
	for _, c := range v.Cells {
		for _, f := range c.Findings {
			e := byMetric[f.Metric]
			if e == nil {
				e = &extremes{low: math.Inf(1), high: math.Inf(-1), rate: isRate(f.Metric)}
				byMetric[f.Metric], order = e, append(order, f.Metric)
			}
			if f.Detectable == nil {
				e.blind++
				continue
			}
			e.able, e.low, e.high = e.able+1, math.Min(e.low, *f.Detectable), math.Max(e.high, *f.Detectable)
		}
	}
	var says []string // of cells, with the metrics of which they are true
	metrics := map[string][]string{}
	for _, m := range order {
		s := byMetric[m].say()
		if metrics[s] == nil {
			says = append(says, s)
		}
		metrics[s] = append(metrics[s], m)
	}
	for _, s := range says {
		lines = append(lines, strings.Join(metrics[s], ", ")+" in a cell alone: "+s)
	}
	return lines
}

// extremes are the smallest and largest detectable effect of a metric among the cells.
type extremes struct {
	low, high   float64
	rate        bool
	able, blind int // cells with one, and without
}

func (e *extremes) say() string {
	var parts []string
	if e.able > 0 {
		s := size100(e.low, e.rate)
		if high := size100(e.high, e.rate); s != high {
			s += " to " + high + ", by the cell"
		}
		parts = append(parts, s)
	}
	if e.blind > 0 {
		parts = append(parts, plural(e.blind, "cell")+" could not fail whatever happens")
	}
	return strings.Join(parts, "; ")
}

// size100 prints the size of a regression.
func size100(v float64, points bool) string { return strings.TrimLeft(change(v, points), "+±") }

// detectable is the minimum detectable effect.
func detectable(f gate.Finding) string {
	if f.Detectable == nil {
		return "none"
	}
	return size100(*f.Detectable, isRate(f.Metric))
}

// printable is text without what would move a terminal's cursor, hide or turn words: names come from files.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029', r == '\ufeff':
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
