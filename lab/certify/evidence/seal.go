package evidence

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Seal hashes everything in dir, writes manifest.json, and signs the statement about it into certificate.json. The caller
// has put declaration, scenarios and each case's evidence there. It refuses a manifest that contradicts itself or its files: a
// case that passed without a byte of evidence, evidence of no case, a name or a kind of file that another system would not
// have. A sealed folder is not sealed again.
func Seal(ctx context.Context, dir string, m Manifest, keys ...*Key) (*Manifest, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("seal evidence: %w", err)
	}
	defer f.Close()
	if err := f.seal(ctx, &m, keys); err != nil {
		return nil, fmt.Errorf("seal evidence in %s: %w", dir, err)
	}
	return &m, nil
}

func (f *folder) seal(ctx context.Context, m *Manifest, keys []*Key) error {
	for _, name := range []string{CertificateFile, WitnessFolder} {
		if _, err := f.root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there: it has been sealed; run into a new folder", name)
		}
	}
	if err := errors.Join(f.dropPartial(CertificateFile), f.dropPartial(ManifestFile)); err != nil {
		return err
	}
	m.Schema, m.Issuers, m.Started, m.Finished = Schema, nil, m.Started.Round(0).UTC(), m.Finished.Round(0).UTC()
	for _, k := range keys {
		m.Issuers = append(m.Issuers, k.Public().ID())
	}
	slices.Sort(m.Issuers)
	var err error
	if m.Files, err = f.hashAll(ctx); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	if err := f.checkStarts(ctx, m); err != nil {
		return err
	}
	encoded, payload, err := documents(m)
	if err != nil {
		return err
	}
	e, err := sign(ctx, payload, keys...)
	if err != nil {
		return err
	}
	envelope, err := encode(e)
	if err != nil {
		return err
	}
	if size := max(len(encoded), len(envelope)); size > maxDocument {
		return fmt.Errorf("the certificate would have %d bytes, at most %d are read", size, maxDocument)
	}
	if err := f.replace(ManifestFile, encoded); err != nil {
		return err
	}
	return f.replace(CertificateFile, envelope)
}

// documents returns the manifest's encoding and the statement about it.
func documents(m *Manifest) (encoded, payload []byte, err error) {
	if encoded, err = encode(m); err != nil {
		return nil, nil, err
	}
	payload, err = statement(m, encoded)
	return encoded, payload, err
}

// hashAll lists the folder's files with their hashes.
func (f *folder) hashAll(ctx context.Context) ([]File, error) {
	entries, err := f.list(ctx)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, e := range entries {
		if m := f.check(e); m != nil {
			return nil, m
		}
		if err := checkPath(e.path); err != nil {
			return nil, fmt.Errorf("the name %q %w", strings.ToValidUTF8(e.path, "?"), err)
		}
		file, err := f.sum(ctx, e.path, -1, nil)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}
