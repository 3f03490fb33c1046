package session

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/punchlab/punchlab/impl/identity"
)

// The cookie is WireGuard's (its paper, §5.4.7): a MAC of the source address under
// a secret that changes, sealed so that only who sent the initiation, and knows
// the responder's key, can read it. The responder keeps nothing per sender.
const (
	mac1Domain   = "punchlab mac1 v1"
	cookieDomain = "punchlab cookie v1"
)

func mac1Key(responder identity.PublicKey) [32]byte {
	return blake2s.Sum256(append([]byte(mac1Domain), responder[:]...))
}

func cookieKey(responder identity.PublicKey) [32]byte {
	return blake2s.Sum256(append([]byte(cookieDomain), responder[:]...))
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// cookieJar holds the responder's secret and the one before it.
type cookieJar struct {
	born              time.Time
	current, previous [32]byte
	hasPrevious       bool
}

// rotate replaces the secret every CookieLifetime.
func (j *cookieJar) rotate(now time.Time, rand io.Reader) error {
	age := now.Sub(j.born)
	if !j.born.IsZero() && age < CookieLifetime {
		return nil
	}
	j.previous, j.hasPrevious = j.current, !j.born.IsZero() && age < 2*CookieLifetime
	j.born = now
	if _, err := io.ReadFull(rand, j.current[:]); err != nil {
		return fmt.Errorf("draw cookie secret: %w", err)
	}
	return nil
}

// cookie is what proves that someone receives at from.
func cookie(secret []byte, from netip.AddrPort) [macSize]byte {
	address := from.Addr().As16()
	return keyed(secret, address[:], binary.LittleEndian.AppendUint16(nil, from.Port()))
}

// valid checks mac2 of an initiation.
func (j *cookieJar) valid(from netip.AddrPort, b []byte) bool {
	end := len(b) - macSize
	for i, secret := range [][]byte{j.current[:], j.previous[:]} {
		c := cookie(secret, from)
		if want := keyed(c[:], b[:end]); equal(want[:], b[end:]) && (i == 0 || j.hasPrevious) {
			return true
		}
	}
	return false
}

// reply seals the sender's cookie, bound to its initiation by mac1.
func (j *cookieJar) reply(c Config, from netip.AddrPort, b []byte) ([]byte, error) {
	out := appendHeader(make([]byte, 0, CookieSize), TypeCookie, binary.LittleEndian.Uint32(b[4:]))
	out = out[:headerSize+nonceSize]
	nonce := out[headerSize:]
	if _, err := io.ReadFull(c.Rand, nonce); err != nil {
		return nil, fmt.Errorf("draw cookie nonce: %w", err)
	}
	key := cookieKey(c.Static.Public())
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		return nil, fmt.Errorf("seal cookie: %w", err)
	}
	value := cookie(j.current[:], from)
	mac1 := b[len(b)-2*macSize : len(b)-macSize]
	return aead.Seal(out, nonce, value[:], mac1), nil
}

func openCookie(responder identity.PublicKey, sealed, mac1 []byte) ([]byte, error) {
	key := cookieKey(responder)
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, sealed[:nonceSize], sealed[nonceSize:], mac1)
}
