package attack

import (
	"fmt"
	"testing"
	"time"
)

// A passage keeps the order of what it does not hold back, delivers what it holds when that is due, copies included, and lets
// everything pass once nothing is left to spend.
func TestPassage(t *testing.T) {
	const ms = time.Millisecond
	left := 4
	p := passage{counts: map[string]int64{}, spend: func(n int) bool { left -= n; return left >= 0 }}
	p.rule = func(s Seen) Act {
		switch string(s.Packet) {
		case "late":
			return Act{Delay: 10 * ms}
		case "twice":
			return Act{Again: []time.Duration{5 * ms}}
		case "lost":
			return Act{Drop: true}
		case "changed":
			return Act{Packet: []byte("other")}
		}
		return Act{}
	}
	out := func(now time.Duration) (all []string) {
		for {
			h, ok := p.next(now)
			if !ok {
				return all
			}
			all = append(all, string(h.b))
		}
	}
	buf := make([]byte, 0, 16)
	for _, s := range []string{"a", "late", "b", "twice", "lost", "changed", "c", "d", "lost", "late"} { // the last two cost more than is left
		buf = append(buf[:0], s...) // as a reader's buffer is used again
		p.handle(0, Up, buf)
	}
	if due, ok := p.deadline(); due != 0 || !ok {
		t.Errorf("a packet is due at %v, %v", due, ok)
	}
	for _, tt := range []struct {
		at   time.Duration
		want string
	}{{0, "[a b twice other c d lost late]"}, {5*ms - 1, "[]"}, {5 * ms, "[twice]"}, {10 * ms, "[late]"}, {time.Hour, "[]"}} {
		if got := fmt.Sprint(out(tt.at)); got != tt.want {
			t.Errorf("by %v came %s, want %s", tt.at, got, tt.want)
		}
	}
	if _, ok := p.deadline(); ok || p.n[Up] != 10 || p.n[Down] != 0 {
		t.Errorf("%v packets were seen, and some are left: %v", p.n, ok)
	}
	if want := "map[altered up:1 delayed up:1 dropped up:1 replayed up:1]"; fmt.Sprint(p.counts) != want {
		t.Errorf("%v, want %s", p.counts, want)
	}
}
