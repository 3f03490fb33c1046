package mutants

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/punchlab/punchlab/scenarios"
	"github.com/punchlab/punchlab/topologies"
)

// Job is what the trial program runs: the smallest scenario, in virtual time, in which a fault shows.
type Job struct {
	Name     string
	Scenario string              `json:",omitempty"` // a named scenario
	Text     string              `json:",omitempty"` // or the text of one
	Set      map[string][]string `json:",omitempty"` // narrows axes
	Trials   int                 // of a cell
	Seed     uint64
}

//go:embed jobs/*.yaml
var jobFiles embed.FS

// Jobs are the kit's runs by name: scenarios of their own, so that a change to a shipped one does not move what the kit proves.
var Jobs = sync.OnceValues(func() (map[string]Job, error) {
	jobs := map[string]Job{}
	files, err := fs.Glob(jobFiles, "jobs/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := jobFiles.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s, err := scenarios.Parse(file, text, topologies.Load)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(path.Base(file), ".yaml")
		jobs[name] = Job{Name: name, Text: string(text), Trials: s.Trials, Seed: s.Seed}
	}
	return jobs, nil
})

// JobOf returns a mutant's job.
func JobOf(m Mutant) (Job, error) {
	jobs, err := Jobs()
	if err != nil {
		return Job{}, err
	}
	j, ok := jobs[m.Job]
	if !ok {
		return j, fmt.Errorf("mutant %s: no job %q in lab/mutants/jobs", m.Name, m.Job)
	}
	return j, nil
}
