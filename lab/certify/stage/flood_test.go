package stage_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// A camera that sends as fast as it can is ended, and fails the case, whatever of it could not be judged; what the lab holds of it is bounded.
func TestFlooded(t *testing.T) {
	s, ctx := alone(t, "flood", nil) // the others' tapes would lose packets on a machine that is this busy
	x, c := ready(t, s, ctx, "same-lan")
	for c.Fault() == nil {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("it floods and floods")
		}
	}
	if err := c.Fault(); !strings.Contains(err.Error(), "flooded the network") {
		t.Errorf("the camera is at fault for %v", err)
	}
	if sent := x.Tape().Sent("camera"); sent.Bytes > 2*tape.DefaultLimit {
		t.Errorf("it could send %d bytes", sent.Bytes)
	}
	r := s.Finish(s.Judge(tape.ErrFull))
	if r.Verdict != certify.Fail || !strings.Contains(r.Device, "flooded the network") || !strings.Contains(r.Reason, "flooded the network") {
		t.Errorf("%+v", r)
	}
}

// One that sends its stream does not flood.
func TestStreamIsNoFlood(t *testing.T) {
	s, ctx := opened(t, "", nil)
	x, c := ready(t, s, ctx, "same-lan")
	w := watches(t, ctx, x, stage.Viewing{Camera: c})
	short, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := w.WaitFrames(short, 30); err != nil {
		t.Fatal(err)
	}
	if r := s.Finish(s.Pass()); r.Verdict != certify.Pass {
		t.Errorf("%+v", r)
	}
}
