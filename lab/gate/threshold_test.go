package gate_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
)

// TestThresholds parses and prints, or says what is wrong with the place marked. Rewrite what is expected with -rewrite.
func TestThresholds(t *testing.T) {
	datadriven.RunTest(t, "testdata/thresholds", func(t *testing.T, d *datadriven.TestData) string {
		var axes []record.Axis
		for _, a := range d.CmdArgs {
			axes = append(axes, record.Axis{Key: a.Key, Values: a.Vals})
		}
		var b strings.Builder
		for _, line := range strings.Split(d.Input, "\n") {
			th, err := parse(line, axes)
			var te *gate.ThresholdError
			switch {
			case err == nil:
				fmt.Fprintln(&b, th)
				if again, err := parse(th.String(), axes); err != nil || cmp.Diff(th, again) != "" {
					t.Errorf("%s prints %s, which is %v, %v", line, th, again, err)
				}
			case errors.As(err, &te):
				fmt.Fprintf(&b, "%s\n%s^ %s\n", line, strings.Repeat(" ", te.Column-1), strings.TrimPrefix(te.Error(), fmt.Sprintf("character %d: ", te.Column)))
			default:
				t.Errorf("%s: error %T", line, err)
			}
		}
		return b.String()
	})
}

func parse(text string, axes []record.Axis) (gate.Threshold, error) {
	if axes == nil {
		return gate.ParseThreshold(text)
	}
	return gate.ParseThresholdFor(text, axes)
}

func TestThresholdsOfAManifest(t *testing.T) {
	ts, err := gate.ParseThresholds([]string{"direct_rate >= 0.9", "abort: connect_s.p50 <= 1"})
	if err != nil || len(ts) != 2 || ts[0].Abort || !ts[1].Abort || ts[1].Metric.Stat != "p50" || ts[1].Op != "<=" || ts[1].Value != 1 {
		t.Errorf("%+v, %v", ts, err)
	}
	_, err = gate.ParseThresholds([]string{"direct_rate >= 0.9", "direct_rate >= 9"})
	if err == nil || !strings.HasPrefix(err.Error(), `threshold "direct_rate >= 9": character 16: `) {
		t.Errorf("error %v", err)
	}
}

// FuzzParseThreshold: what parses prints, and what is printed parses to the same and prints the same; an error is in the text.
func FuzzParseThreshold(f *testing.F) {
	for _, text := range []string{
		"direct_rate >= 0.99 where oracle == direct and link == lte by strategy", "abort: first_frame_ratio.p95 <= 1.3",
		`probes.a.max < -0 where a != "\x00 ü" by cell`, "bytes.x.min > 1e300", "loss.p50 <= 0.5 where by == where", `direct_rate >= .5 where a == ""`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		th, err := gate.ParseThreshold(text)
		var te *gate.ThresholdError
		if errors.As(err, &te) {
			if te.Column < 1 || te.Column > utf8.RuneCountInString(text)+1 || te.Msg == "" {
				t.Fatalf("%q: column %d, %s", text, te.Column, te.Msg)
			}
			return
		}
		if err != nil {
			t.Fatalf("%q: error %T %v", text, err, err)
		}
		again, err := gate.ParseThreshold(th.String())
		if err != nil || cmp.Diff(th, again) != "" || again.String() != th.String() {
			t.Fatalf("%q prints %q, which is %q: %v", text, th, again, err)
		}
	})
}
