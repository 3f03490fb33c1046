package cases

import (
	"strings"
	"testing"
	"time"
)

func TestJitter(t *testing.T) {
	for _, c := range []struct {
		s     []float64
		wrong string
	}{
		{[]float64{4, 5, 6}, ""},
		{[]float64{4.1, 4.3, 4.2}, ""},
		{[]float64{3.97, 5, 5.9}, ""}, // a clock's
		{[]float64{5, 5.01, 5.02, 4.99}, "not randomized"},
		{[]float64{2, 2, 2}, "2s apart, and 4s"},
		{[]float64{4.5, 5, 3.2}, "3.2s apart, and 4s"},
		{[]float64{4, 5, 7}, "4.4s to 6.6s are allowed"},
	} {
		var ds []time.Duration
		for _, s := range c.s {
			ds = append(ds, time.Duration(s*float64(time.Second)))
		}
		if got := jitter(ds); (got == "") != (c.wrong == "") || !strings.Contains(got, c.wrong) {
			t.Errorf("%v: %q, wanted %q", c.s, got, c.wrong)
		}
	}
}
