package identity

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// RFC 7748 §6.1.
func TestKeyAgainstRFC7748(t *testing.T) {
	private, _ := hex.DecodeString("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
	k, err := KeyFromPrivate([32]byte(private))
	if err != nil {
		t.Fatal(err)
	}
	p := k.Public()
	if got, want := hex.EncodeToString(p[:]), "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"; got != want {
		t.Errorf("public key %s, want %s", got, want)
	}
}

func TestPublicKeyRoundTrip(t *testing.T) {
	for n := range uint64(50) {
		p := testKey(t, n).Public()
		if got, err := ParsePublicKey(strings.ToLower(p.String())); err != nil || got != p {
			t.Errorf("ParsePublicKey(%v) = %v, %v", p, got, err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	k := testKey(t, 1)
	private := k.Private()
	secret := Secret{0xab, 0xcd, 0xef, 0x12}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		s := fmt.Sprintf(format, k) + fmt.Sprintf(format, secret)
		for _, bytes := range []string{hex.EncodeToString(private[:4]), fmt.Sprintf("%d %d", private[0], private[1]), "abcdef", "171 205", "0xab"} {
			if strings.Contains(strings.ToLower(s), bytes) {
				t.Errorf("%s prints %q in %q", format, bytes, s)
			}
		}
	}
}

func TestNewKeyWithoutRandomness(t *testing.T) {
	if _, err := NewKey(strings.NewReader("short")); err == nil {
		t.Error("a key was drawn from five bytes")
	}
}
