package cluster

import (
	"crypto/cipher"
	"crypto/hkdf"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/punchlab/punchlab/impl/identity"
	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"
)

var (
	errSealed = errors.New("not sealed with this cluster's key")
	errShort  = errors.New("too short")
	errVisit  = errors.New("not a visit of a viewer's")
)

// secrets are the keys that all nodes derive from the servers' static key.
type secrets struct {
	prk     []byte
	letters cipher.AEAD // XChaCha20-Poly1305, with random nonces
	id      string      // names the cluster without telling its key
}

func newSecrets(k identity.Key) (*secrets, error) {
	private := k.Private()
	prk, err := hkdf.Extract(newHash, private[:], []byte("punchlab cluster v1"))
	if err != nil {
		return nil, fmt.Errorf("derive cluster's keys: %w", err)
	}
	s := &secrets{prk: prk}
	if s.letters, err = chacha20poly1305.NewX(s.derive("letters", chacha20poly1305.KeySize)); err != nil {
		return nil, err
	}
	s.id = fmt.Sprintf("%x", s.derive("id", 6))
	return s, nil
}

func newHash() hash.Hash {
	h, _ := blake2s.New256(nil) // fails with a key alone
	return h
}

// derive is the key of n bytes with a label.
func (s *secrets) derive(label string, n int) []byte {
	k, err := hkdf.Expand(newHash, s.prk, label, n)
	if err != nil {
		panic(err) // n is more than 255 hashes long
	}
	return k
}

// seal seals b for a place: a subject, or the key of an entry.
func (s *secrets) seal(random io.Reader, place string, b []byte) ([]byte, error) {
	out := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(b)+chacha20poly1305.Overhead)
	if _, err := io.ReadFull(random, out); err != nil {
		return nil, fmt.Errorf("draw nonce: %w", err)
	}
	return s.letters.Seal(out, out, b, []byte(place)), nil
}

// open opens what seal sealed for the same place.
func (s *secrets) open(place string, b []byte) ([]byte, error) {
	if len(b) < chacha20poly1305.NonceSizeX {
		return nil, errShort
	}
	plain, err := s.letters.Open(nil, b[:chacha20poly1305.NonceSizeX], b[chacha20poly1305.NonceSizeX:], []byte(place))
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}
