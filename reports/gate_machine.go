package reports

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
)

func indentJSON(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}

// gateJUnit renders a verdict as tests: the verdict itself, a case for each finding over all cells, and one for each cell.
//
//	failure  a regression
//	skipped  undecided, with the reason
func gateJUnit(v *gate.Verdict) ([]byte, error) {
	name := "gate." + v.Scenario
	start := ""
	if !v.B.Start.IsZero() {
		start = v.B.Start.UTC().Format(time.RFC3339)
	}
	whole := junitSuite{Name: name, Timestamp: start}
	whole.add("verdict", v.Decision, v.Why, strings.Join(append([]string{"baseline: " + sideOf(v.A), "candidate: " + sideOf(v.B)},
		v.Problems...), "\n"))
	for _, f := range v.Overall {
		whole.add(subject(f), f.Decision, f.Why, evidence(f, v.Confidence)+"\nfinds from: "+detectable(f))
	}
	cells := junitSuite{Name: name + ".cells", Timestamp: start}
	for _, c := range v.Cells {
		var lines []string
		for _, f := range c.Findings {
			lines = append(lines, fmt.Sprintf("%s %s", f.Decision.Mark(), evidence(f, v.Confidence)))
		}
		cells.add(cellName(c.Params), c.Decision, c.Why, strings.Join(lines, "\n"))
	}
	out := junitSuites{Name: "punchlab " + name, Time: "0", Suites: []junitSuite{whole, cells}}
	for _, s := range out.Suites {
		out.Tests, out.Failures, out.Skipped = out.Tests+s.Tests, out.Failures+s.Failures, out.Skipped+s.Skipped
	}
	b, err := xml.MarshalIndent(out, "", "  ")
	return append([]byte(xml.Header), append(b, '\n')...), err
}

func (s *junitSuite) add(name string, d gate.Decision, why, text string) {
	k := junitCase{Name: name, Class: s.Name, SystemOut: text}
	s.Tests++
	switch d {
	case gate.Fail:
		k.Failure = &junitWhy{Message: why}
		s.Failures++
	case gate.Pass:
	default:
		k.Skipped = &junitWhy{Message: why}
		s.Skipped++
	}
	s.Cases = append(s.Cases, k)
}

// gateBenchfmt renders the figures of a verdict in the Go benchmark format, a line for each side of each finding:
//
//	benchstat -col side FILE
//
// compares them. They are figures of many trials each, so the units assume that they are exact: GateBenchfmt has the trials.
func gateBenchfmt(v *gate.Verdict) []byte {
	var b bytes.Buffer
	benchConfig(&b, pair{"scenario", v.Scenario}, pair{"engine", v.Engine}, pair{"gate", string(v.Decision)})
	units := map[string]bool{}
	declare := func(f gate.Finding) {
		if u := benchUnit(f.Metric); !units[u] {
			units[u] = true
			better := ""
			if f.Better != "" {
				better = " better=" + f.Better
			}
			fmt.Fprintf(&b, "Unit %s assume=exact%s\n", u, better)
		}
	}
	for _, f := range v.Overall {
		declare(f)
	}
	for _, c := range v.Cells {
		for _, f := range c.Findings {
			declare(f)
		}
	}
	for i, side := range []gate.Side{v.A, v.B} {
		b.WriteString("\n")
		benchSide(&b, i, side.Source, side.Commit, side.Seed)
		line := func(name string, f gate.Finding) {
			if g := []gate.Figure{f.A, f.B}[i]; g.Value != nil && g.N > 0 && !math.IsNaN(*g.Value) && !math.IsInf(*g.Value, 0) {
				fmt.Fprintf(&b, "Benchmark%s %d %s %s\n", name, g.N, strconv.FormatFloat(*g.Value, 'g', -1, 64), benchUnit(f.Metric))
			}
		}
		for _, f := range v.Overall {
			line("All"+benchParam(gate.StrategyKey, f.Group), f)
		}
		for _, c := range v.Cells {
			for _, f := range c.Findings {
				line(benchCell(c.Params), f)
			}
		}
	}
	return b.Bytes()
}

// GateBenchfmt writes the trials of both sides of a gate in the Go benchmark format, baseline first, for benchstat to compare
// with tests of its own (Mann–Whitney): benchstat -col side FILE.
func GateBenchfmt(w io.Writer, a, b gate.Sample) error {
	var out bytes.Buffer
	benchConfig(&out, pair{"scenario", b.Manifest.Scenario.Name}, pair{"engine", b.Manifest.Engine})
	fmt.Fprintf(&out, "Unit direct better=higher assume=nothing\nUnit goodput_bps better=higher assume=nothing\n")
	for i, s := range []gate.Sample{a, b} {
		out.WriteString("\n")
		benchSide(&out, i, s.Source, s.Manifest.Versions.Commit, s.Manifest.Seed)
		names := s.Names()
		for c := range s.Cells {
			benchTrials(&out, &s.Cells[c], names)
		}
	}
	if _, err := w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("render gate as benchfmt: %w", err)
	}
	return nil
}

func benchTrials(b *bytes.Buffer, c *gate.CellSample, names []string) {
	name := benchCell(c.Params)
	for i, o := range c.Outcomes {
		direct := 0
		if o == record.Direct {
			direct = 1
		}
		fmt.Fprintf(b, "Benchmark%s 1 %d direct", name, direct)
		for _, n := range names {
			if v := c.Value(n, i); !math.IsNaN(v) && !math.IsInf(v, 0) {
				fmt.Fprintf(b, " %s %s", strconv.FormatFloat(v, 'g', -1, 64), benchUnit(n))
			}
		}
		b.WriteByte('\n')
	}
}

// benchConfig writes file configuration; a key without a value is left out, which would remove it.
func benchConfig(b *bytes.Buffer, ps ...pair) {
	for _, p := range ps {
		if v := strings.TrimSpace(printable(p.Value)); v != "" {
			fmt.Fprintf(b, "%s: %s\n", p.Key, v)
		}
	}
}

// benchSide begins a side. The sides differ in that one key alone, as benchstat makes a table of its own for each value of
// every other; the rest is a comment.
func benchSide(b *bytes.Buffer, i int, source, commit string, seed uint64) {
	side := []string{"baseline", "candidate"}[i]
	fmt.Fprintf(b, "# %s: %s, commit %s, seed %d\n", side, orDash(printable(source)), orDash(printable(commit)), seed)
	benchConfig(b, pair{"side", side})
}

func benchCell(params map[string]string) string {
	name := "Cell"
	for _, p := range sortedPairs(params) {
		name += benchParam(p.Key, p.Value)
	}
	return name
}

// benchParam is a part of a benchmark's name. A name has no white space, and "/" and "=" part it.
func benchParam(key, value string) string {
	if value == "" {
		return ""
	}
	plain := func(s string) string {
		return strings.NewReplacer("/", "∕", "=", "≡").Replace(strings.Join(strings.Fields(printable(s)), "_"))
	}
	return "/" + plain(key) + "=" + plain(value)
}

// benchUnit is a metric as a unit: times end in "sec", which benchstat then scales.
func benchUnit(metric string) string {
	metric = strings.Join(strings.Fields(printable(metric)), "_")
	name, stat := metric, ""
	if i := strings.LastIndexByte(metric, '.'); i >= 0 && isStat(metric[i+1:]) {
		name, stat = metric[:i], "-"+metric[i+1:]
	}
	if s, ok := strings.CutSuffix(name, "_s"); ok {
		return s + stat + "-sec"
	}
	return name + stat
}

func isStat(s string) bool {
	for _, k := range gate.Stats {
		if s == k {
			return true
		}
	}
	return false
}
