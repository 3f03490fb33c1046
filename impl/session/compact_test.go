package session

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// compactPair returns both sides of a session of which the responder's is compact.
func compactPair(t testing.TB) (*Session, *Compact) {
	t.Helper()
	ci, cr := config(t, 1), config(t, 2)
	i := newInitiator(t, ci, cr.Static.Public(), []byte("hello"))
	c, answer, err := open(t, newResponder(t, cr), i.Message()).AcceptCompact([]byte("welcome"))
	if err != nil {
		t.Fatal(err)
	}
	is, payload, err := i.Finish(answer)
	if err != nil || string(payload) != "welcome" {
		t.Fatalf("finish: %q, %v", payload, err)
	}
	return is, &c
}

func TestCompactSpeaksToSession(t *testing.T) {
	is, c := compactPair(t)
	if c.Confirmed() || c.LocalIndex() == 0 {
		t.Error("confirmed before anything came, or without an index")
	}
	for n := range 300 {
		want := bytes.Repeat([]byte{byte(n)}, n)
		if got, err := c.Open(nil, is.Seal(nil, want)); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("opened %x, %v", got, err)
		}
		if got, err := is.Open([]byte("prefix"), c.Seal(nil, want)); err != nil || string(got) != "prefix"+string(want) {
			t.Fatalf("the session opened %x, %v", got, err)
		}
	}
	if !c.Confirmed() {
		t.Error("not confirmed")
	}
	if n := unsafe.Sizeof(*c); n != 104 {
		t.Errorf("%d bytes", n)
	}
}

func TestCompactRefuses(t *testing.T) {
	is, c := compactPair(t)
	b := is.Seal(nil, []byte("payload"))
	flips(b, func(bit int, flipped []byte) {
		if _, err := c.Open(nil, flipped); err == nil {
			t.Fatalf("opened with bit %d flipped", bit)
		}
	})
	for n := range len(b) {
		if _, err := c.Open(nil, b[:n]); err == nil {
			t.Fatalf("opened %d bytes of %d", n, len(b))
		}
	}
	if c.Confirmed() {
		t.Error("confirmed by forgeries")
	}
	if _, err := c.Open(nil, b); err != nil {
		t.Errorf("after the forgeries: %v", err)
	}
	if _, err := c.Open(nil, b); !errors.Is(err, ErrReplay) {
		t.Errorf("replayed: %v", err)
	}
	var none Compact
	if _, err := none.Open(nil, b); err == nil {
		t.Error("no session opened something")
	}
	c.next = RejectAfterMessages
	if b := c.Seal(nil, nil); b != nil {
		t.Errorf("sealed %x after the last", b)
	}
}

// A window is its model: a counter is taken if it is new and not too far below the greatest.
func TestCompactWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Compact
		taken := map[uint64]bool{}
		greatest := uint64(0)
		near := rapid.Uint64Range(0, 300)
		for range 60 {
			n := near.Draw(t, "counter")
			if rapid.Bool().Draw(t, "ahead") {
				n += greatest - min(greatest, 150)
			}
			want := !taken[n] && (c.top == 0 || n > greatest || greatest-n < CompactWindow)
			if c.fresh(n) != want {
				t.Fatalf("counter %d, greatest %d: fresh %v", n, greatest, !want)
			}
			if want {
				c.accept(n)
				taken[n] = true
				greatest = max(greatest, n)
			}
		}
	})
}

func BenchmarkCompactSealOpen(b *testing.B) {
	random := rand.NewChaCha8([32]byte{})
	var k1, k2 [32]byte
	random.Read(k1[:])
	random.Read(k2[:])
	one, other := NewCompact(k1, k2, 1, 2), NewCompact(k2, k1, 2, 1)
	payload := make([]byte, 10)
	var sealed, opened []byte
	b.ReportAllocs()
	for b.Loop() {
		sealed = one.Seal(sealed[:0], payload)
		var err error
		if opened, err = other.Open(opened[:0], sealed); err != nil {
			b.Fatal(err)
		}
	}
}
