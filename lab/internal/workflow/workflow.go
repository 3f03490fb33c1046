package workflow

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/goccy/go-yaml"
)

// File is a workflow, or the definition of a composite action.
type File struct {
	Inputs map[string]Input `yaml:"inputs"` // of an action
	Runs   struct {
		Using string `yaml:"using"`
		Steps []Step `yaml:"steps"`
	} `yaml:"runs"`
	Jobs map[string]struct {
		Steps []Step `yaml:"steps"`
	} `yaml:"jobs"`
}

// Input is a parameter of an action.
type Input struct {
	Description string `yaml:"description"`
	Default     string `yaml:"default"`
}

// Step is one step of a job or action.
type Step struct {
	ID    string            `yaml:"id"`
	Name  string            `yaml:"name"`
	If    string            `yaml:"if"`
	Uses  string            `yaml:"uses"`
	With  map[string]string `yaml:"with"`
	Shell string            `yaml:"shell"`
	Env   map[string]string `yaml:"env"`
	Run   string            `yaml:"run"`
}

// Title names the step in an error.
func (s Step) Title() string { return cmp.Or(s.Name, s.ID, s.Uses) }

// Read loads the workflow or action at path. Errors name file and line.
func Read(path string) (*File, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read workflow: %w", err)
	}
	f := &File{}
	if err := yaml.Unmarshal(b, f); err != nil {
		return nil, fmt.Errorf("read workflow: %s: %w", path, err)
	}
	if len(f.Steps()) == 0 {
		return nil, fmt.Errorf("read workflow: %s: it has no steps", path)
	}
	return f, nil
}

// Steps lists the steps of the action or of all jobs, job by job in the order of their names.
func (f *File) Steps() []Step {
	steps := slices.Clone(f.Runs.Steps)
	for _, name := range slices.Sorted(maps.Keys(f.Jobs)) {
		steps = append(steps, f.Jobs[name].Steps...)
	}
	return steps
}

// Commands lists the calls of program in all steps.
func (f *File) Commands(program string) []Command {
	var all []Command
	for _, s := range f.Steps() {
		for _, c := range Commands(s.Run, program) {
			c.Where = s.Title()
			all = append(all, c)
		}
	}
	return all
}
