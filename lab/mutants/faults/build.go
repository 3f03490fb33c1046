package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/mutants"
)

// Package is the program that is built, below the module's root: the bundled roles as programs of CONTRACT.md.
const Package = "./impl/adapter/cmd/punchlab-adapter"

// Build builds the bundled programs of the module at root with all faults in them, each asleep, into a folder, and returns the path.
func Build(ctx context.Context, root, dir string, faults []Fault) (string, error) {
	edits, err := Edits(root, faults)
	if err != nil {
		return "", err
	}
	return mutants.BuildPackage(ctx, root, Package, dir, edits...)
}

// guardFile is what is added to each package that faults are in.
const guardFile = "zz_faulty.go"

// guardText declares the guard of the faults in one package: it is true in the programs that have the fault.
const guardText = `package %s

import "os"

var theFault = func() string {
	if role := os.Getenv("` + EnvRole + `"); role != "" && role != os.Getenv("PUNCHLAB_ROLE") {
		return ""
	}
	return os.Getenv("` + EnvFault + `")
}()

func faulty(name string) bool { return name != "" && name == theFault }
`

// Edits are those of all faults, and the guards' files. An edit that several faults share is made once.
func Edits(root string, faults []Fault) ([]mutants.Edit, error) {
	var edits []mutants.Edit
	packages := map[string]bool{}
	for _, f := range faults {
		for _, e := range f.Edits {
			if slices.ContainsFunc(edits, func(o mutants.Edit) bool { return o.File == e.File && o.Find == e.Find && o.Replace == e.Replace }) {
				continue
			}
			e.Of = "fault " + f.Name + " of " + f.Case
			edits = append(edits, e)
			packages[path.Dir(e.File)] = true
		}
	}
	var guards []mutants.Edit
	for dir := range packages {
		name, err := packageName(filepath.Join(root, filepath.FromSlash(dir)))
		if err != nil {
			return nil, err
		}
		guards = append(guards, mutants.Edit{Of: "the guard", File: path.Join(dir, guardFile), Replace: fmt.Sprintf(guardText, name)})
	}
	slices.SortFunc(guards, func(a, b mutants.Edit) int { return cmp.Compare(a.File, b.File) })
	return append(edits, guards...), nil
}

// packageName reads the name of the package in a folder.
func packageName(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly)
		if err != nil {
			return "", fmt.Errorf("find the package's name: %w", err)
		}
		return f.Name.Name, nil
	}
	return "", errors.New("no package in " + dir + ": the product has changed there; write the faults in it anew")
}
