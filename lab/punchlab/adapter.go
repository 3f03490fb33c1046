package main

import (
	"os"

	"github.com/punchlab/punchlab/impl/adapter"
	"github.com/spf13/cobra"
)

func adapterCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "adapter",
		Hidden: true, // the lab starts it
		Short:  "Be the bundled camera, viewer or rendezvous, as 'certify' starts them",
		Long: `The bundled camera, viewer, rendezvous and relay as a program of the certification contract: what it is to be it reads from
its environment (PUNCHLAB_CASE, PUNCHLAB_ROLE, PUNCHLAB_ACTION …), and what comes out goes to the folder PUNCHLAB_RESULT.
'certify' starts it where a vendor brings no server or viewer, and as the camera that the lab tries itself on. Exit codes: 0 done,
1 tried and failed, 127 unknown case, role or action.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			adapter.Lean()
			if code := adapter.Run(cmd.Context(), os.LookupEnv, os.Stderr); code != adapter.Done {
				return &exitError{code: code}
			}
			return nil
		},
	}
}
