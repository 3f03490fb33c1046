package reports

import (
	"bytes"
	"encoding/json"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/stats"
)

// calibrated is a calibration with a plausible operating curve.
func calibrated(falseRed int) *gate.Calibration {
	c := &gate.Calibration{
		Schema: gate.CalibrationSchema, Source: "out/large", Scenario: "nat-matrix", Engine: "sim", Commit: "3ef995d0c1f2a3b4",
		Cells: 144, Trials: 57600, PerCell: 20, Alpha: 0.001, Confidence: 0.95, Seed: 1,
	}
	add := func(e gate.Effect, metric string, size float64, gates, failed int) {
		low, high := stats.ClopperPearson(failed, gates, 0.95)
		c.Points = append(c.Points, gate.CalibrationPoint{
			Effect: e, Metric: metric, Size: size, Gates: gates, Failed: failed,
			Passed: (gates - failed) / 2, Undecided: gates - failed - (gates-failed)/2, Named: failed * 9 / 10,
			Red: gate.Red{Value: float64(failed) / float64(gates), Low: low, High: high},
		})
	}
	add(gate.NoEffect, "", 0, 1000, falseRed)
	for _, s := range []float64{0.01, 0.03, 0.05, 0.07, 0.09, 0.12, 0.15} {
		add(gate.DirectDrop, "direct_rate", s, 200, int(200/(1+math.Exp(-200*(s-0.04)))))
	}
	for _, s := range []float64{0.02, 0.05, 0.1, 0.15, 0.2} {
		add(gate.SlowTail, "connect_s.p95", s, 200, int(200/(1+math.Exp(-80*(s-0.08)))))
		add(gate.SlowAll, "connect_s.p50", s, 200, int(180/(1+math.Exp(-200*(s-0.03)))))
	}
	return c
}

func calibrationAs(t *testing.T, c *gate.Calibration, format string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := RenderCalibration(&b, c, format); err != nil {
		t.Fatalf("%s: %v", format, err)
	}
	return b.Bytes()
}

func TestCalibrationGolden(t *testing.T) {
	for _, format := range []string{"text", "md"} {
		got := string(calibrationAs(t, calibrated(0), format))
		path := filepath.Join("testdata", "calibration", "calibration."+format+".golden")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

func TestCalibrationFormats(t *testing.T) {
	for name, c := range map[string]*gate.Calibration{"whole": calibrated(0), "empty": {Schema: gate.CalibrationSchema}} {
		var back gate.Calibration
		if err := json.Unmarshal(calibrationAs(t, c, "json"), &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, &back); diff != "" {
			t.Error(name, diff)
		}
		if _, err := png.DecodeConfig(bytes.NewReader(calibrationAs(t, c, "png"))); err != nil {
			t.Error(name, err)
		}
		for _, format := range []string{"text", "md", "svg"} {
			if b := calibrationAs(t, c, format); bytes.Contains(b, []byte("NaN")) || bytes.Contains(b, []byte("%!")) {
				t.Errorf("%s as %s: %s", name, format, b)
			}
		}
	}
	if err := RenderCalibration(&bytes.Buffer{}, calibrated(0), "html"); err == nil || !strings.Contains(err.Error(), `unknown format "html"`) {
		t.Error(err)
	}
}

// TestCalibrationSays: a promise that the interval excludes is broken, one that it allows is kept; found means found from there on.
func TestCalibrationSays(t *testing.T) {
	if got := calibrationSays(calibrated(0)); !strings.HasPrefix(got, "✓ 0 of 1,000 gates without a regression were red: 0 %") ||
		!strings.Contains(got, "fewer direct: found 199 of 200 times from −7 points on") ||
		!strings.Contains(got, "everything slower: of no size tried") {
		t.Error(got)
	}
	if got := calibrationSays(calibrated(2)); !strings.HasPrefix(got, "✓") {
		t.Error(got)
	}
	if got := calibrationSays(calibrated(9)); !strings.HasPrefix(got, "✗ 9 of 1,000") {
		t.Error(got)
	}
	few := &gate.Calibration{Alpha: 0.001, Confidence: 0.95, Points: []gate.CalibrationPoint{{Effect: gate.NoEffect, Gates: 40}}}
	if got := calibrationSays(few); !strings.HasPrefix(got, "? 0 of 40 gates") || !strings.Contains(got, "takes 1,000 gates or more to see") {
		t.Error(got)
	}
	if got := calibrationSays(&gate.Calibration{}); !strings.HasPrefix(got, "?") {
		t.Error(got)
	}
}

// TestCalibrationOnThePage: a run whose folder holds a calibration shows it, and one that cannot be read is an error.
func TestCalibrationOnThePage(t *testing.T) {
	dir := small.write(t)
	path := filepath.Join(dir, CalibrationFile)
	if _, ok, err := calibrationSection(dir); ok || err != nil {
		t.Errorf("without a calibration: %v, %v", ok, err)
	}
	if err := os.WriteFile(path, calibrationAs(t, calibrated(0), "json"), 0o644); err != nil {
		t.Fatal(err)
	}
	doc, page := parse(t, dir)
	checkPage(t, doc)
	for _, want := range []string{`id="calibration"`, "0 of 1,000 gates without a regression",
		"Share of red gates by the size of the regression. without"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for text, want := range map[string]string{"{": "unexpected end", `{"schema":"punchlab/calibration/9"}`: "punchlab/calibration/9",
		`{"points":3}`: "cannot unmarshal"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Write(dir, []string{"html"}); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestCalibrationLook writes plots for eyes: go test ./reports -run CalibrationLook -look /tmp/look
func TestCalibrationLook(t *testing.T) {
	if *look == "" {
		t.Skip("no -look folder")
	}
	for _, format := range CalibrationFormats {
		if err := os.WriteFile(filepath.Join(*look, "calibration."+format), calibrationAs(t, calibrated(0), format), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
