package evidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// Trust says whose word the reader takes, and for what. A witness's key cannot issue, nor an issuer's key be its own witness.
type Trust struct {
	Issuers   []PublicKey
	Witnesses []PublicKey
	// IgnoreWitnesses judges the issuers' statement alone. Otherwise a witness whose key is not in Witnesses is a mismatch.
	IgnoreWitnesses bool
}

// Report is what a certificate that matches says.
type Report struct {
	Statement string    // the signed payload's SHA-256: what a witness refers to
	Manifest  *Manifest // all that was certified
	Bytes     int64     // of evidence, without witnesses'
	Witnesses []Witness // in the order of their keys
}

// Witness is a second party's run of the same seeds.
type Witness struct {
	Key         string // its ID
	Cases, Of   int    // how many of the certificate's cases it ran again
	Report      Report // its own evidence
	Differences []Difference
}

// Difference is a case on which the witness came to another verdict.
type Difference struct{ Case, Issued, Witnessed string }

// Agrees says that every case the witness ran came to the same verdict; then it has signed the certificate too.
func (w Witness) Agrees() bool { return len(w.Differences) == 0 }

// Verify reads the certificate in dir, offline, and returns a *Mismatch for the first thing that does not match, in this order:
//
//  1. certificate.json: there, in its one form, signed by at least one trusted issuer, no trusted key's signature wrong
//  2. the statement: an in-toto test result
//  3. manifest.json: there, as hashed in the statement, in its one form, without contradiction, issuers' signatures complete,
//     and saying what the statement says
//  4. every file, in the order of paths: missing, extra, no plain file, size, hash
//  5. starts.jsonl: each line follows those before it, and each case was started as often as the manifest says
//  6. every witness, in the order of keys: steps 1 to 5 on its folder; that it ran what was certified; its signature
//
// It reads no more of a file than its signed size, and follows no link. A folder that cannot be read is another error.
func Verify(ctx context.Context, dir string, trust Trust) (*Report, error) {
	c, err := open(ctx, dir, trust)
	if err != nil {
		return nil, fmt.Errorf("verify certificate in %s: %w", dir, err)
	}
	defer c.Close()
	report, err := c.verify(ctx, trust)
	if err != nil {
		return nil, fmt.Errorf("verify certificate in %s: %w", dir, err)
	}
	return report, nil
}

// certificate is a folder whose statement and manifest have been checked (steps 1 to 3).
type certificate struct {
	*folder
	envelope *dsse.Envelope
	raw      []byte // certificate.json
	payload  []byte
	manifest *Manifest
	signed   map[string]bool // by which trusted keys
}

func open(ctx context.Context, dir string, trust Trust) (*certificate, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	c, err := f.certificate(ctx, trust)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

// certificate takes steps 1 to 3.
func (f *folder) certificate(ctx context.Context, trust Trust) (*certificate, error) {
	c := &certificate{folder: f}
	for _, step := range []func() error{
		func() error { return c.readStatement(ctx, trust) },
		c.readManifest,
		func() error { return c.checkIssuers(trust) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *certificate) readStatement(ctx context.Context, trust Trust) (err error) {
	if c.raw, err = c.document(CertificateFile); err != nil {
		return err
	}
	var m *Mismatch
	if c.envelope, c.payload, m = readEnvelope(c.raw); m != nil {
		return c.place(m)
	}
	issuers, keys := keyring(trust.Issuers), keyring(trust.Issuers)
	if !trust.IgnoreWitnesses {
		maps.Copy(keys, keyring(trust.Witnesses))
	}
	if c.signed, m = signers(ctx, c.envelope, keys); m != nil {
		return c.place(m)
	}
	if !slices.ContainsFunc(c.envelope.Signatures, func(s dsse.Signature) bool { _, ok := issuers[s.KeyID]; return ok }) {
		return c.mismatch(Untrusted, CertificateFile, "it is signed by key %s, which is not among the %d trusted issuers: "+
			"give the issuer's public key, from its own hands", c.envelope.Signatures[0].KeyID, len(issuers))
	}
	if m := checkStatement(c.payload); m != nil {
		return c.place(m)
	}
	return nil
}

// place puts a mismatch that was found in a document into this folder.
func (c *certificate) place(m *Mismatch) *Mismatch {
	return c.mismatch(m.Kind, m.Path, "%s", m.Text)
}

func (c *certificate) readManifest() error {
	want := manifestDigest(c.payload)
	if want == "" {
		return c.mismatch(Disagreement, CertificateFile, "the statement names no %s", ManifestFile)
	}
	b, err := c.document(ManifestFile)
	if err != nil {
		return err
	}
	if got := digest(b); got != want {
		return c.mismatch(Hash, ManifestFile, "its SHA-256 is %s; %s was signed", got, want)
	}
	c.manifest = &Manifest{}
	if err := decode(b, c.manifest); err != nil {
		return c.mismatch(Malformed, ManifestFile, "%v", err)
	}
	if err := c.manifest.check(); err != nil {
		return c.mismatch(Disagreement, ManifestFile, "%v", err)
	}
	_, derived, err := documents(c.manifest)
	if err != nil {
		return c.mismatch(Malformed, ManifestFile, "%v", err)
	}
	where, err := disagree(c.payload, derived)
	if err != nil {
		return err
	}
	if where != "" {
		return c.mismatch(Disagreement, ManifestFile, "%s", where)
	}
	return nil
}

// checkIssuers says which signature the manifest asks for and does not have, or has and does not account for.
func (c *certificate) checkIssuers(trust Trust) error {
	issuers, witnesses := keyring(trust.Issuers), keyring(trust.Witnesses)
	for _, id := range c.manifest.Issuers {
		if !c.hasSignature(id) {
			return c.mismatch(Signature, CertificateFile, "its issuer %s has not signed it", id)
		}
		if _, ok := issuers[id]; !ok {
			return c.mismatch(Untrusted, CertificateFile, "its issuer %s is not trusted", id)
		}
	}
	for _, s := range c.envelope.Signatures {
		_, known := witnesses[s.KeyID]
		if !trust.IgnoreWitnesses && !known && !slices.Contains(c.manifest.Issuers, s.KeyID) {
			return c.mismatch(Untrusted, CertificateFile, "its witness %s is not trusted: give its public key, or ignore witnesses", s.KeyID)
		}
	}
	return nil
}

func (c *certificate) hasSignature(id string) bool {
	return slices.ContainsFunc(c.envelope.Signatures, func(s dsse.Signature) bool { return s.KeyID == id })
}

// verify takes steps 4 to 6.
func (c *certificate) verify(ctx context.Context, trust Trust) (*Report, error) {
	r := &Report{Statement: digest(c.payload), Manifest: c.manifest}
	for _, f := range c.manifest.Files {
		r.Bytes += f.Size
	}
	if err := c.checkFiles(ctx); err != nil {
		return nil, err
	}
	if err := c.checkStarts(ctx, c.manifest); err != nil {
		return nil, err
	}
	if trust.IgnoreWitnesses {
		return r, nil
	}
	var err error
	r.Witnesses, err = c.witnesses(ctx, trust)
	return r, err
}

func (c *certificate) checkFiles(ctx context.Context) error {
	entries, err := c.list(ctx)
	if err != nil {
		return err
	}
	there := map[string]entry{}
	paths := map[string]bool{}
	for _, e := range entries {
		there[e.path], paths[e.path] = e, true
	}
	for _, f := range c.manifest.Files {
		paths[f.Path] = true
	}
	for _, p := range slices.SortedFunc(maps.Keys(paths), cmp.Compare[string]) {
		e, isThere := there[p]
		want, isWanted := c.manifest.file(p)
		if isThere {
			if m := c.check(e); m != nil {
				return m
			}
		}
		switch {
		case !isThere:
			return c.mismatch(Missing, p, "the manifest says it has %d bytes", want.Size)
		case !isWanted:
			return c.mismatch(Extra, p, "the manifest does not know it")
		}
		got, err := c.sum(ctx, p, want.Size, nil)
		if errors.Is(err, fs.ErrNotExist) {
			return c.mismatch(Missing, p, "it went away while the folder was read")
		}
		if err != nil {
			return err
		}
		if got.SHA256 != want.SHA256 {
			return c.mismatch(Hash, p, "its SHA-256 is %s; the manifest says %s", got.SHA256, want.SHA256)
		}
	}
	return nil
}

func keyring(keys []PublicKey) map[string]PublicKey {
	ring := map[string]PublicKey{}
	for _, k := range keys {
		ring[k.ID()] = k
	}
	return ring
}
