package reports

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
)

// trialLists renders a collapsed list of trials for each cell in at most budget bytes. Where they do not all fit, each
// cell keeps those that need explaining first and says how many are left out.
func (m *model) trialLists(budget int) (says string, lists template.HTML) {
	most := 0
	for _, c := range m.cells {
		most = max(most, len(c.trials))
	}
	for keep := most; ; keep = keep * 3 / 4 {
		var b strings.Builder
		left := 0
		for _, c := range m.cells {
			left += m.trialList(&b, c, keep)
			if b.Len() > budget && keep > 0 {
				break
			}
		}
		if b.Len() > budget && keep > 0 {
			continue
		}
		says = fmt.Sprintf("Every trial that was run, %s in all.", count(len(m.run.Trials)))
		if left > 0 {
			says = fmt.Sprintf("%s of %s trials, to keep this page small: those that failed, were relayed or ended in a harness error come first. The full list is trials.jsonl, beside this page.",
				count(len(m.run.Trials)-left), count(len(m.run.Trials)))
		}
		return says, template.HTML(b.String())
	}
}

// trialList renders one cell's trials, at most keep of them, and returns how many it left out.
func (m *model) trialList(b *strings.Builder, c *cell, keep int) (left int) {
	trials := pick(c.trials, keep)
	left = len(c.trials) - len(trials)
	var made []string
	for _, o := range record.Outcomes {
		if n := c.Outcomes[o]; n > 0 {
			made = append(made, fmt.Sprintf("%d %s", n, o))
		}
	}
	fmt.Fprintf(b, `<details><summary><b>%d</b> %s <small>%s</small></summary><div id="c%d" tabindex="-1">`, c.index, escape(m.pairing(c, true)), strings.Join(made, ", "), c.index)
	fmt.Fprintf(b, "<p>Oracle: %s.", escape(orDash(c.Oracle)))
	if c.TriangleS != nil {
		fmt.Fprintf(b, " Triangle bound %s.", seconds(*c.TriangleS))
	}
	if c.BoundS != nil {
		fmt.Fprintf(b, " First-frame bound %s.", seconds(*c.BoundS))
	}
	b.WriteString(` <a href="#cells">All cells</a></p>`)
	if len(trials) > 0 {
		b.WriteString(`<table class="data"><thead><tr><th scope="col">trial<th scope="col">seed<th scope="col">outcome<th scope="col">connect<th scope="col">first packet<th scope="col">÷ bound<th scope="col">first frame<th scope="col">÷ bound<th scope="col">frames<th scope="col">late p99<th scope="col">cause</tr></thead><tbody>`)
		for _, t := range trials {
			trialRow(b, t)
		}
		b.WriteString("</tbody></table>")
	}
	if left > 0 {
		fmt.Fprintf(b, "<p>%s more in trials.jsonl (lines with “cell”:%d).</p>", count(left), c.index)
	}
	b.WriteString("</div></details>\n")
	return left
}

// pick keeps the trials that need explaining and then the first others, in their order.
func pick(trials []record.Trial, keep int) []record.Trial {
	if len(trials) <= keep {
		return trials
	}
	order := make([]int, len(trials))
	for i := range order {
		order[i] = i
	}
	rank := func(t record.Trial) int {
		return -slices.Index([]record.Outcome{record.Direct, record.Unsupported, record.Relayed, record.HarnessError, record.Failed}, t.Outcome)
	}
	slices.SortStableFunc(order, func(a, b int) int { return rank(trials[a]) - rank(trials[b]) })
	order = order[:keep]
	slices.Sort(order)
	var kept []record.Trial
	for _, i := range order {
		kept = append(kept, trials[i])
	}
	return kept
}

func trialRow(b *strings.Builder, t record.Trial) {
	number := fmt.Sprint(t.Trial)
	if t.Attempt > 0 {
		number += fmt.Sprintf(" (attempt %d)", t.Attempt+1)
	}
	frames, late := "–", "–"
	if t.Media != nil {
		frames = fmt.Sprintf("%d of %d", t.Media.FramesIntact, t.Media.FramesSent)
	}
	if t.Lateness != nil {
		late = seconds(t.Lateness.P99)
	}
	why := t.Cause
	if t.Error != "" {
		why = strings.TrimSpace(why + " " + t.Error)
	}
	fmt.Fprintf(b, `<tr><th scope="row">%s<td>%d<td class="%s">%s`, number, t.Seed, t.Outcome, t.Outcome)
	for _, v := range []string{
		optional(t.ConnectS, seconds), optional(t.FirstPacketS, seconds), optional(t.FirstPacketRatio(), ratio),
		optional(t.FirstFrameS, seconds), optional(t.FirstFrameRatio(), ratio), frames, late,
	} {
		b.WriteString("<td>" + v)
	}
	fmt.Fprintf(b, `<td class="why">%s`+"\n", escape(why))
}

func optional(v *float64, print func(float64) string) string {
	if v == nil {
		return "–"
	}
	return print(*v)
}
