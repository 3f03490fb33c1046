package suite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/evidence"
)

// Certified is a certificate that a second party is to run again.
type Certified struct {
	Report      *evidence.Report
	Declaration *certify.Declaration
	Seed        uint64
	Issuers     []evidence.PublicKey
	dir         string
}

// Recall verifies the certificate in a folder, as issued by those keys, and takes from it what a run of the same needs. An
// *evidence.Mismatch says what does not match; a *BadOptions, why this build cannot run it.
func Recall(ctx context.Context, dir string, issuers ...evidence.PublicKey) (*Certified, error) {
	report, err := evidence.Verify(ctx, dir, evidence.Trust{Issuers: issuers, IgnoreWitnesses: true})
	if err != nil {
		return nil, err
	}
	m := report.Manifest
	if m.WitnessOf != "" {
		return nil, refuse("%s is a witness's run of another certificate: witness that one", dir)
	}
	if digest := strings.TrimPrefix(certify.Digest(), "sha256:"); m.Suite.SHA256 != digest {
		return nil, refuse("%s was certified by %s %s (%s), and this build has %s %s (%s): use the build that it was certified by",
			dir, m.Suite.Name, m.Suite.Version, short(m.Suite.SHA256), SuiteName, certify.SuiteVersion, short(digest))
	}
	if m.Declaration != DeclarationFile || len(m.Cases) == 0 ||
		slices.ContainsFunc(m.Cases, func(c evidence.Case) bool { return c.Seed != m.Cases[0].Seed }) {
		return nil, refuse("%s was not made by 'punchlab certify': its cases have no seed in common", dir)
	}
	d, err := readDeclaration(folder(dir))
	if err != nil {
		return nil, refuse("%s: its declaration: %w", dir, err)
	}
	return &Certified{Report: report, Declaration: d, Seed: m.Cases[0].Seed, Issuers: issuers, dir: dir}, nil
}

// short is the beginning of a digest, for people.
func short(digest string) string { return digest[:min(12, len(digest))] }

// Check says why a run with these options would not be one of what is certified.
func (c *Certified) Check(o Options) error {
	want, have := c.Report.Manifest.Subjects, o.subjects()
	for _, s := range want {
		if !slices.ContainsFunc(have, s.Same) {
			return refuse("certified is %s (SHA-256 %s), which is not what is to be run here: %s", s.Name, short(s.SHA256), names(have))
		}
	}
	if why := evidence.Repeats(want, have); why != "" {
		return refuse("certified is %s; to be run here is %s: %s. An image is given by --firmware", names(want), names(have), why)
	}
	for _, k := range o.Keys {
		if slices.Contains(c.Report.Manifest.Issuers, k.Public().ID()) {
			return refuse("the key is the issuer's: a witness is a second party with a key of its own")
		}
	}
	if len(o.Keys) != 1 {
		return refuse("a witness signs with one key, not %d", len(o.Keys))
	}
	return nil
}

func names(all []evidence.Artifact) string {
	var words []string
	for _, a := range all {
		words = append(words, fmt.Sprintf("%s (%s)", a.Name, short(a.SHA256)))
	}
	return list(words)
}

// Countersign adds the run in a folder, which Run has sealed with the key, to the certificate as its witness's.
func (c *Certified) Countersign(ctx context.Context, rerun string, key *evidence.Key) (*evidence.Witness, error) {
	return evidence.Countersign(ctx, c.dir, rerun, key, c.Issuers...)
}
