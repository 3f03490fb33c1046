package reports

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/stats"
)

// The least n for which a quantile is printed: under it, the quantile is only another name for the extreme value.
const (
	minForP95 = 20
	minForP99 = 100
)

const tooFew = "too few samples"

// count prints a number with thin groups of three digits.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural prints a count with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// percent prints k of n. Only all is 100 % and only none is 0 %.
func percent(k, n int) string {
	if n == 0 {
		return "–"
	}
	switch s := number(100*float64(k)/float64(n), 1); {
	case s == "100" && k < n:
		return "> 99.9 %"
	case s == "0" && k > 0:
		return "< 0.1 %"
	default:
		return s + " %"
	}
}

// interval prints the Wilson interval of k of n.
func interval(k, n int) string {
	if n == 0 {
		return tooFew
	}
	low, high := stats.Wilson(k, n, record.Confidence)
	return number(100*low, 1) + "–" + number(100*high, 1) + " %"
}

// ordinal prints a power of two: 2nd, 4th …
func ordinal(n int) string {
	if n%10 == 2 && n%100 != 12 {
		return count(n) + "nd"
	}
	return count(n) + "th"
}

// number prints v with at most the given decimals.
func number(v float64, decimals int) string {
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// seconds prints a time with three significant digits.
func seconds(s float64) string {
	switch {
	case s == 0:
		return "0 ms"
	case s < 1e-3:
		return significant(s*1e6) + " µs"
	case s < 0.9995:
		return significant(s*1e3) + " ms"
	case s < 120:
		return significant(s) + " s"
	}
	return fmt.Sprintf("%d min %d s", int(s)/60, int(s)%60)
}

// significant prints three significant digits of a number under 1000.
func significant(v float64) string {
	switch {
	case math.Abs(v) >= 99.95:
		return number(v, 0)
	case math.Abs(v) >= 9.995:
		return number(v, 1)
	}
	return number(v, 2)
}

// ratio prints a multiple of a bound.
func ratio(v float64) string { return number(v, 3) + "×" }

// bits prints a rate.
func bits(v float64) string {
	switch {
	case v >= 1e6:
		return significant(v/1e6) + " Mbit/s"
	case v >= 1e3:
		return significant(v/1e3) + " kbit/s"
	}
	return number(v, 0) + " bit/s"
}

// size prints a number of bytes.
func size(v float64) string {
	switch {
	case v >= 1e9:
		return significant(v/1e9) + " GB"
	case v >= 1e6:
		return significant(v/1e6) + " MB"
	case v >= 1e4:
		return significant(v/1e3) + " kB"
	}
	if v < 10 {
		return number(v, 1) + " B" // of a mean
	}
	return number(v, 0) + " B"
}

// quantile prints a quantile of an ascending sample with its interval, or that there are too few samples.
func quantile(sorted []float64, p float64, print func(float64) string) string {
	s := plainQuantile(sorted, p, print)
	if s == tooFew {
		return s
	}
	if low, high, ok := stats.QuantileInterval(sorted, p, record.Confidence); ok {
		return s + " (" + span(print(low), print(high)) + ")"
	}
	return s
}

// plainQuantile is quantile without the interval, for values that depend on one another.
func plainQuantile(sorted []float64, p float64, print func(float64) string) string {
	switch {
	case len(sorted) == 0:
		return "–"
	case p >= 0.95 && len(sorted) < minForP95:
		return tooFew
	}
	return print(stats.Quantile(sorted, p))
}

// span prints an interval whose ends share their unit once.
func span(low, high string) string {
	if low == high {
		return low
	}
	a, unitA, okA := strings.Cut(low, " ")
	_, unitB, okB := strings.Cut(high, " ")
	signed := strings.HasPrefix(low, "−") || strings.HasPrefix(low, "+")
	switch {
	case okA && okB && unitA == unitB && signed:
		return a + " to " + high
	case signed:
		return low + " to " + high
	case okA && okB && unitA == unitB, !okA && !okB && !strings.HasSuffix(low, "×"):
		return a + "–" + high
	}
	if strings.HasSuffix(low, "×") && strings.HasSuffix(high, "×") {
		return strings.TrimSuffix(low, "×") + "–" + high
	}
	return low + " – " + high
}
