package identity

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// testMaker returns the nth of a fixed series of makers.
func testMaker(t testing.TB, n byte) MakerKey {
	t.Helper()
	k, err := NewMakerKey(rand.NewChaCha8([32]byte{n, 1}))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Times of the tests, in unix seconds.
const (
	issued  = 1_700_000_000
	expires = issued + 1000
)

func testCertificate(t testing.TB) Certificate {
	return Certificate{Maker: testMaker(t, 1).Public(), Device: testKey(t, 1).Public(), Serial: 7, NotBefore: issued, NotAfter: expires}
}

func TestCertificateRoundTrip(t *testing.T) {
	maker := testMaker(t, 1)
	for _, change := range []func(*Certificate){
		func(*Certificate) {},
		func(c *Certificate) { c.NotAfter = 0 },
		func(c *Certificate) { c.NotBefore, c.NotAfter, c.Serial = 0, math.MaxInt64, math.MaxUint64 },
	} {
		c := testCertificate(t)
		change(&c)
		b := maker.Certify(c)
		if len(b) != CertificateSize || CertificateSize > 256 {
			t.Errorf("a certificate has %d bytes", len(b))
		}
		if got, err := ParseCertificate(b); err != nil || got != c {
			t.Errorf("ParseCertificate = %+v, %v; want %+v", got, err, c)
		}
		if again := maker.Certify(c); string(again) != string(b) {
			t.Error("the same certificate is encoded in two ways")
		}
	}
}

func TestCertificateDetectsEveryChange(t *testing.T) {
	b := testMaker(t, 1).Certify(testCertificate(t))
	for i := range len(b) * 8 {
		bad := append([]byte(nil), b...)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := ParseCertificate(bad); !errors.Is(err, ErrCertificate) {
			t.Fatalf("bit %d changed: %v", i, err)
		}
	}
	for n := range b {
		if _, err := ParseCertificate(b[:n]); !errors.Is(err, ErrCertificate) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := ParseCertificate(append(b, 0)); !errors.Is(err, ErrCertificate) {
		t.Errorf("a byte more: %v", err)
	}
}

// What a maker signs by mistake is refused, though signed.
func TestParseCertificateRefusesNonsense(t *testing.T) {
	maker := testMaker(t, 1)
	for name, change := range map[string]func(*Certificate){
		"no device":         func(c *Certificate) { c.Device = PublicKey{} },
		"before 1970":       func(c *Certificate) { c.NotBefore = -1 },
		"ends at its start": func(c *Certificate) { c.NotAfter = c.NotBefore },
		"ends before 1970":  func(c *Certificate) { c.NotAfter = -5 },
	} {
		c := testCertificate(t)
		change(&c)
		if _, err := ParseCertificate(maker.Certify(c)); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A signature for one purpose serves no other, though the same key signs: the strings before the bodies differ.
func TestSignaturesAreForOnePurpose(t *testing.T) {
	s := testMaker(t, 1).signer
	body := []byte("body")
	for _, signed := range []string{certificateDomain, tokenDomain, revocationDomain} {
		for _, read := range []string{certificateDomain, tokenDomain, revocationDomain} {
			if got := verify(s.public, read, s.sign(signed, body)); got != (read == signed) {
				t.Errorf("signed as %q, read as %q: %v", signed, read, got)
			}
		}
	}
	if verify(s.public, certificateDomain, []byte("short")) {
		t.Error("five bytes are signed")
	}
}

func TestTrust(t *testing.T) {
	maker, other := testMaker(t, 1), testMaker(t, 2)
	c := testCertificate(t)
	cert := maker.Certify(c)
	forged := append([]byte(nil), cert...)
	forged[len(forged)-1] ^= 1
	revoked := mustParseList(t, maker.Revoke(NewRevocationList(1, issued, []UID{c.Device.UID()})))
	foreign := mustParseList(t, other.Revoke(NewRevocationList(1, issued, []UID{c.Device.UID()})))
	later := mustParseList(t, maker.Revoke(NewRevocationList(1, expires+1, nil)))
	forever := c
	forever.NotAfter = 0
	one := []MakerPublic{maker.Public()}
	both := []MakerPublic{other.Public(), maker.Public()}
	for name, tt := range map[string]struct {
		trust *Trust
		now   int64
		cert  []byte
		want  error
	}{
		"nil serves everybody":             {nil, issued, nil, nil},
		"no maker: everybody":              {&Trust{}, issued, []byte("junk"), nil},
		"good":                             {&Trust{Makers: one}, issued + 10, cert, nil},
		"one of two makers":                {&Trust{Makers: both}, issued + 10, cert, nil},
		"none":                             {&Trust{Makers: one}, issued, nil, ErrNoCertificate},
		"junk":                             {&Trust{Makers: one}, issued, []byte("junk"), ErrCertificate},
		"forged":                           {&Trust{Makers: one}, issued, forged, ErrCertificate},
		"of another device":                {&Trust{Makers: one}, issued, maker.Certify(Certificate{Device: testKey(t, 2).Public()}), ErrCertificate},
		"of another maker":                 {&Trust{Makers: []MakerPublic{other.Public()}}, issued, cert, ErrWrongMaker},
		"signed by another maker":          {&Trust{Makers: both}, issued, substitute(other.Certify(c), maker.Public()), ErrCertificate},
		"at its last second":               {&Trust{Makers: one}, expires, cert, nil},
		"a second later":                   {&Trust{Makers: one}, expires + 1, cert, ErrExpired},
		"for ever":                         {&Trust{Makers: one}, math.MaxInt64, maker.Certify(forever), nil},
		"revoked":                          {&Trust{Makers: one, Revoked: []*RevocationList{revoked}}, issued, cert, ErrRevoked},
		"revoked and expired":              {&Trust{Makers: one, Revoked: []*RevocationList{revoked}}, expires + 1, cert, ErrRevoked},
		"revoked by another maker":         {&Trust{Makers: both, Revoked: []*RevocationList{foreign}}, issued, cert, nil},
		"a clock that stands in 1970":      {&Trust{Makers: one}, 5, cert, nil},
		"1970, but built after its end":    {&Trust{Makers: one, Floor: expires + 1}, 5, cert, ErrExpired},
		"1970, but a list after its end":   {&Trust{Makers: one, Revoked: []*RevocationList{later}}, 5, cert, ErrExpired},
		"a clock in 2100 is taken at that": {&Trust{Makers: one, Floor: issued}, 4_102_444_800, cert, ErrExpired},
	} {
		if err := tt.trust.Check(tt.now, c.Device, tt.cert); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v; want %v", name, err, tt.want)
		}
	}
	if err := (&Trust{Makers: one}).Check(4_102_444_800, c.Device, cert); !strings.Contains(fmt.Sprint(err), "2023-11-14") ||
		!strings.Contains(fmt.Sprint(err), "2100-01-01") {
		t.Errorf("%v; want both dates", err)
	}
}

// substitute writes another maker's name into a certificate.
func substitute(cert []byte, maker MakerPublic) []byte {
	copy(cert[1:], maker[:])
	return cert
}

func TestTrustHold(t *testing.T) {
	maker, other := testMaker(t, 1), testMaker(t, 2)
	a, b := testKey(t, 1).Public().UID(), testKey(t, 2).Public().UID()
	trust := &Trust{Makers: []MakerPublic{maker.Public()}}
	hold := func(k MakerKey, number uint64, at int64, uids ...UID) error {
		return trust.Hold(mustParseList(t, k.Revoke(NewRevocationList(number, at, uids))))
	}
	for _, step := range []struct {
		name   string
		err    error
		want   error
		number uint64
	}{
		{"the first", hold(maker, 5, issued, a), nil, 5},
		{"the same again", hold(maker, 5, issued, a), nil, 5},
		{"a lower number", hold(maker, 4, issued+1), ErrOldList, 5},
		{"the same number, other content", hold(maker, 5, issued, b), ErrOldList, 5},
		{"another maker's", hold(other, 9, issued, a), ErrWrongMaker, 5},
	} {
		if !errors.Is(step.err, step.want) {
			t.Errorf("%s: %v, want %v", step.name, step.err, step.want)
		}
	}
	if len(trust.Revoked) != 1 || trust.Revoked[0].Number != 5 || !trust.Revoked[0].Contains(a) {
		t.Errorf("held: %+v", trust.Revoked)
	}
	if err := hold(maker, 6, issued, b); err != nil || trust.Revoked[0].Contains(a) || !trust.Revoked[0].Contains(b) {
		t.Errorf("a higher number: %v, held %+v", err, trust.Revoked[0])
	}
}

func BenchmarkTrustCheck(b *testing.B) {
	maker := testMaker(b, 1)
	c := testCertificate(b)
	cert := maker.Certify(c)
	trust := &Trust{Makers: []MakerPublic{maker.Public()}}
	b.ReportAllocs()
	for b.Loop() {
		if err := trust.Check(issued, c.Device, cert); err != nil {
			b.Fatal(err)
		}
	}
}
