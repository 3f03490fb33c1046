package identity

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
)

// signatureSize is Ed25519's (RFC 8032 §5.1.6).
const signatureSize = ed25519.SignatureSize

// signer is an Ed25519 key pair (RFC 8032). Each use signs a domain string of its own before the message, so that what
// is signed for one purpose serves no other. It prints as its public half.
type signer struct {
	private [ed25519.PrivateKeySize]byte
	public  [ed25519.PublicKeySize]byte
}

func newSigner(rand io.Reader) (signer, error) {
	var seed [ed25519.SeedSize]byte
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		return signer{}, fmt.Errorf("draw key: %w", err)
	}
	return signerFromSeed(seed), nil
}

func signerFromSeed(seed [ed25519.SeedSize]byte) (s signer) {
	private := ed25519.NewKeyFromSeed(seed[:])
	copy(s.private[:], private)
	copy(s.public[:], private[ed25519.SeedSize:])
	return s
}

// seed is the private half.
func (s signer) seed() [ed25519.SeedSize]byte {
	return [ed25519.SeedSize]byte(s.private[:ed25519.SeedSize])
}

// sign appends the signature over domain ‖ body to body.
func (s signer) sign(domain string, body []byte) []byte {
	return append(body, ed25519.Sign(s.private[:], append([]byte(domain), body...))...)
}

// verify says whether signed is a body with its signature by public over domain ‖ body.
func verify(public [ed25519.PublicKeySize]byte, domain string, signed []byte) bool {
	if len(signed) < signatureSize {
		return false
	}
	body, signature := signed[:len(signed)-signatureSize], signed[len(signed)-signatureSize:]
	return ed25519.Verify(public[:], append([]byte(domain), body...), signature)
}

// IsZero says whether s is no key at all.
func (s signer) IsZero() bool { return s == signer{} }

// String returns the public half.
func (s signer) String() string { return "key " + encode32(s.public[:], keySymbols) }

// GoString keeps %#v from printing the private half.
func (s signer) GoString() string { return s.String() }

// parsePublic reads 52 base32 symbols.
func parsePublic(what, text string) (p [ed25519.PublicKeySize]byte, err error) {
	if err := decode32(p[:], text); err != nil {
		return p, fmt.Errorf("parse %s: it %w", what, err)
	}
	if p == [ed25519.PublicKeySize]byte{} {
		return p, fmt.Errorf("parse %s: %w", what, errors.New("it is all zeros"))
	}
	return p, nil
}
