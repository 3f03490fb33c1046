package reports

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// markdown renders report.md: the page's words and tables for where HTML is not shown.
func (m *model) markdown(files []string) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n**%s**\n\n", m.summary.Scenario, m.verdict())
	for _, p := range m.meta() {
		fmt.Fprintf(&b, "%s: %s  \n", p.Key, p.Value)
	}
	b.WriteString("\n")
	for _, n := range m.notes() {
		if n.warning {
			n.text = "**Warning:** " + n.text
		}
		fmt.Fprintf(&b, "- %s\n", n.text)
	}
	if len(m.judged) > 0 {
		fmt.Fprintf(&b, "\n## %s\n\n", m.thresholdTitle())
		var rows [][]string
		for _, j := range m.judged {
			rows = append(rows, thresholdRow(j))
		}
		markdownTable(&b, thresholdHead, rows)
	}
	fmt.Fprintf(&b, "\n## Direct rate\n\n%s “=”, “~” and “×” say that the oracle promises a direct path, a possible one, none.\n", m.matrixSays())
	for _, f := range m.facets {
		m.markdownMatrix(&b, f)
	}
	b.WriteString("\n## Strategies\n\n")
	head, rows := m.strategyRows()
	markdownTable(&b, head, rows)
	b.WriteString("\n## Distributions\n\n")
	for _, t := range m.topics() {
		for _, f := range t.figures {
			if f.instead != "" {
				fmt.Fprintf(&b, "- **%s.** %s\n", f.title, f.instead)
				continue
			}
			fmt.Fprintf(&b, "- **%s.** %s %s", f.title, f.alt, f.caption)
			if name := "plots/" + f.id + ".svg"; slices.Contains(files, name) {
				fmt.Fprintf(&b, " ([plot](%s))", name)
			}
			b.WriteString("\n")
		}
	}
	m.markdownTopics(&b)
	b.WriteString("\n## Cells\n\n")
	head, row := m.cellColumns()
	rows = nil
	for _, c := range m.cells {
		rows = append(rows, row(c))
	}
	keep := informative(head, rows)
	markdownTable(&b, only(head, keep), func() (kept [][]string) {
		for _, r := range rows {
			kept = append(kept, only(r, keep))
		}
		return kept
	}())
	b.WriteString("\n## Environment\n\n")
	var env [][]string
	for _, p := range m.environment() {
		env = append(env, []string{p.Key, p.Value})
	}
	markdownTable(&b, []string{"", ""}, env)
	return b.Bytes(), nil
}

// markdownTopics writes those that say more than their figures: idle cameras and the lab's lateness.
func (m *model) markdownTopics(b *bytes.Buffer) {
	for _, t := range m.topics() {
		if len(t.rows) > 0 {
			fmt.Fprintf(b, "\n## %s\n\n%s\n\n", t.title, t.says)
			markdownTable(b, t.head, t.rows)
		} else if t.id == "idle" || t.id == "lateness" {
			fmt.Fprintf(b, "\n## %s\n\n%s\n", t.title, t.says)
		}
	}
}

func only(row []string, keep []bool) (kept []string) {
	for i, v := range row {
		if keep[i] {
			kept = append(kept, v)
		}
	}
	return kept
}

func (m *model) markdownMatrix(b *bytes.Buffer, f *facet) {
	if len(f.params) > 0 {
		fmt.Fprintf(b, "\n### %s\n", named(f.params))
	}
	fmt.Fprintf(b, "\n%s\n\n", m.facetCaption(directHeat, f))
	head := append([]string{strings.Trim(m.rowKey+" ↓ "+m.colKey+" →", " →↓")}, f.cols...)
	var rows [][]string
	for r, v := range f.rows {
		row := []string{v}
		for _, c := range f.at[r] {
			row = append(row, markdownCell(c))
		}
		rows = append(rows, row)
	}
	markdownTable(b, head, rows)
}

func markdownCell(c *cell) string {
	switch {
	case c == nil:
		return "·"
	case c.Trials == 0:
		return "no verdict"
	case c.unsupported():
		return "n/a"
	}
	s := fmt.Sprintf("%s of %d", short(directHeat.count(c), c.Trials), c.Trials)
	if o, ok := markOf(c.Oracle); ok {
		s += " " + map[string]string{"od": "=", "oh": "~", "op": "~", "or": "×"}[o.Class]
	}
	if rest := c.rest(); rest != "" {
		s += ", " + rest
	}
	if c.leak() {
		s += " **leak**"
	}
	return s
}

// markdownTable writes a table; the cells' own bars are escaped.
func markdownTable(b *bytes.Buffer, head []string, rows [][]string) {
	write := func(r []string) {
		for _, v := range r {
			fmt.Fprintf(b, "| %s ", strings.NewReplacer("|", `\|`, "\n", " ").Replace(v))
		}
		b.WriteString("|\n")
	}
	write(head)
	write(slices.Repeat([]string{"---"}, len(head)))
	for _, r := range rows {
		write(r)
	}
}
