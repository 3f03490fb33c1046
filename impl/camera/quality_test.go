package camera

import (
	"io"
	"net/netip"
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

// tenth is a stored source of 800 kbit/s: a key frame of 28 kB a second and nine pictures of 8 kB. Where still is set, they are of 60 and
// 1 kB: 550 kbit/s.
type tenth struct {
	i     int
	still bool
}

func (s *tenth) Next() (media.AccessUnit, error) {
	if s.i >= 10_000 {
		return media.AccessUnit{}, io.EOF
	}
	size := 8000
	if s.i%10 == 0 {
		size = 28000
	}
	if s.still {
		size = 1000 + size/28000*59_000
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
	lose   bool // all media
}

func newGauged(t testing.TB, source media.Source) *gauged { return newGaugedAt(t, source, 0) }

// newGaugedAt has estimators that begin with a target.
func newGaugedAt(t testing.TB, source media.Source, target int) *gauged {
	x := &gauged{t: t, now: epoch, target: target}
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
		if k := wire.Classify(p.B); (k == wire.RTP || k == wire.RTCP) && !x.lose {
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

// Another path is another estimate; one that the media comes back to soon is as it was.
func TestEachPathIsMeasured(t *testing.T) {
	x := newGauged(t, &tenth{})
	third := netip.AddrPortFrom(elsewhere.Addr(), 40000)
	closed := func() (n int) {
		for _, g := range x.gauges {
			if g.closed {
				n++
			}
		}
		return n
	}
	move := func(to netip.AddrPort) {
		x.c.begin()
		x.c.viewers[0].moveTo(x.now, punch.To(to), 1)
		x.drain()
		x.run(time.Second)
	}
	x.run(time.Second)
	for i, step := range []struct {
		to           netip.AddrPort
		made, closed int
		used         int // of the estimators
	}{{elsewhere, 2, 0, 1}, {seen, 2, 0, 0}, {elsewhere, 2, 0, 1}, {third, 3, 1, 2}, {elsewhere, 3, 1, 1}, {seen, 4, 2, 3}} {
		for _, g := range x.gauges {
			clear(g.sent)
		}
		move(step.to)
		if len(x.gauges) != step.made || closed() != step.closed || len(x.gauges[step.used].sent) == 0 {
			t.Errorf("step %d: %d estimators, %d closed", i, len(x.gauges), closed())
		}
		for k, g := range x.gauges {
			if k != step.used && len(g.sent) > 0 {
				t.Errorf("step %d: estimator %d hears of %d packets", i, k, len(g.sent))
			}
		}
	}
	x.run(parkLife)
	move(elsewhere)
	if len(x.gauges) != 5 {
		t.Error("an old estimate is taken up again")
	}
	x.say(&wire.Bye{})
	if closed() != 5 {
		t.Errorf("%d estimators outlive their viewer", 5-closed())
	}
}

// A path that nobody has measured is not taken to carry much more than the one before, for a while.
func TestNewPathsAreTriedGently(t *testing.T) {
	x := newGauged(t, &tenth{})
	x.setTarget(900_000)
	x.run(time.Second)
	x.target = 5_000_000
	x.c.begin()
	x.c.viewers[0].moveTo(x.now, punch.To(elsewhere), 1)
	x.run(newPath - 100*time.Millisecond)
	if v := x.c.Serving()[0]; v.Target != 1_350_000 {
		t.Errorf("at first it is taken to carry %d", v.Target)
	}
	x.run(500 * time.Millisecond)
	if v := x.c.Serving()[0]; v.Target != 5_000_000 {
		t.Errorf("then %d", v.Target)
	}
}

// Where the path's bitrate is known, a large picture does not leave at once, but soon, and in order.
func TestPacketsArePaced(t *testing.T) {
	x := newGauged(t, &tenth{})
	x.setTarget(1_600_000) // 2.4 Mbit/s: 3 kB in 10 ms
	x.run(950 * time.Millisecond)
	for x.now.Before(epoch.Add(1400 * time.Millisecond)) {
		before := x.r.Quality()
		x.run(10 * time.Millisecond)
		if n := x.r.Quality().Bytes - before.Bytes; n > 3_000*3/2+2*1200 {
			t.Errorf("%d bytes in 10 ms", n)
		}
	}
	q := x.r.Quality()
	if q.Reordered+q.Lost+q.Duplicate != 0 {
		t.Errorf("quality %+v", q)
	}
	for _, f := range x.frames[len(x.frames)-5:] { // at 2.4 Mbit/s and 10 ms a step
		took, want := f.Complete.Sub(f.Captured), time.Duration(len(f.Data))*time.Second/300_000
		if took < want-20*time.Millisecond || took > want+30*time.Millisecond {
			t.Errorf("a picture of %d bytes took %v, want %v", len(f.Data), took, want)
		}
	}
}

// What is sent again is a part of what the path carries: a viewer that asks for much gets a part of it at a time.
func TestRepairsArePaced(t *testing.T) {
	x := newGauged(t, &tenth{})
	x.setTarget(400_000) // 600 kbit/s: 75 kB a second
	x.run(3 * time.Second)
	s := &x.c.viewers[0].stream
	packets := s.sender.Since(x.now, nil, 0)
	if len(packets) < 50 {
		t.Fatalf("%d packets are there", len(packets))
	}
	n := len(s.affordable(x.now, packets))
	if again := len(s.affordable(x.now, packets)); n < 10 || n > 25 || again != 0 {
		t.Errorf("%d and %d packets are sent again at once", n, again)
	}
	if n := len(s.affordable(x.now.Add(time.Second), packets)); n < 10 {
		t.Errorf("%d a second later", n)
	}
}

// What is asked for after a cut is sent a part at a time, too; and so is what the camera sends again of itself.
func TestRepairsDoNotFloodThePath(t *testing.T) {
	x := newGaugedAt(t, &tenth{}, 1_600_000) // leaves at 300 kB a second
	x.run(950 * time.Millisecond)
	x.lose = true
	x.run(400 * time.Millisecond)
	x.lose = false
	x.setTarget(400_000) // 75 kB a second
	sent := func(d time.Duration) (most, all int64) {
		for range d / (10 * time.Millisecond) {
			before := x.c.Stats().Traffic.Of(core.Media).Bytes
			x.run(10 * time.Millisecond)
			n := x.c.Stats().Traffic.Of(core.Media).Bytes - before
			most, all = max(most, n), all+n
		}
		return most, all
	}
	resent := x.c.Stats().Resent
	if most, _ := sent(2 * time.Second); most > 75_000/4+3*1200 || x.c.Stats().Resent-resent < 30 {
		t.Errorf("%d bytes in 10 ms, %d packets again", most, x.c.Stats().Resent-resent)
	}
	x.c.begin()
	v := x.c.viewers[0]
	v.again(x.now, v.path, v.stream.pace.left-100)
	x.drain()
	if most, all := sent(time.Second); most > replayBurst*1200 || all > 60_000 { // a half second goes by for the burst
		t.Errorf("%d bytes in a second, %d in 10 ms", all, most)
	}
}

// Of what is sent again unasked the estimator hears when: the viewer reports its arrival as of any other packet.
func TestEstimatorHearsWhatIsSentAgain(t *testing.T) {
	x := newGauged(t, &tenth{})
	x.run(time.Second)
	v := x.c.viewers[0]
	clear(x.gauges[0].sent)
	x.c.begin()
	v.again(x.now, v.path, v.stream.pace.left-20)
	x.drain()
	if got := len(x.gauges[0].sent); got != 20 {
		t.Errorf("20 packets were sent again, and the estimator heard of %d", got)
	}
	for seq, size := range x.gauges[0].sent {
		if b := v.stream.sender.Packet(v.stream.pace.left&^0xffff | uint64(seq)); len(b) != size {
			t.Errorf("the estimator was told that packet %d has %d bytes, not %d", seq, size, len(b))
		}
	}
}

// What a viewer has missed may take a slow path for as long as the viewer waits for it, and no longer: then what is new has its turn.
func TestReplayEnds(t *testing.T) {
	x := newGaugedAt(t, &tenth{}, 1_600_000)
	x.run(2 * time.Second)
	x.setTarget(100_000) // 18.75 kB a second; what was missed has more than a hundred
	x.run(200 * time.Millisecond)
	v := x.c.viewers[0]
	x.c.begin()
	v.again(x.now, v.path, v.stream.pace.left-100)
	x.drain()
	before := x.c.Stats().Resent
	x.run(replayLife + time.Second)
	if r := v.stream.replay; !r.due.IsZero() || r.at >= r.last {
		t.Errorf("after %v what was missed is still sent (due %v), or all of it was (%d of %d)", replayLife, r.due, r.at, r.last)
	}
	resent := x.c.Stats().Resent - before
	x.run(3 * time.Second)
	if more := x.c.Stats().Resent - before - resent; more > 40 { // what the viewer asks for
		t.Errorf("%d packets more were sent again later", more)
	}
	frames, _ := x.run(5 * time.Second)
	if frames == 0 {
		t.Error("nothing new has come since")
	}
}

// What goes by two paths takes twice the time of the access that both begin with.
func TestTwoPathsTakeTwice(t *testing.T) {
	var busy [2]time.Duration
	for i := range busy {
		x := newGaugedAt(t, &tenth{}, 800_000)
		x.run(500 * time.Millisecond)
		v := x.c.viewers[0]
		if i == 1 {
			v.both(x.now, punch.To(elsewhere))
		}
		x.c.begin()
		v.packetize(x.now)
		for v.waits(x.now) {
			x.now = v.stream.paced()
			v.transmit(x.now)
		}
		v.transmit(x.now)
		busy[i] = v.stream.pace.free.Sub(epoch)
		packets(x.c)
	}
	if d := busy[1] - busy[0]; d < 50*time.Millisecond || d > 120*time.Millisecond { // 8 kB, and what waits, at 1.2 Mbit/s
		t.Errorf("the second path takes %v more", d)
	}
}

// The camera's own timers see to what waits; what has not left is not sent again; and it does not wait for ever.
func TestWhatWaitsLeaves(t *testing.T) {
	x := newGaugedAt(t, &tenth{}, 1_800_000)
	x.run(995 * time.Millisecond) // the second key frame is made
	v := x.c.viewers[0]
	s := &v.stream
	if newest, _ := s.sender.LastSeq(); newest-s.pace.left < 10 {
		t.Fatalf("%d packets wait", newest-s.pace.left)
	}
	if s.quality.target != 1_800_000 {
		t.Errorf("the first target is %d", s.quality.target)
	}
	x.c.begin()
	v.again(x.now, punch.To(elsewhere), s.pace.left-3)
	if s.replay.last != s.pace.left {
		t.Errorf("%d packets that wait are sent again", s.replay.last-s.pace.left)
	}
	packets(x.c)
	now := x.now
	ps := advance(x.c, &now, 99*time.Millisecond)
	if newest, _ := s.sender.LastSeq(); s.pace.left != newest || rtp(ps) < 15 {
		t.Errorf("%d packets wait still, %d have left", newest-s.pace.left, rtp(ps))
	}
	s.quality.target = 1000 // nearly nothing
	s.next.Data = unit(now, true, 600*1200).Data
	x.c.begin()
	v.packetize(now)
	v.transmit(now)
	if newest, _ := s.sender.LastSeq(); newest-s.pace.left > paceMost || newest-s.pace.left < paceMost/2 {
		t.Errorf("%d packets wait", newest-s.pace.left)
	}
	s.mute()
	if !s.paced().IsZero() || v.waits(now) {
		t.Error("a muted stream has something to send")
	}
}

// What was the newest packet at a time is known for longer than that is asked, however small the steps.
func TestMarksReachBack(t *testing.T) {
	x := newGauged(t, &tenth{})
	v := x.c.viewers[0]
	first := v.stream.pace.left
	for range 200 {
		x.now = x.now.Add(5 * time.Millisecond)
		v.stream.pace.left++
		v.leftNow(x.now, nil, 1)
	}
	if got, want := v.stream.sentBy(x.now.Add(-replayGap))-first, uint64(200-80); got < want-2 || got > want+1 {
		t.Errorf("%v ago the newest was %d, want %d", replayGap, got, want)
	}
}

// What the path does no longer carry does not wait for long: the video stays near to what is seen.
func TestVideoDoesNotFallBehind(t *testing.T) {
	x := newGaugedAt(t, &tenth{}, 8_000_000)
	if v := x.c.Serving()[0]; v.Target != 8_000_000 {
		t.Errorf("the first target is %d", v.Target)
	}
	x.run(450 * time.Millisecond)
	x.setTarget(300_000) // a picture takes 142 ms to leave, a key frame half a second
	x.run(4 * time.Second)
	for _, f := range x.frames {
		if late := f.Complete.Sub(f.Captured); len(f.Data) < 10_000 && late > paceQueue+700*time.Millisecond {
			t.Errorf("a picture of %v arrives %v late", f.PTS, late)
		}
	}
}

// Pictures that follow a large key frame of a scene where nothing moves are late, but catch up: none is left out.
func TestStillScenes(t *testing.T) {
	x := newGaugedAt(t, &tenth{still: true}, 600_000)
	if n, _ := x.run(10 * time.Second); n < 94 || x.c.Stats().Thinned != 0 {
		t.Errorf("%d frames in 10 s, %d left out", n, x.c.Stats().Thinned)
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
	q := quality{meter: meter{estimator: &gauge{sent: map[uint16]int{}}}}
	q.sent(epoch, 1<<16+1, [][]byte{make([]byte, 1), make([]byte, 2), make([]byte, 3)})
	if g := q.estimator.(*gauge); g.sent[0xFFFF] != 1 || g.sent[0] != 2 || g.sent[1] != 3 {
		t.Errorf("sent %v", g.sent)
	}
}
