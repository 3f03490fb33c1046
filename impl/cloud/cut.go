package cloud

import (
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

const (
	maxJump    = 10 * time.Second // a PTS further on, or behind, is another timeline
	maxDrifted = time.Minute      // a clock that was set this far begins a part, so that its name tells the time
	idleAfter  = 10 * time.Second // without a picture the part ends
	maxSegment = 16 << 20         // bytes, or
	maxStretch = 8                // times the segment's duration, without a key frame: it ends all the same
	maxRing    = 32 << 20         // bytes of pre-roll
)

// input is what the cutter is given: an access unit, or a motion.
type input struct {
	au     media.AccessUnit
	at     time.Time
	motion bool
}

// cutter turns access units into segments and parts.
//
//	                 motion                    PostRoll after the last motion
//	waiting, ring ──────────► part ─ segment ─ segment ─ … ──────────────────► waiting
//	                            └─ always, where recording waits for no motion: parts follow each other
//
// It belongs to one goroutine.
type cutter struct {
	cfg  *Config
	sp   *spool
	mux  *muxer
	tell func(any)

	part    *part
	partAt  time.Time
	partPTS time.Duration

	seg    *growing
	segPTS time.Duration

	last    input
	step    time.Duration // between the last two pictures
	seen    bool          // last is one
	needKey bool          // nothing can be decoded before the next key frame
	jump    bool          // the next segment does not go on from the last

	until time.Time // of recording by motion
	ring  []input   // pre-roll, from a key frame on
	bytes int       // in it

	units, media uint64
}

func newCutter(cfg *Config, sp *spool, tell func(any)) (*cutter, error) {
	m, err := newMuxer()
	return &cutter{cfg: cfg, sp: sp, mux: m, tell: tell, needKey: true, jump: true}, err
}

func (c *cutter) handle(in input) error {
	if in.motion {
		return c.motion(in.at)
	}
	if c.seen {
		step := in.au.PTS - c.last.au.PTS
		if step <= 0 || step > maxJump {
			c.cut(c.last.au.PTS + c.step)
			c.needKey, c.jump = true, true
			c.ring, c.bytes = nil, 0
		} else {
			c.step = step
		}
	}
	c.last, c.seen = in, true
	if c.cfg.OnMotion && !in.at.Before(c.until) {
		c.end(in.au.PTS)
		c.keep(in)
		return nil
	}
	return c.record(in)
}

// motion begins a part with the pre-roll, or lets the one that is recorded go on.
func (c *cutter) motion(now time.Time) error {
	if !c.cfg.OnMotion {
		return nil
	}
	c.until = now.Add(c.cfg.PostRoll)
	ring := c.ring
	c.ring, c.bytes = nil, 0
	for _, in := range ring {
		if err := c.record(in); err != nil {
			return err
		}
	}
	return nil
}

// keep holds a picture in the pre-roll, which begins with the last key frame that is old enough.
func (c *cutter) keep(in input) {
	if len(c.ring) == 0 && !in.au.Key {
		return
	}
	c.ring = append(c.ring, in)
	c.bytes += len(in.au.Data)
	for {
		next := c.nextKey()
		if next < 0 || in.at.Sub(c.ring[next].at) < c.cfg.PreRoll && c.bytes <= maxRing {
			return
		}
		for _, old := range c.ring[:next] {
			c.bytes -= len(old.au.Data)
		}
		c.ring = append([]input(nil), c.ring[next:]...)
	}
}

// nextKey returns where the pre-roll's second key frame is, or -1.
func (c *cutter) nextKey() int {
	for i := 1; i < len(c.ring); i++ {
		if c.ring[i].au.Key {
			return i
		}
	}
	return -1
}

// record adds a picture to the part.
func (c *cutter) record(in input) error {
	if c.needKey && !in.au.Key {
		return nil
	}
	c.needKey = false
	if c.seg != nil && c.due(in) {
		c.cut(in.au.PTS)
	}
	if c.seg == nil {
		c.begin(in)
	}
	first := in.au.PTS == c.segPTS
	b, err := c.mux.write(in.au, first, first && c.seg.name.Jump)
	if err != nil {
		return err
	}
	c.sp.write(c.seg, b)
	c.units++
	c.media += uint64(len(in.au.Data))
	return nil
}

// due says whether the segment ends before this picture.
func (c *cutter) due(in input) bool {
	long := in.au.PTS - c.segPTS
	return in.au.Key && long >= c.cfg.Segment || long >= maxStretch*c.cfg.Segment || len(c.seg.seal.out) >= maxSegment
}

// begin begins a segment, and a part where none is or the one that is has lasted long enough.
func (c *cutter) begin(in input) {
	if c.part != nil {
		long := in.au.PTS - c.partPTS
		drift := in.at.Sub(c.partAt) - long
		if long < 0 || c.jump {
			drift = 0 // the clock of pictures began anew
		}
		if in.au.Key && long >= c.cfg.Part || drift.Abs() > maxDrifted {
			c.endPart()
		}
	}
	if c.part == nil {
		c.part, c.partAt, c.partPTS = c.sp.begin(in.at), in.at, in.au.PTS
		c.tell(Started{Part: c.part.name.String(), At: in.at})
	}
	if c.jump {
		c.partPTS = in.au.PTS - in.at.Sub(c.partAt)
	}
	c.seg, c.segPTS = c.sp.open(c.part, in.at, c.jump), in.au.PTS
	c.jump = false
}

// cut ends the segment, if there is one. end is the PTS of the picture after it.
func (c *cutter) cut(end time.Duration) {
	if c.seg == nil {
		return
	}
	c.sp.finishSegment(c.seg, max(end-c.segPTS, time.Millisecond))
	c.seg = nil
}

// end ends segment and part, if there are.
func (c *cutter) end(pts time.Duration) {
	c.cut(pts)
	if c.part != nil {
		c.endPart()
		c.needKey = true
	}
}

func (c *cutter) endPart() {
	c.sp.end(c.part)
	c.tell(Ended{Part: c.part.name.String()})
	c.part = nil
}

// stop ends what is recorded: the source says nothing more.
func (c *cutter) stop() {
	c.end(c.last.au.PTS + c.step)
	c.needKey, c.jump = true, true
}
