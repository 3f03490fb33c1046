package reports

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/record"
)

// csv renders report.csv: a line for each cell, in seconds, bytes and rates of 0–1. What did not happen is empty.
func (m *model) csv([]string) ([]byte, error) {
	head := []string{"scenario", "engine", "seed", "cell"}
	axes := append(append([]record.Axis{}, m.axes...), m.fixed...)
	for _, a := range axes {
		head = append(head, a.Key)
	}
	head = append(head, "trials", "direct", "relayed", "failed", "unsupported", "harness_error",
		"direct_rate", "direct_rate_low", "direct_rate_high", "oracle", "triangle_s", "bound_s")
	for _, d := range csvDists {
		for _, q := range []string{"n", "min", "p50", "p95", "p99", "max"} {
			head = append(head, d.name+"_"+q)
		}
	}
	head = append(head, "frames_sent", "frames_received", "frames_intact", "loss", "bytes_camera_up", "bytes_relay", "bytes_camera_idle_up")
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.Write(head); err != nil {
		return nil, err
	}
	for _, c := range m.cells {
		if err := w.Write(m.csvRow(c, axes)); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

var csvDists = []struct {
	name string
	of   func(*cell) *record.Dist
}{
	{"connect_s", func(c *cell) *record.Dist { return c.ConnectS }},
	{"first_packet_s", func(c *cell) *record.Dist { return c.FirstPacketS }},
	{"first_packet_ratio", func(c *cell) *record.Dist { return c.FirstPacketRatio }},
	{"first_frame_s", func(c *cell) *record.Dist { return c.FirstFrameS }},
	{"first_frame_ratio", func(c *cell) *record.Dist { return c.FirstFrameRatio }},
	{"latency_s", func(c *cell) *record.Dist {
		if c.Media == nil {
			return nil
		}
		return c.Media.LatencyS
	}},
	{"goodput_bps", func(c *cell) *record.Dist {
		if c.Media == nil {
			return nil
		}
		return c.Media.GoodputBps
	}},
	{"gap_s", func(c *cell) *record.Dist {
		if c.Media == nil {
			return nil
		}
		return c.Media.GapS
	}},
}

func (m *model) csvRow(c *cell, axes []record.Axis) []string {
	num := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	opt := func(v *float64) string {
		if v == nil {
			return ""
		}
		return num(*v)
	}
	r := []string{m.summary.Scenario, m.summary.Engine, fmt.Sprint(m.summary.Seed), fmt.Sprint(c.index)}
	for _, a := range axes {
		r = append(r, c.Params[a.Key])
	}
	r = append(r, fmt.Sprint(c.Trials))
	for _, o := range record.Outcomes {
		r = append(r, fmt.Sprint(c.Outcomes[o]))
	}
	if d := c.DirectRate; d != nil {
		r = append(r, num(d.Value), num(d.Low), num(d.High))
	} else {
		r = append(r, "", "", "")
	}
	r = append(r, c.Oracle, opt(c.TriangleS), opt(c.BoundS))
	for _, d := range csvDists {
		if v := d.of(c); v != nil {
			r = append(r, fmt.Sprint(v.N), num(v.Min), num(v.P50), num(v.P95), num(v.P99), num(v.Max))
		} else {
			r = append(r, "0", "", "", "", "", "")
		}
	}
	if media := c.Media; media != nil {
		r = append(r, fmt.Sprint(media.FramesSent), fmt.Sprint(media.FramesReceived), fmt.Sprint(media.FramesIntact), opt(media.Loss))
	} else {
		r = append(r, "", "", "", "")
	}
	for _, k := range []string{"camera_up", "relay", "camera_idle_up"} {
		if v, ok := c.Bytes[k]; ok {
			r = append(r, fmt.Sprint(v))
		} else {
			r = append(r, "")
		}
	}
	return r
}

// junit renders report.junit.xml: a case for each cell, judged by the oracle alone, and one for each threshold.
//
//	error    no trial with a verdict
//	skipped  the strategy is unsupported there
//	failure  direct where only a relay can connect; or not always direct where the oracle promises it; or a trial
//	         that failed with a strategy that has a relay to fall back on
func (m *model) junit([]string) ([]byte, error) {
	out := junitSuites{Name: "punchlab " + m.summary.Scenario, Time: number(m.summary.WallS, 3)}
	for _, g := range m.groups {
		s := junitSuite{Name: m.summary.Scenario, Timestamp: m.run.Manifest.Start.UTC().Format(time.RFC3339)}
		if g.name != "" {
			s.Name += "." + g.name
		}
		for _, c := range g.cells {
			k := junitCase{Name: m.name(c), Class: s.Name, SystemOut: directHeat.describe(m, c)}
			why := m.fault(c)
			switch {
			case c.Trials == 0:
				k.Error = &junitWhy{Message: "no verdict: " + plural(c.Outcomes[record.HarnessError], "harness error")}
				s.Errors++
			case c.unsupported():
				k.Skipped = &junitWhy{Message: "unsupported"}
				s.Skipped++
			case why != "":
				k.Failure = &junitWhy{Message: why}
				s.Failures++
			}
			s.Cases = append(s.Cases, k)
			s.Tests++
		}
		out.Suites = append(out.Suites, s)
		out.Tests, out.Failures, out.Errors, out.Skipped = out.Tests+s.Tests, out.Failures+s.Failures, out.Errors+s.Errors, out.Skipped+s.Skipped
	}
	if len(m.judged) > 0 {
		s := junitSuite{Name: m.summary.Scenario + ".thresholds", Timestamp: m.run.Manifest.Start.UTC().Format(time.RFC3339)}
		for _, j := range m.judged {
			name := j.Threshold
			if j.Group != "" {
				name += " [" + j.Group + "]"
			}
			s.add(name, j.Decision, j.Text, j.Text)
		}
		out.Suites = append(out.Suites, s)
		out.Tests, out.Failures, out.Errors, out.Skipped = out.Tests+s.Tests, out.Failures+s.Failures, out.Errors+s.Errors, out.Skipped+s.Skipped
	}
	b, err := xml.MarshalIndent(out, "", "  ")
	return append([]byte(xml.Header), append(b, '\n')...), err
}

// fault says in what a cell differs from what its oracle and strategy promise, "" if in nothing.
func (m *model) fault(c *cell) string {
	failed := c.Outcomes[record.Failed]
	switch s := c.Params[strategyKey]; {
	case c.leak():
		return fmt.Sprintf("%s of %s trials went direct where only a relay can connect", count(c.Outcomes[record.Direct]), count(c.Trials))
	case c.shortfall():
		return fmt.Sprintf("%s of %s trials went direct where the oracle promises it", count(c.Outcomes[record.Direct]), count(c.Trials))
	case failed > 0 && (s == "relay" || s == "adaptive"):
		return fmt.Sprintf("%s of %s trials failed although the strategy has a relay", count(failed), count(c.Trials))
	}
	return ""
}

// benchfmt renders report.benchfmt in the Go benchmark format: a line for each trial that measured something, so that
// benchstat compares two runs with tests of its own. Harness errors are left out.
func (m *model) benchfmt([]string) ([]byte, error) {
	var b bytes.Buffer
	man := m.run.Manifest
	for _, p := range []pair{
		{"scenario", m.summary.Scenario}, {"engine", m.summary.Engine}, {"seed", fmt.Sprint(m.summary.Seed)},
		{"commit", man.Versions.Commit}, {"kernel", man.Kernel}, {"cpu", man.CPU.Model},
	} {
		if p.Value != "" {
			fmt.Fprintf(&b, "%s: %s\n", p.Key, p.Value)
		}
	}
	b.WriteString("Unit direct better=higher assume=nothing\nUnit goodput-bps better=higher\n\n")
	for _, c := range m.cells {
		name := "Trial"
		for _, a := range m.axes {
			name += "/" + strings.Join(strings.Fields(a.Key+"="+c.Params[a.Key]), "_")
		}
		for i := range c.trials {
			if t := &c.trials[i]; t.outcome.HasVerdict() {
				benchLine(&b, name, t)
			}
		}
	}
	return b.Bytes(), nil
}

func benchLine(b *bytes.Buffer, name string, t *trial) {
	direct := 0
	if t.outcome == record.Direct {
		direct = 1
	}
	fmt.Fprintf(b, "Benchmark%s 1 %d direct", name, direct)
	for _, v := range []struct {
		value float64
		unit  string
	}{
		{t.connect, "connect-sec"}, {t.packet, "first-packet-sec"}, {packetRatio(t), "first-packet-ratio"},
		{t.frame, "first-frame-sec"}, {frameRatio(t), "first-frame-ratio"}, {t.goodput, "goodput-bps"},
	} {
		if has(v.value) {
			fmt.Fprintf(b, " %s %s", strconv.FormatFloat(v.value, 'g', -1, 64), v.unit)
		}
	}
	b.WriteByte('\n')
}
