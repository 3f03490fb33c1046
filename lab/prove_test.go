package lab

import (
	"errors"
	"testing"

	"github.com/punchlab/punchlab/lab/probe"
)

func TestProbesAreRepeatedOnlyWhereInconclusive(t *testing.T) {
	broken := errors.New("no socket")
	for _, tt := range []struct {
		name    string
		answers []error
		want    error
		asked   int
	}{
		{"conclusive at once", []error{nil}, nil, 1},
		{"inconclusive, then not", []error{probe.ErrInconclusive, nil}, nil, 2},
		{"inconclusive", []error{probe.ErrInconclusive, probe.ErrInconclusive, nil}, probe.ErrInconclusive, 2},
		{"broken", []error{broken, nil}, broken, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked []probe.Options
			r, err := conclude(func(o probe.Options) (probe.Result, error) {
				asked = append(asked, o)
				return probe.Result{Translated: true}, tt.answers[len(asked)-1]
			})
			if !errors.Is(err, tt.want) || len(asked) != tt.asked || !r.Translated {
				t.Errorf("asked %d times, got %v, %v; want %d times and %v", len(asked), r, err, tt.asked, tt.want)
			}
			for i := 1; i < len(asked); i++ {
				if asked[i].RTO <= asked[i-1].RTO {
					t.Errorf("probe %d waits %v, no longer than the one before", i, asked[i].RTO)
				}
			}
		})
	}
}
