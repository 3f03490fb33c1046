package identity

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testLabel(t testing.TB) Label {
	return Label{
		Key:           testKey(t, 1).Public(),
		RendezvousKey: testKey(t, 2).Public(),
		Rendezvous:    []string{"rendezvous.example.com:3478"},
		Secret:        Secret{1, 2, 3, 15: 255},
	}
}

func TestLabelRoundTrip(t *testing.T) {
	for _, hosts := range [][]string{
		{"rendezvous.example.com:3478"},
		{"192.0.2.1:1", "198.51.100.2:65535"},
		{"[2001:db8::1]:3478", "a.example:443", "b.example:443", "c.example:443"},
	} {
		l := testLabel(t)
		l.Rendezvous = hosts
		l.Invited = len(hosts) > 1
		text := l.String()
		if strings.HasPrefix(text, "PI1/") != l.Invited {
			t.Errorf("invitation %v: %q", l.Invited, text[:4])
		}
		for _, s := range []string{text, strings.ToLower(text), "  " + text + "\n"} {
			got, err := ParseLabel(s)
			if err != nil {
				t.Fatalf("ParseLabel(%q): %v", s, err)
			}
			if d := cmp.Diff(l, got); d != "" {
				t.Errorf("ParseLabel(%q) (-want +got):\n%s", s, d)
			}
		}
		if l.UID() != l.Key.UID() {
			t.Error("the label has another UID than its key")
		}
	}
}

// A QR code's alphanumeric mode (ISO/IEC 18004 §7.4.4) packs 5.5 bits a
// character; one other character doubles the code's size.
func TestLabelFitsASmallQR(t *testing.T) {
	text := testLabel(t).String()
	if len(text) > 200 {
		t.Errorf("the label has %d characters", len(text))
	}
	for _, c := range text {
		if !strings.ContainsRune("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:", c) {
			t.Errorf("%q is not in QR's alphanumeric mode", c)
		}
	}
}

func TestLabelDetectsEverySubstitution(t *testing.T) {
	text := testLabel(t).String()
	for i := range len(text) {
		for _, c := range []byte(alphabet + "/:.+-") {
			if c == text[i] {
				continue
			}
			if a, ok := symbol(c); ok {
				if b, ok := symbol(text[i]); ok && a == b {
					continue // the same symbol, typed otherwise
				}
			}
			bad := text[:i] + string(c) + text[i+1:]
			if _, err := ParseLabel(bad); err == nil {
				t.Fatalf("accepted with character %d changed from %c to %c", i, text[i], c)
			}
		}
	}
}

func TestLabelErrorsSayWhat(t *testing.T) {
	l := testLabel(t)
	text := l.String()
	part := func(n int, with string) string {
		p := strings.Split(text, "/")
		p[n] = with
		return strings.Join(p, "/")
	}
	p := strings.Split(text, "/")
	for name, c := range map[string]struct{ in, want string }{
		"empty":      {"", "does not start with PL1/ or PI1/"},
		"other code": {"https://example.com", "does not start with PL1/"},
		"version":    {part(0, "PL2"), `version "PL2" is not known`},
		"no version": {part(0, "PI1SECRETSECRET"), `version "PI1SECRE" is not known`},
		"other kind": {part(0, "PI1"), "check characters do not match"},
		"cut":        {strings.Join(p[:4], "/"), "has 4 parts between slashes, want 6"},
		"key short":  {part(1, p[1][1:]), "the camera's key has 51 characters, want 52"},
		"key symbol": {part(1, "U"+p[1][1:]), `the camera's key has 'U', which is not a base32 character, at position 1`},
		"key tail":   {part(1, p[1][:51]+"1"), `the camera's key ends in '1', which no key ends in`},
		"key zero":   {part(1, strings.Repeat("0", 52)), "the camera's key is missing"},
		"rendezvous": {part(2, p[2]+"0"), "the rendezvous key has 53 characters"},
		"secret":     {part(3, ""), "the pairing secret has 0 characters, want 26"},
		"no host":    {part(4, ""), `rendezvous host "": has no port`},
		"no port":    {part(4, "EXAMPLE.COM"), "has no port: write HOST:PORT"},
		"port":       {part(4, "EXAMPLE.COM:0"), `port "0" is not a number from 1 to 65535`},
		"port zero":  {part(4, "EXAMPLE.COM:0443"), `port "0443" is not a number`},
		"port big":   {part(4, "EXAMPLE.COM:65536"), `port "65536" is not a number`},
		"host":       {part(4, "EX_AMPLE:1"), `'_' does not belong in a host name`},
		"dots":       {part(4, "A..B:1"), `"a..b" is not a host name`},
		"brackets":   {part(4, "[192.0.2.1]:1"), "is not an IPv6 address"},
		"bare v6":    {part(4, "2001:DB8::1:1"), "an IPv6 address goes in brackets"},
		"five hosts": {part(4, "A:1+B:1+C:1+D:1+E:1"), "names 5 rendezvous hosts, at most 4 fit"},
		"check":      {part(4, "OTHER.EXAMPLE:3478"), "check characters do not match"},
		"long":       {strings.Repeat("A", MaxLabel+1), "has 401 characters, at most 400 are allowed"},
	} {
		if _, err := ParseLabel(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

func TestPairingProof(t *testing.T) {
	secret, viewer, camera := Secret{1}, testKey(t, 3).Public(), testKey(t, 1).Public()
	p := PairingProof(secret, viewer, camera)
	if !p.Equal(PairingProof(secret, viewer, camera)) || p.IsZero() {
		t.Error("the same inputs give another proof")
	}
	for name, q := range map[string]Proof{
		"secret":  PairingProof(Secret{2}, viewer, camera),
		"viewer":  PairingProof(secret, camera, camera),
		"camera":  PairingProof(secret, viewer, viewer),
		"swapped": PairingProof(secret, camera, viewer),
	} {
		if p.Equal(q) {
			t.Errorf("another %s gives the same proof", name)
		}
	}
}
