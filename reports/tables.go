package reports

import (
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/record"
)

func sortedPairs(m map[string]string) []pair {
	var ps []pair
	for _, k := range slices.Sorted(maps.Keys(m)) {
		ps = append(ps, pair{k, m[k]})
	}
	return ps
}

// strategyRows are what each strategy achieved under each condition, for the tables of page and markdown.
func (m *model) strategyRows() (head []string, rows [][]string) {
	head = []string{"strategy", "n", "connected", "direct (95 % interval)", "relayed", "failed", "unsupported", "harness errors", "connect, median", "connect, p95", "first frame, median", "first packet ÷ bound, median", "first frame ÷ bound, median"}
	for _, p := range m.panels {
		for _, g := range p.groups {
			name := g.title()
			if len(p.params) > 0 {
				name += " · " + label(p.params)
			}
			rows = append(rows, append([]string{name}, g.row()...))
		}
	}
	keep := informative(head, rows)
	for i, r := range rows {
		rows[i] = only(r, keep)
	}
	return only(head, keep), rows
}

func (g *group) row() []string {
	n, direct := len(g.judged), g.outcomes[record.Direct]
	rate := tooFew
	if n > 0 {
		rate = percent(direct, n) + " (" + interval(direct, n) + ")"
	}
	return []string{
		count(n), percent(g.connected(), n), rate,
		percent(g.outcomes[record.Relayed], n), percent(g.outcomes[record.Failed], n), count(g.outcomes[record.Unsupported]), count(g.outcomes[record.HarnessError]),
		quantile(g.sample(connectS), 0.5, seconds), quantile(g.sample(connectS), 0.95, seconds),
		quantile(g.sample(firstFrameS), 0.5, seconds), quantile(g.sample(packetRatio), 0.5, ratio), quantile(g.sample(frameRatio), 0.5, ratio),
	}
}

func (m *model) strategyTable() string {
	return dataTable(m.strategyRows())
}

// dataTable renders a table whose first column names its rows.
func dataTable(head []string, rows [][]string) string {
	var b strings.Builder
	b.WriteString(`<table class="data"><thead><tr>`)
	for _, h := range head {
		fmt.Fprintf(&b, `<th scope="col">%s</th>`, escape(h))
	}
	b.WriteString("</tr></thead><tbody>")
	for _, r := range rows {
		fmt.Fprintf(&b, `<tr><th scope="row">%s</th>`, escape(r[0]))
		for _, v := range r[1:] {
			fmt.Fprintf(&b, "<td>%s</td>", softInterval(v))
		}
		b.WriteString("</tr>")
	}
	b.WriteString("</tbody></table>")
	return b.String()
}

// softInterval sets the parenthesis of a value in small type.
func softInterval(v string) string {
	value, rest, ok := strings.Cut(v, " (")
	if !ok {
		return escape(v)
	}
	return escape(value) + " <small>(" + escape(rest) + "</small>"
}

// brief prints a quantile for the narrow columns of the cell table.
func brief(d *record.Dist, q func(*record.Dist) float64, least int, print func(float64) string) string {
	switch {
	case d == nil:
		return "–"
	case d.N < least:
		return tooFew
	}
	return print(q(d))
}

func p50(d *record.Dist) float64 { return d.P50 }
func p95(d *record.Dist) float64 { return d.P95 }
func p99(d *record.Dist) float64 { return d.P99 }

// cellColumns are the table of cells, for page and markdown alike.
func (m *model) cellColumns() (head []string, row func(*cell) []string) {
	head = []string{"cell"}
	for _, a := range m.axes {
		head = append(head, a.Key)
	}
	head = append(head, "n", "direct", "relayed", "failed", "unsupported", "harness errors", "direct rate", "95 % interval", "oracle",
		"connect n", "connect p50", "connect p95", "connect p99", "frame n", "frame p50", "frame p95", "frame p99", "packet ÷ bound", "frames intact", "relay bytes")
	return head, func(c *cell) []string {
		r := []string{fmt.Sprint(c.index)}
		for _, a := range m.axes {
			r = append(r, c.Params[a.Key])
		}
		for _, n := range []int{c.Trials, c.Outcomes[record.Direct], c.Outcomes[record.Relayed], c.Outcomes[record.Failed], c.Outcomes[record.Unsupported], c.Outcomes[record.HarnessError]} {
			r = append(r, count(n))
		}
		rate, sure := percent(c.Outcomes[record.Direct], c.Trials), interval(c.Outcomes[record.Direct], c.Trials)
		if c.unsupported() {
			rate, sure = "n/a", "–"
		}
		return append(r, rate, sure, orDash(c.Oracle),
			sizeOf(c.ConnectS), brief(c.ConnectS, p50, 1, seconds), brief(c.ConnectS, p95, minForP95, seconds), brief(c.ConnectS, p99, minForP99, seconds),
			sizeOf(c.FirstFrameS), brief(c.FirstFrameS, p50, 1, seconds), brief(c.FirstFrameS, p95, minForP95, seconds), brief(c.FirstFrameS, p99, minForP99, seconds),
			brief(c.FirstPacketRatio, p50, 1, ratio), intact(c.Media), relayBytes(c))
	}
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func sizeOf(d *record.Dist) string {
	if d == nil {
		return "0"
	}
	return count(d.N)
}

func intact(m *record.CellMedia) string {
	if m == nil {
		return "–"
	}
	return percent(m.FramesIntact, m.FramesSent)
}

func relayBytes(c *cell) string {
	b, ok := c.Bytes["relay"]
	if !ok {
		return "–"
	}
	return size(float64(b))
}

// cellTable lists every cell; the columns that say nothing in this run are left out.
func (m *model) cellTable() (says string, table template.HTML) {
	head, row := m.cellColumns()
	rows := make([][]string, len(m.cells))
	for i, c := range m.cells {
		rows[i] = row(c)
	}
	keep := informative(head, rows)
	var b strings.Builder
	b.WriteString(`<table class="data cells" id="cells-table"><thead><tr>`)
	for i, h := range head {
		if keep[i] {
			fmt.Fprintf(&b, `<th scope="col"><span>%s</span></th>`, escape(h))
		}
	}
	b.WriteString("</tr></thead><tbody>\n")
	for i, c := range m.cells {
		fmt.Fprintf(&b, `<tr data-cell="%d"><th scope="row"><a href="#c%d">%d</a>`, c.index, c.index, c.index)
		for j, v := range rows[i] {
			if j > 0 && keep[j] {
				if v == tooFew {
					v = "few"
				}
				fmt.Fprintf(&b, "<td>%s", escape(v))
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("</tbody></table>")
	says = fmt.Sprintf("%s. n counts the trials with a verdict; rates and times are of those. “few”: %s for that quantile (p95 needs %d, p99 %d). Frame is the first whole frame; packet ÷ bound is the median of the first media packet over the triangle bound.", plural(len(m.cells), "cell"), tooFew, minForP95, minForP99)
	if shown := only(head, keep); slices.Contains(shown, "connect p50") && !slices.Contains(shown, "connect n") {
		says += " Times are of the trials that went direct or were relayed, all of them."
	}
	return says, template.HTML(b.String())
}

// informative tells which columns to print: an unused outcome or a measurement that was never made is left out.
//
// So are the n of times where they are everywhere what the outcomes already say: direct and relayed trials, all timed.
func informative(head []string, rows [][]string) []bool {
	keep := make([]bool, len(head))
	known := timesOfAllConnected(head, rows)
	for j := range head {
		for _, r := range rows {
			if known && (head[j] == "connect n" || head[j] == "frame n") {
				break
			}
			if r[j] != "–" && !(r[j] == "0" && (head[j] == "unsupported" || head[j] == "harness errors" || strings.HasSuffix(head[j], " n"))) {
				keep[j] = true
			}
		}
	}
	if len(keep) > 0 {
		keep[0] = true
	}
	return keep
}

// timesOfAllConnected reports whether each row's n of times is the number of its trials that connected.
func timesOfAllConnected(head []string, rows [][]string) bool {
	at := func(name string) int { return slices.Index(head, name) }
	connect, frame, direct, relayed := at("connect n"), at("frame n"), at("direct"), at("relayed")
	if connect < 0 || frame < 0 || direct < 0 || relayed < 0 {
		return false
	}
	for _, r := range rows {
		n := func(i int) int { v, _ := strconv.Atoi(strings.ReplaceAll(r[i], ",", "")); return v }
		if connected := n(direct) + n(relayed); n(connect) != connected || n(frame) != connected {
			return false
		}
	}
	return true
}

// meta is the line under the headline.
func (m *model) meta() []pair {
	man := m.run.Manifest
	ps := []pair{
		{"trials", fmt.Sprintf("%s with a verdict in %s", count(m.summary.Trials), plural(len(m.cells), "cell"))},
		{"engine", m.summary.Engine}, {"seed", fmt.Sprint(m.summary.Seed)},
		{"run", man.Start.UTC().Format("2006-01-02 15:04 UTC")},
	}
	if w := m.run.Wall(); w > 0 {
		ps = append(ps, pair{"took", seconds(w.Seconds())})
	}
	if c := man.Versions.Commit; c != "" {
		ps = append(ps, pair{"commit", c[:min(12, len(c))]})
	}
	return ps
}

// environment is what someone needs to run it again.
func (m *model) environment() []pair {
	man := m.run.Manifest
	end := "not ended"
	if man.End != nil {
		end = man.End.UTC().Format(time.RFC3339)
	}
	commit := orDash(man.Versions.Commit)
	if man.Versions.Dirty {
		commit += " with uncommitted changes"
	}
	ps := []pair{
		{"command", orDash(strings.Join(man.Command, " "))},
		{"scenario", man.Scenario.Name + " " + man.Scenario.Digest},
		{"topology", man.Topology.Name + " " + man.Topology.Digest},
		{"seed", fmt.Sprint(man.Seed)}, {"engine", man.Engine}, {"trials a cell", fmt.Sprint(man.TrialsPerCell)},
		{"commit", commit}, {"Go", man.Versions.Go}, {"kernel", man.Kernel},
		{"CPU", fmt.Sprintf("%s, %s", man.CPU.Model, plural(man.CPU.Cores, "core"))},
		{"start", man.Start.UTC().Format(time.RFC3339)}, {"end", end}, {"complete", yes(man.Complete)},
	}
	for _, a := range m.fixed {
		ps = append(ps, pair{a.Key + " (fixed)", a.Values[0]})
	}
	ps = append(ps, spread(man)...)
	if len(man.Scenario.Text) > 0 {
		ps = append(ps, pair{"to run it again", "punchlab run --again FOLDER, with the folder that this page is in: run.json holds all that it takes"})
	}
	return append(ps, pair{"seeds of trials", "each from the run's seed, the number of the trial and the cell's parameters without its strategy, so that strategies meet the same " +
		"conditions; every trial's own is in the list of trials and in trials.jsonl"})
}

// spread says how a run was divided, and what could end it early; nothing of one that was not.
func spread(man record.Manifest) (ps []pair) {
	if man.Shard != "" {
		ps = append(ps, pair{"shard", man.Shard})
	}
	if man.Jobs > 0 {
		ps = append(ps, pair{"trials at once", fmt.Sprint(man.Jobs)})
	}
	if man.Stop != "" {
		ps = append(ps, pair{"cells end early by", man.Stop})
	}
	for _, w := range man.Workers {
		ps = append(ps, pair{"worker " + w.Name, fmt.Sprintf("%s; %s, %s; %s", plural(w.Trials, "record"), w.CPU.Model, plural(w.CPU.Cores, "core"), w.Kernel)})
	}
	return ps
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
