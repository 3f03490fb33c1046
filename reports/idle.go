package reports

import (
	"fmt"

	"github.com/punchlab/punchlab/lab/record"
)

// idleTime sums up what cameras sent while they were left alone, over the judged trials that tell for how long.
type idleTime struct {
	trials         int
	seconds, bytes float64
	least, most    float64 // bytes of a trial
}

func (m *model) idleTime() (i idleTime) {
	for _, c := range m.cells {
		for _, t := range c.trials {
			sent, ok := t.Bytes["camera_idle_up"]
			if !ok || t.IdleS == nil || *t.IdleS <= 0 || !t.Outcome.HasVerdict() {
				continue
			}
			b := float64(sent)
			if i.trials == 0 {
				i.least, i.most = b, b
			}
			i.trials++
			i.seconds, i.bytes = i.seconds+*t.IdleS, i.bytes+b
			i.least, i.most = min(i.least, b), max(i.most, b)
		}
	}
	return i
}

// hourly is the rate in bytes an hour.
func (i idleTime) hourly() float64 { return i.bytes / i.seconds * 3600 }

// streaming is the mean goodput in bytes an hour, and of how many trials.
func (m *model) streaming() (hourly float64, trials int) {
	sum := 0.0
	for _, c := range m.cells {
		for _, t := range c.trials {
			if g := goodputBps(t); g != nil && t.Outcome.HasVerdict() {
				sum, trials = sum+*g, trials+1
			}
		}
	}
	if trials == 0 {
		return 0, 0
	}
	return sum / float64(trials) / 8 * 3600, trials
}

// idle compares what a camera sends while nobody watches with what it sends while somebody does.
func (m *model) idle() topic {
	t := topic{id: "idle", title: "What does a camera send with no viewer?"}
	i := m.idleTime()
	if i.trials == 0 {
		t.says = "Keepalives only, if all is well. Not measured in this run."
		return t
	}
	t.head = []string{"the camera", "bytes an hour", "what is counted", "trials", "observed", "in one trial"}
	t.rows = [][]string{{"left alone", aboutSize(i.hourly()), "UDP payload sent", count(i.trials), seconds(i.seconds) + " in all", span(size(i.least), size(i.most))}}
	t.says = fmt.Sprintf("%s an hour while left alone (%s, %s in all): keepalives only, if all is well.", aboutSize(i.hourly()), plural(i.trials, "trial"), seconds(i.seconds))
	if hourly, n := m.streaming(); n > 0 {
		t.rows = append(t.rows, []string{"streaming", aboutSize(hourly), "video received, mean of goodput", count(n), "–", "–"})
		if i.hourly() > 0 && hourly > i.hourly() {
			t.says += fmt.Sprintf(" Streaming takes %s times as much.", roundCount(hourly/i.hourly()))
		}
	}
	t.says += " A short observation holds few keepalives, so the hourly figure is coarse. " + m.provenance()
	return t
}

// aboutSize prints an estimate of bytes with three significant digits.
func aboutSize(v float64) string {
	if v >= 999.5 && v < 1e4 {
		return significant(v/1e3) + " kB"
	}
	return size(v)
}

// roundCount prints a large factor with two significant digits.
func roundCount(v float64) string {
	step := 1
	for v/float64(step) >= 100 {
		step *= 10
	}
	return count(int(v/float64(step)+0.5) * step)
}

// goodputBps is nil where no media was measured.
func goodputBps(t record.Trial) *float64 {
	if t.Media == nil {
		return nil
	}
	return t.Media.GoodputBps
}
