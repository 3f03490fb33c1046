package identity

import (
	"crypto/ecdh"
	"math/rand/v2"
	"testing"
)

// TestX25519AgreesWithTheStandardLibrary compares with crypto/ecdh, which is checked against RFC 7748's vectors.
func TestX25519AgreesWithTheStandardLibrary(t *testing.T) {
	random := rand.NewChaCha8([32]byte{7})
	for range 200 {
		var a, b [32]byte
		random.Read(a[:])
		random.Read(b[:])
		ka, err := ecdh.X25519().NewPrivateKey(a[:])
		if err != nil {
			t.Fatal(err)
		}
		kb, err := ecdh.X25519().NewPrivateKey(b[:])
		if err != nil {
			t.Fatal(err)
		}
		if got := PublicOf(a); got != [32]byte(ka.PublicKey().Bytes()) {
			t.Fatalf("public key of %x is %x", a, got)
		}
		want, err := ka.ECDH(kb.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := X25519(a, PublicOf(b)); !ok || got != [32]byte(want) {
			t.Fatalf("secret of %x and %x is %x (%v), want %x", a, b, got, ok, want)
		}
	}
}

func TestX25519RefusesLowOrder(t *testing.T) {
	for _, p := range [][32]byte{{}, {1}} {
		if _, ok := X25519([32]byte{5}, p); ok {
			t.Errorf("a point of low order, %x, was accepted", p)
		}
	}
}
