package evidence

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
)

// witnesses takes step 6: what lies in witnesses/, and the signatures that belong to it.
func (c *certificate) witnesses(ctx context.Context, trust Trust) ([]Witness, error) {
	ids, err := c.witnessIDs()
	if err != nil {
		return nil, err
	}
	for _, s := range c.envelope.Signatures {
		if !slices.Contains(c.manifest.Issuers, s.KeyID) && !slices.Contains(ids, s.KeyID) {
			ids = append(ids, s.KeyID)
		}
	}
	slices.Sort(ids)
	var all []Witness
	for _, id := range ids {
		w, err := c.witness(ctx, id, trust)
		if err != nil {
			return nil, err
		}
		all = append(all, *w)
	}
	return all, nil
}

// witnessIDs lists the folders in witnesses/.
func (c *certificate) witnessIDs() (ids []string, err error) {
	info, err := c.root.Lstat(WitnessFolder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, c.mismatch(Forbidden, WitnessFolder, "it is no folder")
	}
	d, err := c.root.Open(WitnessFolder)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(maxSignatures + 1)
	if err != nil && len(entries) == 0 {
		return nil, nil // empty, io.EOF
	}
	if len(entries) > maxSignatures {
		return nil, c.mismatch(TooLarge, WitnessFolder, "more than %d entries", maxSignatures)
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		p := path.Join(WitnessFolder, e.Name())
		if !e.IsDir() {
			return nil, c.mismatch(Extra, p, "only witnesses' folders belong here")
		}
		if !isDigest(e.Name()) {
			return nil, c.mismatch(Extra, p, "a witness's folder is named by its key")
		}
		ids = append(ids, e.Name())
	}
	return ids, nil
}

// witness judges one witness's folder against the certificate.
func (c *certificate) witness(ctx context.Context, id string, trust Trust) (*Witness, error) {
	dir := path.Join(WitnessFolder, id)
	key, ok := keyring(trust.Witnesses)[id]
	switch _, err := c.root.Lstat(dir); {
	case slices.Contains(c.manifest.Issuers, id):
		return nil, c.mismatch(Disagreement, dir, "its key is the issuer's: a witness is a second party")
	case !ok:
		return nil, c.mismatch(Untrusted, dir, "this witness is not trusted: give its public key, or ignore witnesses")
	case errors.Is(err, fs.ErrNotExist):
		return nil, c.mismatch(Missing, dir, "this witness has signed the certificate and left no statement of what it ran")
	case err != nil:
		return nil, err
	}
	f, err := c.below(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	own, err := f.certificate(ctx, Trust{Issuers: []PublicKey{key}})
	if err != nil {
		return nil, err
	}
	if _, err := f.root.Lstat(WitnessFolder); !errors.Is(err, fs.ErrNotExist) {
		return nil, f.mismatch(Extra, WitnessFolder, "a witness has no witnesses of its own")
	}
	report, err := own.verify(ctx, Trust{IgnoreWitnesses: true})
	if err != nil {
		return nil, err
	}
	w, m := c.compare(own)
	if m != nil {
		return nil, f.mismatch(Disagreement, m.Path, "%s", m.Text)
	}
	w.Key, w.Report = id, *report
	switch {
	case w.Agrees() && !c.hasSignature(id):
		return nil, c.mismatch(Signature, CertificateFile, "its witness %s agrees and has not signed it", id)
	case !w.Agrees() && c.hasSignature(id):
		d := w.Differences[0]
		return nil, c.mismatch(Disagreement, CertificateFile, "its witness %s has signed it, though %s came out as %s and not as %s",
			id, d.Case, d.Witnessed, d.Issued)
	}
	return w, nil
}

// compare says that own is a run of what c certifies, and where it came to other verdicts.
func (c *certificate) compare(own *certificate) (*Witness, *Mismatch) {
	a, b := c.manifest, own.manifest
	fail := func(format string, args ...any) (*Witness, *Mismatch) {
		return nil, mismatch(Disagreement, ManifestFile, format, args...)
	}
	content := func(m *Manifest, p string) string { f, _ := m.file(p); return f.SHA256 }
	switch {
	case b.WitnessOf != digest(c.payload):
		return fail("it repeats the statement %q; this one is %s", b.WitnessOf, digest(c.payload))
	case Repeats(a.Subjects, b.Subjects) != "":
		return fail("%s", Repeats(a.Subjects, b.Subjects))
	case a.Suite.Name != b.Suite.Name || a.Suite.Version != b.Suite.Version || a.Suite.SHA256 != b.Suite.SHA256:
		return fail("its suite is %s %s (%s); certified was by %s %s (%s)",
			b.Suite.Name, b.Suite.Version, b.Suite.SHA256, a.Suite.Name, a.Suite.Version, a.Suite.SHA256)
	case content(a, a.Declaration) != content(b, b.Declaration):
		return fail("its declaration %s is not the certified %s", b.Declaration, a.Declaration)
	}
	w := &Witness{Cases: len(b.Cases), Of: len(a.Cases)}
	for _, again := range b.Cases {
		first, ok := a.Case(again.ID)
		switch {
		case !ok:
			return fail("it ran %s, which was not certified", again.ID)
		case first.Seed != again.Seed:
			return fail("it ran %s with seed %d; certified was seed %d", again.ID, again.Seed, first.Seed)
		case content(a, first.Scenario) != content(b, again.Scenario):
			return fail("its scenario of %s is not the certified one", again.ID)
		case first.Verdict == again.Verdict && first.Outcome != again.Outcome && first.Starts <= 1 && again.Starts <= 1:
			return fail("it counts the %s of %s as %s; certified as %s", again.Verdict, again.ID, again.Outcome, first.Outcome)
		case first.Verdict != again.Verdict:
			w.Differences = append(w.Differences, Difference{again.ID, first.Verdict, again.Verdict})
		}
	}
	return w, nil
}

// Countersign adds a witness to the certificate in dir: rerun is the folder of its own run, sealed with key, whose manifest's
// WitnessOf is the certificate's Report.Statement. The folder is copied into the certificate; if every verdict is the same, the
// witness signs the certificate's statement too. issuers are whom the witness believes to have issued it. A killed Countersign
// is finished by another.
func Countersign(ctx context.Context, dir, rerun string, key *Key, issuers ...PublicKey) (*Witness, error) {
	w, err := countersign(ctx, dir, rerun, key, issuers)
	if err != nil {
		return nil, fmt.Errorf("countersign certificate in %s: %w", dir, err)
	}
	return w, nil
}

func countersign(ctx context.Context, dir, rerun string, key *Key, issuers []PublicKey) (*Witness, error) {
	id := key.Public().ID()
	c, err := open(ctx, dir, Trust{Issuers: issuers, IgnoreWitnesses: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if slices.Contains(c.manifest.Issuers, id) {
		return nil, fmt.Errorf("its issuer cannot be its witness: a witness is a second party with a key of its own")
	}
	if err := c.dropPartial(CertificateFile); err != nil {
		return nil, err
	}
	if err := errors.Join(c.checkFiles(ctx), c.checkStarts(ctx, c.manifest)); err != nil {
		return nil, err
	}
	own, err := open(ctx, rerun, Trust{Issuers: []PublicKey{key.Public()}})
	if err != nil {
		return nil, fmt.Errorf("the run in %s: %w", rerun, err)
	}
	defer own.Close()
	w, m := c.compare(own)
	if m != nil {
		return nil, fmt.Errorf("the run in %s: %w", rerun, m)
	}
	if err := c.adopt(ctx, own, id); err != nil {
		return nil, err
	}
	if w.Agrees() {
		if err := c.addSignature(ctx, key); err != nil {
			return nil, err
		}
	}
	return c.witness(ctx, id, Trust{Witnesses: []PublicKey{key.Public()}})
}

// adopt copies a witness's folder into witnesses/, whole or not at all.
func (c *certificate) adopt(ctx context.Context, own *certificate, id string) error {
	to := path.Join(WitnessFolder, id)
	if f, err := c.below(to); err == nil {
		b, err := f.document(CertificateFile)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		if !bytes.Equal(b, own.raw) {
			return fmt.Errorf("%s holds another run by this witness", to)
		}
		return nil
	}
	partial := partialName(to)
	if err := c.root.RemoveAll(partial); err != nil {
		return err
	}
	if err := c.copyFrom(ctx, own, partial); err != nil {
		return errors.Join(err, c.root.RemoveAll(partial))
	}
	return c.root.Rename(partial, to)
}

func (c *certificate) copyFrom(ctx context.Context, own *certificate, to string) error {
	manifest, err := encode(own.manifest)
	if err != nil {
		return err
	}
	if err := c.root.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, f := range own.manifest.Files {
		if err := c.root.MkdirAll(path.Join(to, path.Dir(f.Path)), 0o755); err != nil {
			return err
		}
		out, err := c.root.OpenFile(path.Join(to, f.Path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		got, err := own.sum(ctx, f.Path, f.Size, out)
		if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
			return err
		}
		if got != f {
			return own.mismatch(Hash, f.Path, "its SHA-256 is %s; the manifest says %s", got.SHA256, f.SHA256)
		}
	}
	for name, b := range map[string][]byte{ManifestFile: manifest, CertificateFile: own.raw} {
		if err := c.root.WriteFile(path.Join(to, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// addSignature signs the certificate's statement once more.
func (c *certificate) addSignature(ctx context.Context, key *Key) error {
	if c.hasSignature(key.Public().ID()) {
		return nil
	}
	more, err := sign(ctx, c.payload, key)
	if err != nil {
		return err
	}
	c.envelope.Signatures = append(c.envelope.Signatures, more.Signatures...)
	sortSignatures(c.envelope)
	if c.raw, err = encode(c.envelope); err != nil {
		return err
	}
	return c.replace(CertificateFile, c.raw)
}
