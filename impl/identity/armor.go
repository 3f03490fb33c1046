package identity

import (
	"fmt"
	"strings"
)

// Certificates and tokens as text: one line for a file or for copying, a prefix and base32.
const (
	certificatePrefix = "PC1/"
	tokenPrefix       = "PT1/"
)

// CertificateText returns an encoded certificate as one line of text.
func CertificateText(cert []byte) string { return armor(certificatePrefix, cert) }

// ParseCertificateText reads what CertificateText wrote, and returns the certificate's bytes. It checks the maker's
// signature.
func ParseCertificateText(s string) ([]byte, error) {
	b, err := dearmor(certificatePrefix, s, CertificateSize)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	_, err = ParseCertificate(b)
	return b, err
}

// TokenText returns an encoded account token as one line of text.
func TokenText(token []byte) string { return armor(tokenPrefix, token) }

// ParseTokenText reads what TokenText wrote, and returns the token's bytes. Only the rendezvous can judge them.
func ParseTokenText(s string) ([]byte, error) {
	b, err := dearmor(tokenPrefix, s, TokenSize)
	if err != nil {
		return nil, fmt.Errorf("read account token: %w", err)
	}
	_, err = ParseToken(b)
	return b, err
}

func armor(prefix string, b []byte) string { return prefix + encode32(b, symbols(len(b))) }

func dearmor(prefix, s string, size int) ([]byte, error) {
	s, ok := strings.CutPrefix(strings.ToUpper(strings.TrimSpace(s)), prefix)
	if !ok {
		return nil, fmt.Errorf("it does not begin with %s", prefix)
	}
	b := make([]byte, size)
	if err := decode32(b, s); err != nil {
		return nil, fmt.Errorf("it %w", err)
	}
	return b, nil
}

// symbols returns how many base32 symbols n bytes take.
func symbols(n int) int { return (n*8 + 4) / 5 }
