package reports

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/record"
)

// TestWaiting: a line for each condition, of the trials that tell, and a curve that ends where trials were never told.
func TestWaiting(t *testing.T) {
	var trials []record.Trial
	at := func(how string, probes map[string]float64) {
		trials = append(trials, record.Trial{Cell: len(how), Trial: len(trials), Params: map[string]string{"strategy": "adaptive", "trial.camera-lost": how},
			Outcome: record.Direct, Oracle: "direct", Probes: probes})
	}
	for i := range 4 {
		at("goodbye", map[string]float64{"gone_told_s": 0.02 + float64(i)/1000})
		at("power-cut", map[string]float64{"gone_told_s": 20 + float64(i), "back_told_s": 1})
	}
	at("power-cut", nil)
	topic, ok := newModel(&record.Run{Manifest: record.Manifest{}, Trials: trials}).waiting()
	want := [][]string{
		{"Camera lost: until the viewer is told", "goodbye", "4"}, {"Camera lost: until the viewer is told", "power-cut", "4"},
		{"Camera back: until the viewer is told", "power-cut", "4"},
	}
	var got [][]string
	for _, r := range topic.rows {
		got = append(got, r[:3])
	}
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Error(diff)
	}
	if f := topic.figures; len(f) != 2 || !strings.Contains(f[0].alt, "goodbye: median 2") || !strings.Contains(f[1].instead, "1 s, and nothing else") {
		t.Errorf("%+v", f)
	}
	notes := newModel(&record.Run{Manifest: record.Manifest{}, Trials: trials}).waitNotes()
	if len(notes) != 2 || !strings.Contains(notes[0].text, "median: goodbye 21.5 ms (n = 4); power-cut 21.5 s (n = 4).") {
		t.Errorf("%+v", notes)
	}
	if _, ok := modelOf(record.Manifest{}, record.Trial{}).waiting(); ok {
		t.Error("a topic without a figure")
	}
}
