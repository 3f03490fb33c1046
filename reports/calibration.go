package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/punchlab/punchlab/lab/gate"
)

// CalibrationFile is where a run's folder keeps its calibration.
const CalibrationFile = "calibration.json"

// CalibrationFormats lists what RenderCalibration can write.
var CalibrationFormats = []string{"text", "md", "json", "svg", "png"}

// RenderCalibration writes a gate's operating curve in one of CalibrationFormats: how often it says what, by the size of the
// regression in the run that it is given.
func RenderCalibration(w io.Writer, c *gate.Calibration, format string) error {
	var b []byte
	var err error
	switch format {
	case "text":
		b = calibrationText(c)
	case "md":
		b = calibrationMarkdown(c)
	case "json":
		b, err = indentJSON(c)
	case "svg":
		b, err = calibrationFigure(c).svgFile()
	case "png":
		b, err = calibrationFigure(c).pngFile()
	default:
		return unknownFormat("calibration", format, CalibrationFormats)
	}
	if err == nil {
		_, err = w.Write(b)
	}
	if err != nil {
		return fmt.Errorf("render calibration as %s: %w", format, err)
	}
	return nil
}

// effects are the injected regressions in the order of reports.
var effects = []struct {
	effect gate.Effect
	name   string
	points bool // of a rate, otherwise a share
}{
	{gate.DirectDrop, "fewer direct", true},
	{gate.SlowTail, "slowest tenth slower", false},
	{gate.SlowAll, "everything slower", false},
}

// calibrationSays is the answer in a sentence: how often the gate is red without a reason, and what it finds.
func calibrationSays(c *gate.Calibration) string {
	gates, failed, red := falseRed(c)
	s := "? no gate without a regression was tried"
	if gates > 0 {
		mark, few := "✓", ""
		switch {
		case red.Low > c.Alpha: // the interval excludes what was promised
			mark = "✗"
		case c.Alpha*float64(gates) < 1-1e-9: // a gate that keeps its promise just so would show no red one either
			mark, few = "?", fmt.Sprintf(", which takes %s gates or more to see", count(int(math.Ceil(1/c.Alpha-1e-9))))
		}
		s = fmt.Sprintf("%s %s of %s gates without a regression were red: %s %% (%s %% interval %s–%s %%), promised are at most %s %%%s",
			mark, count(failed), count(gates), number(100*red.Value, 2), number(100*c.Confidence, 1),
			number(100*red.Low, 3), number(100*red.High, 3), number(100*c.Alpha, 3), few)
	}
	for _, e := range effects {
		if p, ok := foundFrom(c, e.effect); ok {
			s += fmt.Sprintf("; %s: found %s of %s times from %s on", e.name, count(p.Failed), count(p.Gates), sizeText(p))
		} else if len(pointsOf(c, e.effect)) > 0 {
			s += fmt.Sprintf("; %s: of no size tried 95 times of 100", e.name)
		}
	}
	return s
}

// falseRed adds up the gates without a regression.
func falseRed(c *gate.Calibration) (gates, failed int, red gate.Red) {
	for _, p := range pointsOf(c, gate.NoEffect) {
		gates, failed, red = gates+p.Gates, failed+p.Failed, p.Red
	}
	return gates, failed, red
}

func pointsOf(c *gate.Calibration, e gate.Effect) []gate.CalibrationPoint {
	var ps []gate.CalibrationPoint
	for _, p := range c.Points {
		if p.Effect == e {
			ps = append(ps, p)
		}
	}
	slices.SortStableFunc(ps, func(a, b gate.CalibrationPoint) int { return compare(a.Size, b.Size) })
	return ps
}

// wanted is how often a regression is to be found.
const wanted = 0.95

// foundFrom returns the smallest size from which on each was found as often as wanted.
func foundFrom(c *gate.Calibration, e gate.Effect) (from gate.CalibrationPoint, ok bool) {
	for _, p := range slices.Backward(pointsOf(c, e)) {
		if p.Red.Value < wanted {
			break
		}
		from, ok = p, true
	}
	return from, ok
}

// sizeText prints what was injected.
func sizeText(p gate.CalibrationPoint) string {
	switch p.Effect {
	case gate.NoEffect:
		return "–"
	case gate.DirectDrop:
		return "−" + number(100*p.Size, 1) + " points"
	}
	return "+" + number(100*p.Size, 1) + " %"
}

func effectName(e gate.Effect) string {
	for _, k := range effects {
		if k.effect == e {
			return k.name
		}
	}
	if e == gate.NoEffect {
		return "none (A/A)"
	}
	return string(e)
}

var calibrationHead = []string{"injected", "metric", "size", "gates", "red", "interval", "undecided", "pass", "red by its own metric"}

func calibrationRows(c *gate.Calibration) [][]string {
	var rows [][]string
	for _, p := range c.Points {
		named := count(p.Named)
		if p.Effect == gate.NoEffect {
			named = "–"
		}
		rows = append(rows, []string{
			effectName(p.Effect), orDash(p.Metric), sizeText(p), count(p.Gates), percent(p.Failed, p.Gates),
			number(100*p.Red.Low, 2) + "–" + number(100*p.Red.High, 2) + " %", percent(p.Undecided, p.Gates), percent(p.Passed, p.Gates), named,
		})
	}
	return rows
}

// calibrationFrom says what the gates were drawn from.
func calibrationFrom(c *gate.Calibration) string {
	s := fmt.Sprintf("drawn from %s (%s, engine %s", orDash(c.Source), c.Scenario, c.Engine)
	if c.Commit != "" {
		s += ", commit " + shortCommit(c.Commit)
	}
	return s + fmt.Sprintf("): %s in %s; each gate compares %s a cell with as many others, seed %d", plural(c.Trials, "trial"),
		plural(c.Cells, "cell"), plural(c.PerCell, "trial"), c.Seed)
}

func calibrationText(c *gate.Calibration) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\n  %s\n\n", printable(calibrationSays(c)), printable(calibrationFrom(c)))
	textTable(&b, append([]string{""}, calibrationHead...), prepend(calibrationRows(c)), func(_ int, s string) string { return s })
	return b.Bytes()
}

func calibrationMarkdown(c *gate.Calibration) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "## How often is the gate wrong?\n\n**%s**\n\n%s.\n\n", inMarkdown(calibrationSays(c)), inMarkdown(calibrationFrom(c)))
	gateTable(&b, calibrationHead, calibrationRows(c))
	return b.Bytes()
}

// calibrationSection makes a section of the run's page where its folder holds a calibration.
func calibrationSection(runDir string) (topic, bool, error) {
	path := filepath.Join(runDir, CalibrationFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return topic{}, false, nil
	}
	if err != nil {
		return topic{}, false, fmt.Errorf("read calibration: %w", err)
	}
	var c gate.Calibration
	if err := json.Unmarshal(b, &c); err != nil {
		return topic{}, false, fmt.Errorf("read calibration: %s: %w: make it again with punchlab gate --calibrate, or remove it", path, err)
	}
	if c.Schema != gate.CalibrationSchema {
		return topic{}, false, fmt.Errorf("read calibration: %s: schema is %q, want %q: make it again with punchlab gate --calibrate, or "+
			"remove it", path, c.Schema, gate.CalibrationSchema)
	}
	return topic{
		id: "calibration", title: "How often is the gate wrong?",
		says:    printable(calibrationSays(&c) + ". Gates were " + calibrationFrom(&c) + "."),
		figures: []figure{calibrationFigure(&c), coverageFigure(c.PerCell)}, head: calibrationHead, rows: calibrationRows(&c),
	}, true, nil
}
