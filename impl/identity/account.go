package identity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What is wrong with a viewer's account token (errors.Is).
var (
	ErrNoToken      = errors.New("the viewer has no account token")
	ErrToken        = errors.New("the account token is not valid")
	ErrTokenExpired = errors.New("the account token has expired")
)

// AccountKey is the Ed25519 key by which the operator of a rendezvous gives viewers accounts. It prints as its public half.
type AccountKey struct{ signer }

// NewAccountKey draws a key from rand, which must be cryptographically random.
func NewAccountKey(rand io.Reader) (AccountKey, error) {
	s, err := newSigner(rand)
	return AccountKey{s}, err
}

// Public returns the public half.
func (k AccountKey) Public() AccountPublic { return k.public }

// AccountPublic is an operator's public key: what the rendezvous itself needs.
type AccountPublic [32]byte

// IsZero says whether p is no key at all.
func (p AccountPublic) IsZero() bool { return p == AccountPublic{} }

// String returns the key as 52 base32 symbols.
func (p AccountPublic) String() string { return encode32(p[:], keySymbols) }

// ParseAccountPublic reads what AccountPublic.String wrote.
func ParseAccountPublic(s string) (AccountPublic, error) {
	p, err := parsePublic("account's public key", s)
	return p, err
}

// Token says that a viewer has an account. It serves who holds the viewer's private key, and nobody else: it is no secret.
//
//	0         1           33            41            105
//	│ 1 (1)   │ viewer    │ not after   │ signature   │
//	            X25519      unix seconds  over "punchlab account v1" ‖ all before
//
// Numbers are big-endian.
type Token struct {
	Viewer   PublicKey
	NotAfter int64 // unix seconds; 0: for ever
}

const (
	tokenVersion = 1
	tokenDomain  = "punchlab account v1"
	// TokenSize is an account token's length in bytes.
	TokenSize = 1 + 32 + 8 + signatureSize
)

// Issue signs a token.
func (k AccountKey) Issue(t Token) []byte {
	b := make([]byte, 0, TokenSize)
	b = append(b, tokenVersion)
	b = append(b, t.Viewer[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.NotAfter))
	return k.sign(tokenDomain, b)
}

// CheckToken says what is wrong with the token of the viewer whose key has been proved: ErrNoToken, ErrToken or
// ErrTokenExpired. now is in unix seconds.
func (p AccountPublic) CheckToken(now int64, viewer PublicKey, b []byte) error {
	fail := func(err error, format string, a ...any) error {
		return fmt.Errorf("check account token: %w%s", err, fmt.Sprintf(format, a...))
	}
	switch {
	case len(b) == 0:
		return fail(ErrNoToken, "")
	case b[0] != tokenVersion:
		return fail(ErrToken, ": its version is %d, known is %d", b[0], tokenVersion)
	case len(b) != TokenSize:
		return fail(ErrToken, ": it has %d bytes, want %d", len(b), TokenSize)
	case PublicKey(b[1:33]) != viewer:
		return fail(ErrToken, ": it is another viewer's")
	case !verify(p, tokenDomain, b):
		return fail(ErrToken, ": this operator has not signed it")
	}
	notAfter := int64(binary.BigEndian.Uint64(b[33:]))
	if notAfter != 0 && now > notAfter {
		return fail(ErrTokenExpired, ": it held until %s, and this clock says %s", date(notAfter), date(now))
	}
	return nil
}

// ParseToken reads a token without judging it: who it is for and until when.
func ParseToken(b []byte) (Token, error) {
	if len(b) != TokenSize || b[0] != tokenVersion {
		return Token{}, fmt.Errorf("parse account token: %w", ErrToken)
	}
	return Token{Viewer: PublicKey(b[1:33]), NotAfter: int64(binary.BigEndian.Uint64(b[33:]))}, nil
}
