package cloud

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/punchlab/punchlab/impl/identity"
)

// Key is the master key of a camera's recordings. Who has it can watch and forge them all; the store never gets it.
type Key [32]byte

const keyPrefix = "punchlab-recording-key-1 "

// String hides the key from logs.
func (Key) String() string { return "(recording key)" }

// GoString hides the key from %#v.
func (Key) GoString() string { return "(recording key)" }

// NewKey draws a key from r, crypto/rand's Reader.
func NewKey(r io.Reader) (k Key, err error) {
	if _, err = io.ReadFull(r, k[:]); err != nil {
		return Key{}, fmt.Errorf("draw recording key: %w", err)
	}
	return k, nil
}

// SaveKey writes k to path with mode 0600, atomically.
func SaveKey(path string, k Key) error {
	if err := writeFile(path, []byte(keyPrefix+hex.EncodeToString(k[:])+"\n")); err != nil {
		return fmt.Errorf("save recording key: %w", err)
	}
	return nil
}

// LoadKey reads the key at path. It refuses a file that others can read or write.
func LoadKey(path string) (Key, error) {
	b, err := identity.ReadSecret(path)
	if err != nil {
		return Key{}, fmt.Errorf("load recording key: %w", err)
	}
	text, ok := bytes.CutPrefix(bytes.TrimSpace(b), []byte(keyPrefix))
	k, err := hex.DecodeString(string(text))
	if !ok || err != nil || len(k) != len(Key{}) {
		return Key{}, fmt.Errorf("load recording key: %s is not a key file: want one line, %q and 64 hexadecimal digits",
			path, strings.TrimSpace(keyPrefix))
	}
	return Key(k), nil
}

// LoadOrNewKey loads the key at path; where there is no such file, it saves one drawn from r.
func LoadOrNewKey(path string, r io.Reader) (Key, error) {
	k, err := LoadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = NewKey(r); err != nil {
		return Key{}, err
	}
	return k, SaveKey(path, k)
}

// writeFile writes b to path with mode 0600, atomically and durably: whoever reads path sees the old bytes or the new ones,
// also after a power cut.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), temporary+"*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// temporary begins the names of files that are not whole.
const temporary = ".new-"

// syncDir makes what was named, renamed or removed in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
