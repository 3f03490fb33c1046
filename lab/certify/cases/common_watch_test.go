package cases

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	clips "github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// clipFrames are the embedded clip's frames as a viewer gets them, numbered from 1, one each 30th of a second from a time on.
func clipFrames(n int, from time.Time) (frames []stage.Frame) {
	units := clips.EmbeddedClip().AccessUnits
	for i := range n {
		b := units[i%len(units)].Data
		sum := sha256.Sum256(b)
		frames = append(frames, stage.Frame{N: i + 1, T: from.Add(time.Duration(i) * time.Second / stage.SourceRate), Size: len(b),
			SHA256: hex.EncodeToString(sum[:])})
	}
	return frames
}

func TestCompare(t *testing.T) {
	all := clipFrames(250, time.Unix(1000, 0))
	damaged := slices.Clone(all)
	damaged[7].SHA256 = hex.EncodeToString(make([]byte, 32))
	short := slices.Clone(all)
	short[7].Size--
	for name, c := range map[string]struct {
		frames []stage.Frame
		want   order
	}{
		"all, more than once round":    {all, order{Intact: 250}},
		"from the middle on":           {all[40:], order{Intact: 210}},
		"none":                         {nil, order{}},
		"one damaged":                  {damaged, order{Intact: 249, Damaged: 1}},
		"one of another size":          {short, order{Intact: 249, Damaged: 1}},
		"three missing":                {append(slices.Clone(all[:50]), all[53:]...), order{Intact: 247, Missing: 3}},
		"one twice":                    {append(slices.Clone(all[:50]), all[49:]...), order{Intact: 251, Repeated: 1}},
		"two that have changed places": {swapped(all, 20), order{Intact: 250, Missing: 1 + 1, Repeated: 1}},
	} {
		got := compare(all[:len(clips.EmbeddedClip().AccessUnits)], c.frames)
		if clean := got.Damaged+got.Missing+got.Repeated == 0; clean != (got.First == "") {
			t.Errorf("%s: the first fault is %q of %+v", name, got.First, got)
		}
		got.First = ""
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func swapped(frames []stage.Frame, i int) []stage.Frame {
	c := slices.Clone(frames)
	c[i], c[i+1] = c[i+1], c[i]
	return c
}

// What was held back and comes in one go, and a key frame now and then, is no stream.
func TestFlows(t *testing.T) {
	t0 := time.Unix(1000, 0)
	steady := clipFrames(300, t0)
	if at, ok := flows(steady, t0.Add(2*time.Second), 15); !ok || at.Sub(t0) > 2100*time.Millisecond {
		t.Errorf("a stream flows from %v on (%v)", at.Sub(t0), ok)
	}
	var burst []stage.Frame
	for i := range 60 {
		burst = append(burst, stage.Frame{N: i + 1, T: t0.Add(time.Duration(i) * 5 * time.Millisecond)})
	}
	for i := range 20 {
		burst = append(burst, stage.Frame{N: 60 + i, T: t0.Add(time.Duration(i+1) * time.Second)})
	}
	if at, ok := flows(burst, t0, 15); ok {
		t.Errorf("what came in one go flows from %v on", at.Sub(t0))
	}
	late := append(slices.Clone(burst), clipFrames(120, t0.Add(21*time.Second))...)
	if at, ok := flows(late, t0, 15); !ok || at.Sub(t0) < 19*time.Second || at.Sub(t0) > 21*time.Second {
		t.Errorf("the stream comes again from %v on (%v)", at.Sub(t0), ok)
	}
	if _, ok := flows(steady[:60], t0, 15); ok {
		t.Error("two seconds of a stream are enough")
	}
}

// A viewer that asked anew gets the source from its beginning.
func TestBlowBack(t *testing.T) {
	t0 := time.Unix(1000, 0)
	b := blow{Began: t0.Add(3 * time.Second), Over: t0.Add(5 * time.Second)}
	before := clipFrames(90, t0)
	on := clipFrames(150, t0.Add(6*time.Second))
	for i := range on {
		on[i].N += 90
	}
	at, anew, ok := b.back(append(slices.Clone(before), on...))
	if !ok || anew || b.Before != 30 || b.Last != 90 || at.Sub(b.Over) != time.Second {
		t.Errorf("back after %v (%v), anew %v, before %d, last %d", at.Sub(b.Over), ok, anew, b.Before, b.Last)
	}
	if _, anew, ok = b.back(append(slices.Clone(before), clipFrames(150, t0.Add(6*time.Second))...)); !ok || !anew {
		t.Errorf("a new stream: %v, asked anew %v", ok, anew)
	}
	if _, _, ok = b.back(before); ok {
		t.Error("nothing came, and that is a stream")
	}
}

// What was to come follows from the source's rate and the time, whatever the camera says: it may say more, and not less.
func TestAsked(t *testing.T) {
	all := clipFrames(400, time.Unix(1000, 0))
	for name, c := range map[string]struct {
		frames, given []stage.Frame
		want          int
	}{
		"a camera that says all":         {all[2:100], all[:157], 155},
		"one that says nothing":          {all[2:100], nil, 120},
		"one that says that it sent few": {all[2:22], all[:22], 120},
		"one that stops, and says so":    {all[:60], all[:60], 120},
		"more than there were to come":   {all[:160], nil, 160},
	} {
		w := watched{frames: c.frames, given: c.given, from: c.frames[0].T, to: c.frames[len(c.frames)-1].T, on: 5 * time.Second}
		if got := w.asked(30); got != c.want {
			t.Errorf("%s: %d were to come, want %d", name, got, c.want)
		}
	}
}

// Who shows the same seconds over and over has shown them once.
func TestFresh(t *testing.T) {
	t0 := time.Unix(1000, 0)
	clip := clipFrames(100, t0) // 3.3 s
	for i := range clip {
		clip[i].SHA256 = fmt.Sprintf("%064x", i)
	}
	shown := func(n, of int) (frames []stage.Frame) {
		for i := range n {
			f := clip[i%of]
			f.T = t0.Add(time.Duration(i) * time.Second / stage.SourceRate)
			frames = append(frames, f)
		}
		return frames
	}
	damaged := shown(100, 100)
	damaged[7].Size++
	for name, c := range map[string]struct {
		frames []stage.Frame
		want   int
	}{
		"the source, thrice": {shown(300, 100), 300}, "its first second, over and over": {shown(300, 30), 30}, "one damaged": {damaged, 99},
	} {
		if got := fresh(clip, c.frames); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestAllowance(t *testing.T) {
	for _, c := range []struct {
		idle  int
		watch time.Duration
		want  int64
	}{{60_000, time.Hour, 60_000}, {60_000, 6 * time.Second, 4096}, {60_000_000, 6 * time.Second, 100_000}, {0, time.Hour, 4096}} {
		if got := allowance(c.idle, c.watch); got != c.want {
			t.Errorf("%d bytes an hour, %v: %d, want %d", c.idle, c.watch, got, c.want)
		}
	}
}
