package session

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// challenge makes a loaded responder answer with a cookie.
func challenge(t *testing.T, r *Responder, now time.Time, from netip.AddrPort, b []byte) []byte {
	t.Helper()
	q, reply, err := r.Open(now, from, true, b)
	if err != nil || q != nil || len(reply) != CookieSize {
		t.Fatalf("Open under load = %v, %x, %v; want a cookie", q, reply, err)
	}
	if len(reply) > len(b) {
		t.Fatalf("a cookie of %d bytes answers %d", len(reply), len(b))
	}
	return reply
}

func TestCookie(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	i := newInitiator(t, ci, cr.Static.Public(), []byte("hello"))
	r := newResponder(t, cr)
	before, _ := InitiationID(i.Message())
	if err := i.HandleCookie(challenge(t, r, epoch, source, i.Message())); err != nil {
		t.Fatal(err)
	}
	if after, ok := InitiationID(i.Message()); !ok || after != before {
		t.Errorf("the cookie changed the initiation's ID from %x to %x", before, after)
	}
	q, reply, err := r.Open(epoch, source, true, i.Message())
	if err != nil || reply != nil || q.ID() != before {
		t.Fatalf("with the cookie: %v, %x, %v", q, reply, err)
	}
	_, answer, err := q.Accept(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := i.Finish(answer); err != nil {
		t.Error(err)
	}
}

// A cookie proves one source address and nothing else.
func TestCookieIsBoundToItsSource(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	i := newInitiator(t, ci, cr.Static.Public(), nil)
	r := newResponder(t, cr)
	if err := i.HandleCookie(challenge(t, r, epoch, source, i.Message())); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"192.0.2.1:40001", "192.0.2.2:40000", "[2001:db8::1]:40000"} {
		challenge(t, r, epoch, netip.MustParseAddrPort(other), i.Message())
	}
	mapped := netip.AddrPortFrom(netip.AddrFrom16(source.Addr().As16()), source.Port())
	if q, _, err := r.Open(epoch, mapped, true, i.Message()); err != nil || q == nil {
		t.Errorf("the same address, mapped into IPv6: %v, %v", q, err)
	}
}

func TestCookieSecretRotates(t *testing.T) {
	for _, c := range []struct {
		age   time.Duration
		valid bool
	}{
		{CookieLifetime - 1, true},
		{CookieLifetime, true}, // the previous secret still counts
		{2*CookieLifetime - 1, true},
		{2 * CookieLifetime, false},
		{time.Hour, false},
	} {
		ci, cr := config(t, 1), config(t, 2)
		i := newInitiator(t, ci, cr.Static.Public(), nil)
		r := newResponder(t, cr)
		if err := i.HandleCookie(challenge(t, r, epoch, source, i.Message())); err != nil {
			t.Fatal(err)
		}
		q, _, err := r.Open(epoch.Add(c.age), source, true, i.Message())
		if err != nil || (q != nil) != c.valid {
			t.Errorf("a cookie %v old: %v, %v; want valid %v", c.age, q != nil, err, c.valid)
		}
	}
}

func TestCookieSecretIsForgottenAfterTwoRotations(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	i := newInitiator(t, ci, cr.Static.Public(), nil)
	r := newResponder(t, cr)
	if err := i.HandleCookie(challenge(t, r, epoch, source, i.Message())); err != nil {
		t.Fatal(err)
	}
	fresh := newInitiator(t, ci, cr.Static.Public(), nil)
	challenge(t, r, epoch.Add(CookieLifetime), source, fresh.Message())
	challenge(t, r, epoch.Add(2*CookieLifetime), source, fresh.Message())
	challenge(t, r, epoch.Add(2*CookieLifetime), source, i.Message())
}

func TestCookieForAnotherInitiation(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	first := newInitiator(t, ci, cr.Static.Public(), []byte("first"))
	second := newInitiator(t, ci, cr.Static.Public(), []byte("second"))
	r := newResponder(t, cr)
	reply := challenge(t, r, epoch, source, first.Message())
	if err := second.HandleCookie(reply); !errors.Is(err, ErrIndex) {
		t.Errorf("another handshake's cookie: %v", err)
	}
	copy(reply[4:], second.Message()[4:8])
	if err := second.HandleCookie(reply); !errors.Is(err, ErrAuth) {
		t.Errorf("another handshake's cookie, readdressed: %v", err)
	}
}

func TestCookieBitFlipsAndTruncation(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	i := newInitiator(t, ci, cr.Static.Public(), nil)
	reply := challenge(t, newResponder(t, cr), epoch, source, i.Message())
	message := bytes.Clone(i.Message())
	flips(reply, func(bit int, c []byte) {
		if err := i.HandleCookie(c); err == nil {
			t.Fatalf("taken with bit %d flipped", bit)
		}
	})
	for n := range len(reply) {
		if err := i.HandleCookie(reply[:n]); err == nil {
			t.Fatalf("taken with %d bytes", n)
		}
	}
	if err := i.HandleCookie(append(bytes.Clone(reply), 0)); !errors.Is(err, ErrLong) {
		t.Errorf("taken with a byte more: %v", err)
	}
	if !bytes.Equal(message, i.Message()) {
		t.Error("a forged cookie changed the initiation")
	}
}

// A new responder has no previous secret; nobody else knows one for it.
func TestCookieUnderNoSecret(t *testing.T) {
	ci, cr := config(t, 1), config(t, 2)
	i := newInitiator(t, ci, cr.Static.Public(), nil)
	forged := cookie(make([]byte, 32), source)
	end := len(i.message) - macSize
	mac2 := keyed(forged[:], i.message[:end])
	copy(i.message[end:], mac2[:])
	challenge(t, newResponder(t, cr), epoch, source, i.Message())
}
