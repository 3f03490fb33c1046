package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/capture"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/scenarios"
	"github.com/spf13/cobra"
)

type replayFlags struct {
	scenario string
	svg      string
	width    int
	verify   bool
	json     bool
}

func replayCommand() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay RUN TRIAL",
		Short: "Tell a captured trial as a sequence diagram, and why it ended as it did",
		Long: `Read the capture of one trial of a run (run --pcap failed or all), draw its packets between viewer, routers,
rendezvous and camera, and say in a sentence why it came out as it did. TRIAL is CELL/TRIAL, as 3/0, and
CELL/TRIAL/ATTEMPT for one that was repeated. Of a run on engine table, --verify plays the hosts' packets again
through the same topology with the same seed in virtual time and compares every translation, drop and delay.`,
		Example: `  punchlab run nat-matrix --engine table --trials 1 --pcap all --out out/t
  punchlab replay out/t 3/0
  punchlab replay out/t 3/0 --verify
  punchlab replay out/t 3/0 --svg trial.svg`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error { return f.replay(args) },
	}
	fl := c.Flags()
	fl.StringVar(&f.scenario, "scenario", "", "the scenario's `file`, if the run was not of a named one")
	fl.StringVar(&f.svg, "svg", "", "write the diagram to this `file` instead of the terminal")
	fl.IntVar(&f.width, "width", 0, "columns of the diagram (default: COLUMNS, or 120)")
	fl.BoolVar(&f.verify, "verify", false, "play the capture again and compare (engine table)")
	fl.BoolVar(&f.json, "json", false, "print the explanation, the flows and the verification as JSON")
	return c
}

// told is what there is to say about a trial.
type told struct {
	Trial    record.Trial          `json:"trial"`
	Why      string                `json:"why"`
	Media    capture.Paths         `json:"media"`
	Flows    []capture.Flow        `json:"flows"`
	Leaks    []string              `json:"leaks,omitempty"`
	Verified *capture.Verification `json:"verified,omitempty"`
}

func (f *replayFlags) replay(args []string) error {
	if f.width < 0 {
		return usagef("--width %d: give a number of columns", f.width)
	}
	run, err := record.Read(args[0])
	if err != nil {
		return usage(err)
	}
	if len(args) < 2 {
		return usagef("name a trial: %s", capturedTrials(run))
	}
	t, err := findTrial(run, args[1])
	if err != nil {
		return err
	}
	topo, err := f.topology(run.Manifest, t)
	if err != nil {
		return err
	}
	if !filepath.IsLocal(t.Pcap) {
		return usagef("trial %s: its capture %q is not below the run's folder", args[1], t.Pcap)
	}
	trace, err := capture.Open(filepath.Join(args[0], t.Pcap))
	if err != nil {
		return usage(err)
	}
	line, err := trace.Timeline(capture.View{Roles: topo.Roles(runner.Viewer, runner.Rendezvous, runner.Camera), Events: eventsOf(trace, t)})
	if err != nil {
		return usagef("tell %s: %w", t.Pcap, err)
	}
	say := told{Trial: t, Why: line.Explain(t), Media: line.Media(), Flows: line.Flows(), Leaks: line.Leaks(t)}
	if f.verify {
		if say.Verified, err = verify(trace, topo, t); err != nil {
			return err
		}
	}
	if err := f.say(line, say); err != nil {
		return err
	}
	if v := say.Verified; v != nil && v.Mismatch != "" {
		return &exitError{exitFail, errors.New("the replay differs from the capture")}
	}
	return nil
}

// eventsOf are the trial's events, on the trace's clock.
func eventsOf(trace *capture.Trace, t record.Trial) (list []capture.Event) {
	for _, e := range t.Events {
		at := t.StartedAt.Add(time.Duration(e.AtS * float64(time.Second)))
		list = append(list, capture.Event{At: trace.At(at), What: e.What})
	}
	return list
}

func (f *replayFlags) say(line *capture.Timeline, say told) error {
	if f.svg != "" {
		if err := os.WriteFile(f.svg, []byte(line.SVG()), 0o644); err != nil {
			return usagef("--svg: %w", err)
		}
	}
	if f.json {
		if err := json.NewEncoder(os.Stdout).Encode(say); err != nil {
			return labError(err)
		}
		return nil
	}
	if f.svg == "" {
		fmt.Println(line.Text(f.columns()))
	}
	fmt.Printf("%s: %s\n", say.Trial.Outcome, say.Why)
	for _, l := range say.Leaks {
		fmt.Printf("leak of the lab: %s\n", l)
	}
	if v := say.Verified; v != nil {
		if v.Mismatch != "" {
			fmt.Printf("replayed %d packets: differs: %s\n", v.Inputs, v.Mismatch)
		} else {
			fmt.Printf("replayed %d packets: every translation, drop and delay is the same at all %d sightings\n", v.Inputs, v.Sightings)
		}
	}
	return nil
}

// columns is the diagram's width.
func (f *replayFlags) columns() int {
	const usual, least = 120, 80
	if f.width > 0 {
		return max(f.width, least)
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return max(n, least)
	}
	return usual
}

// verify plays the capture again.
func verify(trace *capture.Trace, topo *lab.Topology, t record.Trial) (*capture.Verification, error) {
	if len(t.Events) > 0 {
		return nil, unsupported("verify trial: events happened in it, whose exact moments the capture does not tell: only trials without them can be replayed exactly")
	}
	v, err := capture.Verify(trace, func() (*capture.Replay, error) { return topo.Replay(t.Seed) })
	if err != nil {
		return nil, unsupported("%w", err)
	}
	return &v, nil
}

// findTrial returns the trial of that name that has a capture.
func findTrial(run *record.Run, name string) (record.Trial, error) {
	var n [3]int
	parts := strings.Split(name, "/")
	bad := len(parts) < 2 || len(parts) > 3
	for i, p := range parts {
		v, err := strconv.Atoi(p)
		if bad = bad || err != nil || v < 0; bad {
			return record.Trial{}, usagef("trial %q: write CELL/TRIAL, as 3/0: %s", name, capturedTrials(run))
		}
		n[i] = v
	}
	var found *record.Trial
	for i := range run.Trials {
		t := &run.Trials[i]
		if t.Cell == n[0] && t.Trial == n[1] && (len(parts) == 2 || t.Attempt == n[2]) {
			found = t // of several attempts the last
		}
	}
	switch {
	case found == nil:
		return record.Trial{}, usagef("the run has no trial %s: %s", name, capturedTrials(run))
	case found.Pcap == "":
		return record.Trial{}, usagef("trial %s was not captured (run with --pcap): %s", name, capturedTrials(run))
	}
	return *found, nil
}

// capturedTrials lists the first trials that have a capture.
func capturedTrials(run *record.Run) string {
	const most = 8
	var names []string
	n := 0
	for _, t := range run.Trials {
		if t.Pcap == "" {
			continue
		}
		if n++; n <= most {
			names = append(names, fmt.Sprintf("%d/%d (%s)", t.Cell, t.Trial, t.Outcome))
		}
	}
	switch {
	case n == 0:
		return "none was captured: run with --pcap failed, or --pcap all"
	case n > most:
		return fmt.Sprintf("captured are %s and %d more", strings.Join(names, ", "), n-most)
	}
	return "captured are " + strings.Join(names, ", ")
}

// topology builds the trial's topology again, from the scenario that the run names by its digest.
func (f *replayFlags) topology(m record.Manifest, t record.Trial) (*lab.Topology, error) {
	name := m.Scenario.Name
	if f.scenario != "" {
		name = f.scenario
	}
	s, err := scenarios.Load(name)
	if err != nil {
		return nil, usagef("load the run's scenario (give its file with --scenario, if it is not a named one): %w", err)
	}
	if s.Digest != m.Scenario.Digest {
		return nil, usagef("scenario %s is not the one of the run (%s, now %s): give its file with --scenario, or use the build that made the run",
			name, m.Scenario.Digest, s.Digest)
	}
	topo, err := s.Build(t.Params)
	if err != nil {
		return nil, usagef("build the trial's topology: %w", err)
	}
	topo.UseEngine(m.Engine)
	return topo, nil
}
