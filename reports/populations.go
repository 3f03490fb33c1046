package reports

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// populationDraws is how many draws an interval of a population's rate rests on.
const populationDraws = 10_000

// populations weighs the cells as the NATs of published populations, and sets the rates beside the published ones.
func (m *model) populations() (topic, bool) {
	ps := m.run.Manifest.Populations
	t := topic{id: "populations", title: "And in the field?"}
	if len(ps) == 0 {
		return t, false
	}
	t.says = "The cells weighted as the NATs of published populations. The interval joins two doubts: the shares, as a sample of the given size tells them, and each cell's rate. " +
		"An emulated rate is not a field rate: here no peer leaves, no address is stale and no firewall but the NAT's own is in the way."
	var notes []string
	t.head = []string{"population", "strategy", "direct here (95 % interval)", "published", "what was counted", "shares of NATs", "their size"}
	for _, p := range ps {
		for _, panel := range m.panels {
			for _, g := range panel.groups {
				name := g.title()
				if len(panel.params) > 0 {
					name += " · " + label(panel.params)
				}
				t.rows = append(t.rows, []string{
					p.Name, name, m.populationRate(p, g), published(p.Published), p.Published.What, shares(p), number(p.Size, 0),
				})
			}
		}
		notes = append(notes, fmt.Sprintf("%s: %s. %s", p.Name, strings.TrimSuffix(p.Source, "."), p.Note))
	}
	t.says += " " + strings.Join(notes, " ") + " " + m.provenance()
	return t, true
}

// populationRate is the direct rate of a group's cells, weighted.
func (m *model) populationRate(p record.Population, g *group) string {
	rows, cols := natShares(p.Weights), natShares(p.Peer)
	x := stats.Mixture{Size: p.Size, Same: p.Peer == nil}
	if x.Same {
		cols = rows
	}
	for _, r := range rows {
		x.Rows = append(x.Rows, r.share)
		var k, n []int
		for _, c := range cols {
			direct, trials := 0, 0
			for _, cell := range g.cells {
				if cell.Params["camera.nat"] == r.nat && cell.Params["viewer.nat"] == c.nat {
					direct, trials = direct+cell.Outcomes[record.Direct], trials+cell.Trials-cell.Outcomes[record.Unsupported]
				}
			}
			k, n = append(k, direct), append(n, trials)
		}
		x.K, x.N = append(x.K, k), append(x.N, n)
	}
	for _, c := range cols {
		x.Cols = append(x.Cols, c.share)
	}
	rate, low, high, ok := x.Rate(record.Confidence, populationDraws, rand.New(rand.NewPCG(m.summary.Seed, 0x706f70)))
	if !ok {
		return "not measured: a cell is missing"
	}
	return fmt.Sprintf("%s %% (%s–%s %%)", number(100*rate, 1), number(100*low, 1), number(100*high, 1))
}

type natShare struct {
	nat   string
	share float64
}

// natShares scales weights to a sum of 1.
func natShares(weights map[string]float64) (s []natShare) {
	sum := 0.0
	for _, k := range slices.Sorted(maps.Keys(weights)) {
		s = append(s, natShare{k, weights[k]})
		sum += weights[k]
	}
	for i := range s {
		s[i].share /= sum
	}
	return s
}

func shares(p record.Population) string {
	print := func(w map[string]float64) string {
		var s []string
		for _, n := range natShares(w) {
			s = append(s, number(100*n.share, 1)+" % "+n.nat)
		}
		return strings.Join(s, ", ")
	}
	if p.Peer == nil {
		return "both sides " + print(p.Weights)
	}
	return print(p.Weights) + "; the other side " + print(p.Peer)
}

func published(p record.Published) string {
	s := number(100*p.Rate, 1) + " %"
	if p.High > 0 {
		s += fmt.Sprintf(" (%s–%s %%)", number(100*p.Low, 1), number(100*p.High, 1))
	}
	return s
}
