package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/punchlab/punchlab/lab/certify/evidence"
	"github.com/punchlab/punchlab/lab/certify/suite"
	"github.com/punchlab/punchlab/lab/netns"
	"github.com/spf13/cobra"
)

// publicSuffix is added to a key's file for that of its public half.
const publicSuffix = ".pub"

func keyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Make keys that sign certificates",
		Long: `Make keys that sign certificates, and say which is which. A key is Ed25519 in PEM, as openssl makes it too:
openssl genpkey -algorithm ed25519. The public half is what 'punchlab verify --issuer' asks for: hand it out yourself, not with the
certificate.`,
	}
	c.AddCommand(&cobra.Command{
		Use:     "new FILE",
		Short:   "Make a key: FILE, readable by you alone, and FILE" + publicSuffix,
		Example: "  punchlab key new acme.key",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			k, err := newKey(args[0])
			if err != nil {
				return err
			}
			fmt.Println(k.Public().ID())
			return nil
		},
	}, &cobra.Command{
		Use:     "id FILE",
		Short:   "Print a key's ID, of either half",
		Example: "  punchlab key id acme.key" + publicSuffix,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if p, err := evidence.LoadPublicKey(args[0]); err == nil {
				fmt.Println(p.ID())
				return nil
			}
			k, err := evidence.LoadKey(args[0])
			if err != nil {
				return usage(err)
			}
			fmt.Println(k.Public().ID())
			return nil
		},
	})
	return c
}

// newKey makes a key and its public half's file.
func newKey(file string) (*evidence.Key, error) {
	for _, name := range []string{file, file + publicSuffix} {
		if _, err := os.Lstat(name); err == nil {
			return nil, usagef("%s is there: a key is never replaced", name)
		}
	}
	k, err := evidence.NewKey(rand.Reader)
	if err != nil {
		return nil, labError(err)
	}
	return k, usageOrNil(errors.Join(evidence.SaveKey(file, k), evidence.SavePublicKey(file+publicSuffix, k.Public())))
}

// signingKey loads the key that signs, where something is signed.
func (f *certifyFlags) signingKey(c *certification) (err error) {
	if f.dryRun || f.brief || f.named || len(f.cases) > 0 {
		return nil
	}
	file := f.key
	if file == "" {
		if file, err = f.ownKey(); err != nil {
			return err
		}
	}
	if c.key, err = evidence.LoadKey(file); err != nil {
		return usage(err)
	}
	c.Keys = []*evidence.Key{c.key}
	issuer := file + publicSuffix
	if p, err := evidence.LoadPublicKey(issuer); err != nil || p != c.key.Public() {
		issuer = "KEY" + publicSuffix
	}
	c.Verify = shellWords([]string{"punchlab", "verify", c.Out, "--issuer", issuer})
	return nil
}

// ownKey is the user's key, made at its first use.
func (f *certifyFlags) ownKey() (string, error) {
	file := keyFile("certify")
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return file, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", usagef("make a key to sign with: %w; or give one with --key", err)
	}
	k, err := newKey(file)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(os.Stderr, "made a key to sign with: %s; its ID is %s, its public half %s\n", file, k.Public().ID(), file+publicSuffix)
	return file, nil
}

// publicKeys loads the public keys that flags name.
func publicKeys(flag string, files []string) (keys []evidence.PublicKey, err error) {
	for _, file := range files {
		p, err := evidence.LoadPublicKey(file)
		if err != nil {
			return nil, usagef("--%s: %w", flag, err)
		}
		keys = append(keys, p)
	}
	return keys, nil
}

// recall takes from a certificate what a witness runs again.
func (f *certifyFlags) recall(c *certification) error {
	issuers, err := publicKeys("issuer", f.issuers)
	if err != nil {
		return err
	}
	if c.witness, err = suite.Recall(context.Background(), f.witness, issuers...); err != nil {
		return notVerified(err)
	}
	if again := c.witness.Report.Manifest.Repeated(); len(again) > 0 && !netns.Isolated() {
		fmt.Fprintf(os.Stderr, "by the certificate these cases were started more than once: %s\n", strings.Join(again, ", "))
	}
	c.Declaration, c.WitnessOf = c.witness.Declaration, c.witness.Report.Statement
	return f.checkFirmware(c)
}
