package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/record"
)

// small is a run of four cells that ends in seconds. Tests share the machine with other tests, so lateness does not void
// their trials.
var small = []string{"run", abs("testdata/small.yaml"), "--late", "1h", "--format", "html"}

func abs(path string) string {
	p, err := filepath.Abs(path)
	if err != nil {
		panic(err)
	}
	return p
}

func runArgs(out string, more ...string) []string {
	return append(append(append([]string{}, small...), "--out", out), more...)
}

func needLab(t *testing.T) {
	t.Helper()
	if !have(t)["lab"] {
		t.Skip("no namespaces here: see 'punchlab doctor'")
	}
}

func readRun(t *testing.T, dir string) *record.Run {
	t.Helper()
	run, err := record.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func TestRunMeasuresWhatTheNATsAllow(t *testing.T) {
	t.Parallel()
	needLab(t)
	dir := filepath.Join(t.TempDir(), "out")
	code, stdout, stderr := punchlab(t, t.TempDir(), runArgs(dir, "--trials", "3", "--json")...)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	var s record.Summary
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatalf("--json printed something else than the summary: %v\n%s", err, stdout)
	}
	// Which outcome each cell must have: RFC 4787's behaviours leave no choice.
	want := map[string]record.Outcome{
		"full-cone direct": record.Direct, "full-cone adaptive": record.Direct,
		"symmetric direct": record.Failed, "symmetric adaptive": record.Relayed,
	}
	if len(s.Cells) != len(want) {
		t.Fatalf("%d cells, want %d", len(s.Cells), len(want))
	}
	for _, c := range s.Cells {
		name := c.Params["camera.nat"] + " " + c.Params["strategy"]
		if c.Outcomes[want[name]] != 3 || c.Trials != 3 {
			t.Errorf("%s: %v, want 3 × %s", name, c.Outcomes, want[name])
		}
		if m := c.Media; want[name] != record.Failed && (m == nil || m.FramesIntact != 75 || m.FramesSent != 75) {
			t.Errorf("%s: media %+v, want 3 × 25 frames, every byte intact", name, m)
		}
		if c.DirectRate == nil || c.DirectRate.Low >= c.DirectRate.High {
			t.Errorf("%s: direct rate %+v has no interval", name, c.DirectRate)
		}
	}
	run := readRun(t, dir)
	if !run.Manifest.Complete || len(run.Trials) != 12 {
		t.Errorf("complete %v with %d records, want a complete run of 12", run.Manifest.Complete, len(run.Trials))
	}
	for _, f := range []string{record.SummaryFile, "report.html"} {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			t.Error(err)
		}
	}
	if code, _, stderr := punchlab(t, t.TempDir(), runArgs(dir, "--trials", "3")...); code != exitUsage || !strings.Contains(stderr, "not empty") {
		t.Errorf("a second run into the same folder: exit code %d, %s", code, stderr)
	}
}

// await polls a condition of another process.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !cond() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

func lines(file string) int {
	b, _ := os.ReadFile(file)
	return strings.Count(string(b), "\n")
}

func TestInterruptLeavesAResumableRun(t *testing.T) {
	t.Parallel()
	needLab(t)
	dir := filepath.Join(t.TempDir(), "out")
	args := runArgs(dir, "--trials", "4", "--jobs", "4")
	c := command(t, t.TempDir(), args...)
	var stderr strings.Builder
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "the first records", func() bool { return lines(filepath.Join(dir, record.TrialsFile)) >= 3 })
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if code := c.ProcessState.ExitCode(); code != exitUndecided || !strings.Contains(stderr.String(), "--resume") {
		t.Fatalf("exit code %d, want %d and how to resume; stderr:\n%s", code, exitUndecided, stderr.String())
	}
	first := readRun(t, dir)
	if first.Manifest.Complete || len(first.Trials) >= 16 {
		t.Fatalf("interrupted run: complete %v, %d records of 16", first.Manifest.Complete, len(first.Trials))
	}
	if _, err := os.Stat(filepath.Join(dir, "report.html")); err != nil {
		t.Errorf("an interrupted run has no report: %v", err)
	}
	if code, _, stderr := punchlab(t, t.TempDir(), append(args, "--seed", "9", "--resume")...); code != exitUsage {
		t.Errorf("resumed with another seed: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := punchlab(t, t.TempDir(), append(args, "--resume")...); code != 0 {
		t.Fatalf("resume: exit code %d\n%s", code, stderr)
	}
	run := readRun(t, dir)
	if !run.Manifest.Complete {
		t.Error("the resumed run is not complete")
	}
	verdicts := map[string]int{}
	for _, tr := range run.Trials {
		if tr.Outcome.HasVerdict() {
			verdicts[fmt.Sprint(tr.Cell, "/", tr.Trial)]++
		}
	}
	if len(verdicts) != 16 {
		t.Errorf("%d trials have a verdict, want 16", len(verdicts))
	}
	for k, n := range verdicts {
		if n != 1 {
			t.Errorf("trial %s was measured %d times", k, n)
		}
	}
}

func TestKillLeavesNothing(t *testing.T) {
	needLab(t)
	dir := filepath.Join(t.TempDir(), "out")
	marker := "PUNCHLAB_TEST_MARKER=" + dir
	c := command(t, t.TempDir(), runArgs(dir, "--trials", "50", "--jobs", "4")...)
	c.Env = append(c.Env, marker)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "the first record", func() bool { return lines(filepath.Join(dir, record.TrialsFile)) >= 1 })
	if n := marked(marker); n < 3 {
		t.Fatalf("%d processes of the run, want the parent, the isolated child and the fabric", n)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	// Namespaces and interfaces live in these processes' descriptors alone: with the last process they are gone.
	await(t, "every process of the run to end", func() bool { return marked(marker) == 0 })
	if run := readRun(t, dir); run.Manifest.Complete {
		t.Error("a killed run is marked complete")
	}
}

// marked counts the processes that have the marker in their environment.
func marked(marker string) (n int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range dirs {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), marker) {
			n++
		}
	}
	return n
}
