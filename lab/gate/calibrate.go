package gate

import (
	"context"
	"errors"
	"math/rand/v2"
)

// Plan is what a calibration tries.
type Plan struct {
	Gates   int       // A/A; 0: 1000
	Trials  int       // of each side in each cell; 0: half of the smallest cell
	Each    int       // gates for each size of each effect; 0: 200
	Drops   []float64 // of the direct rate; nil: 0.01 … 0.15
	Tails   []float64 // of p95; nil: 0.02 … 0.20
	Shifts  []float64 // of every time; nil: 0.02 … 0.20
	Workers int       // 0: GOMAXPROCS
}

// Calibrate finds out how often Compare errs, on disjoint subsets of a large run drawn at random. The result depends on the
// sample, the options, the plan and rng, and not on the number of workers. progress is called after each gate; nil: not.
func Calibrate(ctx context.Context, s Sample, o Options, p Plan, rng *rand.Rand, progress func(done, total int)) (*Calibration, error) {
	return nil, errors.New("calibrate: not written yet")
}
