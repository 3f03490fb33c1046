package stats

import (
	"math/rand/v2"
	"testing"
)

// strata returns a gate's worth of cells: 100 of 20 trials a side.
func strata(rate float64, rng *rand.Rand) []Stratum {
	s := make([]Stratum, 100)
	for i := range s {
		s[i] = Stratum{K1: count(20, rate, rng), N1: 20, K2: count(20, rate, rng), N2: 20}
	}
	return s
}

// count draws the number of successes in n trials.
func count(n int, rate float64, rng *rand.Rand) (k int) {
	for range n {
		if rng.Float64() < rate {
			k++
		}
	}
	return k
}

func BenchmarkFisher(b *testing.B) {
	for b.Loop() {
		Fisher(15, 20, 11, 20)
	}
}

func BenchmarkExactStrata(b *testing.B) {
	for name, rate := range map[string]float64{"half": 0.5, "most": 0.97} {
		s := strata(rate, rand.New(rand.NewPCG(1, 1)))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ExactStrata(s)
			}
		})
	}
}

func BenchmarkStrataDiff(b *testing.B) {
	for name, rate := range map[string]float64{"half": 0.5, "most": 0.97} {
		s := strata(rate, rand.New(rand.NewPCG(1, 1)))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				StrataDiff(s, 0.95)
			}
		})
	}
}

func BenchmarkQuantileRatioStrata(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := make([][2][]float64, 100)
	for i := range s {
		for side := range s[i] {
			for range 20 {
				s[i][side] = append(s[i][side], rng.ExpFloat64())
			}
		}
	}
	for b.Loop() {
		QuantileRatioStrata(s, 0.95, 0.95, 1000, rng)
	}
}

func BenchmarkQuantileRatio(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	xs := make([]float64, 2000)
	for i := range xs {
		xs[i] = rng.ExpFloat64()
	}
	for b.Loop() {
		QuantileRatio(xs, xs, 0.95, 0.95, 1000, rng)
	}
}

func BenchmarkDetectableDrop(b *testing.B) {
	for b.Loop() {
		DetectableDrop(1000, 1000, 0.95, 0.001, 0.95)
	}
}

func BenchmarkChangePoints(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	xs := make([]float64, 100)
	for i := range xs {
		xs[i] = rng.NormFloat64() + float64(i/50)*3
	}
	for b.Loop() {
		ChangePoints(xs, 0.05, 199, rng)
	}
}
