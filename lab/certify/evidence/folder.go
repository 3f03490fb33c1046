package evidence

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"
)

// folder is a certificate's folder. Nothing outside it can be named, whatever links lie in it.
type folder struct {
	root   *os.Root
	prefix string // of this folder from the certificate's: "" or "witnesses/KEY/"
}

// entry is something in a folder that is no folder.
type entry struct {
	path string
	mode fs.FileMode // the type's bits
}

func openFolder(dir string) (*folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &folder{root: root}, nil
}

func (f *folder) Close() error { return f.root.Close() }

// below opens a folder in f, which has been seen to be one.
func (f *folder) below(p string) (*folder, error) {
	root, err := f.root.OpenRoot(p)
	if err != nil {
		return nil, err
	}
	return &folder{root: root, prefix: f.prefix + p + "/"}, nil
}

// mismatch is mismatch with a path of this folder.
func (f *folder) mismatch(k Kind, p, format string, a ...any) *Mismatch {
	return mismatch(k, f.prefix+p, format, a...)
}

// list returns what lies in the folder, sorted by path: all but the two documents and the witnesses. Folders themselves are
// not evidence.
func (f *folder) list(ctx context.Context) ([]entry, error) {
	var all []entry
	if err := f.walk(ctx, ".", 0, func(e entry) error {
		if e.path != CertificateFile && e.path != ManifestFile {
			all = append(all, e)
		}
		if len(all) > MaxFiles {
			return f.mismatch(TooLarge, e.path, "more than %d files", MaxFiles)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.path, b.path) })
	return all, nil
}

const maxFolders = 64 // depth

func (f *folder) walk(ctx context.Context, dir string, depth int, visit func(entry) error) error {
	if depth > maxFolders {
		return f.mismatch(TooLarge, dir, "folders %d deep", depth)
	}
	d, err := f.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.ReadDir(1024)
		for _, n := range names {
			if err := ctx.Err(); err != nil {
				return err
			}
			p := path.Join(dir, n.Name())
			switch {
			case p == WitnessFolder && n.IsDir(): // judged apart
			case n.IsDir():
				if err := f.walk(ctx, p, depth+1, visit); err != nil {
					return err
				}
			default:
				if err := visit(entry{path: p, mode: n.Type()}); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// check says why an entry cannot be evidence whatever it holds.
func (f *folder) check(e entry) *Mismatch {
	if e.mode != 0 {
		return f.mismatch(Forbidden, e.path, "it is %s; evidence is plain files", typeName(e.mode))
	}
	return nil
}

func typeName(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode.IsDir():
		return "a folder"
	}
	return "a device"
}

// open opens a regular file for reading: no link is followed at its end and no pipe waited for, even if one is put there at
// the last moment. A missing file is an fs.ErrNotExist.
func (f *folder) open(p string) (*os.File, int64, error) {
	seen, err := f.root.Lstat(p)
	if err != nil {
		return nil, 0, err
	}
	if m := f.check(entry{p, seen.Mode().Type()}); m != nil {
		return nil, 0, m
	}
	file, err := f.root.OpenFile(p, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !os.SameFile(seen, info) {
		err = f.mismatch(Forbidden, p, "it was replaced while the folder was read")
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// document reads certificate.json or manifest.json.
func (f *folder) document(p string) ([]byte, error) {
	file, size, err := f.open(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, f.mismatch(Missing, p, "a certificate's folder has one")
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if size > maxDocument {
		return nil, f.mismatch(TooLarge, p, "it has %d bytes, at most %d are read", size, maxDocument)
	}
	b, err := io.ReadAll(io.LimitReader(file, maxDocument+1))
	if err == nil && len(b) > maxDocument {
		err = f.mismatch(TooLarge, p, "it grew while it was read")
	}
	return b, err
}

// sum hashes a file and, if to is not nil, copies it there. A file of another size than want is not read; want < 0 is any.
func (f *folder) sum(ctx context.Context, p string, want int64, to io.Writer) (File, error) {
	file, size, err := f.open(p)
	if err != nil {
		return File{}, err
	}
	defer file.Close()
	switch {
	case want >= 0 && size != want:
		return File{}, f.mismatch(Size, p, "it has %d bytes; the manifest says %d", size, want)
	case size > MaxFile:
		return File{}, f.mismatch(TooLarge, p, "it has %d bytes, at most %d", size, int64(MaxFile))
	}
	h := sha256.New()
	w := io.Writer(h)
	if to != nil {
		w = io.MultiWriter(h, to)
	}
	n, err := io.Copy(w, io.LimitReader(reader{ctx, file}, size+1))
	if err != nil {
		return File{}, fmt.Errorf("%s%s: %w", f.prefix, p, err)
	}
	if n != size {
		return File{}, f.mismatch(Size, p, "it changed from %d to %d bytes or more while it was read: does something still write to it?", size, n)
	}
	return File{Path: p, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

// reader is a reader that a context ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}

// replace writes a file whole or not at all.
func (f *folder) replace(p string, b []byte) (err error) {
	partial := partialName(p)
	file, err := f.root.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = f.root.Rename(partial, p)
	}
	if err != nil {
		return errors.Join(err, f.root.Remove(partial))
	}
	return f.sync()
}

// partialName is where p is while it is being written. It is hidden, and so never evidence.
func partialName(p string) string { return path.Join(path.Dir(p), "."+path.Base(p)+".partial") }

// dropPartial removes what a kill during replace has left.
func (f *folder) dropPartial(p string) error {
	if err := f.root.Remove(partialName(p)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sync makes the folder's names last.
func (f *folder) sync() error {
	d, err := f.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
