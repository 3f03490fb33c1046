package reports

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/punchlab/punchlab/lab/gate"
)

// mostCells is how many cells a text lists before it only counts them.
const mostCells = 10

// ansi are the colors of decisions on a terminal; mark and word say the same.
var ansi = map[gate.Decision]string{gate.Pass: "\x1b[32m", gate.Fail: "\x1b[1;31m", gate.Undecided: "\x1b[33m"}

const ansiOff = "\x1b[0m"

// gateText renders a verdict for a terminal: the answer, what it rests on, where it is worst, and what it could not see.
func gateText(v *gate.Verdict, color bool) []byte {
	var b bytes.Buffer
	paint := func(d gate.Decision, s string) string {
		if !color {
			return s
		}
		return ansi[d] + s + ansiOff
	}
	fmt.Fprintf(&b, "%s %s\n\n", paint(v.Decision, v.Decision.Mark()+" "+string(v.Decision)+":"), printable(v.Why))
	if s, ok := worstOverall(v); ok {
		fmt.Fprintf(&b, "  worst      %s\n", printable(s))
	}
	fmt.Fprintf(&b, "  scenario   %s, engine %s\n  baseline   %s\n  candidate  %s\n", printable(v.Scenario), printable(v.Engine),
		printable(sideOf(v.A)), printable(sideOf(v.B)))
	how := "cell by cell, trials as independent samples"
	if v.Paired {
		how = "trial by trial, in pairs on common seeds"
	}
	fmt.Fprintf(&b, "  decided    %s; false red at most once in %s gates, intervals of %s %%\n", how, oneIn(v.Alpha), number(100*v.Confidence, 1))
	for _, d := range v.Allowed {
		fmt.Fprintf(&b, "  allowed    %s differs: %s, %s\n", printable(d.Field), printable(d.Baseline), printable(d.Candidate))
	}
	for _, p := range v.Problems {
		fmt.Fprintf(&b, "  %s    %s\n", paint(gate.Undecided, "problem"), printable(p))
	}
	b.WriteString("\nOver all cells\n")
	if len(v.Overall) == 0 {
		b.WriteString("  nothing was measured\n")
	}
	textTable(&b, findingHead, overallRows(v), func(row int, mark string) string {
		return paint(inOrder(v.Overall)[row].Decision, mark)
	})
	textCells(&b, v, paint)
	b.WriteString("\n" + unseenSays + "\n")
	for _, l := range unseen(v) {
		fmt.Fprintf(&b, "  %s\n", printable(l))
	}
	return b.Bytes()
}

func textCells(b *bytes.Buffer, v *gate.Verdict, paint func(gate.Decision, string) string) {
	fail, pass, undecided := v.Counts()
	fmt.Fprintf(b, "\nCells: %d fail, %d pass, %d undecided\n", fail, pass, undecided)
	cells, quiet := worstCells(v)
	for _, c := range cells[:min(mostCells, len(cells))] {
		fmt.Fprintf(b, "  %s %s\n", paint(c.Decision, c.Decision.Mark()), printable(cellName(c.Params)))
		fmt.Fprintf(b, "    %s\n", printable(cellWhy(c, v.Confidence)))
	}
	if s := quietSays(len(cells)-mostCells, quiet); s != "" {
		fmt.Fprintf(b, "  … %s\n", s)
	}
}

// findingWhy says a finding's figures, or why it has none.
func findingWhy(f gate.Finding, confidence float64) string {
	if f.Effect == nil {
		return f.Why
	}
	return evidence(f, confidence)
}

// cellWhy is the cell's own sentence, or that of its worst finding.
func cellWhy(c gate.CellVerdict, confidence float64) string {
	if f, ok := worstFinding(c); ok && f.Effect != nil {
		return evidence(f, confidence)
	}
	return c.Why
}

var findingHead = []string{"", "metric", "group", "baseline", "candidate", "effect", "interval", "adjusted p", "finds from", "note"}

// overallRows are the findings over all cells, as they stand in text and Markdown.
func overallRows(v *gate.Verdict) [][]string {
	var rows [][]string
	for _, f := range inOrder(v.Overall) {
		rows = append(rows, []string{f.Decision.Mark(), f.Metric, orDash(f.Group), figureOf(f, f.A), figureOf(f, f.B), effectOf(f),
			rangeOf(f), pOf(f), detectable(f), noteOf(f)})
	}
	return rows
}

// noteOf tells what a row's figures do not.
func noteOf(f gate.Finding) string {
	switch {
	case f.Watched && f.Decision == gate.Undecided:
		return "watched only: need not pass"
	case f.Decision == gate.Undecided:
		return f.Why
	case f.Better == "" && f.Effect != nil:
		return "no better direction"
	}
	return ""
}

// textTable writes aligned columns, leaving out those that are empty in every row. mark colors the first one.
func textTable(b *bytes.Buffer, head []string, rows [][]string, mark func(row int, s string) string) {
	if len(rows) == 0 {
		return
	}
	width := make([]int, len(head))
	for j := range head {
		used := false
		for _, r := range rows {
			r[j] = printable(r[j])
			used = used || r[j] != "" && r[j] != "–"
			width[j] = max(width[j], utf8.RuneCountInString(r[j]))
		}
		width[j] = max(width[j], utf8.RuneCountInString(head[j]))
		if !used && j > 0 {
			width[j] = -1
		}
	}
	write := func(r []string, first string) {
		line := "  " + first
		for j := 1; j < len(r); j++ {
			if width[j] >= 0 {
				line += "  " + r[j] + strings.Repeat(" ", width[j]-utf8.RuneCountInString(r[j]))
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	write(head, strings.Repeat(" ", width[0]))
	for i, r := range rows {
		write(r, mark(i, r[0]))
	}
}

// oneIn prints a probability as the number of gates in which it is expected once.
func oneIn(p float64) string {
	if p <= 0 {
		return "∞"
	}
	return count(int(1/p + 0.5))
}
