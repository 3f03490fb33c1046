// Package mutants seeds faults in the product and has the gate find them: the proof that a green gate means something.
//
//	Catalogue ──► Mutant ──► overlay.json ──► go build -overlay ──► trial program ──┐ run of the mutant's job
//	                                          go build            ──► trial program ──┤ run of the same job: the baseline, made once
//	                                                                                  ▼
//	                                                    gate.Compare, pair by pair ──► Row: found by which metric, effect, p
//
// A mutant is a text to find in one file of the product and what stands there instead. It exists in an overlay of the build alone:
// no file of the tree is touched, the product has no hook for it, and no release can contain one. The text has to occur exactly
// once, so that a change to the product that moves a fault's place shows here as an error and not as a fault that is not there.
//
// Each is the shape of a bug that real systems of this kind had. Its job is the smallest run, in virtual time, that exposes it; the
// gate has to fail with its default metrics, and in the metric that the mutant names, for a fault that is found by something else
// may be another fault. A mutant with Metric "" is a Null one, which changes nothing: the gate has to pass it. The jobs themselves are
// run on other seeds too (Twice), where the gate must not fail, and has often too few trials to pass.
package mutants

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Part is the part of the product that a fault is in.
type Part string

// The parts.
const (
	Camera     Part = "camera"
	Viewer     Part = "viewer"
	Rendezvous Part = "rendezvous"
	Strategy   Part = "strategy" // impl/punch
	Session    Part = "session"
	Media      Part = "media"
	Device     Part = "device" // what camera and viewer have alike: impl/uplink, impl/self, impl/classify
)

// Mutant is one seeded fault.
type Mutant struct {
	Name    string `json:"name"`
	Part    Part   `json:"part,omitempty"`
	Summary string `json:"summary"`        // what a bug like it does to people
	File    string `json:"file,omitempty"` // below the module's root, with slashes; "": nothing is changed but the seed, see Twice
	Find    string `json:"find,omitempty"` // occurs exactly once in File
	Replace string `json:"replace,omitempty"`
	Job     string `json:"job"`              // of Jobs: the run that exposes it
	Metric  string `json:"metric,omitempty"` // in which the gate has to find it; "": in none, the mutant is a null one
}

// Null reports whether the mutant changes nothing.
func (m Mutant) Null() bool { return m.Metric == "" }

// Twice are the jobs of the product as it is, each compared with itself on other seeds: the gate must not fail.
func Twice() ([]Mutant, error) {
	jobs, err := Jobs()
	if err != nil {
		return nil, err
	}
	var ms []Mutant
	for _, name := range slices.Sorted(maps.Keys(jobs)) {
		ms = append(ms, Mutant{Name: "twice-" + name, Job: name, Summary: "the product as it is, on other seeds"})
	}
	return ms, nil
}

// Catalogue lists the faults, by the part that they are in.
func Catalogue() []Mutant {
	return slices.Concat(nulls, inCamera, inViewer, inRendezvous, inStrategy, inSession, inMedia, inDevice)
}

// Find returns a mutant of the catalogue.
func Find(name string) (Mutant, error) {
	all := Catalogue()
	if i := slices.IndexFunc(all, func(m Mutant) bool { return m.Name == name }); i >= 0 {
		return all[i], nil
	}
	return Mutant{}, fmt.Errorf("no mutant %q in the catalogue (mutants.Catalogue)", name)
}

// Root finds the module's root above a folder.
func Root(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if text, err := os.ReadFile(filepath.Join(at, "go.mod")); err == nil && bytes.HasPrefix(text, []byte("module github.com/punchlab/punchlab\n")) {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("find the module's root above %s: no go.mod of punchlab: mutants are built from its source", dir)
		}
	}
}

// Apply returns the text of a mutant's file with the fault in it.
func (m Mutant) Apply(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.File)))
	if err != nil {
		return nil, fmt.Errorf("mutant %s: %w", m.Name, err)
	}
	return m.apply(text)
}

func (m Mutant) apply(text []byte) ([]byte, error) { return compose(text, []Edit{m.edit()}) }

func (m Mutant) edit() Edit {
	return Edit{Of: "mutant " + m.Name, File: m.File, Find: m.Find, Replace: m.Replace}
}

func edits(ms []Mutant) []Edit {
	es := make([]Edit, len(ms))
	for i, m := range ms {
		es[i] = m.edit()
	}
	return es
}
