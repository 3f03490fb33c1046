package attack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"github.com/punchlab/punchlab/lab"
)

// SYNFlooder asks a server for TCP connections from sources that are not there: each is half-open until the server gives it up
// (RFC 4987 §2). Its answers go nowhere.
type SYNFlooder struct {
	Target netip.AddrPort
	Rate   int // packets a second; 0: 1,000
	// Sources are the addresses that it claims to be; zero: 198.18.0.0/15, where nobody is (RFC 2544).
	Sources netip.Prefix
	// Endpoints is how many it claims to be, each of which costs a NAT on the way a mapping; 0: 2,048.
	Endpoints int
	Seed      uint64
}

// Name returns "syn flooder".
func (f *SYNFlooder) Name() string { return "syn flooder" }

// Run floods until the budget is spent or ctx ends.
func (f *SYNFlooder) Run(ctx context.Context, m *lab.Machine, b Budget) (Report, error) {
	r, err := enter(f, m, b)
	if err != nil {
		return r, err
	}
	next, err := f.shots()
	if err != nil {
		return r, fmt.Errorf("syn flooder: %w", err)
	}
	return r, shoot(ctx, m, b, f.Rate, next, &r)
}

// shots makes the flood's segments, always the same for one Seed.
func (f *SYNFlooder) shots() (func(int) (Shot, bool), error) {
	if !f.Target.IsValid() || f.Target.Port() == 0 {
		return nil, fmt.Errorf("target %v: give an address and a port", f.Target)
	}
	within, n := f.Sources, f.Endpoints
	if !within.IsValid() {
		within = netip.MustParsePrefix("198.18.0.0/15")
	}
	if n <= 0 {
		n = 2048
	}
	draw := rand.New(seeded(f.Seed))
	sources := make([]netip.AddrPort, n)
	for i := range sources {
		sources[i] = randomSource(draw, within)
	}
	return func(int) (Shot, bool) {
		return Shot{From: sources[draw.IntN(n)], To: f.Target, SYN: true}, true
	}, nil
}
