// Package reports turns the records of a run into pages, plots and tables. It is a pure function of the run's folder:
// it measures nothing and decides nothing.
//
//	RUN/run.json ─────┐                           ┌─► report.html       one offline page: the answer first, every trial behind it
//	                  ├─► columns ─► model ─► … ──┼─► plots/*.svg *.png  the page's figures, by gonum/plot
//	RUN/trials.jsonl ─┘                           └─► report.md .csv .junit.xml .benchfmt
//
// Trials are read one at a time and kept as columns: 10^5 of them take some 50 MB and make a page under 5 MB (BenchmarkWrite).
//
// Every rate stands with its n and 95 % Wilson interval, every time with its n; a sample too small for a figure says
// "too few samples" in its place. Harness errors stand beside the trials and are never counted in.
package reports

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Formats lists what Write can make, in the order in which it makes them.
var Formats = []string{"html", "svg", "png", "md", "csv", "junit", "benchfmt"}

// Write makes the reports of the run in runDir, beside its records, and returns the files written. Without formats it
// makes all. An unknown format is an error before anything is written. Files of an earlier report are replaced, and its
// plots that this run does not have are removed.
func Write(runDir string, formats []string) (files []string, err error) {
	for _, f := range formats {
		if !slices.Contains(Formats, f) {
			return nil, fmt.Errorf("write report: unknown format %q: use %s", f, strings.Join(Formats, ", "))
		}
	}
	if len(formats) == 0 {
		formats = Formats
	}
	m, err := readModel(runDir)
	if err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	w := &writer{dir: runDir}
	if m.extra, err = extras(runDir); err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	w.removeStale(m)
	for _, kind := range []string{"svg", "png"} {
		if slices.Contains(formats, kind) {
			w.plots(m, kind)
		}
	}
	for _, d := range documents {
		if slices.Contains(formats, d.format) {
			w.file(d.name, func() ([]byte, error) { return d.make(m, w.names) })
		}
	}
	if w.err != nil {
		return nil, fmt.Errorf("write report: %w", w.err)
	}
	for _, n := range w.names {
		files = append(files, filepath.Join(runDir, n))
	}
	return files, nil
}

// documents are the formats that are one file. make gets the files already written, to link them.
var documents = []struct {
	format, name string
	make         func(m *model, files []string) ([]byte, error)
}{
	{"html", "report.html", (*model).html},
	{"md", "report.md", (*model).markdown},
	{"csv", "report.csv", (*model).csv},
	{"junit", "report.junit.xml", (*model).junit},
	{"benchfmt", "report.benchfmt", (*model).benchfmt},
}

// writer writes files below dir until one fails.
type writer struct {
	dir   string
	names []string // relative to dir
	err   error
}

func (w *writer) file(name string, make func() ([]byte, error)) {
	if w.err != nil {
		return
	}
	b, err := make()
	if err == nil {
		err = os.WriteFile(filepath.Join(w.dir, name), b, 0o644)
	}
	if err != nil {
		w.err = fmt.Errorf("make %s: %w", name, err)
		return
	}
	w.names = append(w.names, name)
}

// plots writes every figure that has something to plot.
func (w *writer) plots(m *model, kind string) {
	if err := os.MkdirAll(filepath.Join(w.dir, "plots"), 0o755); err != nil && w.err == nil {
		w.err = err
	}
	for _, f := range m.plots() {
		w.file("plots/"+f.id+"."+kind, map[string]func() ([]byte, error){"svg": f.svgFile, "png": f.pngFile}[kind])
	}
}

// plotNames are how the names of plots begin, those of earlier versions included: what removeStale may remove.
var plotNames = []string{
	"direct-rate", "relay-share", "connect-time", "first-frame-time", "first-packet-ratio", "first-frame-ratio",
	"frame-latency", "goodput", "camera-idle-up", "lab-lateness", "birthday-curve", "direct-rate-by", "paired-first-frame", "engines-agreement", "fleet-connect", "fleet-first-frame", "operating-curve", "interval-coverage",
}

// removeStale removes the plots of an earlier report that this run does not have, and nothing that is not a plot's.
func (w *writer) removeStale(m *model) {
	current := map[string]bool{}
	for _, f := range m.plots() {
		current[f.id] = true
	}
	entries, err := os.ReadDir(filepath.Join(w.dir, "plots"))
	if err != nil {
		return // there is no earlier report
	}
	for _, e := range entries {
		kind := filepath.Ext(e.Name())
		id := strings.TrimSuffix(e.Name(), kind)
		name, _, _ := strings.Cut(id, ".")
		if !e.Type().IsRegular() || current[id] || kind != ".svg" && kind != ".png" || !slices.Contains(plotNames, name) {
			continue
		}
		if err := os.Remove(filepath.Join(w.dir, "plots", e.Name())); err != nil && w.err == nil {
			w.err = fmt.Errorf("remove plot of an earlier report: %w", err)
		}
	}
}

// plots lists the figures that are files of their own.
func (m *model) plots() []figure {
	var fs []figure
	if f, ok := m.heatFigures(directHeat); ok {
		fs = append(fs, f)
	}
	for _, f := range m.facets {
		fs = append(fs, m.heatFigure(directHeat, f))
	}
	for _, f := range m.relayFacets() {
		fs = append(fs, m.heatFigure(relayHeat, f))
	}
	for _, t := range m.topics() {
		for _, f := range t.figures {
			if f.instead == "" {
				fs = append(fs, f)
			}
		}
	}
	return fs
}
