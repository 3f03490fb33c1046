package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/lab/stack"
)

// simPlan is dicePlan with the system that the lab is about, in virtual time: video and all.
func simPlan(t testing.TB, trials int) runner.Plan {
	t.Helper()
	p := dicePlan(t, trials, dice{})
	for i := range p.Cells {
		c := &p.Cells[i]
		system, err := stack.ForStrategy(c.Strategy)
		if err != nil {
			t.Fatal(err)
		}
		c.System = system
	}
	p.Media, p.Timeout = 200*time.Millisecond, 8*time.Second
	return p
}

// slow ends a cell with the second trial that took longer than its first: a rule that hangs on figures.
func slow(_ int, prefix []record.Trial) bool {
	n := 0
	for _, r := range prefix[1:] {
		if r.FirstPacketS != nil && prefix[0].FirstPacketS != nil && *r.FirstPacketS > *prefix[0].FirstPacketS {
			n++
		}
	}
	return n >= 2
}

// summaryText is summary.json, but for how long the run took.
func summaryText(t testing.TB, records []record.Trial) string {
	t.Helper()
	b, err := json.MarshalIndent(record.Summarize(record.Manifest{Scenario: record.Document{Name: "same"}, Engine: "sim"}, records, 0), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSimulationsAreTheSame: engine sim gives the same records, and the same summary to the byte, whatever the number of jobs
// and shards, and after any number of kills.
func TestSimulationsAreTheSame(t *testing.T) {
	const trials = 12
	whole := simulate(t, simPlan(t, trials), 1)
	records, summary := texts(t, whole), summaryText(t, whole)
	check := func(what string, got []record.Trial) {
		t.Helper()
		if diff := cmp.Diff(records, texts(t, got)); diff != "" {
			t.Errorf("%s: records differ: %s", what, diff)
		}
		if diff := cmp.Diff(summary, summaryText(t, got)); diff != "" {
			t.Errorf("%s: summaries differ: %s", what, diff)
		}
	}
	for _, jobs := range []int{2, 8} {
		check(fmt.Sprint(jobs, " jobs"), simulate(t, simPlan(t, trials), jobs))
	}
	var sharded []record.Trial
	for i := range 3 {
		p := simPlan(t, trials)
		s := record.Shard{I: i + 1, N: 3}
		p.Mine = func(cell, trial int) bool { return s.Has(cell, trial, trials, false) }
		sharded = append(sharded, simulate(t, p, 2)...)
	}
	check("3 shards", sharded)
	stopped := func(jobs int) []record.Trial {
		p := simPlan(t, trials)
		p.Stop = slow
		return simulate(t, p, jobs)
	}
	one := stopped(1)
	if len(one) >= len(whole) || len(one) < 2*len(simPlan(t, 1).Cells) {
		t.Errorf("%d of %d trials before the rule ended their cells", len(one), len(whole))
	}
	if diff := cmp.Diff(texts(t, one), texts(t, stopped(8))); diff != "" {
		t.Errorf("8 jobs under a stop rule: %s", diff)
	}
}

// killedDir, in the environment, makes the test's binary a run in that folder that somebody may kill.
const killedDir = "PUNCHLAB_TEST_KILLED_RUN"

const killedTrials = 30

// runKilled begins a run in dir, or goes on with it.
func runKilled(dir string) error {
	p := simPlan(&testing.T{}, killedTrials)
	w, err := record.Create(dir, record.Manifest{Scenario: record.Document{Name: "same"}, Engine: "sim"})
	if err != nil {
		if w, _, err = record.Reopen(dir, p.Resume); err != nil {
			return err
		}
	}
	_, err = runner.Run(context.Background(), p, runner.Config{Jobs: 2, Sink: w.Add})
	return errors.Join(err, w.Finish(err == nil, time.Now()))
}

// TestKilledRunsEndTheSame kills a run at random, again and again, and goes on with it each time.
func TestKilledRunsEndTheSame(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	r := rand.New(rand.NewPCG(6, 1))
	kills := 0
	for {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), killedDir+"="+dir)
		cmd.Stderr = os.Stderr
		grown := size(dir) + int64(r.IntN(20000))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		gone := make(chan error, 1)
		go func() { gone <- cmd.Wait() }()
		err := killWhen(cmd.Process, gone, kills < 3, func() bool { return size(dir) > grown })
		if err == nil {
			break
		}
		if kills++; kills > 3 {
			t.Fatal(err)
		}
	}
	run, err := record.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if kills == 0 || !run.Manifest.Complete {
		t.Errorf("%d kills, complete %v", kills, run.Manifest.Complete)
	}
	for i := range run.Trials {
		run.Trials[i].Schema = "" // the writer's
	}
	want := simulate(t, simPlan(t, killedTrials), 2)
	if diff := cmp.Diff(texts(t, want), texts(t, run.Trials)); diff != "" {
		t.Errorf("after %d kills: %s", kills, diff)
	}
	if diff := cmp.Diff(summaryText(t, want), summaryText(t, run.Trials)); diff != "" {
		t.Errorf("after %d kills: %s", kills, diff)
	}
}

// killWhen ends a process on a condition, if it is to, and returns how it ended.
func killWhen(p *os.Process, gone <-chan error, kill bool, when func() bool) error {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for {
		select {
		case err := <-gone:
			return err
		case <-poll.C:
			if kill && when() {
				_ = p.Kill() // it may be gone by itself
				kill = false
			}
		}
	}
}

func size(dir string) int64 {
	info, err := os.Stat(filepath.Join(dir, record.TrialsFile))
	if err != nil {
		return 0
	}
	return info.Size()
}

// BenchmarkSimulations is the throughput of engine sim, trials of a connection and a fifth of a second of video.
func BenchmarkSimulations(b *testing.B) {
	p := simPlan(b, max(1, b.N/6))
	b.ReportAllocs()
	start := time.Now()
	n := len(simulate(b, p, 0))
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "trials/s")
}
