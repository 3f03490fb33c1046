package stats

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var (
	// rabbits is Mantel's table of penicillin given at once (second side) or after 1½ hours (first) and rabbits cured, by
	// dose (JASA 58 (1963) 690–700; Agresti, Categorical Data Analysis; the example of R's mantelhaen.test).
	rabbits = []Stratum{{0, 5, 0, 6}, {0, 6, 3, 6}, {2, 6, 6, 6}, {6, 6, 5, 6}, {5, 5, 2, 2}}
	// berkeley is admissions of men and women by department, 1973 (Bickel, Hammel and O'Connell, Science 187; R's UCBAdmissions).
	berkeley    = []Stratum{{512, 825, 89, 108}, {353, 560, 17, 25}, {120, 325, 202, 593}, {138, 417, 131, 375}, {53, 191, 94, 393}, {22, 373, 24, 341}}
	mixedStrata = []Stratum{{20, 20, 20, 20}, {20, 20, 20, 20}, {20, 20, 20, 20}, {19, 20, 15, 20}, {10, 18, 8, 21}, {0, 5, 0, 7}, {0, 0, 3, 4}}
)

// TestFisherPublished: the lady tasting tea (Fisher, The Design of Experiments, ch. II; R's fisher.test gives 0.2429 and 0.4857)
// and tables recomputed in Python with exact fractions.
func TestFisherPublished(t *testing.T) {
	for _, c := range []struct {
		k1, n1, k2, n2     int
		less, greater, two float64
	}{
		{1, 4, 3, 4, 0.9857142857142858, 0.24285714285714285, 0.4857142857142857},
		{8, 9, 1, 7, 0.005594405594405594, 0.9999125874125874, 0.008741258741258742},
		{10, 15, 3, 15, 0.012663843516838072, 0.9987453641600252, 0.025327687033676143},
		{1000, 1000, 985, 1000, 2.89456223583741e-05, 1, 5.78912447167482e-05},
		{0, 0, 3, 5, 1, 1, 1},
		{7, 7, 5, 5, 1, 1, 1},
		{0, 0, 0, 0, 1, 1, 1},
	} {
		less, greater, two := Fisher(c.k1, c.n1, c.k2, c.n2)
		if !nearly(less, c.less) || !nearly(greater, c.greater) || !nearly(two, c.two) {
			t.Errorf("%d of %d, %d of %d: %v %v %v, want %v %v %v", c.k1, c.n1, c.k2, c.n2, less, greater, two, c.less, c.greater, c.two)
		}
	}
	mustPanic(t, "k > n", func() { Fisher(1, 2, 4, 3) })
	mustPanic(t, "k < 0", func() { Fisher(-1, 2, 1, 3) })
}

// nearly compares p-values to eleven digits, however small.
func nearly(got, want float64) bool { return math.Abs(got-want) <= 1e-11*want }

// TestExactStrataPublished: R's mantelhaen.test(Rabbits, exact = TRUE) gives p = 0.03994, which is twice its one-sided p here;
// the digits, and the other tables, are from Python with exact fractions.
func TestExactStrataPublished(t *testing.T) {
	for _, c := range []struct {
		name          string
		s             []Stratum
		less, greater float64
	}{
		{"rabbits", rabbits, 0.9986225895316805, 0.01997245179063361},
		{"berkeley", berkeley, 0.899007838762791, 0.1159936689602534},
		{"mixed", mixedStrata, 0.04857841123030573, 0.9856666602802522},
		{"empty", []Stratum{{0, 0, 0, 0}, {0, 0, 4, 4}}, 1, 1},
		{"none", nil, 1, 1},
	} {
		if less, greater := ExactStrata(c.s); !nearly(less, c.less) || !nearly(greater, c.greater) {
			t.Errorf("%s: %v %v, want %v %v", c.name, less, greater, c.less, c.greater)
		}
	}
	mustPanic(t, "k > n", func() { ExactStrata([]Stratum{{1, 0, 0, 1}}) })
}

// TestExactStrataDefinition: against all tables with the same margins, counted in whole numbers.
func TestExactStrataDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SliceOfN(anyStratum, 1, 5).Draw(t, "strata")
		ways, seen := map[int]*big.Int{0: big.NewInt(1)}, 0
		for _, a := range s {
			seen += a.K2
			next := map[int]*big.Int{}
			for k2 := 0; k2 <= a.N2; k2++ {
				k1 := a.K1 + a.K2 - k2
				if k1 < 0 || k1 > a.N1 {
					continue
				}
				here := new(big.Int).Mul(choose(a.N1, k1), choose(a.N2, k2))
				for total, w := range ways {
					if next[total+k2] == nil {
						next[total+k2] = new(big.Int)
					}
					next[total+k2].Add(next[total+k2], new(big.Int).Mul(w, here))
				}
			}
			ways = next
		}
		all, below, above := new(big.Int), new(big.Int), new(big.Int)
		for total, w := range ways {
			all.Add(all, w)
			if total <= seen {
				below.Add(below, w)
			}
			if total >= seen {
				above.Add(above, w)
			}
		}
		wantLess, _ := new(big.Rat).SetFrac(below, all).Float64()
		wantGreater, _ := new(big.Rat).SetFrac(above, all).Float64()
		less, greater := ExactStrata(s)
		if !nearly(less, wantLess) || !nearly(greater, wantGreater) {
			t.Fatalf("%v: %v %v, want %v %v", s, less, greater, wantLess, wantGreater)
		}
		if a := s[0]; len(s) == 1 {
			if l, g, two := Fisher(a.K1, a.N1, a.K2, a.N2); !nearly(less, l) || !nearly(greater, g) || two < min(l, g) {
				t.Fatalf("%v: %v %v; Fisher's %v %v %v", a, less, greater, l, g, two)
			}
		}
	})
}

func choose(n, k int) *big.Int { return new(big.Int).Binomial(int64(n), int64(k)) }

// TestExactStrataTrims: with ends left out, the tails still add up to one and what is seen, and a p-value that lies in an end
// left out is small and never 0.
func TestExactStrataTrims(t *testing.T) {
	s := strata(0.5, rand.New(rand.NewPCG(1, 1)))
	less, greater := ExactStrata(s)
	moved := slices.Clone(s)
	for i := range moved { // one success more on the second side
		if moved[i].K1 > 0 && moved[i].K2 < 20 {
			moved[i].K1--
			moved[i].K2++
			break
		}
	}
	_, above := ExactStrata(moved)
	if !near(less+above, 1, 1e-12) || less+greater <= 1 {
		t.Errorf("P(≤ x) = %v and P(≥ x+1) = %v", less, above)
	}
	less, _ = ExactStrata(slices.Repeat([]Stratum{{20, 20, 0, 20}}, 100))
	if less <= 0 || less > 1e-24 {
		t.Errorf("2,000 of 2,000 and none: p = %v", less)
	}
	less, _ = ExactStrata(slices.Repeat([]Stratum{{12, 20, 8, 20}}, 100))
	if want := 3.742004396550368e-36; less < want || less > 1e-24 {
		t.Errorf("60 and 40 %%: p = %v, want an upper bound of %v", less, want)
	}
}

// TestExactStrataErrors: 20 cells of 20 trials a side. Without a difference at most α of the tests find one; with 9 points
// less they almost all do.
func TestExactStrataErrors(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	found := func(p1, p2, alpha float64, n int) float64 {
		hits := 0
		for range n {
			s := make([]Stratum, 20)
			for i := range s {
				s[i] = Stratum{count(20, p1, rng), 20, count(20, p2, rng), 20}
			}
			if less, _ := ExactStrata(s); less <= alpha {
				hits++
			}
		}
		return float64(hits) / float64(n)
	}
	n := rounds(1500)
	if got := found(0.95, 0.95, 0.05, n); got > 0.05+3*math.Sqrt(0.05*0.95/float64(n)) || got < 0.02 {
		t.Errorf("false alarms: %.4f", got)
	}
	if got := found(0.98, 0.89, 0.001, n/3); got < 0.95 {
		t.Errorf("9 points less found: %.4f", got)
	}
}
