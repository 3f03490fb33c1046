package reports

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/gate"
)

// mostChanges is how many changed cells the page lists.
const mostChanges = 200

// cellChange is a cell with the findings that changed in it, the worst first.
type cellChange struct {
	cell     int // index in the verdict's cells
	findings []gate.Finding
}

// changesOfCells lists the cells in which a finding fails or has an interval without 0, the worst first: those that fail, those
// that are worse, those that are better.
func changesOfCells(v *gate.Verdict) []cellChange {
	var all []cellChange
	for i, c := range v.Cells {
		k := cellChange{cell: i}
		for _, f := range c.Findings {
			if f.Effect != nil && (f.Decision == gate.Fail || awayFromZero(f) != 0) {
				k.findings = append(k.findings, f)
			}
		}
		slices.SortStableFunc(k.findings, byChange)
		if len(k.findings) > 0 {
			all = append(all, k)
		}
	}
	slices.SortStableFunc(all, func(a, b cellChange) int { return byChange(a.findings[0], b.findings[0]) })
	return all
}

func byChange(a, b gate.Finding) int {
	fails := func(f gate.Finding) int {
		if f.Decision == gate.Fail {
			return 0
		}
		return 1
	}
	return cmp.Or(fails(a)-fails(b), awayFromZero(b)-awayFromZero(a), cmp.Compare(badness(b), badness(a)))
}

// cellTable lists what changed cell by cell.
func (c *sides) cellTable() (says string, table template.HTML) {
	total := len(c.verdict.Cells)
	if len(c.changes) == 0 {
		return fmt.Sprintf("In none of %s can a difference be seen.", plural(total, "cell")), ""
	}
	says = fmt.Sprintf("%s of %s, the worst first. An interval that excludes no difference is not yet a finding: of many, one in twenty does "+
		"so by chance. ✗ marks what stands against all comparisons together.",
		count(len(c.changes)), plural(total, "cell"))
	shown := c.changes
	if len(shown) > mostChanges {
		shown = shown[:mostChanges]
		says += fmt.Sprintf(" The first %s are listed.", count(mostChanges))
	}
	var b strings.Builder
	b.WriteString(`<table class="data changes"><thead><tr>`)
	for _, h := range []string{"cell", "", "metric", "baseline", "candidate", "effect", "interval", "adjusted p"} {
		fmt.Fprintf(&b, `<th scope="col">%s</th>`, h)
	}
	b.WriteString("</tr></thead>\n")
	for _, k := range shown {
		fmt.Fprintf(&b, `<tbody id="change-%d">`, k.cell)
		for i, f := range k.findings {
			b.WriteString("<tr>")
			if i == 0 {
				fmt.Fprintf(&b, `<th scope="rowgroup" rowspan="%d">%s</th>`, len(k.findings),
					escape(printable(cellName(c.verdict.Cells[k.cell].Params))))
			}
			key := signOf(f)
			fmt.Fprintf(&b, `<td class="%s"><span class="mark">%s</span> %s</td>`, key.Class, key.Sign, strings.SplitN(key.Says, ":", 2)[0])
			for _, v := range []string{f.Metric, figureOf(f, f.A), figureOf(f, f.B), effectOf(f), rangeOf(f), pOf(f)} {
				fmt.Fprintf(&b, "<td>%s</td>", escape(printable(v)))
			}
			b.WriteString("</tr>\n")
		}
		b.WriteString("</tbody>\n")
	}
	b.WriteString("</table>")
	return says, template.HTML(b.String())
}

// findings is the table over all cells.
func (c *sides) findings() (says string, table template.HTML) {
	v := c.verdict
	if len(v.Overall) == 0 {
		return "Nothing was measured on both sides.", ""
	}
	rows := overallRows(v)
	for i, r := range rows {
		f := inOrder(v.Overall)[i]
		for j := range r {
			r[j] = printable(r[j])
		}
		rows[i] = append([]string{printable(subject(f)), r[0] + " " + string(f.Decision)}, r[3:]...)
	}
	says = fmt.Sprintf("Each strategy over all its cells; a metric passes where the %s %% interval excludes a regression as large as its "+
		"tolerance, and fails where chance explains less than once in %s gates what is at least its margin. “Finds from” is the smallest "+
		"regression that fails 95 times of 100.",
		number(100*v.Confidence, 1), oneIn(v.Alpha))
	return says, template.HTML(dataTable([]string{"metric", "", "baseline", "candidate", "effect", "interval", "adjusted p", "finds from",
		"note"}, rows))
}
