// Package faults breaks the bundled camera, viewer and servers on purpose, one fault for each case of the certification's catalogue
// at least: the proof that a case that passes means something.
//
//	Catalogue ──► edits, each behind faulty("name") ──► overlay.json ──► go build -overlay ──► ONE program
//	                                                                                             │
//	    PUNCHLAB_FAULT unset ──► the case, brief ──► control: has to pass ───────────────────────┤
//	    PUNCHLAB_FAULT=name  ──► the case, brief ──► faulty: has to fail, and for the fault's ───┴──► Row
//	                                                 reason
//
// All faults are in one build, each asleep until it is named, so that the control and the faulty program are the same bytes but for
// a variable of the environment. They exist in an overlay of the build alone: no file of the tree is touched, and no release can
// contain one (see lab/mutants, whose overlays these are).
//
// To add a case's fault: an entry in the file of its group; in Replace the fault's own lines stand behind `if faulty("NAME") {…}`,
// and beside them the text as it was. A fault that needs more code, or imports, adds a file to the package (Find is empty).
package faults

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/mutants"
)

// Fault is one way in which a camera, its server or its viewer can be wrong.
type Fault struct {
	Case    string // that has to find it: SEC-9
	Name    string // what faulty is asked: opens-a-port; no other fault has it
	Role    string // camera, viewer, rendezvous or relay: the programs that have it; "": all
	Summary string // what a bug like it does to people
	Edits   []mutants.Edit
	// Reason is a regular expression that the reason of the case's fail has to match: a camera that fails for another reason may
	// have another fault.
	Reason string
	// Device is the same for what became of the program (certify.Result.Device), where that is how the fault shows. Empty: nothing
	// may become of it.
	Device string
	// Control is the name that the control is run with; "": none. A fault of a feature that the bundled camera does not have puts
	// the feature in, right under this name and broken under Name.
	Control string
	// Declare changes the bundled camera's declaration for both runs, to declare such a feature; nil: it stays.
	Declare func(*certify.Declaration)
}

// Variables of the environment by which a program that was built here knows its fault, and the role that has it (empty: all).
const (
	EnvFault = "PUNCHLAB_FAULT"
	EnvRole  = "PUNCHLAB_FAULT_ROLE"
)

// Catalogue lists the faults, in the order of the cases' groups.
func Catalogue() []Fault {
	return slices.Concat(identity, identityToys, registration, traversal, media, pull, security, securityTCP, securityToys, resilience, standards)
}

// Of lists the faults of a case.
func Of(id string) []Fault {
	return slices.DeleteFunc(Catalogue(), func(f Fault) bool { return f.Case != id })
}

// Missing says of cases that have no fault why they have none.
func Missing() map[string]string { return missing }

// Env is what the environment of a program with the fault has beside what any has; of the control, see Fault.Control.
func (f Fault) Env() []string { return env(f.Name, f.Role) }

// ControlEnv is the same for the control.
func (f Fault) ControlEnv() []string {
	if f.Control == "" {
		return nil
	}
	return env(f.Control, f.Role)
}

func env(name, role string) []string { return []string{EnvFault + "=" + name, EnvRole + "=" + role} }

// Check reports what is wrong with an entry, but for whether it applies and compiles.
func (f Fault) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("fault %s of %s: %s", f.Name, f.Case, fmt.Sprintf(format, args...))
	}
	guard := fmt.Sprintf("faulty(%q)", f.Name)
	guarded := func(e mutants.Edit) bool { return strings.Contains(e.Replace, guard) }
	guards := func(e mutants.Edit) bool { return strings.Contains(e.Replace, `faulty("`) }
	switch _, ok := certify.Lookup(f.Case); {
	case !ok:
		return bad("there is no such case")
	case !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`).MatchString(f.Name):
		return bad("a name is words-like-these")
	case f.Summary == "":
		return bad("say in its Summary what a bug like it does to people")
	case f.Role != "" && !slices.Contains([]string{"camera", "viewer", "rendezvous", "relay"}, f.Role):
		return bad("there is no role %q", f.Role)
	case f.Reason == "":
		return bad("say in Reason which fail is meant")
	case !slices.ContainsFunc(f.Edits, guarded):
		return bad("no edit has %s", guard)
	}
	for _, text := range []string{f.Reason, f.Device} {
		if _, err := regexp.Compile(text); err != nil {
			return bad("%v", err)
		}
	}
	for _, e := range f.Edits {
		if e.Find != "" && !guards(e) && !slices.ContainsFunc(f.Edits, func(o mutants.Edit) bool {
			return o.Find == "" && path.Dir(o.File) == path.Dir(e.File) && guards(o) // which e may ask
		}) {
			return bad("an edit of %s has no guard: without %s the program has to be the right one", e.File, guard)
		}
		if !strings.HasPrefix(e.File, "impl/") {
			return bad("%s is no file of the product", e.File)
		}
	}
	return nil
}

// in is an edit of a file of impl.
func in(file, find, replace string) mutants.Edit {
	return mutants.Edit{File: "impl/" + file, Find: find, Replace: replace}
}

// added is a file that is put beside those of a package of impl: what a fault needs beyond a few lines.
func added(file, text string) mutants.Edit { return mutants.Edit{File: "impl/" + file, Replace: text} }
