package camera

import (
	"io"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// gauge is an estimator that says what the test wants.
type gauge struct {
	target  int
	sent    map[uint16]int
	reports int
	losses  int
	closed  bool
}

func (g *gauge) Sent(_ time.Time, seq uint16, size int) { g.sent[seq] = size }
func (g *gauge) Feedback(_ time.Time, p *rtcp.TransportLayerCC) {
	g.reports += int(p.PacketStatusCount)
}
func (g *gauge) Lost(time.Time, float64) { g.losses++ }
func (g *gauge) Target() int             { return g.target }
func (g *gauge) Close()                  { g.closed = true }

// tenth is a stored source of 800 kbit/s: a key frame of 28 kB a second and nine pictures of 8 kB.
type tenth struct{ i int }

func (s *tenth) Next() (media.AccessUnit, error) {
	if s.i >= 10_000 {
		return media.AccessUnit{}, io.EOF
	}
	size := 8000
	if s.i%10 == 0 {
		size = 28000
	}
	au := unit(time.Time{}, s.i%10 == 0, size-5)
	au.Captured, au.Index, au.PTS = time.Time{}, s.i, time.Duration(s.i)*100*time.Millisecond
	s.i++
	return au, nil
}

// gauged is a camera whose only viewer has named its path, with that viewer's receiver and the estimators that were made.
type gauged struct {
	t      testing.TB
	c      *Camera
	g      *guest
	r      *media.Receiver
	now    time.Time
	gauges []*gauge
	target int // of new gauges
	said   uint32
	events []QualityChanged
	frames []media.Frame
}

func newGauged(t testing.TB, source media.Source) *gauged {
	x := &gauged{t: t, now: epoch}
	x.c = newCamera(t, func(cfg *Config) {
		cfg.Source = func() media.Source { return source }
		cfg.Estimator = func() media.Estimator {
			x.gauges = append(x.gauges, &gauge{target: x.target, sent: map[uint16]int{}})
			return x.gauges[len(x.gauges)-1]
		}
	})
	x.g = newGuest(t, x.c, 10, wire.FlagDirect)
	ps, err := x.g.introduce(epoch, x.g.introduction(1, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	x.g.finish(ps)
	if x.r, err = media.NewReceiver(media.ReceiverConfig{Keys: media.NewKeys(x.g.sess.Export), ReportEvery: 200 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	x.take(ps)
	x.say(&wire.Use{Sequence: 1, Next: 1})
	return x
}

func (x *gauged) say(m wire.Message) {
	x.t.Helper()
	b, err := wire.Marshal(m)
	if err != nil {
		x.t.Fatal(err)
	}
	x.hand(x.g.sess.Seal(nil, b))
}

// hand gives the camera a datagram of the viewer's.
func (x *gauged) hand(b []byte) {
	x.c.HandlePacket(x.now, seen, local, b)
	x.drain()
}

func (x *gauged) drain() {
	out := x.c.Ready()
	for _, e := range out.Events {
		if q, ok := e.(QualityChanged); ok {
			x.events = append(x.events, q)
		}
	}
	x.take(out.Packets)
}

// take gives the viewer what the camera has sent. Its reports go back at once.
func (x *gauged) take(ps []core.Packet) {
	x.t.Helper()
	for _, p := range ps {
		if k := wire.Classify(p.B); k == wire.RTP || k == wire.RTCP {
			if err := x.r.HandlePacket(x.now, append([]byte(nil), p.B...)); err != nil {
				x.t.Fatal(err)
			}
		}
	}
	x.frames = append(x.frames, x.r.Ready().Frames...)
}

// run lets time pass, and returns the access units and their bytes that have come.
func (x *gauged) run(d time.Duration) (frames, bytes int) {
	before := len(x.frames)
	for end := x.now.Add(d); x.now.Before(end); {
		x.now = x.now.Add(10 * time.Millisecond)
		x.c.HandleTimeout(x.now)
		x.drain()
		x.r.HandleTimeout(x.now)
		for _, b := range x.r.Ready().RTCP {
			x.hand(append([]byte(nil), b...))
		}
		if x.said++; x.said%500 == 0 {
			x.say(&wire.Consent{Sequence: x.said})
		}
	}
	for _, f := range x.frames[before:] {
		frames++
		bytes += len(f.Data)
	}
	return frames, bytes
}

func (x *gauged) setTarget(bps int) { x.gauges[len(x.gauges)-1].target = bps }

// Without an estimate everything is sent; the estimator hears of each packet by the number that it bears, once.
func TestEstimatorHearsOfEachPacket(t *testing.T) {
	x := newGauged(t, &tenth{})
	if n, _ := x.run(3 * time.Second); n < 29 {
		t.Errorf("%d frames in 3 s", n)
	}
	if len(x.gauges) != 1 {
		t.Fatalf("%d estimators", len(x.gauges))
	}
	g := x.gauges[0]
	if got, want := len(g.sent), int(x.r.Quality().Received); got != want || g.reports < want*9/10 || g.reports > want || g.losses < 10 {
		t.Errorf("told of %d packets sent, %d came; %d in reports, %d receiver reports", got, want, g.reports, g.losses)
	}
	total := 0
	for _, n := range g.sent {
		total += n
	}
	if total != int(x.r.Quality().Bytes) {
		t.Errorf("told of %d bytes, %d came", total, x.r.Quality().Bytes)
	}
	if v := x.c.Serving()[0]; v.Target != 0 || v.Thinned != 0 || v.Quality != Full {
		t.Errorf("serving %+v", v)
	}
}

// What the path does not carry is left out from each group's end, then all but key frames, then key frames too; and comes back.
func TestThinning(t *testing.T) {
	x := newGauged(t, &tenth{})
	x.target = 4_000_000
	x.setTarget(4_000_000)
	if n, _ := x.run(5 * time.Second); n < 49 || len(x.events) != 0 {
		t.Errorf("a wide path gets %d frames, events %v", n, x.events)
	}
	for _, step := range []struct {
		target  int
		frames  [2]int // in 20 s
		quality Quality
	}{
		{900_000, [2]int{198, 200}, Full},
		{600_000, [2]int{125, 155}, Thinned},
		{160_000, [2]int{12, 20}, KeyFrames},
		{90_000, [2]int{6, 10}, KeyFrames},
		{900_000, [2]int{198, 200}, Full},
	} {
		x.setTarget(step.target)
		x.run(5 * time.Second)
		sent := x.c.Stats().FramesSent
		n, bytes := x.run(20 * time.Second)
		if n < step.frames[0] || n > step.frames[1] || int64(n) < x.c.Stats().FramesSent-sent-1 {
			t.Errorf("at %d bit/s: %d frames came", step.target, n)
		}
		if rate := bytes * 8 / 20; rate > step.target*21/20 && rate > step.target+8*1500 {
			t.Errorf("at %d bit/s: %d bit/s came", step.target, rate)
		}
		if v := x.c.Serving()[0]; v.Quality != step.quality || v.Target != step.target {
			t.Errorf("at %d bit/s: %v, %d", step.target, v.Quality, v.Target)
		}
	}
	for i, f := range x.frames { // nothing that refers to what is missing
		if i > 0 && !f.Key && f.Index != x.frames[i-1].Index+1 && f.PTS-x.frames[i-1].PTS > 101*time.Millisecond {
			t.Fatalf("a picture at %v follows one at %v", f.PTS, x.frames[i-1].PTS)
		}
	}
	var got []Quality
	for _, e := range x.events {
		if len(got) == 0 || got[len(got)-1] != e.Quality {
			got = append(got, e.Quality)
		}
	}
	if len(got) < 3 || got[0] != Thinned || got[len(got)-1] != Full || x.c.Stats().Thinned == 0 {
		t.Errorf("told of %v, %d left out", got, x.c.Stats().Thinned)
	}
}

// Another path is another estimate.
func TestAnotherPathIsMeasuredAnew(t *testing.T) {
	x := newGauged(t, &tenth{})
	x.run(time.Second)
	x.c.begin()
	x.c.viewers[0].moveTo(x.now, punch.To(elsewhere), 1)
	x.drain()
	if len(x.gauges) != 2 || !x.gauges[0].closed || x.gauges[1].closed {
		t.Fatalf("%d estimators", len(x.gauges))
	}
	x.run(time.Second)
	if len(x.gauges[1].sent) == 0 {
		t.Error("the second hears of nothing")
	}
	x.say(&wire.Bye{})
	if !x.gauges[1].closed {
		t.Error("it outlives its viewer")
	}
}

// dial is a source whose bitrate can be set.
type dial struct {
	tenth
	floor int
	asked []int
}

func (d *dial) SetTarget(bps int) { d.asked = append(d.asked, bps) }
func (d *dial) Floor() int        { return d.floor }

// An adaptive source is asked for what the path carries, not for each change, and never for less than it can; what is less then is
// thinned.
func TestAdaptiveSources(t *testing.T) {
	d := &dial{floor: 700_000}
	x := newGauged(t, d)
	x.run(time.Second)
	for i := range 10 { // within 5 %
		x.setTarget(2_000_000 + i*8_000)
		x.run(300 * time.Millisecond)
	}
	x.setTarget(1_000_000)
	x.run(3 * time.Second)
	if len(d.asked) != 2 || d.asked[0] != 1_800_000 || d.asked[1] != 900_000 || x.c.Stats().Thinned != 0 {
		t.Errorf("asked for %v, %d left out", d.asked, x.c.Stats().Thinned)
	}
	x.setTarget(500_000)
	x.run(10 * time.Second)
	if len(d.asked) != 3 || d.asked[2] != d.floor || x.c.Stats().Thinned == 0 {
		t.Errorf("asked for %v, %d left out", d.asked, x.c.Stats().Thinned)
	}
}

// A group that was cut stays cut, even if the path recovers meanwhile, and what a wide path left over is not spent on a narrow one.
func TestTheAllowance(t *testing.T) {
	x := newGauged(t, &tenth{})
	v := x.c.viewers[0]
	q := &v.stream.quality
	now := epoch
	target := func(bps int) {
		x.setTarget(bps)
		v.estimate(now, media.Feedback{Report: true})
	}
	give := func(key bool, size int) bool {
		now = now.Add(40 * time.Millisecond)
		return v.affords(now, now, media.AccessUnit{Key: key, Data: make([]byte, size)})
	}
	target(8_000_000) // a megabyte a second
	if !give(true, 1_500_000) || give(false, 900_000) || give(false, 10) {
		t.Error("a picture that is too large is sent, or one after it")
	}
	target(80_000_000)
	if give(false, 10) || !give(true, 10) || !give(false, 10) {
		t.Error("a group goes on in its midst, or not with the next key frame")
	}
	target(80_000)
	if q.spare > 10_000 || give(false, 21_000) {
		t.Errorf("%v bytes are left of a wide path", q.spare)
	}
}

// However the estimate jumps, an encoder is not asked more than four times a second.
func TestEncodersAreNotHurried(t *testing.T) {
	d := &dial{floor: 1000}
	x := newGauged(t, d)
	x.run(time.Second)
	v := x.c.viewers[0]
	for i := range 100 {
		x.setTarget(1_000_000 * (1 + i%2))
		v.estimate(x.now.Add(time.Duration(i)*20*time.Millisecond), media.Feedback{Report: true})
	}
	if len(d.asked) < 2 || len(d.asked) > 9 {
		t.Errorf("asked %d times in 2 s", len(d.asked))
	}
}

// The transport-wide number of a packet is its RTP sequence number, also across 2^16.
func TestNumbersWrap(t *testing.T) {
	q := quality{estimator: &gauge{sent: map[uint16]int{}}}
	q.sent(epoch, 1<<16+1, [][]byte{make([]byte, 1), make([]byte, 2), make([]byte, 3)})
	if g := q.estimator.(*gauge); g.sent[0xFFFF] != 1 || g.sent[0] != 2 || g.sent[1] != 3 {
		t.Errorf("sent %v", g.sent)
	}
}
