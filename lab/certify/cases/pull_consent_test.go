package cases

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	ids "github.com/punchlab/punchlab/impl/identity"
)

// A ticket that was made up differs from the right one, in its place only, and looks like one.
func TestWrongTickets(t *testing.T) {
	c := &claimants{draw: rand.New(rand.NewPCG(1, 2)), vandal: newVandal(1)}
	right := []byte(`{"uid":"ABCD-1234","password":"s3cret","host":"p2p.example"}`)
	for third := range 3 {
		got := c.madeUp(right, third)
		if len(got) != len(right) || bytes.Equal(got, right) {
			t.Errorf("third %d: %s", third+1, got)
		}
		for i := range got {
			inside := i >= third*len(right)/3 && i < (third+1)*len(right)/3
			letter := bytes.IndexByte([]byte(`{}":-.,`), right[i]) < 0
			if changed := got[i] != right[i]; changed != (inside && letter) {
				t.Fatalf("third %d, byte %d: %s", third+1, i, got)
			}
		}
	}
	key, err := ids.NewKey(rand.NewChaCha8([32]byte{1}))
	if err != nil {
		t.Fatal(err)
	}
	label := ids.Label{Key: key.Public(), RendezvousKey: key.Public(), Rendezvous: []string{"R.EXAMPLE:4479"}, Secret: ids.Secret{1, 2, 3}}
	other := label
	other.Secret = ids.Secret{4, 5}
	c.other = []byte(other.String())
	for i := range 40 {
		w := c.wrongLabel(label, i)
		got, ok := labelOf(w.ticket)
		if !ok || got.Secret == label.Secret || got.Key != label.Key {
			t.Fatalf("%s: %s", w.what, w.ticket)
		}
		if (i%4 == 0) != (got.Secret == ids.Secret{}) || (i%4 == 1) != (got.Secret == other.Secret) {
			t.Errorf("%s: %s", w.what, w.ticket)
		}
	}
}

func TestBare(t *testing.T) {
	for ticket, want := range map[string]bool{
		"203.0.113.1:554\n": true, "203.0.113.1:554\n203.0.113.1:80": true, "203.0.113.1:554 admin:1234": false, "[2001:db8::1]:554": true, "ABCD": false,
	} {
		if got := bare([]byte(ticket)); got != want {
			t.Errorf("%q: %v", ticket, got)
		}
	}
}

// What is repeated is said in three ways: as it was, changed, and from further on.
func TestVariants(t *testing.T) {
	c := &claimants{vandal: newVandal(3)}
	r := &recorded{to: netip.MustParseAddrPort("198.51.100.1:1"), payloads: [][]byte{[]byte("one"), []byte("two"), []byte("three")}}
	if got := c.variant(r, 0); len(got) != 3 || string(got[0]) != "one" {
		t.Errorf("as it was: %s", got)
	}
	if got := c.variant(r, 5); len(got) != 2 || string(got[0]) != "two" {
		t.Errorf("from the second on: %s", got)
	}
	got := c.variant(r, 1)
	for i, b := range got {
		if bytes.Equal(b, r.payloads[i]) {
			t.Errorf("payload %d was not changed", i)
		}
	}
	if len(got) != 3 || string(r.payloads[0]) != "one" {
		t.Errorf("changed: %s, of %s", got, r.payloads)
	}
}
