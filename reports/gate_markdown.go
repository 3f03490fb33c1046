package reports

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/punchlab/punchlab/lab/gate"
)

// mostMarkdownCells keeps a step summary readable, and far below GitHub's 1 MiB.
const mostMarkdownCells = 30

// gateMarkdown renders a verdict for a GitHub step summary or a comment.
func gateMarkdown(v *gate.Verdict) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "## %s punchlab gate: %s\n\n**%s**\n\n", v.Decision.Mark(), v.Decision, inMarkdown(v.Why))
	fmt.Fprintf(&b, "Scenario %s, engine %s. At most one false red in %s gates; intervals of %s %%.", inMarkdown(v.Scenario),
		inMarkdown(v.Engine), oneIn(v.Alpha), number(100*v.Confidence, 1))
	if v.Paired {
		b.WriteString(" Trials are compared in pairs on common seeds.")
	}
	b.WriteString("\n\n")
	if s, ok := worstOverall(v); ok {
		fmt.Fprintf(&b, "- worst: %s\n", inMarkdown(s))
	}
	fmt.Fprintf(&b, "- baseline: %s\n- candidate: %s\n", inMarkdown(sideOf(v.A)), inMarkdown(sideOf(v.B)))
	for _, d := range v.Allowed {
		fmt.Fprintf(&b, "- allowed to differ: %s (%s, %s)\n", inMarkdown(d.Field), inMarkdown(d.Baseline), inMarkdown(d.Candidate))
	}
	for _, p := range v.Problems {
		fmt.Fprintf(&b, "- **problem:** %s\n", inMarkdown(p))
	}
	b.WriteString("\n### Over all cells\n\n")
	if len(v.Overall) == 0 {
		b.WriteString("Nothing was measured.\n")
	} else {
		gateTable(&b, findingHead, overallRows(v))
	}
	gateMarkdownCells(&b, v)
	fmt.Fprintf(&b, "\n%s.\n\n", unseenSays)
	for _, l := range unseen(v) {
		fmt.Fprintf(&b, "- %s\n", inMarkdown(l))
	}
	return b.Bytes()
}

func gateMarkdownCells(b *bytes.Buffer, v *gate.Verdict) {
	fail, pass, undecided := v.Counts()
	fmt.Fprintf(b, "\n### Cells: %d fail, %d pass, %d undecided\n", fail, pass, undecided)
	cells, quiet := worstCells(v)
	if len(cells) > 0 {
		var rows [][]string
		for _, c := range cells[:min(mostMarkdownCells, len(cells))] {
			rows = append(rows, []string{c.Decision.Mark() + " " + string(c.Decision), cellName(c.Params), cellWhy(c, v.Confidence)})
		}
		b.WriteString("\n")
		gateTable(b, []string{"", "cell", "why"}, rows)
	}
	if s := quietSays(len(cells)-mostMarkdownCells, quiet); s != "" {
		fmt.Fprintf(b, "\n… %s.\n", s)
	}
}

// gateTable writes a table without the columns that are empty in every row.
func gateTable(b *bytes.Buffer, head []string, rows [][]string) {
	keep := make([]bool, len(head))
	for j := range head {
		for _, r := range rows {
			keep[j] = keep[j] || r[j] != "" && r[j] != "–"
		}
	}
	for i, r := range rows {
		for j := range r {
			r[j] = inMarkdown(r[j])
		}
		rows[i] = only(r, keep)
	}
	writeRow := func(r []string) { fmt.Fprintf(b, "| %s |\n", strings.Join(r, " | ")) }
	writeRow(only(head, keep))
	writeRow(strings.Split(strings.TrimSuffix(strings.Repeat("--- ", len(only(head, keep))), " "), " "))
	for _, r := range rows {
		writeRow(r)
	}
}

var markdownSpecial = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "[", `\[`, "]", `\]`, "|", `\|`, "~", `\~`, "$", `\$`,
	"<", "&lt;", ">", "&gt;", "&", "&amp;")

// inMarkdown is text with nothing in it that Markdown, or HTML in it, would take for its own.
func inMarkdown(s string) string { return markdownSpecial.Replace(printable(s)) }
