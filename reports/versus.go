package reports

import (
	"fmt"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// duel is one pair of strategies over the trials that both had on one seed: the same NATs in the same state, the same ports, the
// same losses. What differs between the two is the strategy's doing, or the clock's.
type duel struct {
	a, b                 *group
	both, onlyA, onlyB   int // went direct
	neither              int
	sooner               []float64 // first frame of b − a in seconds, where both had one
	soonerA, soonerB, eq int
}

func (d *duel) pairs() int { return d.both + d.onlyA + d.onlyB + d.neither }

// maxDuels bounds the pairs of strategies that are compared: of more than four strategies each is compared with the last, which
// a scenario's author lists as the one to beat.
const maxDuels = 6

// versus compares strategies pair by pair on common seeds.
func (m *model) versus() (topic, bool) {
	t := topic{id: "versus", title: "Which strategy does better on the same trials?"}
	var duels []*duel
	for i, a := range m.groups {
		for _, b := range m.groups[i+1:] {
			if len(m.groups) > 4 && b != m.groups[len(m.groups)-1] {
				continue
			}
			if d := m.duel(a, b); d.pairs() > 0 && len(duels) < maxDuels {
				duels = append(duels, d)
			}
		}
	}
	if len(duels) == 0 {
		return t, false
	}
	var direct, frame []float64
	for _, d := range duels {
		direct = append(direct, stats.McNemar(d.onlyA, d.onlyB))
		frame = append(frame, stats.WilcoxonSigned(d.sooner))
	}
	direct, frame = stats.Holm(direct), stats.Holm(frame)
	t.head = []string{"strategies, A and B", "pairs", "both direct", "only A", "only B", "neither", "p (McNemar)", "first frame, B − A, median", "B sooner", "A sooner", "p (Wilcoxon)"}
	dist := distribution{x: "first frame, B − A", of: "share of pairs", unit: "pair", print: signedSeconds, marks: []mark{{0, 0, "alike"}}, band: true}
	var alt []string
	for i, d := range duels {
		name := d.a.title() + " and " + d.b.title()
		t.rows = append(t.rows, []string{
			name, count(d.pairs()), count(d.both), count(d.onlyA), count(d.onlyB), count(d.neither), probability(direct[i]),
			quantile(d.sooner, 0.5, signedSeconds), percent(d.soonerB, len(d.sooner)), percent(d.soonerA, len(d.sooner)), probability(frame[i]),
		})
		if n := len(d.sooner); n > 0 && d.sooner[0] < d.sooner[n-1] {
			dist.curves = append(dist.curves, curve{name, i, d.sooner, n})
			alt = append(alt, name+": median "+quantile(d.sooner, 0.5, signedSeconds))
		}
	}
	t.says = "A pair is two trials of the same conditions with the same seed, one of each strategy. p is the chance of a difference as large if both were alike, " +
		"adjusted for the number of comparisons (Holm): of direct paths by McNemar's exact test, of times by Wilcoxon's. " + m.provenance()
	if len(dist.curves) > 0 {
		t.figures = []figure{m.distributionFigure(figure{id: "paired-first-frame", title: "First frame on the same trial, B − A", w: 460, h: 270}, dist, alt)}
	}
	return t, true
}

// duel pairs the trials of two strategies.
func (m *model) duel(a, b *group) *duel {
	d := &duel{a: a, b: b}
	for _, ca := range a.cells {
		cb := m.otherwise(b.cells, ca, func(key string) bool { return key == strategyKey })
		if cb == nil {
			continue
		}
		rest := cb.trials
		for i := range ca.trials {
			ta := &ca.trials[i]
			for len(rest) > 0 && rest[0].number < ta.number {
				rest = rest[1:]
			}
			for j := 0; j < len(rest) && rest[j].number == ta.number; j++ {
				if tb := &rest[j]; ta.comparable() && tb.comparable() && ta.seed == tb.seed {
					d.add(ta, tb)
				}
			}
		}
	}
	slices.Sort(d.sooner)
	return d
}

// comparable reports whether a trial can be one of a pair.
func (t *trial) comparable() bool { return t.outcome.HasVerdict() && t.outcome != record.Unsupported }

func (d *duel) add(a, b *trial) {
	switch ad, bd := a.outcome == record.Direct, b.outcome == record.Direct; {
	case ad && bd:
		d.both++
	case ad:
		d.onlyA++
	case bd:
		d.onlyB++
	default:
		d.neither++
	}
	if !has(a.frame) || !has(b.frame) {
		return
	}
	diff := b.frame - a.frame
	d.sooner = append(d.sooner, diff)
	switch {
	case diff < 0:
		d.soonerB++
	case diff > 0:
		d.soonerA++
	default:
		d.eq++
	}
}

// otherwise finds the first of cells that has the parameters of c in all but those keys; nil: there is none.
func (m *model) otherwise(cells []*cell, c *cell, differs func(key string) bool) *cell {
	i := slices.IndexFunc(cells, func(o *cell) bool {
		for k, v := range c.Params {
			if !differs(k) && o.Params[k] != v {
				return false
			}
		}
		return o != c
	})
	if i < 0 {
		return nil
	}
	return cells[i]
}

// signedSeconds prints a difference of times.
func signedSeconds(s float64) string {
	switch {
	case s < 0:
		return "−" + seconds(-s)
	case s > 0:
		return "+" + seconds(s)
	}
	return "0 ms"
}

// probability prints a p-value.
func probability(p float64) string {
	switch {
	case p < 1e-4:
		return "< 0.0001"
	case p < 0.001:
		return number(p, 4)
	}
	return number(p, 3)
}

// distributionFigure completes a figure with curves.
func (m *model) distributionFigure(f figure, d distribution, alt []string) figure {
	f.caption = strings.TrimSpace(d.bandText() + " " + m.provenance())
	if s := d.beyond(d.unit); s != "" {
		f.caption += " " + strings.ToUpper(s[:1]) + s[1:] + "."
	}
	f.alt = fmt.Sprintf("Cumulative distribution of %s. %s.", d.x, strings.Join(alt, "; "))
	f.head, f.rows = d.numbers()
	f.h += legendLine * lineOf(len(d.curves))
	f.paint = d.paint
	return f
}
