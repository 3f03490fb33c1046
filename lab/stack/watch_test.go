package stack

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/lab/record"
)

func TestMediaIsComparedByteForByte(t *testing.T) {
	clip, start := media.EmbeddedClip(), time.Unix(0, 0)
	frame := func(i int) media.Frame {
		captured := start.Add(time.Duration(i) * 40 * time.Millisecond)
		return media.Frame{
			Index: i, Data: bytes.Clone(clip.At(i).Data), Captured: captured, Complete: captured.Add(30 * time.Millisecond),
		}
	}
	damaged := frame(2)
	damaged.Data[len(damaged.Data)/2] ^= 1
	short := frame(3)
	short.Data = short.Data[:len(short.Data)-1]
	w := newWatch(Trial{Media: time.Second})
	w.got = []media.Frame{frame(0), frame(1), damaged, short, frame(1), frame(4)}

	last := w.got[len(w.got)-1].Complete
	got := w.media(last.Add(20*time.Millisecond), media.Quality{Expected: 40, Lost: 10}, 7)
	quarter, bits := 0.25, 0
	for _, f := range w.got[1:] {
		bits += 8 * len(f.Data)
	}
	bps, gap := float64(bits)/0.16, 0.12
	want := &record.Media{
		FramesSent: 7, FramesReceived: 6, FramesIntact: 3, // not the damaged one, the short one and the repeated one
		LatencyS:   []float64{0.03, 0.03, 0.03, 0.03, 0.03, 0.03},
		GoodputBps: &bps, Loss: &quarter, GapS: &gap,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("media (-want +got):\n%s", d)
	}
}

func TestEachMomentIsToldOnce(t *testing.T) {
	var told []Moment
	w := newWatch(Trial{Reached: func(m Moment) { told = append(told, m) }})
	w.tell(Requested)
	for _, e := range []any{
		viewer.Connected{}, viewer.FirstPacket{}, viewer.Connected{}, viewer.FrameReceived{}, viewer.FrameReceived{},
	} {
		w.viewerEvent(e)
	}
	if d := cmp.Diff([]Moment{Requested, Connected, FirstPacket, FirstFrame}, told); d != "" {
		t.Errorf("moments (-want +got):\n%s", d)
	}
}

func TestMediaOfNothingIsAbsent(t *testing.T) {
	want := &record.Media{FramesSent: 3}
	if d := cmp.Diff(want, newWatch(Trial{Media: time.Second}).media(time.Unix(9, 0), media.Quality{}, 3)); d != "" {
		t.Errorf("media without a frame (-want +got):\n%s", d)
	}
}

// A picture that stands still until the trial's end has the longest gap there; one that is whole has ended.
func TestStandstillAtTheEndCounts(t *testing.T) {
	start := time.Unix(0, 0)
	w := newWatch(Trial{Media: 80 * time.Millisecond})
	w.got = []media.Frame{{Complete: start}}
	for _, want := range []float64{9, 0.04} {
		if got := w.media(start.Add(9*time.Second), media.Quality{}, 2).GapS; got == nil || *got != want {
			t.Errorf("gap %v with %d of %d frames, want %v", got, len(w.got), w.frames, want)
		}
		w.got = append(w.got, media.Frame{Index: 1, Complete: start.Add(40 * time.Millisecond)})
	}
}
