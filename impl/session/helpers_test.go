package session

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
)

var (
	epoch  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	source = netip.MustParseAddrPort("192.0.2.1:40000")
)

// config returns the nth of a fixed series of endpoints, with randomness of its own.
func config(t testing.TB, n byte) Config {
	t.Helper()
	random := rand.NewChaCha8([32]byte{n})
	key, err := identity.NewKey(random)
	if err != nil {
		t.Fatal(err)
	}
	return Config{Static: key, Rand: random, Prologue: []byte("test")}
}

func newResponder(t testing.TB, c Config) *Responder {
	t.Helper()
	r, err := NewResponder(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newInitiator(t testing.TB, c Config, peer identity.PublicKey, payload []byte) *Initiator {
	t.Helper()
	i, err := NewInitiator(c, peer, 7, payload)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func open(t testing.TB, r *Responder, b []byte) *Request {
	t.Helper()
	q, reply, err := r.Open(epoch, source, false, b)
	if err != nil || reply != nil || q == nil {
		t.Fatalf("Open = %v, %x, %v", q, reply, err)
	}
	return q
}

// pair returns both sides of a session: initiator, responder.
func pair(t testing.TB) (*Session, *Session) {
	t.Helper()
	ci, cr := config(t, 1), config(t, 2)
	i := newInitiator(t, ci, cr.Static.Public(), []byte("hello"))
	rs, answer, err := open(t, newResponder(t, cr), i.Message()).Accept([]byte("welcome"))
	if err != nil {
		t.Fatal(err)
	}
	is, _, err := i.Finish(answer)
	if err != nil {
		t.Fatal(err)
	}
	return is, rs
}

// flips calls f with each single-bit change of b.
func flips(b []byte, f func(bit int, flipped []byte)) {
	for bit := range len(b) * 8 {
		c := bytes.Clone(b)
		c[bit/8] ^= 1 << (bit % 8)
		f(bit, c)
	}
}
