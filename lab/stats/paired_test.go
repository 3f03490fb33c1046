package stats

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// TestMcNemarPublished: Agresti's ratings of a prime minister (Categorical Data Analysis, table 11.1), of which 150 changed one way and 86
// the other (R's binom.test(86, 236): 3.716e-05), and small tables from Σ C(n, i)/2ⁿ.
func TestMcNemarPublished(t *testing.T) {
	for _, c := range []struct {
		a, b int
		want float64
	}{
		{86, 150, 3.715936139571442e-05}, {121, 59, 4.434449263755176e-06}, {1, 10, 0.01171875}, {5, 15, 0.04138946533203125},
		{0, 7, 0.015625}, {3, 3, 1}, {0, 0, 1},
	} {
		if got := McNemar(c.a, c.b); math.Abs(got-c.want) > 1e-9*c.want {
			t.Errorf("McNemar(%d, %d) = %v, want %v", c.a, c.b, got, c.want)
		}
	}
	mustPanic(t, "negative", func() { McNemar(-1, 3) })
}

func TestSignTest(t *testing.T) {
	// Of 13 differences 2 are positive: (1 + 13 + 78)/2¹³ on the one side.
	less, greater, two := SignTest(2, 11)
	if !near(less, 92.0/8192, 1e-14) || !near(greater, 1-14.0/8192, 1e-14) || !near(two, 184.0/8192, 1e-14) {
		t.Errorf("SignTest(2, 11) = %v %v %v", less, greater, two)
	}
	if less, greater, two := SignTest(0, 0); less != 1 || greater != 1 || two != 1 {
		t.Errorf("without differences: %v %v %v", less, greater, two)
	}
	if less, greater, two := SignTest(4, 4); two != 1 || less != greater {
		t.Errorf("half of them: %v %v %v", less, greater, two)
	}
}

// TestWilcoxonPublished: the depression scores of Hollander and Wolfe, Nonparametric Statistical Methods, p. 29 (R's example of
// wilcox.test: V = 40, one-sided p = 0.01953), Darwin's maize (Fisher, The Design of Experiments, ch. III: differences in eighths of
// an inch), and ties, each recomputed over all signs in Python.
func TestWilcoxonPublished(t *testing.T) {
	before := []float64{1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30}
	after := []float64{0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29}
	var depression []float64
	for i := range before {
		depression = append(depression, before[i]-after[i])
	}
	for _, c := range []struct {
		name string
		d    []float64
		want float64
	}{
		{"depression", depression, 0.0390625},
		{"maize", []float64{49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48}, 0.041259765625},
		{"ties and a zero", []float64{1, 1, -1, 2, 3, 3, -3, 0, 4, 5}, 0.109375},
		{"zeros", []float64{0, 0}, 1},
		{"none", nil, 1},
	} {
		if got := WilcoxonSigned(c.d); !near(got, c.want, 1e-12) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	mustPanic(t, "NaN", func() { WilcoxonSigned([]float64{1, math.NaN()}) })
}

// TestWilcoxonDefinition: against all choices of signs.
func TestWilcoxonDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := rapid.SliceOfN(rapid.IntRange(-4, 4).Filter(func(x int) bool { return x != 0 }), 1, 9).Draw(t, "d")
		d, ranks := make([]float64, len(whole)), make([]float64, len(whole))
		for i, x := range whole {
			d[i], ranks[i] = float64(x), 0.5
			for _, y := range whole { // mid-rank: ½, those below, and half of those as large
				if y*y < x*x {
					ranks[i]++
				} else if y*y == x*x {
					ranks[i] += 0.5
				}
			}
		}
		sum := func(positive func(i int) bool) (v float64) {
			for i := range d {
				if positive(i) {
					v += ranks[i]
				}
			}
			return v
		}
		seen, below, above := sum(func(i int) bool { return d[i] > 0 }), 0.0, 0.0
		for signs := range 1 << len(d) {
			switch v := sum(func(i int) bool { return signs>>i&1 == 1 }); {
			case v == seen:
				below++
				above++
			case v < seen:
				below++
			default:
				above++
			}
		}
		want := math.Min(1, 2*math.Min(below, above)/math.Pow(2, float64(len(d))))
		if got := WilcoxonSigned(d); !near(got, want, 1e-12) {
			t.Fatalf("%v: %v, want %v", d, got, want)
		}
	})
}

// TestWilcoxonApproximation: where enumeration ends the approximation is as good, with ties and without.
func TestWilcoxonApproximation(t *testing.T) {
	ranks, tied, sum := make([]int, exactSigned), make([]int, exactSigned), 0
	for i := range ranks {
		ranks[i], tied[i] = 2*(i+1), 4*(i/2)+3
		sum += ranks[i]
	}
	for _, seen := range []int{sum/2 - 100, sum * 2 / 5, sum / 3} {
		for _, ranks := range [][]int{ranks, tied} {
			if exact, got := signedTail(ranks, sum, seen/2*2), signedNormal(ranks, sum, seen/2*2); math.Abs(got-exact) > 5e-4 {
				t.Errorf("at most %d of %d: exactly %v, approximately %v", seen, sum, exact, got)
			}
		}
	}
	var d []float64
	for i := range exactSigned + 1 { // one more than is enumerated; 2, 5, 8 … 101 of them negative: 1751 of 5151
		d = append(d, float64(i+1)*[]float64{1, -1, 1}[i%3])
	}
	ranks = doubledRanks(d, func(a, b float64) bool { return false })
	if got, want := WilcoxonSigned(d), 2*signedTail(ranks, 2*5151, 2*1751); math.Abs(got-want) > 5e-4 {
		t.Errorf("101 differences: %v, exactly %v", got, want)
	}
}

// TestPairedErrors: false alarms of the paired tests are at most α, and what is there is found.
func TestPairedErrors(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	n := rounds(2000)
	found := func(shift float64) (wilcoxon, sign float64) {
		for range n {
			d, plus := make([]float64, 30), 0
			for i := range d {
				d[i] = rng.NormFloat64() + shift
				if d[i] > 0 {
					plus++
				}
			}
			if WilcoxonSigned(d) <= 0.05 {
				wilcoxon++
			}
			if _, _, two := SignTest(plus, 30-plus); two <= 0.05 {
				sign++
			}
		}
		return wilcoxon / float64(n), sign / float64(n)
	}
	slack := 3 * math.Sqrt(0.05*0.95/float64(n))
	if w, s := found(0); w > 0.05+slack || w < 0.03 || s > 0.05+slack || s < 0.02 {
		t.Errorf("false alarms: Wilcoxon %v, sign %v", w, s)
	}
	if w, s := found(0.7); w < 0.93 || s < 0.8 || s > w {
		t.Errorf("found: Wilcoxon %v, sign %v", w, s)
	}
}
