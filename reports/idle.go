package reports

import (
	"fmt"
)

// idleTime sums up what cameras sent while they were left alone, over the judged trials that tell for how long (add).
type idleTime struct {
	trials         int
	seconds, bytes float64
	least, most    float64 // bytes of a trial
}

func (i *idleTime) add(cells []*cell) {
	for _, c := range cells {
		for j := range c.trials {
			t := &c.trials[j]
			b := t.figure("bytes.camera_idle_up")
			if !has(b) || !(t.idle > 0) || !t.outcome.HasVerdict() {
				continue
			}
			if i.trials == 0 {
				i.least, i.most = b, b
			}
			i.trials++
			i.seconds, i.bytes = i.seconds+t.idle, i.bytes+b
			i.least, i.most = min(i.least, b), max(i.most, b)
		}
	}
}

// hourly is the rate in bytes an hour.
func (i idleTime) hourly() float64 { return i.bytes / i.seconds * 3600 }

// streaming is the mean goodput in bytes an hour, and of how many trials.
func streaming(cells []*cell) (hourly float64, trials int) {
	sum := 0.0
	for _, c := range cells {
		for _, g := range c.sample(goodputBps) {
			sum, trials = sum+g, trials+1
		}
	}
	if trials == 0 {
		return 0, 0
	}
	return sum / float64(trials) / 8 * 3600, trials
}

// idle compares what a camera sends while nobody watches with what it sends while somebody does, for each strategy.
func (m *model) idle() topic {
	t := topic{id: "idle", title: "What does a camera send with no viewer?"}
	t.head = []string{"the camera", "bytes an hour", "what is counted", "trials", "observed", "in one trial"}
	for _, g := range m.groups {
		i := idleTime{}
		i.add(g.cells)
		if i.trials == 0 {
			continue
		}
		name, of := "", ""
		if len(m.groups) > 1 {
			name, of = ", "+g.title(), g.title()+": "
		}
		t.rows = append(t.rows, []string{"left alone" + name, aboutSize(i.hourly()), "payload sent", count(i.trials), seconds(i.seconds) + " in all", span(size(i.least), size(i.most))})
		t.says += fmt.Sprintf("%s%s an hour while left alone (%s, %s in all). ", of, aboutSize(i.hourly()), plural(i.trials, "trial"), seconds(i.seconds))
		if hourly, n := streaming(g.cells); n > 0 {
			t.rows = append(t.rows, []string{"streaming" + name, aboutSize(hourly), "video received, mean of goodput", count(n), "–", "–"})
			if i.hourly() > 0 && hourly > i.hourly() {
				t.says += fmt.Sprintf("Streaming takes %s times as much. ", roundCount(hourly/i.hourly()))
			}
		}
	}
	if len(t.rows) == 0 {
		return topic{id: t.id, title: t.title, says: "Keepalives only, if all is well. Not measured in this run."}
	}
	t.says += "A camera that is pulled from sends keepalives only, if all is well; a short observation holds few of them, so the hourly figure is coarse. " + m.provenance()
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
