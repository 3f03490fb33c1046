package reports

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
)

// facetTitle names a matrix.
func (f *facet) title(h heat) string {
	if len(f.params) == 0 {
		return h.title
	}
	return named(f.params)
}

// facetCaption states n, interval, seed and engine of a matrix.
func (m *model) facetCaption(h heat, f *facet) string {
	s := m.facetShare(h, f)
	return strings.ToUpper(s[:1]) + s[1:] + ". " + m.provenance()
}

// facetShare states the share of all trials of a matrix with n and interval.
func (m *model) facetShare(h heat, f *facet) string {
	k, n, harness, low, high := 0, 0, 0, -1, -1
	for _, row := range f.at {
		for _, c := range row {
			if c == nil {
				continue
			}
			k, n, harness = k+h.count(c), n+c.Trials, harness+c.Outcomes[record.HarnessError]
			if low < 0 || c.Trials < low {
				low = c.Trials
			}
			high = max(high, c.Trials)
		}
	}
	if n == 0 {
		return "no trial with a verdict, " + plural(harness, "harness error")
	}
	each := fmt.Sprintf("%d", low)
	if low != high {
		each = fmt.Sprintf("%d–%d", low, high)
	}
	s := fmt.Sprintf("%s %s of %s trials (%s, 95 %% interval %s), n = %s a cell", h.what, count(k), count(n), percent(k, n), interval(k, n), each)
	if harness > 0 {
		s += ", beside " + plural(harness, "harness error")
	}
	return s
}

// matrix renders one facet as a table whose cells link to their trials.
func (m *model) matrix(h heat, f *facet, files []string) pageMatrix {
	p := pageMatrix{Title: f.title(h), Caption: tie(m.facetCaption(h, f)), Wide: len(f.cols) > 7, Links: linksTo(slug(h.id, f.params), files)}
	var b strings.Builder
	class := "heat"
	if m.rowKey == "" {
		class = "heat single"
	}
	fmt.Fprintf(&b, `<table class="%s" style="--cols:%d"><caption class="sr">%s, %s</caption>`, class, len(f.cols), escape(h.title), escape(p.Title))
	if m.colKey != "" {
		fmt.Fprintf(&b, `<thead><tr><td class="corner"><span>%s&nbsp;↓</span><span>%s&nbsp;→</span></td>`, escape(m.rowKey), escape(m.colKey))
		for _, v := range f.cols {
			fmt.Fprintf(&b, `<th scope="col">%s</th>`, breakable(v))
		}
		b.WriteString("</tr></thead>")
	}
	b.WriteString("<tbody>")
	for r, v := range f.rows {
		b.WriteString("<tr>")
		if m.rowKey != "" {
			fmt.Fprintf(&b, `<th scope="row">%s</th>`, breakable(v))
		}
		for _, c := range f.at[r] {
			m.heatCell(&b, h, c)
		}
		b.WriteString("</tr>")
	}
	b.WriteString("</tbody></table>")
	p.Table = template.HTML(b.String())
	return p
}

// breakable lets a long name break after its hyphens.
func breakable(s string) string { return strings.ReplaceAll(escape(s), "-", "-<wbr>") }

func (m *model) heatCell(b *strings.Builder, h heat, c *cell) {
	says := ` title="` + escape(h.describe(m, c)) + `"`
	if m.brief() {
		says = ""
	}
	switch {
	case c == nil:
		fmt.Fprintf(b, `<td class="none"%s>·</td>`, says)
		return
	case c.Trials == 0:
		fmt.Fprintf(b, `<td class="none" data-cell="%d"%s><a href="#c%d">?<small>n 0</small></a></td>`, c.index, says, c.index)
		return
	case c.unsupported():
		fmt.Fprintf(b, `<td class="none" data-cell="%d"%s><a href="#c%d">n/a<small>n %d</small></a></td>`, c.index, says, c.index, c.Trials)
		return
	}
	k := h.count(c)
	bg := h.palette.at(float64(k) / float64(c.Trials))
	class := ""
	if c.leak() {
		class = ` class="leak"`
	} else if c.shortfall() {
		class = ` class="short"`
	}
	fmt.Fprintf(b, `<td%s data-cell="%d" style="background:%s;color:%s"%s><a href="#c%d">`, class, c.index, hex(bg), hex(textOn(bg)), says, c.index)
	if o, ok := markOf(c.Oracle); ok && o.Class != "od" {
		fmt.Fprintf(b, `<i class="%s"></i>`, o.Class)
	}
	fmt.Fprintf(b, `%s<small>n %d</small>`, short(k, c.Trials), c.Trials)
	if rest := c.rest(); rest != "" && h.id == directHeat.id {
		fmt.Fprintf(b, "<small>%s</small>", rest)
		if !m.brief() {
			fmt.Fprintf(b, `<u style="background:%s"></u>`, c.mix())
		}
	}
	b.WriteString("</a></td>")
}

// rest names what became of most trials that did not go direct, "" where all did: "20 relayed".
func (c *cell) rest() string {
	most := record.Direct
	for _, o := range []record.Outcome{record.Relayed, record.Failed, record.Unsupported} {
		if n := c.Outcomes[o]; n > 0 && (most == record.Direct || n > c.Outcomes[most]) {
			most = o
		}
	}
	if most == record.Direct {
		return ""
	}
	return fmt.Sprintf("%d %s", c.Outcomes[most], most)
}

// mix is the strip under a cell: the outcomes of its trials with a verdict, in the order of the legend.
func (c *cell) mix() string {
	total := c.Trials
	var stops []string
	at := 0
	for _, o := range record.Outcomes {
		n := c.Outcomes[o]
		if n == 0 || !o.HasVerdict() {
			continue
		}
		from := at
		at += n
		stops = append(stops, fmt.Sprintf("var(--%s) %s%% %s%%", o, number(100*float64(from)/float64(total), 1), number(100*float64(at)/float64(total), 1)))
	}
	return "linear-gradient(90deg," + strings.Join(stops, ",") + ")"
}
