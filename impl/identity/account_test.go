package identity

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testAccount(t testing.TB, n byte) AccountKey {
	t.Helper()
	k, err := NewAccountKey(rand.NewChaCha8([32]byte{n, 2}))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestToken(t *testing.T) {
	account, other := testAccount(t, 1), testAccount(t, 2)
	viewer := testKey(t, 1).Public()
	token := account.Issue(Token{Viewer: viewer, NotAfter: expires})
	if got, err := ParseToken(token); err != nil || got != (Token{viewer, expires}) || len(token) != TokenSize || TokenSize > 256 {
		t.Errorf("ParseToken = %+v, %v; %d bytes", got, err, len(token))
	}
	for name, tt := range map[string]struct {
		now   int64
		token []byte
		want  error
	}{
		"good":               {expires, token, nil},
		"expired":            {expires + 1, token, ErrTokenExpired},
		"none":               {issued, nil, ErrNoToken},
		"another viewer's":   {issued, account.Issue(Token{Viewer: testKey(t, 2).Public(), NotAfter: expires}), ErrToken},
		"another operator's": {issued, other.Issue(Token{Viewer: viewer, NotAfter: expires}), ErrToken},
		"for ever":           {math.MaxInt64, account.Issue(Token{Viewer: viewer}), nil},
		"before 1970":        {0, account.Issue(Token{Viewer: viewer, NotAfter: -1}), ErrTokenExpired},
		"a byte more":        {issued, append(token[:TokenSize:TokenSize], 0), ErrToken},
	} {
		if err := account.Public().CheckToken(tt.now, viewer, tt.token); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v; want %v", name, err, tt.want)
		}
	}
	for i := range len(token) * 8 {
		bad := append([]byte(nil), token...)
		bad[i/8] ^= 1 << (i % 8)
		if err := account.Public().CheckToken(issued, viewer, bad); !errors.Is(err, ErrToken) {
			t.Fatalf("bit %d changed: %v", i, err)
		}
	}
	for n := range token {
		if _, err := ParseToken(token[:n]); err == nil {
			t.Fatalf("%d bytes are a token", n)
		}
	}
}

func TestPublicKeysRoundTrip(t *testing.T) {
	maker, account := testMaker(t, 3).Public(), testAccount(t, 3).Public()
	if got, err := ParseMakerPublic(strings.ToLower(maker.String())); err != nil || got != maker {
		t.Errorf("ParseMakerPublic = %v, %v", got, err)
	}
	if got, err := ParseAccountPublic(account.String()); err != nil || got != account {
		t.Errorf("ParseAccountPublic = %v, %v", got, err)
	}
	for _, s := range []string{"", "U", strings.Repeat("0", 52)} {
		if _, err := ParseMakerPublic(s); err == nil || !strings.Contains(err.Error(), "maker's public key") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestSigningKeysDoNotPrint(t *testing.T) {
	maker, account := testMaker(t, 1), testAccount(t, 1)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, c := range []struct {
			key  any
			seed [32]byte
		}{{maker, maker.seed()}, {account, account.seed()}} {
			s := strings.ToLower(fmt.Sprintf(format, c.key))
			if strings.Contains(s, hex.EncodeToString(c.seed[:4])) || strings.Contains(s, fmt.Sprintf("%d, %d", c.seed[0], c.seed[1])) ||
				strings.Contains(s, fmt.Sprintf("%d %d", c.seed[0], c.seed[1])) || !strings.Contains(s, "key ") {
				t.Errorf("%s of a %T prints %q", format, c.key, s)
			}
		}
	}
}

func TestArmor(t *testing.T) {
	maker, account := testMaker(t, 1), testAccount(t, 1)
	cert, token := maker.Certify(testCertificate(t)), account.Issue(Token{Viewer: testKey(t, 1).Public()})
	if got, err := ParseCertificateText(" " + strings.ToLower(CertificateText(cert)) + "\n"); err != nil || string(got) != string(cert) {
		t.Errorf("certificate: %v", err)
	}
	if got, err := ParseTokenText(TokenText(token) + "\n"); err != nil || string(got) != string(token) {
		t.Errorf("token: %v", err)
	}
	text := CertificateText(cert)
	for name, c := range map[string]struct{ text, want string }{
		"empty":    {"", "does not begin with PC1/"},
		"a token":  {TokenText(token), "does not begin with PC1/"},
		"cut":      {text[:100], "has 96 characters, want 245"},
		"mistyped": {text[:60] + "00" + text[62:], "the certificate is not valid"},
	} {
		if _, err := ParseCertificateText(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	if _, err := ParseTokenText(text); err == nil || !strings.Contains(err.Error(), "does not begin with PT1/") {
		t.Errorf("a certificate as a token: %v", err)
	}
}

// Each kind of key has its file, and none is taken for another.
func TestKeyFilesAreForOnePurpose(t *testing.T) {
	dir := t.TempDir()
	device, maker, account := testKey(t, 1), testMaker(t, 1), testAccount(t, 1)
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{SaveKey(at("device"), device), SaveMakerKey(at("maker"), maker), SaveAccountKey(at("account"), account)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"device", "maker", "account"} {
		if k, err := LoadKey(at(name)); (err == nil) != (name == "device") || err == nil && k != device {
			t.Errorf("LoadKey of a %s's file: %v", name, err)
		}
		if k, err := LoadMakerKey(at(name)); (err == nil) != (name == "maker") || err == nil && k != maker {
			t.Errorf("LoadMakerKey of a %s's file: %v", name, err)
		}
		if k, err := LoadAccountKey(at(name)); (err == nil) != (name == "account") || err == nil && k != account {
			t.Errorf("LoadAccountKey of a %s's file: %v", name, err)
		}
		if info, err := os.Stat(at(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
}

func TestCertificateAndTokenFiles(t *testing.T) {
	dir := t.TempDir()
	cert, token := testMaker(t, 1).Certify(testCertificate(t)), testAccount(t, 1).Issue(Token{Viewer: testKey(t, 1).Public()})
	c, k := filepath.Join(dir, "camera.crt"), filepath.Join(dir, "viewer.token")
	if err := errors.Join(WriteFile(c, []byte(CertificateText(cert)), 0o644), WriteFile(k, []byte(TokenText(token)), 0o644)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(c); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v; want 0644", info.Mode(), err)
	}
	if got, err := LoadCertificate(c); err != nil || string(got) != string(cert) {
		t.Errorf("LoadCertificate: %v", err)
	}
	if got, err := LoadToken(k); err != nil || string(got) != string(token) {
		t.Errorf("LoadToken: %v", err)
	}
	if _, err := LoadCertificate(k); err == nil || !strings.Contains(err.Error(), k) {
		t.Errorf("a token's file as a certificate: %v; want the file's name", err)
	}
	if _, err := LoadToken(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
