package camera

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/wire"
)

// feed is a live source: what the test puts in, and nothing else.
type feed struct {
	units  []media.AccessUnit
	index  int
	err    error // in place of ErrPending
	asked  int   // for key frames
	closed int
}

func (f *feed) Next() (media.AccessUnit, error) {
	switch {
	case len(f.units) > 0:
		au := f.units[0]
		f.units = f.units[1:]
		return au, nil
	case f.err != nil:
		return media.AccessUnit{}, f.err
	}
	return media.AccessUnit{}, media.ErrPending
}

func (f *feed) RequestKeyFrame() { f.asked++ }
func (f *feed) Close() error     { f.closed++; return nil }

// unit is a picture of so many bytes taken at a time.
func unit(at time.Time, key bool, size int) media.AccessUnit {
	data := append([]byte{0, 0, 0, 1, 0x65}, bytes.Repeat([]byte{7}, size)...)
	return media.AccessUnit{PTS: at.Sub(epoch.Add(-time.Minute)), Key: key, Captured: at, Data: data}
}

// put adds pictures taken at times after epoch.
func (f *feed) put(at time.Duration, size int) {
	f.units = append(f.units, unit(epoch.Add(at), f.index == 0, size))
	f.index++
}

// watching is a camera with a live source and a viewer that was heard and named its path.
func watching(t testing.TB, f *feed, change func(*Config)) (*Camera, *guest, []core.Packet) {
	t.Helper()
	c := newCamera(t, func(cfg *Config) {
		cfg.Source = func() media.Source { return f }
		if change != nil {
			change(cfg)
		}
	})
	g := newGuest(t, c, 10, wire.FlagDirect)
	ps, err := g.introduce(epoch, g.introduction(1, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	g.finish(ps)
	return c, g, append(ps, g.send(epoch, seen, &wire.Use{Sequence: 1, Next: 1})...)
}

func rtp(ps []core.Packet) int { return kinds(ps)[seen][wire.RTP] }

// A live picture leaves in the call that says that it is there, however late the source begins.
func TestLivePicturesLeaveAtOnce(t *testing.T) {
	f := &feed{}
	c, g, ps := watching(t, f, nil)
	if n := rtp(ps); n != 0 || c.Stats().Streams != 0 {
		t.Fatalf("%d packets of nothing", n)
	}
	now := epoch
	for i, at := range []time.Duration{5 * time.Second, 5100 * time.Millisecond, 5101 * time.Millisecond, 9 * time.Second} {
		g.send(now, seen, &wire.Consent{Sequence: uint32(i) + 1})
		if n := rtp(advance(c, &now, epoch.Add(at).Sub(now))); n != 0 {
			t.Errorf("before picture %d: %d packets", i, n)
		}
		f.put(at, 3000)
		c.HandleFrames(now)
		if n := rtp(packets(c)); n != 3 {
			t.Errorf("picture %d: %d packets at once", i, n)
		}
	}
	if s := c.Stats(); s.FramesSent != 4 || s.Streams != 1 {
		t.Errorf("stats: %d frames, %d streams", s.FramesSent, s.Streams)
	}
	g.send(now, seen, &wire.Bye{})
	if f.closed != 1 {
		t.Errorf("the source was closed %d times", f.closed)
	}
	f.put(10*time.Second, 3000)
	c.HandleFrames(now)
	if n := len(packets(c)); n != 0 {
		t.Errorf("%d packets for nobody", n)
	}
}

// What the source had before the viewer came does not come in one burst; what is taken since then waits for nothing but that.
func TestBacklogIsSpread(t *testing.T) {
	f := &feed{}
	for i := range 25 {
		f.put(time.Duration(i-25)*40*time.Millisecond, 9000)
	}
	c, _, ps := watching(t, f, nil)
	first := rtp(ps)
	if first < 8 || first > 9 {
		t.Errorf("%d packets at once, want a picture's", first)
	}
	now, n, spent := epoch, first, time.Duration(0)
	for n < 25*8 && spent < time.Second {
		n += rtp(advance(c, &now, 10*time.Millisecond))
		if spent += 10 * time.Millisecond; n-first > 8*int(spent/(10*time.Millisecond))+16 {
			t.Fatalf("%d packets within %v", n, spent)
		}
	}
	if spent < 200*time.Millisecond || spent > 300*time.Millisecond {
		t.Errorf("the backlog took %v", spent)
	}
	at := now.Sub(epoch)
	f.put(at, 9000)
	f.put(at+time.Millisecond, 9000)
	c.HandleFrames(now)
	if n := rtp(packets(c)); n < 16 {
		t.Errorf("%d packets of two new pictures", n)
	}
}

// A source that stands still is no reason to doubt the way; a viewer that is silent while pictures leave is.
func TestStandingStillRaisesNoDoubt(t *testing.T) {
	f := &feed{}
	f.put(0, 3000)
	c, g, _ := watching(t, f, nil)
	v := c.viewers[0]
	now := epoch.Add(100 * time.Millisecond)
	g.send(now, seen, &wire.Consent{Sequence: 1})
	advance(c, &now, 5*time.Second)
	if v.suspicious || !v.doubt().IsZero() {
		t.Errorf("doubted at %v though nothing was sent", v.doubt().Sub(epoch))
	}
	f.put(now.Sub(epoch), 3000)
	c.HandleFrames(now)
	packets(c)
	if want := now.Add(viewerSilence); !v.doubt().Equal(want) {
		t.Errorf("doubted at %v, want %v", v.doubt().Sub(epoch), want.Sub(epoch))
	}
	advance(c, &now, viewerSilence)
	if !v.suspicious {
		t.Error("not doubted")
	}
}

// A source that begins again at its last key frame is sent with times that grow.
func TestTimesGrow(t *testing.T) {
	f := &feed{}
	c, g, ps := watching(t, f, nil)
	r, err := media.NewReceiver(media.ReceiverConfig{Keys: media.NewKeys(g.sess.Export)})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Duration{0, 40, 80, 0, 40, 80, 120} {
		f.units = append(f.units, unit(epoch.Add(at*time.Millisecond), at == 0, 500))
	}
	c.HandleFrames(epoch.Add(120 * time.Millisecond))
	var got []media.Frame
	now := epoch.Add(120 * time.Millisecond)
	for _, p := range append(append(ps, packets(c)...), advance(c, &now, time.Second)...) {
		if wire.Classify(p.B) != wire.RTP {
			continue
		}
		if err := r.HandlePacket(now, p.B); err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Ready().Frames...)
	}
	if len(got) != 7 || len(c.Stats().Dropped) != 0 {
		t.Fatalf("%d frames, dropped %v", len(got), c.Stats().Dropped)
	}
	for i := 1; i < len(got); i++ {
		if got[i].PTS <= got[i-1].PTS {
			t.Errorf("frame %d at %v after %v", i, got[i].PTS, got[i-1].PTS)
		}
	}
	if d := got[6].PTS - got[2].PTS; d < 35*time.Millisecond {
		t.Errorf("the last is %v behind", d)
	}
	if !got[5].Captured.Equal(epoch.Add(80 * time.Millisecond)) {
		t.Errorf("captured %v", got[5].Captured)
	}
}

func TestSourcesEnd(t *testing.T) {
	for _, end := range []error{io.EOF, errors.New("the lens fell off")} {
		f := &feed{err: end}
		f.put(0, 3000)
		c, _, ps := watching(t, f, nil)
		if rtp(ps) != 3 || !c.viewers[0].stream.ended || (c.Stats().Dropped["the lens fell off"] > 0) != (end != io.EOF) {
			t.Errorf("%v: %d packets, dropped %v", end, rtp(ps), c.Stats().Dropped)
		}
		c.Close(epoch)
		if f.closed != 1 {
			t.Errorf("closed %d times", f.closed)
		}
	}
}

// A source that can is asked for key frames, twice a second at most.
func TestKeyFramesAreAskedFor(t *testing.T) {
	f := &feed{}
	f.put(0, 3000)
	c, _, _ := watching(t, f, nil)
	for i := range 20 {
		c.begin()
		c.viewers[0].keyFrame(epoch.Add(time.Duration(i) * 100 * time.Millisecond))
	}
	if f.asked != 4 {
		t.Errorf("asked %d times in 2 s", f.asked)
	}
}

// long is a stored source of long groups of pictures.
type long struct{ i, gop int }

func (l *long) Next() (media.AccessUnit, error) {
	au := media.AccessUnit{Index: l.i, PTS: time.Duration(l.i) * 40 * time.Millisecond, Key: l.i%l.gop == 0}
	au.Data = append([]byte{0, 0, 0, 1, 0x65}, bytes.Repeat([]byte{byte(l.i) + 1}, 100)...)
	l.i++
	return au, nil
}

// Of a stored source the last group of pictures comes again, in its pace, and then what follows it; a short one is waited for.
func TestTheLastGroupComesAgain(t *testing.T) {
	for _, gop := range []int{1000, 25} {
		c := newCamera(t, func(cfg *Config) { cfg.Source = func() media.Source { return &long{gop: gop} } })
		g := newGuest(t, c, 10, wire.FlagDirect)
		ps, err := g.introduce(epoch, g.introduction(1, 1, 0))
		if err != nil {
			t.Fatal(err)
		}
		g.finish(ps)
		r, err := media.NewReceiver(media.ReceiverConfig{Keys: media.NewKeys(g.sess.Export)})
		if err != nil {
			t.Fatal(err)
		}
		now := epoch
		ps = append(ps, g.send(now, seen, &wire.Use{Sequence: 1, Next: 1})...)
		ps = append(ps, advance(c, &now, 3*time.Second)...) // pictures 0 to 75 are sent, 76 is next
		for range 2 {                                       // again when it has come again
			for range 3 {
				c.begin()
				c.viewers[0].keyFrame(now)
				ps = append(ps, packets(c)...)
			}
			ps = append(ps, advance(c, &now, 3500*time.Millisecond)...)
		}
		var got []media.Frame
		for _, p := range ps {
			if wire.Classify(p.B) == wire.RTP {
				if err := r.HandlePacket(now, p.B); err != nil {
					t.Fatal(err)
				}
				got = append(got, r.Ready().Frames...)
			}
		}
		if len(got) != 251 {
			t.Fatalf("%d frames in 10 s", len(got))
		}
		for i, f := range got {
			want := i
			switch {
			case gop == 25:
			case i >= 163: // 87 were sent since
				want = i - 163
			case i >= 76:
				want = i - 76
			}
			if f.Data[5] != byte(want)+1 || i > 0 && (f.PTS-got[i-1].PTS-40*time.Millisecond).Abs() > 100*time.Microsecond {
				t.Fatalf("groups of %d: frame %d shows %d, want %d; %v after the last", gop, i, f.Data[5]-1, want, f.PTS-got[max(i-1, 0)].PTS)
			}
		}
	}
}
