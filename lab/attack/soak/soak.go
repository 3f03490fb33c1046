package soak

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/live"
)

// Attack is a sort of attack.
type Attack string

// The attacks.
const (
	Hijack      Attack = "hijack"
	Capture     Attack = "capture"
	Downgrade   Attack = "downgrade"
	Enumeration Attack = "enumeration"
)

// Attacks lists them.
func Attacks() []Attack { return []Attack{Hijack, Capture, Downgrade, Enumeration} }

// Setup says how it is attacked.
type Setup struct {
	Fabric *live.Fabric
	Engine string // of the routers; "": the table
	Seed   uint64 // the same one makes the same tries
	Tries  int
	Say    func(format string, args ...any) // progress; nil: nobody listens
}

// Result is what came of an attack.
type Result struct {
	Attack Attack           `json:"attack"`
	Seed   uint64           `json:"seed"`
	Claim  certify.Claim    `json:"claim"` // a failure is a success of the attacker
	Risk   string           `json:"risk"`  // what the claim shows
	Shapes []Shape          `json:"shapes"`
	Gained []string         `json:"gained,omitempty"` // of the first successes a sentence each
	Seen   map[string]int64 `json:"seen"`             // what was observed beside, by what it is: none may be zero
	Timing *Timing          `json:"timing,omitempty"`
	Took   time.Duration    `json:"took"` // ns
}

// Shape is a way of trying.
type Shape struct {
	Name      string `json:"name"`
	Tries     int    `json:"tries"`
	Successes int    `json:"successes"`
}

// Timing is what the times of answers tell about which of two UIDs exists.
type Timing struct {
	Offline       int     `json:"offline"` // answers about cameras that are offline
	Unknown       int     `json:"unknown"` // about ones that never were
	Chance        float64 `json:"chance"`  // that the offline one's answer is the later one, of a pair: 0.5 tells nothing
	Low           float64 `json:"low"`     // of the interval of Chance
	High          float64 `json:"high"`    //
	P             float64 `json:"p"`       // by Mann and Whitney
	OfflineMedian float64 `json:"offline_s"`
	UnknownMedian float64 `json:"unknown_s"`
}

// maxGained is how many successes are told one by one.
const maxGained = 20

// Run attacks. An error is the lab's, or says that an honest device was not served, so that the tries show nothing.
func Run(ctx context.Context, a Attack, s Setup) (Result, error) {
	r := Result{Attack: a, Seed: s.Seed, Seen: map[string]int64{}}
	run, ok := map[Attack]func(context.Context, Setup, *tally) error{
		Hijack: hijack, Capture: capture, Downgrade: downgrade, Enumeration: enumerate,
	}[a]
	switch {
	case !ok:
		return r, fmt.Errorf("soak: no attack is called %q: take one of %v", a, Attacks())
	case s.Tries < 1 || s.Fabric == nil:
		return r, errors.New("soak: set Tries and Fabric")
	}
	if s.Engine == "" {
		s.Engine = lab.EngineTable
	}
	if s.Say == nil {
		s.Say = func(string, ...any) {}
	}
	begun := time.Now()
	t := newTally(s)
	err := run(ctx, s, t)
	t.write(&r)
	r.Took = time.Since(begun)
	if err != nil {
		return r, fmt.Errorf("soak: %s: %w", a, err)
	}
	return r, nil
}

// String is the result in a few lines.
func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-11s %d of %d tries succeeded: %s (seed %d, %.1f s)\n", r.Attack,
		r.Claim.Failures, r.Claim.Tries, r.Risk, r.Seed, r.Took.Seconds())
	for _, s := range r.Shapes {
		fmt.Fprintf(&b, "  %6d  %6d  %s\n", s.Tries, s.Successes, s.Name)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Seen)) {
		fmt.Fprintf(&b, "  seen %8d  %s\n", r.Seen[k], k)
	}
	if t := r.Timing; t != nil {
		fmt.Fprintf(&b, "  times: offline %.3f ms, unknown %.3f ms (medians of %d and %d); "+
			"the offline one's is later by a chance of %.3f (%.3f to %.3f), p = %.3g\n",
			t.OfflineMedian*1e3, t.UnknownMedian*1e3, t.Offline, t.Unknown, t.Chance, t.Low, t.High, t.P)
	}
	for _, g := range r.Gained {
		fmt.Fprintf(&b, "  GAINED %s\n", g)
	}
	return b.String()
}
