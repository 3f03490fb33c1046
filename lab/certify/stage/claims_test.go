package stage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// TestViewersThatLie have frames that no packet brought.
func TestViewersThatLie(t *testing.T) {
	for _, vice := range []string{"peek", "air"} {
		t.Run(vice, func(t *testing.T) {
			s, ctx := opened(t, vice, nil)
			x, c := ready(t, s, ctx, "same-lan")
			w, err := x.View(ctx, stage.Viewing{Camera: c, For: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = w.Wait(ctx)
			for _, f := range w.Frames() {
				if s.Source().Intact(f) {
					t.Fatalf("it has a frame of the source: %+v", f)
				}
			}
			r := s.Finish(s.Pass())
			if vice == "air" && (r.Verdict != certify.Fail || !strings.Contains(r.Reason, "the vendor's viewer says that it got")) {
				t.Errorf("%+v", r)
			}
		})
	}
}
