package main

import (
	"fmt"
	"os"
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
		Example: `  punchlab report out/nat-matrix
  punchlab report out/nat-matrix --format md,csv,junit`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer interruptible(cmd.Context())()
			if err := checkFormats(formats); err != nil {
				return err
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

// checkFormats refuses an unknown format before anything runs.
func checkFormats(formats []string) error {
	for _, f := range formats {
		if !slices.Contains(reports.Formats, f) {
			return usagef("unknown report format %q: there are %s", f, strings.Join(reports.Formats, ", "))
		}
	}
	return nil
}
