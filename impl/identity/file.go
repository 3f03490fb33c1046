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

// The first word of a key file says what the key is for, so that none is taken for another.
const (
	devicePrefix  = "punchlab-key-1 "
	makerPrefix   = "punchlab-maker-key-1 "
	accountPrefix = "punchlab-account-key-1 "
)

// WriteFile writes b to path with the mode given, atomically: whoever reads path sees the old content or the new one, also
// after a power cut. An existing file is replaced, and a failure leaves nothing behind. A file with a secret has mode 0600.
func WriteFile(path string, b []byte, mode fs.FileMode) error {
	return write(path, b, mode, os.Rename)
}

// write puts a file that is whole in its place.
func write(path string, b []byte, mode fs.FileMode, place func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = place(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write file: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the rename itself durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("write file: sync folder: %w", err)
	}
	return nil
}

// maxSecretFile bounds what ReadSecret reads: a file of secrets is small.
const maxSecretFile = 1 << 20

// ReadSecret reads the file at path. It refuses one that others can read or write.
func ReadSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so others may know what is in it: run chmod 600 %s, or make a new one", path, mode, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err == nil && len(b) > maxSecretFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxSecretFile)
	}
	return b, err
}

// SaveKey writes k to path as WriteFile does, with mode 0600.
func SaveKey(path string, k Key) error { return saveKey(path, devicePrefix, k.Private()) }

// SaveMakerKey writes k to path as SaveKey does.
func SaveMakerKey(path string, k MakerKey) error { return saveKey(path, makerPrefix, k.seed()) }

// SaveAccountKey writes k to path as SaveKey does.
func SaveAccountKey(path string, k AccountKey) error { return saveKey(path, accountPrefix, k.seed()) }

func saveKey(path, prefix string, private [32]byte) error {
	if err := WriteFile(path, keyText(prefix, private), 0o600); err != nil {
		return fmt.Errorf("save key: %w", err)
	}
	return nil
}

func keyText(prefix string, private [32]byte) []byte {
	return []byte(prefix + hex.EncodeToString(private[:]) + "\n")
}

// LoadKey reads the key at path. It refuses a file that others can read or write, and one with a key for another purpose.
func LoadKey(path string) (Key, error) {
	private, err := loadKey(path, devicePrefix)
	if err != nil {
		return Key{}, err
	}
	return KeyFromPrivate(private)
}

// LoadMakerKey reads the key at path as LoadKey does.
func LoadMakerKey(path string) (MakerKey, error) {
	seed, err := loadKey(path, makerPrefix)
	if err != nil {
		return MakerKey{}, err
	}
	return MakerKey{signerFromSeed(seed)}, nil
}

// LoadAccountKey reads the key at path as LoadKey does.
func LoadAccountKey(path string) (AccountKey, error) {
	seed, err := loadKey(path, accountPrefix)
	if err != nil {
		return AccountKey{}, err
	}
	return AccountKey{signerFromSeed(seed)}, nil
}

func loadKey(path, prefix string) (private [32]byte, err error) {
	b, err := ReadSecret(path)
	if err != nil {
		return private, fmt.Errorf("load key: %w", err)
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(b)), prefix)
	b, err = hex.DecodeString(text)
	if !ok || err != nil || len(b) != len(private) {
		return private, fmt.Errorf("load key: %s is not a key file for this: want one line, %q and 64 hexadecimal digits", path, strings.TrimSpace(prefix))
	}
	return [32]byte(b), nil
}

// LoadOrNewKey loads the key at path; where there is no such file, it saves the one that draw returns. Of two programs that
// do so at a time both get the key of the first.
func LoadOrNewKey(path string, draw func() (Key, error)) (Key, error) {
	k, err := LoadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if k, err = draw(); err != nil {
		return Key{}, err
	}
	err = write(path, keyText(devicePrefix, k.Private()), 0o600, func(from, to string) error { return errors.Join(os.Link(from, to), os.Remove(from)) })
	switch {
	case errors.Is(err, fs.ErrExist):
		return LoadKey(path)
	case err != nil: // a file system without hard links
		err = SaveKey(path, k)
	}
	return k, err
}

// LoadCertificate reads the file of a certificate's text, and returns its bytes. It checks the maker's signature.
func LoadCertificate(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	cert, err := ParseCertificateText(string(b))
	if err != nil {
		return nil, fmt.Errorf("load certificate %s: %w", path, err)
	}
	return cert, nil
}

// LoadToken reads the file of an account token's text, and returns its bytes.
func LoadToken(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load account token: %w", err)
	}
	token, err := ParseTokenText(string(b))
	if err != nil {
		return nil, fmt.Errorf("load account token %s: %w", path, err)
	}
	return token, nil
}
