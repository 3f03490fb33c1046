package media

import (
	"time"

	"github.com/pion/interceptor/pkg/twcc"
)

// arrivals is what the receiver tells of when packets came, for the camera's Estimator.
type arrivals struct {
	recorder *twcc.Recorder // nil: the camera has not asked
	began    time.Time
	due      time.Time // of the next report; zero: nothing has come since the last
}

// note records a packet that came without being asked for again.
func (a *arrivals) note(now time.Time, k Keys, number uint16, every time.Duration) {
	if a.recorder == nil {
		a.recorder, a.began = twcc.NewRecorder(k.viewerSSRC), now
	}
	a.recorder.Record(k.ssrc, number, now.Sub(a.began).Microseconds())
	if a.due.IsZero() {
		a.due = now.Add(every)
	}
}

// reportArrivals sends what was recorded when it is due.
func (r *Receiver) reportArrivals(now time.Time) {
	a := &r.arrivals
	if a.due.IsZero() || now.Before(a.due) {
		return
	}
	a.due = time.Time{}
	for _, p := range a.recorder.BuildFeedbackPacket() {
		r.send(p)
	}
}
