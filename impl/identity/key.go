package identity

import (
	"crypto/subtle"
	"fmt"
	"io"

	"golang.org/x/crypto/blake2s"
)

// PublicKey is an X25519 public key (RFC 7748): a device's whole identity.
type PublicKey [32]byte

// IsZero says whether p is no key at all.
func (p PublicKey) IsZero() bool { return p == PublicKey{} }

// String returns the key as 52 base32 symbols.
func (p PublicKey) String() string { return encode32(p[:], keySymbols) }

const keySymbols = 52 // 256 bits at 5 a symbol, rounded up

// ParsePublicKey reads what PublicKey.String wrote.
func ParsePublicKey(s string) (PublicKey, error) {
	var p PublicKey
	if err := decode32(p[:], s); err != nil {
		return PublicKey{}, fmt.Errorf("parse public key: it %w", err)
	}
	return p, nil
}

// Key is a device's static X25519 key pair.
// It prints as its public half: the private half never reaches a log.
type Key struct {
	private [32]byte
	public  PublicKey
}

// NewKey draws a key from rand, which must be cryptographically random.
func NewKey(rand io.Reader) (Key, error) {
	var private [32]byte
	if _, err := io.ReadFull(rand, private[:]); err != nil {
		return Key{}, fmt.Errorf("draw key: %w", err)
	}
	return KeyFromPrivate(private)
}

// KeyFromPrivate returns the pair whose private scalar is given, which is
// clamped on use (RFC 7748 §5).
func KeyFromPrivate(private [32]byte) (Key, error) {
	return Key{private: private, public: PublicOf(private)}, nil
}

// Public returns the public half.
func (k Key) Public() PublicKey { return k.public }

// Private returns the private scalar: for the handshake and the key file only.
func (k Key) Private() [32]byte { return k.private }

// IsZero says whether k is no key at all.
func (k Key) IsZero() bool { return k.public.IsZero() }

// String returns the public half.
func (k Key) String() string { return "key " + k.public.String() }

// GoString keeps %#v from printing the private half.
func (k Key) GoString() string { return k.String() }

// Secret is the pairing secret on a camera's label: who has read the label knows it.
type Secret [16]byte

// String hides the secret from logs.
func (s Secret) String() string { return "secret" }

// GoString hides the secret from logs.
func (s Secret) GoString() string { return "secret" }

// Proof shows a camera that a viewer has read its label.
type Proof [16]byte

const proofDomain = "punchlab pairing v1"

// PairingProof binds the secret to the two keys, so that a proof seen by one
// camera or made by one viewer serves no other:
// BLAKE2s-128(key=secret, "punchlab pairing v1" ‖ viewer ‖ camera).
func PairingProof(secret Secret, viewer, camera PublicKey) Proof {
	h, err := blake2s.New128(secret[:])
	if err != nil {
		panic(err) // the key's length is a constant
	}
	h.Write([]byte(proofDomain))
	h.Write(viewer[:])
	h.Write(camera[:])
	return Proof(h.Sum(nil))
}

// Equal compares in constant time.
func (p Proof) Equal(q Proof) bool { return subtle.ConstantTimeCompare(p[:], q[:]) == 1 }

// IsZero says whether p is no proof at all.
func (p Proof) IsZero() bool { return p == Proof{} }
