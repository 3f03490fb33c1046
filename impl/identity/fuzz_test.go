package identity

import "testing"

// What parses prints as something that parses to the same.
func FuzzParseUID(f *testing.F) {
	f.Add(testKey(f, 1).Public().UID().String())
	f.Add(testKey(f, 2).Public().UID().Compact())
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseUID(s)
		if err != nil {
			return
		}
		if again, err := ParseUID(u.String()); err != nil || again != u || !u.Valid() {
			t.Errorf("ParseUID(%q) = %v, which parses as %v, %v", s, u, again, err)
		}
	})
}

func FuzzParseLabel(f *testing.F) {
	l := testLabel(f)
	f.Add(l.String())
	l.Rendezvous = []string{"[2001:db8::1]:3478", "192.0.2.1:1"}
	f.Add(l.String())
	f.Add("PL1/////")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLabel(s)
		if err != nil {
			return
		}
		text := l.String()
		if again, err := ParseLabel(text); err != nil || again.String() != text {
			t.Errorf("ParseLabel(%q) prints %q, which parses as %q, %v", s, text, again.String(), err)
		}
	})
}

func FuzzParseCertificate(f *testing.F) {
	f.Add(testMaker(f, 1).Certify(testCertificate(f)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := decodeCertificate(b); err == nil {
			if again := testMaker(t, 1).Certify(c); string(again[33:CertificateSize-signatureSize]) != string(b[33:CertificateSize-signatureSize]) {
				t.Errorf("%x parses, and is encoded as %x", b, again)
			}
		}
	})
}

func FuzzParseRevocationList(f *testing.F) {
	f.Add(testMaker(f, 1).Revoke(NewRevocationList(3, issued, []UID{testKey(f, 1).Public().UID()})))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := ParseRevocationList(b); err == nil && len(l.UIDs()) > len(b) {
			t.Error("more devices than bytes")
		}
	})
}
