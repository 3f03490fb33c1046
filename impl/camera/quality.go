package camera

import (
	"encoding/binary"
	"time"

	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
)

// Where Config has an Estimator, each viewer gets as much as its path is taken to carry:
//
//	feedback ─► Estimator ─► target ─┬─► an adaptive source is asked for it, never for less than its floor
//	                                 └─► an allowance of bytes, which access units use up
//	                                       not enough for a picture: it and the rest of its group are left out (Thinned)
//	                                       nothing left at a key frame: it is left out as well (KeyFrames, and fewer)
//	                                       so is what would wait too long to leave (pace.go)
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

// A path that the media has left for a moment, and comes back to, is as it was. Another one is measured anew; since the bottleneck is
// often the camera's own access, at first it is not taken to carry much more than the one before.
const (
	parkLife = 30 * time.Second // a path's estimate holds after the media has left it
	newPath  = 5 * time.Second  // a path is new
	boldness = 1.5              // times the old path's target is a new one's at most
)

// meter is what measures one path.
type meter struct {
	estimator media.Estimator
	path      punch.Path
	left      time.Time // when the media went elsewhere
}

// quality is what is known of a viewer's path, and what follows.
type quality struct {
	meter          // estimator is nil: everything is sent
	parked   meter // of the path before
	bound    int   // of the target, until boundTil; bits per second
	boundTil time.Time
	target   int // bits per second; 0: not known
	asked    int // of an adaptive source
	askedAt  time.Time
	rtt      time.Duration
	loss     float64

	spare   float64       // of the allowance when the group began, less what was sent since; bytes
	began   time.Time     // the group of pictures
	ahead   time.Duration // of the group's time, from its beginning, may be used up already
	key     int           // bytes of its key frame
	cut     bool          // the rest of the group of pictures is left out
	cutAt   time.Time     // since then
	group   int           // pictures of the group beside its key frame, and how many of them were left out
	dropped int
	thinned int64 // in all
	shown   Quality
	shownAt time.Time
}

func (m *meter) close() {
	if m.estimator != nil {
		m.estimator.Close()
	}
	*m = meter{}
}

func (q *quality) close() {
	q.meter.close()
	q.parked.close()
}

// measure begins to find out what the media's path carries, or goes on with it.
func (v *viewer) measure(now time.Time) {
	q := &v.stream.quality
	if v.cam.cfg.Estimator == nil || v.stream.ended || q.estimator != nil && q.path == v.path {
		return
	}
	before := q.meter
	before.left = now
	if q.parked.estimator != nil && q.parked.path == v.path && now.Sub(q.parked.left) < parkLife {
		q.meter, q.parked = q.parked, before
		return
	}
	q.parked.close()
	q.parked, q.meter = before, meter{estimator: v.cam.cfg.Estimator(), path: v.path}
	if q.target == 0 {
		q.aim(now, q.estimator.Target())
	} else {
		q.bound, q.boundTil = int(boldness*float64(q.target)), now.Add(newPath)
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

// sentAgain notes packets that leave once more without having been asked for. The viewer, who has not missed them yet, reports their
// arrivals: measured from when they left for the first time, a cut of two seconds would be a queue of two seconds.
func (q *quality) sentAgain(now time.Time, packets [][]byte) {
	if q.estimator == nil {
		return
	}
	for _, b := range packets {
		q.estimator.Sent(now, binary.BigEndian.Uint16(b[2:]), len(b)) // the transport-wide number is RTP's
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
		if now.Before(q.boundTil) {
			target = min(target, q.bound)
		}
		q.aim(now, target)
		v.adapt(now)
	}
}

// aim notes what the path is taken to carry.
func (q *quality) aim(now time.Time, target int) {
	if q.target == 0 {
		q.spare, q.began, q.ahead = second(target), now, horizon
	}
	q.target, q.spare = target, min(q.spare, second(target))
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
	if au.Key {
		q.key = len(au.Data)
	}
	if q.target == 0 {
		return true
	}
	if au.Key {
		v.groupEnds(now, at)
	} else {
		q.group++
	}
	size, allowed, wait := float64(len(au.Data)), q.allowance(at), v.stream.queued(now, at)
	fits := allowed > 0 && wait <= paceQueue
	if !au.Key { // behind a large key frame all wait, but catch up
		fits = allowed >= size && wait <= paceQueue+min(q.took(q.key), horizon) && !q.cut
	}
	if !fits {
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
