package camera

import (
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// Where Config has an Estimator, each viewer gets as much as its path is taken to carry:
//
//	feedback ─► Estimator ─► target ─┬─► an adaptive source is asked for it, never for less than its floor
//	                                 └─► bucket: filled at the target, emptied by access units
//	                                       empty before a picture: it and the rest of its group are left out (Thinned)
//	                                       empty before a key frame: no picture but key frames, and fewer (KeyFrames)
//
// The bucket holds a second's worth. So a source that follows the target is never thinned but where it cannot go as low, or
// takes longer than that.
const (
	// share of the target that the encoder is asked for; the rest is for headers and for what is sent again.
	share = 0.9
	// askEvery is how often a source is asked for another bitrate at most; askStep is by how much it has to differ.
	askEvery = 250 * time.Millisecond
	askStep  = 0.05
	bucket   = time.Second
)

// quality is what is known of a viewer's path, and what follows.
type quality struct {
	estimator media.Estimator // nil: everything is sent
	target    int             // bits per second; 0: not known
	asked     int             // of an adaptive source
	askedAt   time.Time
	rtt       time.Duration
	loss      float64

	level   float64 // of the bucket, bytes; below 0 after a large key frame
	filled  time.Time
	cut     bool      // the rest of the group of pictures is left out
	cutAt   time.Time // since then
	group   int       // pictures of the group beside its key frame, and how many of them were left out
	dropped int
	thinned int64 // in all
	shown   Quality
	shownAt time.Time
}

func (q *quality) close() {
	if q.estimator != nil {
		q.estimator.Close()
		q.estimator = nil
	}
}

// measure begins to find out what the media's path carries.
func (v *viewer) measure() {
	q := &v.stream.quality
	q.close()
	if v.cam.cfg.Estimator != nil && !v.stream.ended {
		q.estimator = v.cam.cfg.Estimator()
	}
}

// sent notes packets that leave for the first time, the last of which has extended sequence number last.
func (q *quality) sent(now time.Time, last uint64, packets [][]byte) {
	if q.estimator == nil {
		return
	}
	for i, b := range packets {
		q.estimator.Sent(now, uint16(last)-uint16(len(packets)-1-i), len(b))
	}
}

// estimate takes the viewer's feedback.
func (v *viewer) estimate(now time.Time, f media.Feedback) {
	q := &v.stream.quality
	if f.Report {
		q.loss = f.Lost
		if f.RTT > 0 {
			q.rtt = f.RTT
		}
	}
	if q.estimator == nil {
		return
	}
	for _, p := range f.Arrivals {
		q.estimator.Feedback(now, p)
	}
	if f.Report {
		q.estimator.Lost(now, f.Lost)
	}
	if target := q.estimator.Target(); target > 0 {
		if q.target == 0 { // the bucket is full
			q.level, q.filled = capacity(target), now
		}
		q.target = target
		v.adapt(now)
	}
}

// adapt asks an adaptive source for what the path carries.
func (v *viewer) adapt(now time.Time) {
	q := &v.stream.quality
	source, ok := v.stream.source.(media.Adaptive)
	if !ok || now.Sub(q.askedAt) < askEvery {
		return
	}
	want := max(int(share*float64(q.target)), source.Floor())
	if d := float64(want - q.asked); d > askStep*float64(q.asked) || -d > askStep*float64(q.asked) {
		q.asked, q.askedAt = want, now
		source.SetTarget(want)
	}
}

// capacity is the bucket's, in bytes.
func capacity(target int) float64 { return float64(target) / 8 * bucket.Seconds() }

// fill brings the bucket up to now.
func (q *quality) fill(now time.Time) {
	if d := now.Sub(q.filled); d > 0 {
		q.level = min(q.level+capacity(q.target)*float64(d)/float64(bucket), capacity(q.target))
		q.filled = now
	}
}

// affords says whether an access unit that is to leave at a time is sent, and takes it from the bucket.
func (v *viewer) affords(now, at time.Time, au media.AccessUnit) bool {
	q := &v.stream.quality
	if q.target == 0 {
		return true
	}
	if au.Key {
		v.groupEnds(now)
	} else {
		q.group++
	}
	q.fill(at)
	switch size := float64(len(au.Data)); {
	case !au.Key && (q.cut || q.level < size), au.Key && q.level <= 0:
		v.leaveOut(now, at, au.Key)
		return false
	default:
		q.level -= size
		q.cut = false
		return true
	}
}

// leaveOut counts an access unit that is not sent, and with it the rest of its group.
func (v *viewer) leaveOut(now, at time.Time, key bool) {
	q := &v.stream.quality
	if !q.cut {
		q.cut, q.cutAt = true, at
	}
	q.thinned++
	v.cam.stats.Thinned++
	if !key {
		q.dropped++
	}
	v.show(now, max(q.shown, Thinned))
	// In a long group of pictures, waiting for the next one would last longer than the path needs to recover.
	if source, ok := v.stream.source.(media.KeyFramer); ok && at.Sub(q.cutAt) >= keyGap && q.level >= capacity(q.target)/2 &&
		at.Sub(v.stream.again.asked) >= bucket {
		v.stream.again.asked = at
		source.RequestKeyFrame()
	}
}

// groupEnds tells how much of the group of pictures before a key frame was sent.
func (v *viewer) groupEnds(now time.Time) {
	q := &v.stream.quality
	switch {
	case q.dropped == 0 && !q.cut:
		v.show(now, Full)
	case q.dropped < q.group || q.group == 0: // a source may have nothing but key frames
		v.show(now, Thinned)
	default:
		v.show(now, KeyFrames)
	}
	q.group, q.dropped = 0, 0
}

// show tells of another quality; of a better one only when the one before has lasted for a while.
func (v *viewer) show(now time.Time, level Quality) {
	q := &v.stream.quality
	if q.shown == level || level < q.shown && now.Sub(q.shownAt) < bucket {
		return
	}
	q.shown, q.shownAt = level, now
	v.cam.box.Emit(QualityChanged{At: now, Viewer: v.key.UID(), Quality: level, Target: q.target})
}
