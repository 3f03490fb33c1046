package adapter

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// A program that is attacked has much to say, and must not fill its owner's disk with it.
const (
	logBurst = 200 // lines at once
	logRate  = 20  // lines a second, on and on
)

// quiet is a writer of lines that leaves out what comes too fast, and says how much that was.
type quiet struct {
	now func() time.Time

	mu     sync.Mutex
	w      io.Writer
	spare  float64
	at     time.Time
	missed int
}

func newQuiet(w io.Writer, now func() time.Time) *quiet {
	return &quiet{w: w, now: now, spare: logBurst, at: now()}
}

// Write writes one line, or leaves it out.
func (q *quiet) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	q.spare = min(q.spare+now.Sub(q.at).Seconds()*logRate, logBurst)
	q.at = now
	if q.spare < 1 {
		q.missed++
		return len(line), nil
	}
	q.spare--
	if q.missed > 0 {
		if _, err := fmt.Fprintf(q.w, "(%d lines left out)\n", q.missed); err != nil {
			return 0, err
		}
		q.missed = 0
	}
	return q.w.Write(line)
}
