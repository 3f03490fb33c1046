package camera

import (
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// Where Config has an Estimator, each viewer gets as much as its path is taken to carry:
//
//	feedback ─► Estimator ─► target ─┬─► an adaptive source is asked for it, never for less than its floor
//	                                 └─► an allowance of bytes, which access units use up
//	                                       not enough for a picture: it and the rest of its group are left out (Thinned)
//	                                       nothing left at a key frame: it is left out as well (KeyFrames, and fewer)
//
// The allowance grows at the target and holds a second's worth. So a source that follows the target is never thinned but where it
// cannot go as low, or takes longer than that. A group of pictures may use at its beginning what it will have earned when it ends,
// up to a second's worth: each group then loses as much of its end as the others, instead of one everything and the next nothing.
const (
	// share of the target that the encoder is asked for; the rest is for headers and for what is sent again.
	share = 0.9
	// askEvery is how often a source is asked for another bitrate at most; askStep is by how much it has to differ.
	askEvery = 250 * time.Millisecond
	askStep  = 0.05
	horizon  = time.Second
)

// quality is what is known of a viewer's path, and what follows.
type quality struct {
	estimator media.Estimator // nil: everything is sent
	target    int             // bits per second; 0: not known
	asked     int             // of an adaptive source
	askedAt   time.Time
	rtt       time.Duration
	loss      float64

	spare   float64       // of the allowance when the group began, less what was sent since; bytes
	began   time.Time     // the group of pictures
	ahead   time.Duration // of the group's time, from its beginning, may be used up already
	cut     bool          // the rest of the group of pictures is left out
	cutAt   time.Time     // since then
	group   int           // pictures of the group beside its key frame, and how many of them were left out
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
		if q.target == 0 {
			q.spare, q.began, q.ahead = second(target), now, horizon
		}
		q.target, q.spare = target, min(q.spare, second(target))
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

// second is how many bytes a second of a bitrate has.
func second(bps int) float64 { return float64(bps) / 8 }

// earned is the allowance at a time, of which nothing is taken ahead.
func (q *quality) earned(at time.Time) float64 {
	return q.spare + second(q.target)*max(at.Sub(q.began), 0).Seconds()
}

// allowance is what may be sent at a time.
func (q *quality) allowance(at time.Time) float64 {
	return q.spare + second(q.target)*max(at.Sub(q.began), q.ahead).Seconds()
}

// affords says whether an access unit that is to leave at a time is sent, and takes it from the allowance.
func (v *viewer) affords(now, at time.Time, au media.AccessUnit) bool {
	q := &v.stream.quality
	if q.target == 0 {
		return true
	}
	if au.Key {
		v.groupEnds(now, at)
	} else {
		q.group++
	}
	size, allowed := float64(len(au.Data)), q.allowance(at)
	if au.Key && allowed <= 0 || !au.Key && (q.cut || allowed < size) {
		v.leaveOut(now, at, au.Key)
		return false
	}
	q.spare -= size
	return true
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
	if source, ok := v.stream.source.(media.KeyFramer); ok && at.Sub(q.cutAt) >= keyGap && q.earned(at) >= second(q.target)/2 &&
		at.Sub(v.stream.again.asked) >= horizon {
		v.stream.again.asked = at
		source.RequestKeyFrame()
	}
}

// groupEnds tells how much of the group of pictures before a key frame was sent, and begins another.
func (v *viewer) groupEnds(now, at time.Time) {
	q := &v.stream.quality
	switch {
	case q.dropped == 0 && !q.cut:
		v.show(now, Full)
	case q.dropped < q.group || q.group == 0: // a source may have nothing but key frames
		v.show(now, Thinned)
	default:
		v.show(now, KeyFrames)
	}
	q.spare = min(q.earned(at), second(q.target))
	q.ahead, q.began = min(max(at.Sub(q.began), 0), horizon), at
	q.group, q.dropped, q.cut = 0, 0, false
}

// show tells of another quality; of a better one only when the one before has lasted for a while.
func (v *viewer) show(now time.Time, level Quality) {
	q := &v.stream.quality
	if q.shown == level || level < q.shown && now.Sub(q.shownAt) < horizon {
		return
	}
	q.shown, q.shownAt = level, now
	v.cam.box.Emit(QualityChanged{At: now, Viewer: v.key.UID(), Quality: level, Target: q.target})
}
