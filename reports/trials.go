package reports

import (
	"cmp"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
)

// The page has its trials as text, a line each, in a <pre> for each cell:
//
//	trial outcome connect packet frame bound intact late changes seed notes
//	17 R 61.2 61.2 84.31 67.49 25/25 0.168 - 8778537876133772 c3 e4@1.002 p=pcap/3-17-0.pcapng
//
// That is read without a script, costs some 40 bytes a trial and no element; assets/page.js makes a table of it when its cell is
// opened, with a drawing for each trial. Times are in milliseconds. A note is a cause (cN) or an event with its moment in seconds
// (eN@S), both by their number in the list of texts, the longest standstill (g=MS), or a capture (p=FILE).
const trialHead = "trial outcome connect packet frame bound intact late changes seed notes"

// detail is how much of each trial a page tells.
type detail struct {
	lean bool // neither seed nor lateness nor the bound
	keep int  // trials of a cell, at most
}

// letters stand for outcomes.
var letters = map[record.Outcome]string{record.Direct: "D", record.Relayed: "R", record.Failed: "F", record.Unsupported: "U", record.HarnessError: "H"}

// trialPart is the page's part with all trials.
type trialPart struct {
	says  string
	lists template.HTML
	texts []string // causes and events that notes refer to by number, from 1
}

// trialLists renders a collapsed list of trials for each cell in at most budget bytes. Where they do not all fit, seeds and
// lateness are left out; then each cell keeps those that need explaining first and says how many are left out.
func (m *model) trialLists(budget int) trialPart {
	texts := m.sharedTexts(budget / 4)
	number, spent := map[string]int{}, 0
	for i, s := range texts {
		number[s] = i + 1
		spent += len(s) + len("<li>\n")
	}
	most := 0
	for _, c := range m.cells {
		most = max(most, len(c.trials))
	}
	for d := (detail{keep: most}); ; d = d.less() {
		var b strings.Builder
		left := 0
		for _, c := range m.cells {
			left += m.trialList(&b, c, d, number)
		}
		if b.Len()+spent <= budget || d.keep == 0 {
			return trialPart{m.trialsSay(d, left), template.HTML(b.String()), texts}
		}
	}
}

// less is the next smaller detail.
func (d detail) less() detail {
	if !d.lean {
		d.lean = true
		return d
	}
	d.keep = d.keep * 4 / 5
	return d
}

func (m *model) trialsSay(d detail, left int) string {
	switch {
	case left > 0:
		return fmt.Sprintf("%s of %s trials, to keep this page small: those that failed, were relayed or ended in a harness error come first. The full list is trials.jsonl, beside this page.",
			count(m.attempts-left), count(m.attempts))
	case d.lean:
		return fmt.Sprintf("Every trial that was run, %s in all; seeds and lateness are in trials.jsonl, beside this page.", count(m.attempts))
	}
	return fmt.Sprintf("Every trial that was run, %s in all.", count(m.attempts))
}

// sharedTexts lists causes and events, the most frequent first, in at most budget bytes.
func (m *model) sharedTexts(budget int) (texts []string) {
	times := map[string]int{}
	for _, c := range m.cells {
		for i := range c.trials {
			t := &c.trials[i]
			if why := t.why(); why != "" {
				times[why]++
			}
			for _, e := range t.Events() {
				times[e.what]++
			}
		}
	}
	for _, s := range slices.SortedFunc(maps.Keys(times), func(a, b string) int { return cmp.Or(times[b]-times[a], strings.Compare(a, b)) }) {
		if budget -= len(s) + len("<li>\n"); budget < 0 {
			break
		}
		texts = append(texts, s)
	}
	return texts
}

// why is the trial's cause and its error, in one line.
func (t *trial) why() string { return strings.Join(strings.Fields(t.Cause()+" "+t.Error()), " ") }

// happened is an event of a trial with its moment in seconds since the trial began.
type happened struct{ at, what string }

// Events are what the lab did to the trial.
func (t *trial) Events() (es []happened) {
	if t.event == 0 {
		return nil
	}
	for s := range strings.SplitSeq(t.names.texts[t.event], "\t") {
		at, what, _ := strings.Cut(s, " ")
		es = append(es, happened{at, what})
	}
	return es
}

// trialList renders one cell's trials and returns how many it left out.
func (m *model) trialList(b *strings.Builder, c *cell, d detail, texts map[string]int) (left int) {
	kept := pick(c.trials, d.keep)
	left = len(c.trials) - len(kept)
	var made []string
	for _, o := range record.Outcomes {
		if n := c.Outcomes[o]; n > 0 {
			made = append(made, fmt.Sprintf("%s %s", count(n), o))
		}
	}
	fmt.Fprintf(b, `<details class="cell" data-cell="%d"><summary><b>%d</b> %s <small>%s</small></summary><div id="c%d" tabindex="-1">`,
		c.index, c.index, escape(m.pairing(c, true)), strings.Join(made, ", "), c.index)
	head := trialHead
	if m.brief() {
		head = "trial …"
		b.WriteString("<p>")
	} else {
		fmt.Fprintf(b, "<p>Oracle: %s.", escape(orDash(c.Oracle)))
	}
	if c.TriangleS != nil {
		fmt.Fprintf(b, ` Triangle <data class="triangle" value="%s">%s</data>.`, number(1e3*(*c.TriangleS), 3), seconds(*c.TriangleS))
	}
	if c.BoundS != nil {
		fmt.Fprintf(b, ` First frame’s bound <data class="bound" value="%s">%s</data>.`, number(1e3*(*c.BoundS), 3), seconds(*c.BoundS))
	}
	if !m.brief() {
		b.WriteString(` <a href="#cells">All cells</a>`)
	}
	b.WriteString("</p>")
	if len(kept) > 0 {
		b.WriteString(`<pre class="trials" tabindex="0">` + head + "\n")
		for _, i := range kept {
			trialLine(b, &c.trials[i], d, texts)
		}
		b.WriteString("</pre>")
	}
	if left > 0 {
		fmt.Fprintf(b, "<p>%s more in trials.jsonl (lines with “cell”:%d).</p>", count(left), c.index)
	}
	b.WriteString("</div></details>\n")
	return left
}

// pick returns the places of the trials that need explaining and then of the first others, in their order.
func pick(trials []trial, keep int) []int {
	order := make([]int, len(trials))
	for i := range order {
		order[i] = i
	}
	if len(trials) <= keep {
		return order
	}
	rank := func(t *trial) int {
		return -slices.Index([]record.Outcome{record.Direct, record.Unsupported, record.Relayed, record.HarnessError, record.Failed}, t.outcome)
	}
	slices.SortStableFunc(order, func(a, b int) int { return rank(&trials[a]) - rank(&trials[b]) })
	order = order[:keep]
	slices.Sort(order)
	return order
}

// trialLine writes a trial as trialHead names its fields.
func trialLine(b *strings.Builder, t *trial, d detail, texts map[string]int) {
	b.WriteString(strconv.Itoa(int(t.number)))
	if t.attempt > 0 {
		b.WriteString("." + strconv.Itoa(int(t.attempt)))
	}
	b.WriteString(" " + letters[t.outcome])
	decimals, late, bound := 2, t.lateP99, t.bound
	if d.lean {
		late, bound = absent, absent
	}
	for _, v := range []float64{t.connect, t.packet, t.frame, bound} {
		b.WriteString(" " + milliseconds(v, decimals))
	}
	if t.media {
		fmt.Fprintf(b, " %d/%d", t.intact, t.sent)
	} else {
		b.WriteString(" -")
	}
	b.WriteString(" " + milliseconds(late, 3))
	if t.changes > 0 {
		b.WriteString(" " + strconv.Itoa(int(t.changes)))
	} else {
		b.WriteString(" -")
	}
	if d.lean {
		b.WriteString(" -")
	} else {
		b.WriteString(" " + strconv.FormatUint(t.seed, 10))
	}
	t.writeNotes(b, d, texts)
	b.WriteByte('\n')
}

func (t *trial) writeNotes(b *strings.Builder, d detail, texts map[string]int) {
	if why := t.why(); texts[why] > 0 {
		fmt.Fprintf(b, " c%d", texts[why])
	}
	for _, e := range t.Events() {
		if n := texts[e.what]; n > 0 {
			fmt.Fprintf(b, " e%d@%s", n, e.at)
		}
	}
	if !d.lean && t.gap > 0 {
		b.WriteString(" g=" + milliseconds(t.gap, 1))
	}
	if p := t.Pcap(); p != "" {
		b.WriteString(" p=" + escape(strings.ReplaceAll(p, " ", "%20")))
	}
}

// milliseconds prints a time in seconds; "-" for none.
func milliseconds(s float64, decimals int) string {
	if !has(s) {
		return "-"
	}
	return number(1e3*s, decimals)
}
