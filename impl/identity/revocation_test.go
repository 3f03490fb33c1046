package identity

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func mustParseList(t testing.TB, text []byte) *RevocationList {
	t.Helper()
	l, err := ParseRevocationList(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRevocationListRoundTrip(t *testing.T) {
	maker := testMaker(t, 1)
	var uids []UID
	for n := range uint64(40) {
		uids = append(uids, testKey(t, n).Public().UID())
	}
	for _, n := range []int{0, 1, 40} {
		given := append(slices.Clone(uids[:n]), uids[:n/2]...) // some twice, none in order
		text := maker.Revoke(NewRevocationList(9, issued, given))
		l := mustParseList(t, text)
		if l.Number != 9 || l.Issued != issued || l.Maker != maker.Public() || len(l.UIDs()) != n {
			t.Errorf("%d devices: number %d, issued %d, %d UIDs", n, l.Number, l.Issued, len(l.UIDs()))
		}
		for i, u := range uids {
			if l.Contains(u) != (i < n) {
				t.Errorf("list of %d contains device %d: %v", n, i, l.Contains(u))
			}
		}
		if again := maker.Revoke(l); !bytes.Equal(again, text) {
			t.Errorf("signed again it is\n%s", again)
		}
	}
}

func TestRevocationListDetectsEveryChange(t *testing.T) {
	text := testMaker(t, 1).Revoke(NewRevocationList(9, issued, []UID{testKey(t, 1).Public().UID(), testKey(t, 2).Public().UID()}))
	for i := range text {
		for _, c := range []byte("0Z\n ") {
			bad := bytes.Clone(text)
			if bad[i] == c {
				continue
			}
			bad[i] = c
			if _, err := ParseRevocationList(bad); err == nil {
				t.Fatalf("byte %d, %q, changed to %q: accepted", i, text[i], c)
			}
		}
		if _, err := ParseRevocationList(text[:i]); err == nil {
			t.Fatalf("cut to %d bytes: accepted", i)
		}
	}
}

func TestRevocationListErrorsNameTheLine(t *testing.T) {
	maker := testMaker(t, 1)
	a, b := testKey(t, 1).Public().UID(), testKey(t, 2).Public().UID()
	text := string(maker.Revoke(NewRevocationList(9, issued, []UID{a, b})))
	lines := strings.Split(text, "\n")
	line := func(n int, to string) string {
		l := slices.Clone(lines)
		l[n-1] = to
		return strings.Join(l, "\n")
	}
	disorder := &RevocationList{Number: 9, Issued: issued, uids: []UID{b, a}}
	if compareUIDs(a, b) > 0 {
		disorder.uids = []UID{a, b}
	}
	twice := &RevocationList{Number: 9, Issued: issued, uids: []UID{a, a}}
	for name, c := range map[string]struct{ text, want string }{
		"empty":     {"", "line 1 is not PR1"},
		"version":   {line(1, "PR2"), "line 1 is not PR1"},
		"cut":       {strings.Join(lines[:4], "\n"), "cut short"},
		"maker":     {line(2, "maker 0"), "line 2 (maker)"},
		"order":     {line(3, lines[3]), `line 3 does not begin with "number"`},
		"number":    {line(3, "number -1"), "line 3 (number)"},
		"issued":    {line(4, "issued yesterday"), "line 4 (issued)"},
		"uid":       {line(5, "revoked 7ZK3"), "line 5 is not"},
		"signature": {line(7, "signature 0"), "line 7 (signature)"},
		"forged":    {line(3, "number 10"), "line 7 (signature) is not the maker's"},
		"disorder":  {string(maker.Revoke(disorder)), "not as this program writes lists"},
		"twice":     {string(maker.Revoke(twice)), "not as this program writes lists"},
	} {
		if _, err := ParseRevocationList([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}
