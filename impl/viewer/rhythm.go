package viewer

import "time"

// What silence means follows from how the media came before.
const (
	frameGap   = 2 * time.Millisecond   // packets closer together belong to one frame
	learnt     = 8                      // gaps after which the rhythm is known
	minSilence = 200 * time.Millisecond // least silence that raises doubt
	maxSilence = time.Second            // greatest, and until the rhythm is known
	maxWary    = 8                      // times the silence, after false alarms
	calmAfter  = 10 * time.Second       // without doubt: a false alarm is forgiven
)

// rhythm is how media comes: the smoothed gap between frames and its mean deviation, as RFC 6298 §2 smooths round trips.
type rhythm struct {
	last     time.Time
	gap, dev time.Duration
	gaps     int
	wary     int // false alarms, the silence grows with
	alarm    time.Time
}

// beat notes new media.
func (r *rhythm) beat(now time.Time) {
	gap := now.Sub(r.last)
	first := r.last.IsZero()
	r.last = now
	if first || gap < frameGap {
		return
	}
	if gap = min(gap, maxSilence); r.gaps == 0 {
		r.gap, r.dev = gap, gap/2
	}
	off := gap - r.gap
	r.gap += off / 8
	r.dev += (off.Abs() - r.dev) / 4
	r.gaps++
}

// silence is how long nothing new may come before the path is doubted: four frames and four deviations, longer after
// false alarms.
func (r *rhythm) silence() time.Duration {
	s := maxSilence
	if r.gaps >= learnt {
		s = min(max(4*(r.gap+r.dev), minSilence), maxSilence)
	}
	return s << r.wary
}

// falseAlarm makes the next doubt come later.
func (r *rhythm) falseAlarm(now time.Time) {
	if r.wary++; 1<<r.wary > maxWary {
		r.wary--
	}
	r.alarm = now
}

// calm forgives false alarms after a while.
func (r *rhythm) calm(now time.Time) {
	if r.wary > 0 && now.Sub(r.alarm) >= calmAfter {
		r.wary--
		r.alarm = now
	}
}
