package identity

import "github.com/cloudflare/circl/dh/x25519"

// X25519 is RFC 7748's function. It is false where the public key is a point of low order, whose shared secret would be
// zero whatever the private key (RFC 7748 §6.1).
//
// By circl, because a rendezvous lives on handshakes: crypto/ecdh derives the public key again each time a private key is
// given as bytes, as Noise does, and so takes three to four times as long.
func X25519(private, public [32]byte) (secret [32]byte, ok bool) {
	s, p := x25519.Key(private), x25519.Key(public)
	ok = x25519.Shared((*x25519.Key)(&secret), &s, &p)
	return secret, ok
}

// PublicOf returns a private key's public key.
func PublicOf(private [32]byte) (public [32]byte) {
	s := x25519.Key(private)
	x25519.KeyGen((*x25519.Key)(&public), &s)
	return public
}
