package runner

import (
	"context"
	"sync"
	"time"
)

// The fabric's lateness (p99 of a trial) by which admission is governed. Trials later than LateLimit are void; the number at
// once falls well before that.
const (
	LateLimit  = 2 * time.Millisecond
	lateTarget = 1500 * time.Microsecond
)

// admission decides how many trials run at once: additive increase, multiplicative decrease on lateness, as TCP does on
// loss. It starts low, so that a slow machine never sees a burst. It is safe for concurrent use.
type admission struct {
	mu      sync.Mutex
	free    *sync.Cond
	limit   float64
	max     float64
	running int
	cut     time.Time // when the limit was last lowered
	now     func() time.Time
}

// cutPause is how long a decrease is given to take effect: trials in flight still report the old load.
const cutPause = 300 * time.Millisecond

// growth is how many more trials may run once as many as may run now have been punctual.
const growth = 8

// cutFactor is gentle: much lateness is not the load's but a hypervisor's, and comes and goes.
const cutFactor = 0.9

func newAdmission(max int, now func() time.Time) *admission {
	a := &admission{limit: min(16, float64(max)), max: float64(max), now: now}
	a.free = sync.NewCond(&a.mu)
	return a
}

// enter waits until a trial may start. It returns ctx's error when ctx ends first.
func (a *admission) enter(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.free.Broadcast()
	})
	defer stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.running >= int(a.limit) && ctx.Err() == nil {
		a.free.Wait()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	a.running++
	return nil
}

// leave ends a trial and learns from how late the fabric was during it. known is false where that was not measured.
func (a *admission) leave(p99 time.Duration, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running--
	switch now := a.now(); {
	case !known:
	case p99 > lateTarget:
		if now.Sub(a.cut) >= cutPause {
			a.limit, a.cut = max(1, a.limit*cutFactor), now
		}
	case a.limit < a.max:
		a.limit = min(a.max, a.limit+growth/a.limit)
	}
	a.free.Broadcast()
}

// load returns how many trials run and how many may.
func (a *admission) load() (running, limit int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running, int(a.limit)
}
