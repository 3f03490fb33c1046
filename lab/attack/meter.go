package attack

import (
	"context"
	"sync"
	"time"
)

// meter is a budget as it is spent. Everything that an attack sends asks it first. It is safe for concurrent use.
type meter struct {
	budget Budget
	begun  time.Time

	mu    sync.Mutex
	spent Count
	ended Ended // "": it goes on
	over  chan struct{}
}

func newMeter(b Budget, begun time.Time) *meter {
	return &meter{budget: b, begun: begun, over: make(chan struct{})}
}

// take asks for a packet of n bytes at now; false: there is none left.
func (m *meter) take(now time.Time, n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.ended != "":
		return false
	case now.Sub(m.begun) >= m.budget.Duration:
		m.finish(SpentTime)
		return false
	case m.spent.Packets >= int64(m.budget.Packets):
		m.finish(SpentPackets)
		return false
	}
	m.spent.add(n)
	return true
}

// end ends it for another reason. The first reason counts.
func (m *meter) end(why Ended) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.finish(why)
}

func (m *meter) finish(why Ended) {
	if m.ended == "" {
		m.ended = why
		close(m.over)
	}
}

// watch ends the budget with the context or its time. stop must be called.
func (m *meter) watch(ctx context.Context) (stop func()) {
	timer := time.AfterFunc(m.budget.Duration-time.Since(m.begun), func() { m.end(SpentTime) })
	cancelled := context.AfterFunc(ctx, func() { m.end(Cancelled) })
	return func() { timer.Stop(); cancelled() }
}

// write adds the account to a report.
func (m *meter) write(r *Report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Sent, r.Ended, r.Took = m.spent, m.ended, min(time.Since(m.begun), m.budget.Duration)
}
