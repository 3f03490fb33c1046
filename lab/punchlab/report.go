package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/reports"
	"github.com/spf13/cobra"
)

func reportCommand() *cobra.Command {
	var formats []string
	c := &cobra.Command{
		Use:   "report RUN",
		Short: "Write a run's report again from its records",
		Long: "Write a run's report again from its records. A record that is one page, such as the attacks.json of `make soak` and the faults.json of " +
			"`make faults`, is given by its own name; the page is written beside it.",
		Example: `  punchlab report out/nat-matrix
  punchlab report out/nat-matrix --format md,csv,junit
  punchlab report out/soak/attack/attacks.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer interruptible(cmd.Context())()
			if err := checkFormats(formats); err != nil {
				return err
			}
			if filepath.Ext(args[0]) == ".json" {
				if cmd.Flags().Changed("format") {
					return usagef("--format goes with a run's folder: the page of a record is HTML")
				}
				return writePage(args[0])
			}
			run, err := record.Scan(args[0], func(record.Trial) error { return nil })
			if err != nil {
				return usage(err)
			}
			if run.Truncated > 0 {
				fmt.Fprintf(os.Stderr, "the last line of %s is torn (%d bytes) and was left out\n", record.TrialsFile, run.Truncated)
			}
			s, err := summarize(args[0])
			if err != nil {
				return unwritten(err)
			}
			files, err := reports.Write(args[0], formats)
			if err != nil {
				return unwritten(err)
			}
			for _, f := range files {
				fmt.Println(f)
			}
			if s.Trials == 0 {
				return &exitError{exitUndecided, errNothing}
			}
			return nil
		},
	}
	c.Flags().StringSliceVar(&formats, "format", []string{"html", "svg", "png"}, "what to write: "+strings.Join(reports.Formats, ", "))
	return c
}

// writePage writes the page of a record beside it.
func writePage(record string) error {
	page, err := reports.WritePage(record)
	switch {
	case err != nil && page == "": // of the record
		return usage(err)
	case err != nil:
		return unwritten(err)
	}
	fmt.Println(page)
	return nil
}

// checkFormats refuses an unknown format before anything runs.
func checkFormats(formats []string) error {
	for _, f := range formats {
		if !slices.Contains(reports.Formats, f) {
			return usagef("unknown report format %q: there are %s", f, strings.Join(reports.Formats, ", "))
		}
	}
	return nil
}
