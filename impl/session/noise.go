package session

import (
	"crypto/hkdf"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/flynn/noise"
	"golang.org/x/crypto/blake2s"

	"github.com/punchlab/punchlab/impl/identity"
)

// Config is an endpoint's side of all its sessions.
type Config struct {
	Static identity.Key
	// Rand is cryptographically random.
	Rand io.Reader
	// Prologue names the role of the responder; both sides must agree on it, so
	// that what was meant for one role is never valid for another.
	Prologue []byte
	// Taken says whether a local index is in use; nil: none is. Indices are drawn
	// until one is free.
	Taken func(index uint32) bool
}

var suite = noise.NewCipherSuite(dh25519{}, noise.CipherChaChaPoly, noise.HashBLAKE2s)

func (c Config) validate() error {
	switch {
	case c.Static.IsZero():
		return fmt.Errorf("configure session: the static key is missing")
	case c.Rand == nil:
		return fmt.Errorf("configure session: the source of randomness is missing")
	}
	return nil
}

// newIndex draws a local index, never 0.
func (c Config) newIndex() (uint32, error) {
	for {
		var b [4]byte
		if _, err := io.ReadFull(c.Rand, b[:]); err != nil {
			return 0, fmt.Errorf("draw session index: %w", err)
		}
		i := binary.LittleEndian.Uint32(b[:])
		if i != 0 && (c.Taken == nil || !c.Taken(i)) {
			return i, nil
		}
	}
}

// handshake starts Noise IK. The initiation's header is part of the prologue, so
// that it cannot be altered on its way.
func (c Config) handshake(initiator bool, header []byte, peer []byte) (*noise.HandshakeState, error) {
	private, public := c.Static.Private(), c.Static.Public()
	hs, err := noise.NewHandshakeState(noise.Config{
		CipherSuite:   suite,
		Random:        c.Rand,
		Pattern:       noise.HandshakeIK,
		Initiator:     initiator,
		Prologue:      append(append([]byte(nil), c.Prologue...), header...),
		StaticKeypair: noise.DHKey{Private: private[:], Public: public[:]},
		PeerStatic:    peer,
	})
	if err != nil {
		return nil, fmt.Errorf("start handshake: %w", err)
	}
	return hs, nil
}

// dh25519 is Noise's 25519 by identity.X25519.
type dh25519 struct{}

func (dh25519) DHLen() int     { return 32 }
func (dh25519) DHName() string { return "25519" }

func (dh25519) GenerateKeypair(random io.Reader) (noise.DHKey, error) {
	var private [32]byte
	if _, err := io.ReadFull(random, private[:]); err != nil {
		return noise.DHKey{}, fmt.Errorf("draw ephemeral key: %w", err)
	}
	public := identity.PublicOf(private)
	return noise.DHKey{Private: private[:], Public: public[:]}, nil
}

func (dh25519) DH(private, public []byte) ([]byte, error) {
	secret, ok := identity.X25519([32]byte(private), [32]byte(public))
	if !ok {
		return nil, errLowOrder
	}
	return secret[:], nil
}

var errLowOrder = errors.New("public key is of low order")

// lowOrder says whether a public key yields an all-zero secret with every private
// key. The library would leave its state half changed on meeting one, so that
// one forged response could end a handshake.
func lowOrder(public []byte) bool {
	_, ok := identity.X25519([32]byte{31: 64}, [32]byte(public))
	return !ok
}

func newHash() hash.Hash {
	h, err := blake2s.New256(nil)
	if err != nil {
		panic(err) // there is no key
	}
	return h
}

// keyed returns BLAKE2s-128 of the parts under key, as WireGuard's MAC.
func keyed(key []byte, parts ...[]byte) [macSize]byte {
	h, err := blake2s.New128(key)
	if err != nil {
		panic(err) // keys have 16 or 32 bytes
	}
	for _, p := range parts {
		h.Write(p)
	}
	return [macSize]byte(h.Sum(nil))
}

// exporter derives the secret from which Export derives all others:
// HKDF-Extract(BLAKE2s, salt = handshake hash, secret = key i→r ‖ key r→i).
func exporter(hs *noise.HandshakeState, itor, rtoi *noise.CipherState) []byte {
	k1, k2 := itor.UnsafeKey(), rtoi.UnsafeKey()
	prk, err := hkdf.Extract(newHash, append(k1[:], k2[:]...), hs.ChannelBinding())
	if err != nil {
		panic(err) // only FIPS mode refuses, and it refuses BLAKE2s elsewhere first
	}
	return prk
}

func expand(prk []byte, label string, n int) []byte {
	out, err := hkdf.Expand(newHash, prk, "punchlab export v1 "+label, n)
	if err != nil {
		panic(fmt.Errorf("export %d bytes: %w", n, err))
	}
	return out
}
