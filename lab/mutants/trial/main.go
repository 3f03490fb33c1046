// Command trial runs one job of the mutation kit: a scenario in virtual time, and nothing else that the command line has, so that it
// is built in seconds with a fault in it.
//
//	job (JSON) on standard input ──► experiment ──► runner, engine sim ──► run folder (the only argument)
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/experiment"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/lab/runner"
	"github.com/punchlab/punchlab/scenarios"
	"github.com/punchlab/punchlab/topologies"
)

// job is a mutants.Job: this program imports nothing of what the kit is made of.
type job struct {
	Name     string
	Scenario string              // a name
	Text     string              // or the text of one
	Set      map[string][]string // narrows axes
	Trials   int                 // of a cell
	Seed     uint64
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "trial:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("give one argument, the run's folder, and a job on standard input")
	}
	var j job
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return fmt.Errorf("read job: %w", err)
	}
	e, err := j.experiment()
	if err != nil {
		return err
	}
	m := record.Manifest{
		Schema: record.ManifestSchema, Command: []string{"trial", j.Name}, Start: time.Now().UTC(),
		Versions: record.Versions{Commit: "unknown", Go: runtime.Version()}, CPU: record.CPU{Cores: runtime.NumCPU()},
	}
	e.Describe(&m)
	w, err := record.Create(os.Args[1], m)
	if err != nil {
		return err
	}
	_, err = runner.Run(context.Background(), e.Plan, runner.Config{Sink: w.Add, Dir: w.Dir()})
	complete := err == nil || errors.Is(err, runner.ErrUnfilled) // what has no verdict is the gate's to see
	if complete {
		err = nil
	}
	return errors.Join(err, w.Finish(complete, time.Now().UTC()))
}

// experiment is the job's scenario, narrowed.
func (j job) experiment() (*experiment.Experiment, error) {
	s, err := j.scenario()
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(j.Set)) {
		if err := s.Narrow(key, j.Set[key]); err != nil {
			return nil, fmt.Errorf("job %s: %w", j.Name, err)
		}
	}
	s.Trials, s.Seed = j.Trials, j.Seed
	return experiment.Build(s, lab.EngineSim, j.Set)
}

func (j job) scenario() (*scenarios.Scenario, error) {
	if j.Text == "" {
		return scenarios.Load(j.Scenario)
	}
	return scenarios.Parse("job "+j.Name, []byte(j.Text), topologies.Load)
}
