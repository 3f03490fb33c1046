// Package reports turns the records of a run into pages, plots and tables. It is a pure function of the run's folder:
// it measures nothing and decides nothing.
//
//	RUN/run.json ─────┐                 ┌─► report.html       one offline page: the answer first, every trial behind it
//	                  ├─► model ─► … ───┼─► plots/*.svg *.png  the page's figures, by gonum/plot
//	RUN/trials.jsonl ─┘                 └─► report.md .csv .junit.xml .benchfmt
//
// Every rate stands with its n and 95 % Wilson interval, every time with its n; a sample too small for a figure says
// "too few samples" in its place. Harness errors stand beside the trials and are never counted in.
package reports

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
)

// Formats lists what Write can make, in the order in which it makes them.
var Formats = []string{"html", "svg", "png", "md", "csv", "junit", "benchfmt"}

// Write makes the reports of the run in runDir, beside its records, and returns the files written. Without formats it
// makes all. An unknown format is an error before anything is written.
func Write(runDir string, formats []string) (files []string, err error) {
	for _, f := range formats {
		if !slices.Contains(Formats, f) {
			return nil, fmt.Errorf("write report: unknown format %q: use %s", f, strings.Join(Formats, ", "))
		}
	}
	if _, err := record.Read(runDir); err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	return nil, errors.New("write report: no format is made yet")
}
