package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/spf13/cobra"
)

func accountCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "account",
		Short: "Give viewers accounts at a rendezvous, as its operator",
		Long: `Give viewers accounts. A rendezvous that is given the account's public key serves only viewers with a token that the
account's private key has signed. A token is of use to the viewer for whose key it was issued, and to nobody else.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usagef("account new, or account token: see 'punchlab account --help'")
		},
	}
	c.AddCommand(accountNewCommand(), accountTokenCommand())
	return c
}

func accountNewCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "new FILE",
		Short:   "Make the operator's key, and print its public half for the rendezvous",
		Example: "  punchlab account new account.key > account.pub",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := os.Lstat(args[0]); err == nil {
				return usagef("%s exists: its tokens would be lost; name another file", args[0])
			}
			k, err := identity.NewAccountKey(rand.Reader)
			if err != nil {
				return labError(err)
			}
			if err := identity.SaveAccountKey(args[0], k); err != nil {
				return usage(err)
			}
			fmt.Println(k.Public())
			return nil
		},
	}
}

func accountTokenCommand() *cobra.Command {
	var key, viewer, valid string
	c := &cobra.Command{
		Use:     "token",
		Short:   "Issue a viewer's token",
		Example: "  punchlab account token --account account.key --viewer KEY --valid 1y > viewer.token",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if key == "" || viewer == "" {
				return usagef("--account FILE and --viewer KEY are needed: who signs the token, and who may use it")
			}
			p, err := identity.ParsePublicKey(textOrFile(viewer))
			if err != nil {
				return usagef("--viewer: %w; it may also name a file with the key", err)
			}
			d, err := parseValid(valid)
			if err != nil {
				return usagef("--valid %w", err)
			}
			k, err := identity.LoadAccountKey(key)
			if err != nil {
				return usage(err)
			}
			t := identity.Token{Viewer: p}
			if d > 0 {
				t.NotAfter = time.Now().Add(d).Unix()
			}
			fmt.Println(identity.TokenText(k.Issue(t)))
			return nil
		},
	}
	c.Flags().StringVar(&key, "account", "", "`file` of the account's key ('punchlab account new')")
	c.Flags().StringVar(&viewer, "viewer", "", "the viewer's public `key`, or a file with it")
	c.Flags().StringVar(&valid, "valid", "1y", "how long the token holds: years (1y), days (30d) or a `duration`; 0: for ever")
	return c
}
