package session

import (
	"flag"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// As lab/internal/steady, which the implementation may not import: the same examples in every run.
func init() {
	if os.Getenv("PUNCHLAB_SOAK") == "" {
		if err := flag.Set("rapid.seed", "1"); err != nil {
			panic(err)
		}
	}
}

// model is the window as RFC 4303 §3.4.3 describes it: a set and a greatest.
type model struct {
	seen map[uint64]bool
	next uint64
}

func (m *model) fresh(c uint64) bool {
	return !m.seen[c] && c+ReplayWindow >= m.next
}

func TestWindowLikeModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		m := model{seen: map[uint64]bool{}}
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			base := w.next
			step := rapid.SampledFrom([]int64{0, 1, 2, 63, 64, 65, ReplayWindow - 1, ReplayWindow, ReplayWindow + 1, ReplayWindow + 64, ReplayWindow + 65, 5000}).Draw(t, "step")
			back := rapid.Bool().Draw(t, "back")
			c := base + uint64(step)
			if back {
				c = base - min(base, uint64(step))
			}
			if w.fresh(c) != m.fresh(c) {
				t.Fatalf("counter %d with next %d: fresh %v, want %v", c, w.next, w.fresh(c), m.fresh(c))
			}
			if !m.fresh(c) {
				continue
			}
			w.accept(c)
			m.seen[c] = true
			m.next = max(m.next, c+1)
			if w.next != m.next {
				t.Fatalf("next %d, want %d", w.next, m.next)
			}
		}
		for c := m.next - min(m.next, ReplayWindow+70); c < m.next+3; c++ {
			if w.fresh(c) != m.fresh(c) {
				t.Fatalf("at the end, counter %d with next %d: fresh %v, want %v", c, w.next, w.fresh(c), m.fresh(c))
			}
		}
	})
}
