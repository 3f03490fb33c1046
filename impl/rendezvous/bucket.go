package rendezvous

import "time"

// bucket is a token bucket. The zero one is full at its first use.
type bucket struct {
	tokens float64
	filled time.Time // up to then; zero: never used
}

// fill adds what has come since, at rate a second and up to burst, and says whether there are n.
func (b *bucket) fill(now time.Time, rate, burst, n float64) bool {
	switch {
	case b.filled.IsZero():
		b.tokens, b.filled = burst, now
	case now.After(b.filled):
		b.tokens, b.filled = min(burst, b.tokens+now.Sub(b.filled).Seconds()*rate), now
	}
	return b.tokens >= n
}

// take takes n if there are as many.
func (b *bucket) take(now time.Time, rate, burst, n float64) bool {
	if !b.fill(now, rate, burst, n) {
		return false
	}
	b.tokens -= n
	return true
}
