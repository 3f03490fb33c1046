package gate

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCalibrate: no difference is never found, the default regressions always; neither workers nor time change the result.
func TestCalibrate(t *testing.T) {
	large := world{pairs: 6, trials: 120, calm: true}
	s := large.sample(seeded(1))
	plan := Plan{Gates: 60, Trials: 60, Each: 15, Drops: []float64{0.12}, Tails: []float64{0.10}, Shifts: []float64{0.10}, Workers: 1}
	last := 0
	one, err := Calibrate(t.Context(), s, Options{}, plan, seeded(2), func(done, total int) {
		if total != 105 || done != last+1 {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
	})
	if err != nil {
		t.Fatal(err)
	}
	plan.Workers = 4
	four, err := Calibrate(t.Context(), s, Options{}, plan, seeded(2), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(one, four); diff != "" {
		t.Errorf("workers: %s", diff)
	}
	if p := one.Points[0]; p.Effect != NoEffect || p.Failed != 0 || p.Passed < 57 || p.Red.Low != 0 || p.Red.High > 0.06 {
		t.Errorf("%+v", p)
	}
	for _, p := range one.Points[1:] {
		if p.Failed < 15 || p.Named < 14 || p.Failed+p.Passed+p.Undecided != p.Gates {
			t.Errorf("%+v", p)
		}
	}
	if b, err := json.Marshal(one); err != nil || !strings.Contains(string(b), CalibrationSchema) {
		t.Error(err)
	}
}

// TestLottery: the sides share no trial, and an effect has the size that it says.
func TestLottery(t *testing.T) {
	w := world{pairs: 2, trials: 400, calm: true}
	s := w.sample(seeded(3))
	l := &lottery{sample: s, direct: s.directRates(), trials: 200}
	before, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	plain, b0 := l.draw(seeded(4), NoEffect, 0)
	for i := range plain.Cells {
		all := slices.Sorted(slices.Values(append(slices.Clone(plain.Cells[i].Numbers), b0.Cells[i].Numbers...)))
		if len(slices.Compact(all)) != 400 {
			t.Errorf("cell %d: a trial is on both sides", i)
		}
	}
	quantile := func(s Sample, p string) float64 {
		m, err := ParseMetric("first_frame_ratio." + p)
		if err != nil {
			t.Fatal(err)
		}
		return *m.of(s.Cells[0].Sample(m.Name)).Value
	}
	_, tail := l.draw(seeded(4), SlowTail, 0.1)
	if p50, p95 := quantile(tail, "p50")/quantile(b0, "p50"), quantile(tail, "p95")/quantile(b0, "p95"); p50 != 1 || math.Abs(p95-1.1) > 1e-9 {
		t.Errorf("slow tail: p50 × %v, p95 × %v", p50, p95)
	}
	_, all := l.draw(seeded(4), SlowAll, 0.1)
	if p50 := quantile(all, "p50") / quantile(b0, "p50"); math.Abs(p50-1.1) > 1e-9 {
		t.Errorf("slow all: p50 × %v", p50)
	}
	drop := 0.0
	for n := range uint64(20) {
		_, b := l.draw(seeded(n), NoEffect, 0)
		_, worse := l.draw(seeded(n), DirectDrop, 0.09)
		drop += (b.directRates()["adaptive"] - worse.directRates()["adaptive"]) / 20
	}
	if math.Abs(drop-0.09) > 0.01 {
		t.Errorf("direct drop of 0.09 is %v", drop)
	}
	if after, _ := json.Marshal(s); string(after) != string(before) {
		t.Error("a draw changed the sample")
	}
}

func TestCalibrateRefuses(t *testing.T) {
	s := world{pairs: 2, trials: 6}.sample(seeded(1))
	for want, c := range map[string]struct {
		s Sample
		p Plan
	}{
		"two sides of 4 need 8":   {s, Plan{Trials: 4}},
		"give 0 or more":          {s, Plan{Gates: -1}},
		"an effect of size -0.1":  {s, Plan{Drops: []float64{-0.1}}},
		"nothing was executed":    {Sample{Source: "run"}, Plan{}},
		"has 1 trials: two sides": {world{pairs: 1, trials: 1}.sample(seeded(1)), Plan{}},
	} {
		if _, err := Calibrate(t.Context(), c.s, Options{}, c.p, seeded(1), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Calibrate(ctx, s, Options{}, Plan{}, seeded(1), nil); err == nil {
		t.Error("a canceled calibration has a result")
	}
}
