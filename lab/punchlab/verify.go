package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/spf13/cobra"
)

type verifyFlags struct {
	issuers, witnesses []string
	ignore             bool
	json               bool
}

func verifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify CERTIFICATE --issuer KEY.pub",
		Short: "Check a certificate and its evidence, offline",
		Long: `Check that a certificate's folder is as its issuer signed it, to the last byte of evidence, and say what it certifies. Nothing is run
and nothing is fetched. The first thing that does not match is named, and the exit code is 1. That the evidence matches does not say
that the camera passed: the verdict is printed.

A certificate that witnesses have signed is checked with theirs: give each one's public key, or leave them out of account.`,
		Example: `  punchlab verify out/acme --issuer acme.key.pub
  punchlab verify out/acme --issuer acme.key.pub --witness-key lab2.key.pub
  punchlab verify out/acme --issuer acme.key.pub --ignore-witnesses --json | jq .Manifest.verdict`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := filled(cmd.Flags(), "issuer", "witness-key"); err != nil {
				return err
			}
			defer interruptible(cmd.Context())()
			return f.verify(cmd, args[0])
		},
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.issuers, "issuer", nil, "`file` of the public key that issued it; repeat for more")
	fl.StringArrayVar(&f.witnesses, "witness-key", nil, "`file` of the public key of a witness; repeat for more")
	fl.BoolVar(&f.ignore, "ignore-witnesses", false, "judge the issuer's word alone")
	fl.BoolVar(&f.json, "json", false, "print the report as JSON")
	return c
}

func (f *verifyFlags) verify(cmd *cobra.Command, dir string) error {
	switch {
	case len(f.issuers) == 0:
		return usagef("--issuer: give the public key of who issued the certificate, from their own hands")
	case f.ignore && len(f.witnesses) > 0:
		return usagef("--witness-key goes without --ignore-witnesses")
	}
	trust := evidence.Trust{IgnoreWitnesses: f.ignore}
	var err error
	if trust.Issuers, err = publicKeys("issuer", f.issuers); err != nil {
		return err
	}
	if trust.Witnesses, err = publicKeys("witness-key", f.witnesses); err != nil {
		return err
	}
	report, err := evidence.Verify(cmd.Context(), dir, trust)
	if err != nil {
		return notVerified(err)
	}
	if f.json {
		return json.NewEncoder(os.Stdout).Encode(report)
	}
	fmt.Print(report.Text())
	return nil
}

// notVerified gives an error of a certificate its exit code: one that does not match is a result.
func notVerified(err error) error {
	if errors.As(err, new(*evidence.Mismatch)) {
		return &exitError{exitFail, err}
	}
	return usage(err)
}
