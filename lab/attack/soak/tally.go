package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
)

// tally counts tries. It is safe for concurrent use.
type tally struct {
	setup Setup

	mu     sync.Mutex
	next   int
	shapes map[string]*Shape
	gained []string
	seen   map[string]int64
	timing *Timing
}

func newTally(s Setup) *tally {
	return &tally{setup: s, shapes: map[string]*Shape{}, seen: map[string]int64{}}
}

// take hands out the number of the next try, from 0.
func (t *tally) take() (int, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next >= t.setup.Tries {
		return 0, false
	}
	t.next++
	if n := t.next; n%1000 == 0 {
		t.setup.Say("%d of %d tries", n, t.setup.Tries)
	}
	return t.next - 1, true
}

// each has a lane try what no other has taken yet, until there are no more tries. draw is the try's own randomness.
func (t *tally) each(ctx context.Context, a Attack, try func(draw *rand.Rand, n int) error) error {
	for ctx.Err() == nil {
		n, ok := t.take()
		if !ok {
			return nil
		}
		if err := try(rand.New(random(t.setup.Seed, a, n)), n); err != nil {
			return fmt.Errorf("try %d: %w", n, err)
		}
	}
	return ctx.Err()
}

// tried counts a try; gain is what came of it, "": nothing.
func (t *tally) tried(shape, gain string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.shapes[shape]
	if s == nil {
		s = &Shape{Name: shape}
		t.shapes[shape] = s
	}
	s.Tries++
	if gain == "" {
		return
	}
	s.Successes++
	if len(t.gained) < maxGained {
		t.gained = append(t.gained, fmt.Sprintf("by %s: %s", shape, gain))
	}
}

// saw counts what was observed beside.
func (t *tally) saw(what string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen[what] += int64(n)
}

func (t *tally) write(r *Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.shapes {
		r.Shapes = append(r.Shapes, *s)
		r.Claim.Tries += s.Tries
		r.Claim.Failures += s.Successes
	}
	slices.SortFunc(r.Shapes, func(a, b Shape) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	r.Gained, r.Seen, r.Timing, r.Risk = t.gained, t.seen, t.timing, r.Claim.Risk()
}

// random is the randomness of one try: the same for one seed, whichever lane it runs in.
func random(seed uint64, attack Attack, try int) *rand.ChaCha8 {
	var b [32]byte
	copy(b[:], fmt.Sprintf("%016x%08x%s", seed, uint32(try), attack))
	return rand.NewChaCha8(b)
}

// crew runs lanes side by side and gives the first error.
func crew(n int, lane func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = lane(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
