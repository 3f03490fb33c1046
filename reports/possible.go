package reports

import (
	"fmt"
	"slices"

	"github.com/punchlab/punchlab/lab/record"
)

// possible sets what each strategy achieved beside what theory allows: of as many trials, so many could have gone direct.
func (m *model) possible() (topic, bool) {
	t := topic{id: "possible", title: "What was possible, and what was achieved?"}
	if !slices.ContainsFunc(m.cells, func(c *cell) bool { return c.Possible != nil }) {
		return t, false
	}
	t.says = "The oracle knows both sides' NATs and says what the best strategy could do there: whether a port has to be guessed, with how many probes, " +
		"and how likely they are to meet. Efficiency is the direct paths found over those that could be expected. " + m.provenance()
	t.head = []string{"strategy", "oracle", "cells", "trials", "expected direct", "direct (95 % interval)", "efficiency", "probes, median", "needed"}
	for _, g := range m.groups {
		for _, kind := range oracleKinds(g) {
			t.rows = append(t.rows, g.possibleRow(kind))
		}
	}
	return t, true
}

// oracleKinds lists the oracle's verdicts on a group's cells, the best first.
func oracleKinds(g *group) (kinds []string) {
	for _, o := range oracleMarks {
		if slices.ContainsFunc(g.cells, func(c *cell) bool { return oracleKind(c.Oracle) == o.Kind }) {
			kinds = append(kinds, o.Kind)
		}
	}
	return kinds
}

func (g *group) possibleRow(kind string) []string {
	cells, trials, direct, expected := 0, 0, 0, 0.0
	var probes []float64
	var needed []int
	for _, c := range g.cells {
		if oracleKind(c.Oracle) != kind {
			continue
		}
		n := c.Trials - c.Outcomes[record.Unsupported]
		cells, trials, direct = cells+1, trials+n, direct+c.Outcomes[record.Direct]
		if p := c.Possible; p != nil {
			expected += p.P * float64(n)
			needed = append(needed, p.Probes)
		}
		probes = append(probes, c.sample(probe("packets"))...)
	}
	slices.Sort(probes)
	efficiency := "–"
	if expected > 0 {
		efficiency = number(100*float64(direct)/expected, 1) + " %"
	}
	rate := tooFew
	if trials > 0 {
		rate = percent(direct, trials) + " (" + interval(direct, trials) + ")"
	}
	return []string{
		g.title(), kind, count(cells), count(trials), number(expected, 1), rate, efficiency,
		quantile(probes, 0.5, func(v float64) string { return count(int(v + 0.5)) }), spanOf(needed),
	}
}

// spanOf prints the range of whole numbers.
func spanOf(ns []int) string {
	if len(ns) == 0 {
		return "–"
	}
	return span(count(slices.Min(ns)), count(slices.Max(ns)))
}

// cost says what a direct path costs each strategy, and what a standstill: everything that is paid beside time.
func (m *model) cost() (topic, bool) {
	t := topic{id: "cost", title: "What does it cost?"}
	t.says = "Probes are the packets that look for a path, both sides together; sockets are those opened beside the first. " +
		"Relayed is what the relay carried, and of it what it still carried after a direct path was confirmed. A gap is a trial's longest standstill of the picture."
	t.head = []string{"strategy", "probes, median", "probes, p95", "probe bytes, median", "sockets, most", "camera sent", "relayed, a trial", "after direct, a trial", "gap, median", "gap, p95", "path changes, mean"}
	measured := false
	for _, p := range m.panels {
		for _, g := range p.groups {
			row, any := g.costRow()
			measured = measured || any
			name := g.title()
			if len(p.params) > 0 {
				name += " · " + label(p.params)
			}
			t.rows = append(t.rows, append([]string{name}, row...))
		}
	}
	keep := informative(t.head, t.rows)
	for i, r := range t.rows {
		t.rows[i] = only(r, keep)
	}
	t.head = only(t.head, keep)
	t.says += " " + m.provenance()
	return t, measured
}

func (g *group) costRow() (row []string, measured bool) {
	of := func(key string) []float64 { return g.sample(probe(key)) }
	whole := func(v float64) string { return count(int(v + 0.5)) }
	packets, sockets := of("packets"), of("sockets")
	most := "–"
	if len(sockets) > 0 {
		most = whole(sockets[len(sockets)-1])
	}
	gaps := g.sample(gapS)
	changes := 0
	for _, t := range g.judged {
		changes += int(t.changes)
	}
	return []string{
		quantile(packets, 0.5, whole), quantile(packets, 0.95, whole), quantile(of("bytes"), 0.5, size), most,
		g.meanBytes("camera_up"), g.meanBytes("relay"), g.meanBytes("relay_after_direct"),
		quantile(gaps, 0.5, seconds), quantile(gaps, 0.95, seconds), number(share(changes, max(1, len(g.judged))), 2),
	}, len(packets) > 0
}

// meanBytes prints the mean over the judged trials that counted these bytes.
func (g *group) meanBytes(key string) string {
	sum, n := 0.0, 0
	for _, t := range g.judged {
		if b := t.figure("bytes." + key); has(b) {
			sum, n = sum+b, n+1
		}
	}
	if n == 0 {
		return "–"
	}
	return size(sum / float64(n))
}

// setup sets beside one another what an owner has to do for each strategy, and to whom the camera is then open.
func (m *model) setup() (topic, bool) {
	t := topic{id: "setup", title: "What does an owner have to do, and who can get in?"}
	t.says = "The steps are an owner's, once for a camera. A stranger is a host elsewhere on the internet that the camera has never sent anything to: at the end of each " +
		"trial it sends a datagram to every endpoint that the camera has, and the camera's socket either sees it or does not. " + m.provenance()
	t.head = []string{"strategy", "steps", "what they are", "endpoints open to a stranger, mean", "connected", "first frame, median", "camera sent", "relayed, a trial"}
	measured := false
	for _, g := range m.groups {
		reached := g.sample(probe("stranger_reached"))
		measured = measured || len(reached) > 0
		open := "–"
		if len(reached) > 0 {
			sum := 0.0
			for _, v := range reached {
				sum += v
			}
			open = number(sum/float64(len(reached)), 2)
		}
		steps := m.steps(g.name)
		list := ""
		for i, s := range steps {
			list += fmt.Sprintf("%d. %s  ", i+1, s)
		}
		t.rows = append(t.rows, []string{
			g.title(), count(len(steps)), list, open, percent(g.connected(), len(g.judged)), quantile(g.sample(firstFrameS), 0.5, seconds),
			g.meanBytes("camera_up"), g.meanBytes("relay"),
		})
	}
	return t, measured
}

func (m *model) steps(strategy string) []string {
	for _, s := range m.run.Manifest.Strategies {
		if s.Name == strategy {
			return s.Setup
		}
	}
	return nil
}
