package stack

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// findProgram returns the path of an executable: where PUNCHLAB_NAME says, on PATH, or beside this program.
func findProgram(name string) (string, error) {
	if path := os.Getenv(programVariable(name)); path != "" {
		return exec.LookPath(path)
	}
	path, err := exec.LookPath(name)
	if err == nil || strings.ContainsRune(name, os.PathSeparator) {
		return path, err
	}
	if own, errOwn := os.Executable(); errOwn == nil {
		if path, errOwn := exec.LookPath(filepath.Join(filepath.Dir(own), name)); errOwn == nil {
			return path, nil
		}
	}
	return "", err
}

// programVariable is the environment variable that says where a program is: PUNCHLAB_NEBULA_CERT for nebula-cert.
func programVariable(name string) string {
	return "PUNCHLAB_" + strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, strings.ToUpper(name))
}

// Missing says what the machine lacks for the system, and what to do about it; empty: nothing.
func (e *External) Missing() string {
	var sentences []string
	for _, p := range e.programs() {
		if _, err := findProgram(p.Name); err != nil {
			sentences = append(sentences, p.missing())
		}
	}
	for _, d := range e.spec.Devices {
		f, err := os.OpenFile(d, os.O_RDWR, 0)
		if err != nil {
			sentences = append(sentences, fmt.Sprintf("%v: %s needs it, readable and writable", err, e.spec.Name))
			continue
		}
		f.Close()
	}
	return strings.Join(slices.Compact(sentences), "; ")
}

// missing says where a program comes from.
func (p externalProgram) missing() string {
	switch {
	case p.Package != "":
		return fmt.Sprintf("%s is not installed: apt-get install %s", p.Name, p.Package)
	case p.Make != "":
		return fmt.Sprintf("%s is not built: make %s, or say where it is by %s", p.Name, p.Make, programVariable(p.Name))
	}
	return fmt.Sprintf("%s is not installed: put it on PATH, or say where it is by %s", p.Name, programVariable(p.Name))
}

// programs are those that the document lists, and those that its commands start.
func (e *External) programs() []externalProgram {
	all := slices.Clone(e.spec.Programs)
	add := func(argv []string) {
		if len(argv) == 0 || strings.Contains(argv[0], "{{") {
			return
		}
		if !slices.ContainsFunc(all, func(p externalProgram) bool { return p.Name == argv[0] }) {
			all = append(all, externalProgram{Name: argv[0]})
		}
	}
	for _, c := range e.spec.Prepare {
		add(c)
	}
	for _, c := range e.spec.Commands {
		add(c.Run)
		add(c.Ready.Probe)
	}
	for _, m := range externalMarks {
		add(e.spec.Marks[m].Probe)
	}
	return all
}
