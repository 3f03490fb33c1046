package identity

import (
	"encoding/binary"
	"fmt"
	"io"
)

// MakerKey is the Ed25519 key by which a maker certifies its cameras and revokes them. It prints as its public half.
type MakerKey struct{ signer }

// NewMakerKey draws a key from rand, which must be cryptographically random.
func NewMakerKey(rand io.Reader) (MakerKey, error) {
	s, err := newSigner(rand)
	return MakerKey{s}, err
}

// Public returns the public half.
func (k MakerKey) Public() MakerPublic { return k.public }

// MakerPublic is a maker's public key: what a rendezvous trusts.
type MakerPublic [32]byte

// IsZero says whether p is no key at all.
func (p MakerPublic) IsZero() bool { return p == MakerPublic{} }

// String returns the key as 52 base32 symbols.
func (p MakerPublic) String() string { return encode32(p[:], keySymbols) }

// ParseMakerPublic reads what MakerPublic.String wrote.
func ParseMakerPublic(s string) (MakerPublic, error) {
	p, err := parsePublic("maker's public key", s)
	return p, err
}

// Certificate is what a maker says of a device: it is mine. It holds no name and no address, for the key is the name.
//
//	0         1          33          65         73             81            89            153
//	│ 1 (1)   │ maker    │ device    │ serial   │ not before   │ not after   │ signature   │
//	            Ed25519    X25519      uint64     unix seconds   0: for ever   over "punchlab certificate v1" ‖ all before
//
// Numbers are big-endian. There is one encoding of a certificate, and no extension: what must change takes another
// version.
type Certificate struct {
	Maker  MakerPublic
	Device PublicKey
	Serial uint64 // the maker's count or batch number; nothing hangs on it

	NotBefore int64 // when it was issued, in unix seconds; a clock that says less is wrong, and refuses nothing: see Trust
	NotAfter  int64 // when it ceases to hold, in unix seconds; 0: never
}

const (
	certificateVersion = 1
	certificateDomain  = "punchlab certificate v1"
	// CertificateSize is a certificate's length in bytes.
	CertificateSize = 1 + 32 + 32 + 8 + 8 + 8 + signatureSize
)

// Certify signs c as k's; c.Maker is not looked at. What has no device, a time before 1970 or an end before its
// beginning is encoded as it is, and refused by whoever parses it.
func (k MakerKey) Certify(c Certificate) []byte {
	b := make([]byte, 0, CertificateSize)
	b = append(b, certificateVersion)
	b = append(b, k.public[:]...)
	b = append(b, c.Device[:]...)
	b = binary.BigEndian.AppendUint64(b, c.Serial)
	b = binary.BigEndian.AppendUint64(b, uint64(c.NotBefore))
	b = binary.BigEndian.AppendUint64(b, uint64(c.NotAfter))
	return k.sign(certificateDomain, b)
}

// ParseCertificate reads a certificate and checks that the maker it names has signed it. Whether that maker is to be
// trusted, and whether the certificate still holds, Trust says.
func ParseCertificate(b []byte) (Certificate, error) {
	c, err := decodeCertificate(b)
	if err != nil {
		return Certificate{}, err
	}
	if !verify(c.Maker, certificateDomain, b) {
		return Certificate{}, fmt.Errorf("parse certificate: %w: the maker's signature is wrong", ErrCertificate)
	}
	return c, nil
}

// decodeCertificate reads a certificate without looking at its signature.
func decodeCertificate(b []byte) (Certificate, error) {
	fail := func(format string, a ...any) (Certificate, error) {
		return Certificate{}, fmt.Errorf("parse certificate: %w: %s", ErrCertificate, fmt.Sprintf(format, a...))
	}
	switch {
	case len(b) == 0:
		return fail("it is empty")
	case b[0] != certificateVersion:
		return fail("its version is %d, known is %d: update this program", b[0], certificateVersion)
	case len(b) != CertificateSize:
		return fail("it has %d bytes, want %d", len(b), CertificateSize)
	}
	var c Certificate
	rest := b[1:]
	rest = rest[copy(c.Maker[:], rest):]
	rest = rest[copy(c.Device[:], rest):]
	c.Serial = binary.BigEndian.Uint64(rest)
	c.NotBefore = int64(binary.BigEndian.Uint64(rest[8:]))
	c.NotAfter = int64(binary.BigEndian.Uint64(rest[16:]))
	switch {
	case c.Device.IsZero() || c.Maker.IsZero():
		return fail("it lacks a key")
	case c.NotBefore < 0 || c.NotAfter != 0 && c.NotAfter <= c.NotBefore:
		return fail("it holds at no time")
	}
	return c, nil
}
