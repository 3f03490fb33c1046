package bandwidth

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
)

// path is a bottleneck: a queue that drains at a rate, in front of a delay. What does not fit into it is lost.
//
//	sender ── packet ──► queue (≤ deepest) ── rate ──► delay ──► receiver ── TWCC every 50 ms ── delay ──► sender
type path struct {
	rate    int // bits a second
	delay   time.Duration
	deepest time.Duration // of the queue
	free    time.Time     // when it is empty
	down    bool          // nothing passes, either way
	lost    int
}

// arrive is when a packet arrives; false: it is lost.
func (p *path) arrive(now time.Time, size int) (time.Time, bool) {
	if p.free.Before(now) {
		p.free = now
	}
	if p.down || p.free.Sub(now) > p.deepest {
		p.lost++
		return time.Time{}, false
	}
	p.free = p.free.Add(time.Duration(size*8) * time.Second / time.Duration(p.rate))
	return p.free.Add(p.delay), true
}

type arrival struct {
	at  time.Time
	seq uint16
}

type report struct {
	at   time.Time
	pkts []rtcp.Packet
}

// call is a camera that sends what an estimator allows, as video: 25 pictures a second, each at once, each 25th a large one.
type call struct {
	e        *Estimator
	path     path
	most     int // what the encoder makes at most, bits a second
	rec      *twcc.Recorder
	begun    time.Time
	seq      uint16
	frame    int
	coming   []arrival
	reports  []report
	reported time.Time
	sent     int // bytes
}

const packetSize = 1200

func newCall(t *testing.T, cfg Config, p path) *call {
	t.Helper()
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	return &call{e: e, path: p, most: 4_000_000, rec: twcc.NewRecorder(1), begun: now, reported: now}
}

// run lets the call go on for a while.
func (c *call) run(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Millisecond) {
		now := time.Now()
		if !now.Before(c.begun.Add(time.Duration(c.frame) * 40 * time.Millisecond)) {
			c.picture(now)
		}
		for len(c.coming) > 0 && !c.coming[0].at.After(now) {
			c.rec.Record(1, c.coming[0].seq, c.coming[0].at.Sub(c.begun).Microseconds())
			c.coming = c.coming[1:]
		}
		if now.Sub(c.reported) >= 50*time.Millisecond {
			c.reported = now
			c.reports = append(c.reports, report{now.Add(c.path.delay), c.rec.BuildFeedbackPacket()})
		}
		for len(c.reports) > 0 && !c.reports[0].at.After(now) {
			for _, p := range c.reports[0].pkts {
				if fb, ok := p.(*rtcp.TransportLayerCC); ok && !c.path.down {
					c.e.Feedback(now, fb)
				}
			}
			c.reports = c.reports[1:]
		}
	}
}

// picture sends a picture of the rate that the estimator allows.
func (c *call) picture(now time.Time) {
	rate := min(c.e.Target()*85/100, c.most)
	bytes := rate / 8 / 25 * 25 / 28 // 24 parts and a key frame of 4
	if c.frame%25 == 0 {
		bytes *= 4
	}
	c.frame++
	for ; bytes > 0; bytes -= packetSize {
		size := min(max(bytes, 100), packetSize)
		c.seq++
		c.sent += size
		c.e.Sent(now, c.seq, size)
		if at, ok := c.path.arrive(now, size); ok {
			c.coming = append(c.coming, arrival{at, c.seq})
		}
	}
}

var wide = path{rate: 8_000_000, delay: 20 * time.Millisecond, deepest: 300 * time.Millisecond}

// A path that becomes narrow brings the target below it within a second and a half, and almost nothing is lost from then on; one that
// becomes wide again lets it up, by 8 % a second as GCC does. Bounds are wide: in pion two goroutines look at each report, and which of them
// is the first decides whether the target falls once more or once less.
func TestFollowsThePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, Config{Start: 2_000_000, Floor: 100_000, Ceiling: 6_000_000}, wide)
		defer c.e.Close()
		c.run(15 * time.Second)
		if got := c.e.Target(); got < 4_000_000 {
			t.Errorf("a path of 8 Mbit/s is taken for %d bit/s", got)
		}
		c.path.rate = 600_000
		c.run(1500 * time.Millisecond)
		if got := c.e.Target(); got > 600_000 {
			t.Errorf("a path of 0.6 Mbit/s is taken for %d bit/s", got)
		}
		lost, sent := c.path.lost, c.sent
		c.run(15 * time.Second)
		if got := (c.sent - sent) * 8 / 15; got < 300_000 || got > 600_000 {
			t.Errorf("%d bit/s were sent over 0.6 Mbit/s", got)
		}
		if lost = c.path.lost - lost; lost > 40 {
			t.Errorf("%d of %d packets were lost", lost, (c.sent-sent)/packetSize)
		}
		c.path.rate = wide.rate
		c.run(25 * time.Second)
		if got := c.e.Target(); got < 2_000_000 {
			t.Errorf("a path of 8 Mbit/s again is taken for %d bit/s", got)
		}
	})
}

// Bounds hold whatever the path does.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, Config{Start: 500_000, Floor: 300_000, Ceiling: 600_000}, path{rate: 50_000, deepest: time.Second})
		defer c.e.Close()
		if got := c.e.Target(); got != 500_000 {
			t.Errorf("the first target is %d", got)
		}
		c.run(5 * time.Second)
		if got := c.e.Target(); got != 300_000 {
			t.Errorf("over 50 kbit/s the target is %d, not the floor", got)
		}
		c.path.rate = wide.rate
		c.run(20 * time.Second)
		if got := c.e.Target(); got != 600_000 {
			t.Errorf("over 8 Mbit/s the target is %d, not the ceiling", got)
		}
	})
}

// Reports of loss count while nobody tells of arrivals, and only then.
func TestLossAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, Config{Start: 1_000_000}, wide)
		defer c.e.Close()
		e := c.e
		for range 10 {
			time.Sleep(time.Second)
			e.Lost(time.Now(), 0.2)
		}
		if got := e.Target(); got < 300_000 || got > 400_000 {
			t.Errorf("after ten times 20 %% the target is %d, not 0.9 to the tenth of a million", got)
		}
		fell := e.Target()
		time.Sleep(time.Second)
		e.Lost(time.Now(), 0.05)
		if got := e.Target(); got != fell {
			t.Errorf("5 %% moved the target from %d to %d", fell, got)
		}
		time.Sleep(time.Second)
		e.Lost(time.Now(), 0)
		if got := e.Target(); got <= fell {
			t.Errorf("without loss the target went from %d to %d", fell, got)
		}

		c.run(3 * time.Second)
		heard := e.Target()
		e.Lost(time.Now(), 0.5)
		if got := e.Target(); got != heard {
			t.Errorf("a report of loss moved the target from %d to %d beside reports of arrivals", heard, got)
		}
		for range 2 * deaf / time.Second {
			time.Sleep(time.Second)
			e.Lost(time.Now(), 0.05)
		}
		time.Sleep(time.Second)
		e.Lost(time.Now(), 0.5)
		if got := e.Target(); got >= heard {
			t.Errorf("long after the last report of arrivals, 50 %% left the target at %d", got)
		}
	})
}

// What was lost while nothing passed, and what is told of it by whichever report comes first, is not taken for congestion; but what
// is lost from then on is.
func TestCutIsNoCongestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, Config{Start: 3_000_000}, wide)
		defer c.e.Close()
		c.most = 2_400_000
		for _, lossFirst := range []bool{false, true} {
			c.run(5 * time.Second)
			before, sent := c.e.Target(), c.sent
			c.path.down = true
			c.run(2 * time.Second)
			c.path.down = false
			if lost := c.sent - sent; lost < 400_000 {
				t.Fatalf("%d bytes were sent into the cut", lost)
			}
			if lossFirst {
				c.e.Lost(time.Now(), 0.9)
			}
			for range 20 {
				c.run(100 * time.Millisecond)
				if got := c.e.Target(); got < before*9/10 {
					t.Fatalf("after two seconds of nothing the target went from %d to %d (loss told first: %v)", before, got, lossFirst)
				}
			}
		}
		c.path.rate = 600_000
		c.run(2 * time.Second)
		if got := c.e.Target(); got > 900_000 {
			t.Errorf("a path that has become narrow since is taken for %d bit/s", got)
		}
	})
}

// A cut is told of by reports of loss alone, too: the first one after it is not counted, the others are.
func TestCutWithLossAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := New(Config{Start: 1_000_000})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		report := func(fraction float64) {
			time.Sleep(200 * time.Millisecond)
			e.Lost(time.Now(), fraction)
		}
		report(0.05)
		time.Sleep(2 * time.Second)
		report(0.9)
		if got := e.Target(); got != 1_000_000 {
			t.Errorf("the first report after a cut left the target at %d", got)
		}
		for range telling / (200 * time.Millisecond) {
			report(0.05)
		}
		report(0.5)
		if got := e.Target(); got > 800_000 {
			t.Errorf("50 %% long after a cut left the target at %d", got)
		}
	})
}

// What is closed does nothing any more, and feedback that fits nothing that was sent does no harm.
func TestCloseAndNonsense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := New(Config{Start: 1_000_000})
		if err != nil {
			t.Fatal(err)
		}
		fb := &rtcp.TransportLayerCC{BaseSequenceNumber: 9, PacketStatusCount: 40, PacketChunks: []rtcp.PacketStatusChunk{
			&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedSmallDelta, RunLength: 40},
		}}
		e.Feedback(time.Now(), fb)
		e.Feedback(time.Now(), &rtcp.TransportLayerCC{})
		e.Sent(time.Now(), 9, 0)
		e.Sent(time.Now(), 10, 1<<20)
		e.Close()
		e.Close()
		e.Sent(time.Now(), 11, 1200)
		e.Feedback(time.Now(), fb)
		e.Lost(time.Now(), 1)
		if got := e.Target(); got != 1_000_000 {
			t.Errorf("the target is %d", got)
		}
	})
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{Start: 10_000, Floor: 20_000}, {Start: 2_000, Ceiling: 1_000}, {Floor: -1}} {
		if e, err := New(c); err == nil {
			e.Close()
			t.Errorf("%+v is accepted", c)
		}
	}
}
