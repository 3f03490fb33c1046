package reports

import (
	"strings"
	"testing"
)

// The figure says what enumeration says: the exact interval keeps its promise everywhere, Wilson's does on average.
func TestCoverageFigure(t *testing.T) {
	f := coverageFigure(20)
	svg, err := f.svgFile()
	if err != nil || !strings.Contains(string(svg), "<svg") {
		t.Fatalf("%v, %.40s", err, svg)
	}
	for _, want := range []string{"Wilson's hold it in 95", "Clopper and Pearson's in 98", "20 trials"} {
		if !strings.Contains(f.alt, want) {
			t.Errorf("%q lacks %q", f.alt, want)
		}
	}
}
