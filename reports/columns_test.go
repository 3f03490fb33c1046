package reports

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/record"
)

// TestColumnsKeepTheSummary: what the report keeps of a run has the run's own summary, cell by cell.
func TestColumnsKeepTheSummary(t *testing.T) {
	for _, s := range []synthetic{small, runs["one-trial"], runs["incomplete"], {seed: 13, axes: runs["birthday"].axes, trials: 10}} {
		dir := s.write(t)
		run, err := record.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		m, err := readModel(dir)
		if err != nil {
			t.Fatal(err)
		}
		want := record.Summarize(run.Manifest, run.Trials, run.Wall())
		var got []record.Cell
		for _, c := range m.cells {
			got = append(got, c.Cell)
		}
		if diff := cmp.Diff(want.Cells, got); diff != "" {
			t.Errorf("seed %d: %s", s.seed, diff)
		}
		if m.attempts != len(run.Trials) || m.summary.Trials != want.Trials || m.summary.WallS != want.WallS {
			t.Errorf("seed %d: %d attempts, %d trials, %v s", s.seed, m.attempts, m.summary.Trials, m.summary.WallS)
		}
	}
}

// TestFramesAreBounded: of more latencies than fit, every second or fourth … one of all trials is kept.
func TestFramesAreBounded(t *testing.T) {
	k := newColumns()
	k.most = 100
	for i := range 40 {
		r := record.Trial{Cell: i % 3, Trial: i, Outcome: record.Direct, Media: &record.Media{FramesSent: 10, FramesReceived: 10, FramesIntact: 10}, EndedAt: time.Unix(0, 0)}
		for f := range 10 {
			r.Media.LatencyS = append(r.Media.LatencyS, float64(10*(i/3)+f+1)/1000)
		}
		if err := k.add(r); err != nil {
			t.Fatal(err)
		}
	}
	kept := 0
	for _, c := range k.done() {
		kept += len(c.frames)
		for i, v := range c.latencies() {
			if want := float64(4*(i+1)) / 1000; v != want {
				t.Errorf("cell %d keeps %v as its frame %d, want %v", c.index, v, i, want)
			}
		}
		if c.Media.LatencyS.N != len(c.frames) || c.Media.FramesSent < 130 {
			t.Errorf("cell %d: %+v", c.index, c.Media)
		}
	}
	if k.stride != 4 || kept != k.frames || kept > 100 || kept < 90 {
		t.Errorf("of 400 frames %d are kept (counted %d), every %d", kept, k.frames, k.stride)
	}
}
