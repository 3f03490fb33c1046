package stack

import (
	"bytes"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
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
	w := watchOf(Trial{Media: time.Second})
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

// watchOf follows a trial whose strategy may end direct.
func watchOf(t Trial) *watch { return newWatch(t, punch.Policy{Direct: true, Relay: true}, func() {}) }

// A trial whose video came by the relay is not over before the search for a direct path is.
func TestTrialWaitsForTheSearch(t *testing.T) {
	last := viewer.FrameReceived{Frame: media.Frame{Index: connectFrames - 1}}
	over := func(w *watch) bool {
		select {
		case <-w.over:
			return true
		default:
			return false
		}
	}
	w := watchOf(Trial{})
	for _, e := range []any{viewer.PathConfirmed{Path: punch.ViaRelay}, last} {
		w.viewerEvent(e)
	}
	if over(w) {
		t.Error("it is over while a direct path is looked for")
	}
	if w.viewerEvent(viewer.DirectFailed{}); !over(w) {
		t.Error("it is not over although the search is")
	}
	w = watchOf(Trial{})
	w.viewerEvent(last)
	if w.viewerEvent(viewer.PathConfirmed{Path: punch.To(netip.MustParseAddrPort("192.0.2.1:1"))}); !over(w) {
		t.Error("it is not over although the direct path is there")
	}
	w = newWatch(Trial{}, punch.Policy{Relay: true}, func() {})
	w.viewerEvent(viewer.PathConfirmed{Path: punch.ViaRelay})
	if w.viewerEvent(last); !over(w) {
		t.Error("it waits for a search that nobody makes")
	}
}

// A trial whose whole video came by the relay is relayed, also where a path that is not proved yet was in use at its end.
func TestWhatCameByTheRelayIsRelayed(t *testing.T) {
	trying := viewer.Stats{Connection: viewer.Connection{Path: punch.To(netip.MustParseAddrPort("192.0.2.1:1"))}}
	w := watchOf(Trial{})
	w.viewerEvent(viewer.FrameReceived{Frame: media.Frame{Index: connectFrames - 1}})
	if o := w.outcome(trying); o != record.Failed {
		t.Errorf("outcome %s though nothing of the viewer's ever reached the camera", o)
	}
	w.viewerEvent(viewer.PathConfirmed{Path: punch.ViaRelay})
	if o, cause := w.outcome(trying), w.cause(trying); o != record.Relayed || cause == "" {
		t.Errorf("outcome %s, cause %q", o, cause)
	}
	w.got = nil
	if o := w.outcome(trying); o != record.Failed {
		t.Errorf("outcome %s without a frame", o)
	}
}

func TestEachMomentIsToldOnce(t *testing.T) {
	var told []Moment
	w := watchOf(Trial{Reached: func(m Moment) { told = append(told, m) }})
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
	if d := cmp.Diff(want, watchOf(Trial{Media: time.Second}).media(time.Unix(9, 0), media.Quality{}, 3)); d != "" {
		t.Errorf("media without a frame (-want +got):\n%s", d)
	}
}

// A picture that stands still until the trial's end has the longest gap there, as long as there is video to come; one that
// was played to its end has not.
func TestStandstillAtTheEndCounts(t *testing.T) {
	start := time.Unix(0, 0)
	frame := func(i int) media.Frame {
		at := start.Add(time.Duration(i) * 40 * time.Millisecond)
		return media.Frame{Index: i, Captured: at, Complete: at}
	}
	for _, tt := range []struct {
		got  []media.Frame
		end  time.Duration
		want float64
	}{
		{[]media.Frame{frame(0)}, 900 * time.Millisecond, 0.9},
		{[]media.Frame{frame(0)}, 9 * time.Second, 1.96}, // frame 49 was due then
		{[]media.Frame{frame(0), frame(1), frame(3), frame(48)}, 9 * time.Second, 1.8},
		{[]media.Frame{frame(0), frame(1), frame(3), frame(49)}, 9 * time.Second, 1.84},
		{[]media.Frame{frame(48), frame(49)}, 9 * time.Second, 0.04},
	} {
		w := watchOf(Trial{Media: 2 * time.Second})
		w.got = tt.got
		if got := w.media(start.Add(tt.end), media.Quality{}, 50).GapS; math.Abs(*got-tt.want) > 1e-9 {
			t.Errorf("%d frames, ended after %v: gap %v, want %v s", len(tt.got), tt.end, *got, tt.want)
		}
	}
}

// A trial whose last frame is here does not wait for those that are lost.
func TestLastFrameEndsTheTrial(t *testing.T) {
	w := watchOf(Trial{Media: 80 * time.Millisecond})
	w.search = false
	w.viewerEvent(viewer.PathConfirmed{})
	w.viewerEvent(viewer.FrameReceived{Frame: media.Frame{Index: 0}})
	if w.ended() {
		t.Error("ended with the first of two frames")
	}
	w = watchOf(Trial{Media: 80 * time.Millisecond})
	w.search = false
	w.viewerEvent(viewer.FrameReceived{Frame: media.Frame{Index: 1}})
	if w.ended() {
		t.Error("ended before the path was confirmed")
	}
	w.viewerEvent(viewer.PathConfirmed{})
	select {
	case <-w.over:
	default:
		t.Error("waits for a frame that is lost")
	}
}
