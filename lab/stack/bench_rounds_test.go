package stack

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leastRounds is how often systems are measured beside each other at least, however little -benchtime asks for.
const leastRounds = 5

// contest measures systems in turns, so that what else the machine does meets all of them alike, and reports of each the
// median, and of the first its ratio to each other one: median, smallest and largest over the rounds.
//
//	round 1  A B C │ round 2  B C A │ round 3  C A B │ …
type contest struct {
	unit    string
	names   []string // ours first
	results [][]float64
}

func newContest(unit string, names ...string) *contest {
	return &contest{unit, names, make([][]float64, len(names))}
}

// rounds runs as many rounds as -benchtime says, and at least leastRounds. Each begins with another system.
func rounds(b *testing.B, systems int, measure func(system int)) {
	b.Helper()
	n := 0
	round := func() {
		for i := range systems {
			measure((n + i) % systems)
		}
		n++
	}
	for b.Loop() {
		round()
	}
	for n < leastRounds {
		round()
	}
	b.ReportMetric(0, "ns/op") // says nothing
	b.ReportMetric(float64(n), "n")
}

func (c *contest) add(system int, v float64) { c.results[system] = append(c.results[system], v) }

// medians gives those alone.
func (c *contest) medians(b *testing.B) {
	for i, name := range c.names {
		b.ReportMetric(median(c.results[i]), name+"-"+c.unit)
	}
}

// report gives the metrics.
func (c *contest) report(b *testing.B) {
	c.medians(b)
	for i, name := range c.names {
		if i == 0 {
			continue
		}
		var ratios []float64
		for k := range c.results[i] {
			ratios = append(ratios, c.results[0][k]/c.results[i][k])
		}
		to := fmt.Sprintf("%s/%s-by-%s", c.names[0], name, c.unit)
		b.ReportMetric(median(ratios), to)
		b.ReportMetric(slices.Min(ratios), to+"-min")
		b.ReportMetric(slices.Max(ratios), to+"-max")
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	if n == 0 {
		return 0
	}
	return (v[(n-1)/2] + v[n/2]) / 2
}

// processTime is the processor time that a process has used on all processors; 0: this one.
func processTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	clock := int32(unix.CLOCK_PROCESS_CPUTIME_ID)
	if pid != 0 {
		const sched = 2 // CPUCLOCK_SCHED of <linux/posix-timers.h>; see clock_getcpuclockid(3)
		clock = int32(^pid<<3 | sched)
	}
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		b.Fatalf("read processor time of process %d: %v", pid, err)
	}
	return time.Duration(t.Nano())
}
