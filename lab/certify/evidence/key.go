package evidence

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Key is an Ed25519 key that signs statements. It prints as its public half's ID.
type Key struct{ private ed25519.PrivateKey }

// PublicKey is the half by which others check. It is comparable.
type PublicKey [ed25519.PublicKeySize]byte

// NewKey draws a key from rand, which must be cryptographically random.
func NewKey(rand io.Reader) (*Key, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return nil, fmt.Errorf("draw signing key: %w", err)
	}
	return &Key{ed25519.NewKeyFromSeed(seed)}, nil
}

// Public returns the public half.
func (k *Key) Public() PublicKey { return PublicKey(k.private.Public().(ed25519.PublicKey)) }

// String names the key and does not betray it.
func (k *Key) String() string { return "signing key " + k.Public().ID() }

// GoString is String, for %#v.
func (k *Key) GoString() string { return k.String() }

// Sign is dsse.Signer's.
func (k *Key) Sign(_ context.Context, data []byte) ([]byte, error) {
	return ed25519.Sign(k.private, data), nil
}

// KeyID is dsse.Signer's.
func (k *Key) KeyID() (string, error) { return k.Public().ID(), nil }

// ID returns the SHA-256 of the key's SubjectPublicKeyInfo (RFC 8410), as 64 hexadecimal digits:
//
//	openssl pkey -pubin -in KEY.pub -outform DER | sha256sum
func (p PublicKey) ID() string {
	sum := sha256.Sum256(p.der())
	return hex.EncodeToString(sum[:])
}

// String returns the ID.
func (p PublicKey) String() string { return p.ID() }

func (p PublicKey) der() []byte {
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(p[:]))
	if err != nil {
		panic(err) // an Ed25519 key always has this form
	}
	return der
}

// checker is a public key as dsse.Verifier.
type checker struct{ key PublicKey }

func (c checker) Verify(_ context.Context, data, sig []byte) error {
	if !ed25519.Verify(c.key[:], data, sig) {
		return errors.New("the signature is not by this key over this text")
	}
	return nil
}
func (c checker) KeyID() (string, error)   { return c.key.ID(), nil }
func (c checker) Public() crypto.PublicKey { return ed25519.PublicKey(c.key[:]) }

const (
	privateBlock = "PRIVATE KEY" // PKCS #8, RFC 5958
	publicBlock  = "PUBLIC KEY"  // SubjectPublicKeyInfo, RFC 7468 §13
	maxKeyFile   = 4096
)

// SaveKey writes the private half as PKCS #8 in PEM, readable by its owner alone. It never replaces a file.
func SaveKey(name string, k *Key) error {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return fmt.Errorf("save signing key: %w", err)
	}
	return save(name, "signing key", privateBlock, der, 0o600)
}

// SavePublicKey writes the public half in PEM. It never replaces a file.
func SavePublicKey(name string, p PublicKey) error {
	return save(name, "public key", publicBlock, p.der(), 0o644)
}

// LoadKey reads what SaveKey wrote, or openssl genpkey -algorithm ed25519. A file that others may read is refused.
func LoadKey(name string) (*Key, error) {
	der, err := load(name, "signing key", privateBlock)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("load signing key: %s: %w", name, err)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("load signing key: %s holds a key of type %T; want Ed25519", name, parsed)
	}
	return &Key{private}, nil
}

// LoadPublicKey reads what SavePublicKey wrote.
func LoadPublicKey(name string) (PublicKey, error) {
	der, err := load(name, "public key", publicBlock)
	if err != nil {
		return PublicKey{}, err
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return PublicKey{}, fmt.Errorf("load public key: %s: %w", name, err)
	}
	public, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return PublicKey{}, fmt.Errorf("load public key: %s holds a key of type %T; want Ed25519", name, parsed)
	}
	return PublicKey(public), nil
}

func save(name, what, block string, der []byte, mode os.FileMode) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("save %s: %w", what, err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = fmt.Errorf("save %s: %w", what, errors.Join(err, os.Remove(name)))
		}
	}()
	if _, err := f.Write(pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der})); err != nil {
		return err
	}
	return f.Sync()
}

func load(name, what, block string) ([]byte, error) {
	fail := func(format string, a ...any) ([]byte, error) {
		return nil, fmt.Errorf("load %s: %s %s", what, name, fmt.Sprintf(format, a...))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", what, err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("load %s: %w", what, err)
	case !info.Mode().IsRegular():
		return fail("is no regular file")
	case info.Size() > maxKeyFile:
		return fail("has %d bytes, more than any key", info.Size())
	case block == privateBlock && info.Mode().Perm()&0o077 != 0:
		return fail("may be read by others (mode %04o): chmod 600 %s", info.Mode().Perm(), filepath.Base(name))
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", what, err)
	}
	found, rest := pem.Decode(text)
	switch {
	case found == nil:
		return fail("holds no PEM block: want one %q", block)
	case found.Type != block:
		return fail("holds a %q: want a %q", found.Type, block)
	case len(found.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 || !bytes.HasPrefix(bytes.TrimSpace(text), []byte("-----BEGIN")):
		return fail("holds more than one %q", block)
	}
	return found.Bytes, nil
}
