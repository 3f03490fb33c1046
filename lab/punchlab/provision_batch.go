package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/label"
)

// A batch is a folder of cameras' folders, one moved to its place when it is whole. Its files:
//
//	DIR/7ZK3-…/camera.key   0600    DIR/batch.csv   0644, no secrets
//	          /camera.crt   0644    DIR/.lock       who makes the batch now
//	          /label.txt    0600    DIR/.new-…      a camera that is being made; swept at the next run
//	          /label.png    0600
//	          /label.svg    0600
type batch struct {
	dir   string
	maker identity.MakerKey
	label identity.Label // what all labels have in common
	valid time.Duration
	now   time.Time
}

const unfinished = ".new-"

// provisioned is a camera of the batch, without its secrets.
type provisioned struct {
	UID        string `json:"uid"`
	Folder     string `json:"folder"`
	Serial     uint64 `json:"serial"`
	Key        string `json:"key"`
	Issued     string `json:"issued"`
	Expires    string `json:"expires,omitempty"`
	Rendezvous string `json:"rendezvous"`
}

// make brings the batch to count cameras, and tells of each that it has made.
func (b batch) make(ctx context.Context, count int, tell func(provisioned) error) error {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return usage(err)
	}
	unlock, err := lockFolder(b.dir)
	if err != nil {
		return err
	}
	defer unlock()
	have, err := b.cameras()
	if err != nil {
		return usage(err)
	}
	if len(have) > count {
		return usagef("%s holds %d cameras already, --count is %d: name another folder", b.dir, len(have), count)
	}
	serial := uint64(0)
	for _, c := range have {
		serial = max(serial, c.Serial)
	}
	var failed error
	for len(have) < count && failed == nil {
		serial++
		var c provisioned
		if c, failed = b.camera(serial); failed == nil {
			have = append(have, c)
			failed = errors.Join(tell(c), context.Cause(ctx))
		}
	}
	if len(have) > 0 {
		failed = errors.Join(failed, b.writeList(have))
	}
	if failed != nil {
		return labError(fmt.Errorf("%d of %d cameras are made: %w\nGive the same command again to go on from there", len(have), count, failed))
	}
	fmt.Fprintf(os.Stderr, "punchlab: %s holds %d cameras\n", b.dir, len(have))
	return nil
}

// lockFolder keeps a second run out of the folder.
func lockFolder(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, usage(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(usagef("%s: another 'punchlab provision' is at work there: wait for it", dir), f.Close())
	}
	return func() { f.Close() }, nil
}

// cameras reads what the folder holds, and sweeps what was left unfinished. It refuses a folder of another batch.
func (b batch) cameras() (have []provisioned, err error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(b.dir, e.Name())
		if strings.HasPrefix(e.Name(), unfinished) {
			if err := os.RemoveAll(path); err != nil {
				return nil, err
			}
			continue
		}
		u, err := identity.ParseUID(e.Name())
		if err != nil || !e.IsDir() {
			continue // somebody's own file
		}
		c, err := b.read(path, u)
		if err != nil {
			return nil, err
		}
		have = append(have, c)
	}
	return have, nil
}

// read reads one camera of the batch.
func (b batch) read(path string, u identity.UID) (provisioned, error) {
	fail := func(err error) (provisioned, error) {
		return provisioned{}, fmt.Errorf("%s is not a camera of this batch: %w; move it elsewhere, or name another folder", path, err)
	}
	cert, err := identity.LoadCertificate(filepath.Join(path, "camera.crt"))
	if err != nil {
		return fail(err)
	}
	c, err := identity.ParseCertificate(cert)
	if err != nil {
		return fail(err)
	}
	text, err := identity.ReadSecret(filepath.Join(path, "label.txt"))
	if err != nil {
		return fail(err)
	}
	l, err := identity.ParseLabel(string(text))
	switch {
	case err != nil:
		return fail(err)
	case c.Device.UID() != u || l.Key != c.Device:
		return fail(errors.New("its certificate or label is another camera's"))
	case c.Maker != b.maker.Public():
		return fail(errors.New("another maker has certified it"))
	case l.RendezvousKey != b.label.RendezvousKey || !slices.Equal(l.Rendezvous, b.label.Rendezvous):
		return fail(errors.New("its label names another rendezvous"))
	}
	return b.describe(c), nil
}

func (b batch) describe(c identity.Certificate) provisioned {
	u := c.Device.UID().String()
	p := provisioned{UID: u, Folder: filepath.Join(b.dir, u), Serial: c.Serial, Key: c.Device.String(), Issued: day(c.NotBefore),
		Rendezvous: strings.Join(b.label.Rendezvous, "+")}
	if c.NotAfter != 0 {
		p.Expires = day(c.NotAfter)
	}
	return p
}

func day(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.DateOnly) }

// camera makes one, whole or not at all.
func (b batch) camera(serial uint64) (provisioned, error) {
	k, err := identity.NewKey(rand.Reader)
	if err != nil {
		return provisioned{}, err
	}
	l := b.label
	l.Key = k.Public()
	if _, err := rand.Read(l.Secret[:]); err != nil {
		return provisioned{}, err
	}
	c := identity.Certificate{Maker: b.maker.Public(), Device: l.Key, Serial: serial, NotBefore: b.now.Unix()}
	if b.valid > 0 {
		c.NotAfter = b.now.Add(b.valid).Unix()
	}
	code, err := label.New(l.String())
	if err != nil {
		return provisioned{}, err
	}
	dir, err := os.MkdirTemp(b.dir, unfinished) // mode 0700
	if err != nil {
		return provisioned{}, err
	}
	p := b.describe(c)
	err = errors.Join(
		identity.SaveKey(filepath.Join(dir, "camera.key"), k),
		identity.WriteFile(filepath.Join(dir, "camera.crt"), []byte(identity.CertificateText(b.maker.Certify(c))+"\n"), 0o644),
		identity.WriteFile(filepath.Join(dir, "label.txt"), []byte(l.String()+"\n"), 0o600),
		identity.WriteFile(filepath.Join(dir, "label.png"), code.PNG(labelScale), 0o600),
		identity.WriteFile(filepath.Join(dir, "label.svg"), code.SVG(p.UID), 0o600),
	)
	if err == nil {
		err = os.Rename(dir, p.Folder)
	}
	if err != nil {
		return provisioned{}, errors.Join(firstError(err), os.RemoveAll(dir))
	}
	return p, nil
}

// firstError is the first of joined errors: a full disk fails every file alike.
func firstError(err error) error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) && len(joined.Unwrap()) > 0 {
		err = joined.Unwrap()[0]
	}
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: make room", err)
	}
	return err
}

// writeList writes batch.csv, whole or not at all. Its replacement also makes the folders' names durable.
func (b batch) writeList(have []provisioned) error {
	slices.SortFunc(have, func(x, y provisioned) int { return int(x.Serial) - int(y.Serial) })
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	_ = w.Write([]string{"serial", "uid", "key", "issued", "expires", "maker", "rendezvous"}) // a buffer takes everything
	for _, c := range have {
		_ = w.Write([]string{strconv.FormatUint(c.Serial, 10), c.UID, c.Key, c.Issued, c.Expires, b.maker.Public().String(), c.Rendezvous})
	}
	w.Flush()
	return identity.WriteFile(filepath.Join(b.dir, "batch.csv"), out.Bytes(), fs.FileMode(0o644))
}
