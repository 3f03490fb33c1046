package tape

import "time"

// Randomness says whether bytes can be told from random ones.
type Randomness struct {
	N       int     // bytes that were looked at
	Random  bool    // they could not be told from random ones, and there were RandomBytes at least
	P       float64 // of random bytes looking so unlike random ones: the smallest of all tests, times their number
	Entropy float64 // bits per byte, by their frequencies
	Why     string  // what told them apart, or that there were too few; empty: nothing did
}

// RandomBytes is how many bytes it takes to call them random.
const RandomBytes = 16 << 10

// RandomLevel is the chance at which random bytes are called otherwise.
const RandomLevel = 1e-7

// Random tells whether bytes look random, and by which chance random ones would look so unlike random ones.
func Random(b []byte) (random bool, p float64) {
	r := Measure(b)
	return r.Random, r.P
}

// Measure tests bytes for randomness.
func Measure(b []byte) Randomness { return Randomness{} }

// Bodies are the bytes of the packets' payloads that are ciphertext if a payload is encrypted: without what protocols leave in clear at
// the beginning and the end of a datagram, of a TLS record and of a framed datagram (RFC 4571) in TCP, and without copies of packets.
func Bodies(ps []Packet) []byte { return nil }

// Secret is something that must not be found.
type Secret struct {
	Name  string
	Bytes []byte // SecretSize at least, of four different values at least
}

// SecretSize is how many bytes a secret has at least: fewer are found by chance.
const SecretSize = 8

// Slices are n secrets spread over data, such as a frame's bytes, of so many bytes each, where it is not monotonous.
func Slices(name string, data []byte, size, n int) []Secret { return nil }

// Hit is a secret that was found.
type Hit struct {
	Secret string
	How    string // "plain", "reversed", "base64", "hex"; with a key: "xor 5a", "reversed xor 5a"
	Packet int    // its index
	Offset int    // in the payload
	At     time.Time
	Host   string
}

// Find looks in the payloads for secrets: plain, reversed, in base64 or hexadecimal, and each of these under a repeated XOR key of one to
// four, eight or sixteen bytes. Of a secret in one packet the first hit is told. An error says which secret is too short or monotonous.
func Find(ps []Packet, secrets ...Secret) ([]Hit, error) { return nil, nil }
