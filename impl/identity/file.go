package identity

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const filePrefix = "punchlab-key-1 "

// SaveKey writes k to path with mode 0600, atomically: whoever reads path sees
// the old key or the new one, also after a power cut. An existing file is
// replaced.
func SaveKey(path string, k Key) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("save key: %w", err)
	}
	private := k.Private()
	_, err = f.WriteString(filePrefix + hex.EncodeToString(private[:]) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("save key: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the rename itself durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("save key: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("save key: sync folder: %w", err)
	}
	return nil
}

// LoadKey reads the key at path. It refuses a file that others can read or write.
func LoadKey(path string) (Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return Key{}, fmt.Errorf("load key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Key{}, fmt.Errorf("load key: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Key{}, fmt.Errorf("load key: %s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return Key{}, fmt.Errorf("load key: %s has mode %04o, so others may know the key: run chmod 600 %s, or make a new key", path, mode, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, 256))
	if err != nil {
		return Key{}, fmt.Errorf("load key: %w", err)
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(b)), filePrefix)
	private, err := hex.DecodeString(text)
	if !ok || err != nil || len(private) != 32 {
		return Key{}, fmt.Errorf("load key: %s is not a key file: want one line, %q and 64 hexadecimal digits", path, strings.TrimSpace(filePrefix))
	}
	return KeyFromPrivate([32]byte(private))
}

// LoadOrNewKey loads the key at path; where there is no such file, it saves the
// one that draw returns.
func LoadOrNewKey(path string, draw func() (Key, error)) (Key, error) {
	k, err := LoadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = draw(); err != nil {
		return Key{}, err
	}
	return k, SaveKey(path, k)
}
