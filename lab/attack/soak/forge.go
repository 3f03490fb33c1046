package soak

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/flynn/noise"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/lab/attack"
	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"
)

// terms are what a handshake is begun with. The zero ones but for the keys, the prologue and the payload are the protocol's own
// (impl/PROTOCOL.md §5.1).
type terms struct {
	prologue string
	receiver identity.PublicKey
	public   identity.PublicKey // whose it says it is
	private  [32]byte           // of whom begins it: need not be public's
	payload  []byte
	stamp    uint64

	version  byte // added to the protocol's
	pattern  *noise.HandshakePattern
	suite    noise.CipherSuite
	proved   []byte // taken for the key agreement of the two static keys; nil: it is made
	length   int    // added to what the length field says
	trailing []byte // in place of zeros behind the payload
	size     int    // of the initiation; 0: the least
}

// Patterns that prove less than IK does, under IK's name.
var (
	unproved  = weaker(noise.MessagePatternDHSS, noise.MessagePatternDHSE)
	halfProof = weaker(noise.MessagePatternDHSS)
	lateProof = weaker(noise.MessagePatternDHSE)
)

// weaker is IK without some of its key agreements.
func weaker(without ...noise.MessagePattern) *noise.HandshakePattern {
	p := noise.HandshakeIK
	p.Messages = nil
	for _, m := range noise.HandshakeIK.Messages {
		var left []noise.MessagePattern
		for _, token := range m {
			if !bytes.Contains(octets(without), octets([]noise.MessagePattern{token})) {
				left = append(left, token)
			}
		}
		p.Messages = append(p.Messages, left)
	}
	return &p
}

func octets(tokens []noise.MessagePattern) (b []byte) {
	for _, t := range tokens {
		b = append(b, byte(t))
	}
	return b
}

// forged is a handshake that somebody has begun.
type forged struct {
	hs    *noise.HandshakeState
	index uint32
	b     []byte // the initiation
}

// header is a datagram's first 8 bytes.
const header = 8

// begin makes the initiation, with the right mac1.
func (t terms) begin(random io.Reader) (*forged, error) {
	f := &forged{b: []byte{session.TypeInitiation, session.Version + t.version, 0, 0, 0, 0, 0, 0}}
	if _, err := io.ReadFull(random, f.b[4:]); err != nil {
		return nil, fmt.Errorf("forge: %w", err)
	}
	f.index = binary.LittleEndian.Uint32(f.b[4:])
	pattern, suite := noise.HandshakeIK, t.suite
	if t.pattern != nil {
		pattern = *t.pattern
	}
	if suite == nil {
		suite = noise.NewCipherSuite(guessed{noise.DH25519, t.private, t.proved}, noise.CipherChaChaPoly, noise.HashBLAKE2s)
	}
	var err error
	f.hs, err = noise.NewHandshakeState(noise.Config{
		CipherSuite: suite, Random: random, Pattern: pattern, Initiator: true, Prologue: append([]byte(t.prologue), f.b...),
		StaticKeypair: noise.DHKey{Private: t.private[:], Public: t.public[:]}, PeerStatic: t.receiver[:],
	})
	if err != nil {
		return nil, fmt.Errorf("forge: %w", err)
	}
	size := max(t.size, session.MinInitiation, session.InitiationOverhead+len(t.payload))
	plain := make([]byte, 10+size-session.InitiationOverhead)
	binary.LittleEndian.PutUint64(plain, t.stamp)
	binary.LittleEndian.PutUint16(plain[8:], uint16(len(t.payload)+t.length))
	copy(plain[10:], t.payload)
	copy(plain[10+len(t.payload):], t.trailing)
	if f.b, _, _, err = f.hs.WriteMessage(f.b, plain); err != nil {
		return nil, fmt.Errorf("forge: %w", err)
	}
	f.b = append(f.b, make([]byte, 32)...)
	f.b = fit(f.b)
	attack.Sign(t.receiver, f.b)
	return f, nil
}

// fit makes an initiation of a pattern with more or less overhead long enough.
func fit(b []byte) []byte {
	for len(b) < session.MinInitiation {
		b = append(b, 0)
	}
	return b
}

// opened is a session that an answer to a forged handshake has given.
type opened struct {
	session.Compact
	payload []byte
}

// finish tries an answer. Who can open it has a session with who wrote it.
func (f *forged) finish(b []byte) (*opened, bool) {
	if len(b) < session.ResponseOverhead || b[0] != session.TypeResponse || binary.LittleEndian.Uint32(b[4:]) != f.index {
		return nil, false
	}
	plain, send, receive, err := f.hs.ReadMessage(nil, b[header:])
	if err != nil || len(plain) < 4 || send == nil {
		return nil, false
	}
	remote := binary.LittleEndian.Uint32(plain)
	return &opened{session.NewCompact(send.UnsafeKey(), receive.UnsafeKey(), f.index, remote), plain[4:]}, true
}

// guessed is a key agreement whose result for one private key is taken from elsewhere.
type guessed struct {
	noise.DHFunc
	private [32]byte
	result  []byte
}

func (g guessed) DH(private, public []byte) ([]byte, error) {
	if g.result != nil && bytes.Equal(private, g.private[:]) {
		return g.result, nil
	}
	return g.DHFunc.DH(private, public)
}

// flip changes one bit somewhere between two offsets.
func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at/8] ^= 1 << (at % 8)
	return b
}

// cookied is an initiation once more, with what a cookie reply to it says (impl/PROTOCOL.md §5.3): who receives at his address can
// always do that.
func cookied(responder identity.PublicKey, b, reply []byte) ([]byte, bool) {
	if len(reply) != session.CookieSize || reply[0] != session.TypeCookie || len(b) < session.MinInitiation || !bytes.Equal(reply[4:8], b[4:8]) {
		return nil, false
	}
	key := blake2s.Sum256(append([]byte("punchlab cookie v1"), responder[:]...))
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		return nil, false
	}
	end := len(b) - 16
	cookie, err := aead.Open(nil, reply[header:header+24], reply[header+24:], b[end-16:end])
	if err != nil {
		return nil, false
	}
	h, err := blake2s.New128(cookie)
	if err != nil {
		return nil, false
	}
	b = bytes.Clone(b)
	h.Write(b[:end])
	copy(b[end:], h.Sum(nil))
	return b, true
}
