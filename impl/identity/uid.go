package identity

import (
	"fmt"
	"strings"

	"golang.org/x/crypto/blake2s"
)

const (
	uidDomain  = "punchlab uid v1"
	uidSymbols = 28 // 26 of hash (130 bits), 2 of check
	uidGroup   = 4
)

// UID is a device's name: 28 base32 symbols, upper case, without hyphens. It is
// comparable and serves as a map key.
type UID [uidSymbols]byte

// UID derives the device's name:
// the first 130 bits of BLAKE2s-256("punchlab uid v1" ‖ key), then two check symbols.
func (p PublicKey) UID() UID {
	h := blake2s.Sum256(append([]byte(uidDomain), p[:]...))
	var u UID
	copy(u[:], encode32(h[:], uidSymbols-2))
	fillCheck(&u)
	return u
}

// IsZero says whether u is no UID at all.
func (u UID) IsZero() bool { return u == UID{} }

// Compact returns the 28 symbols as the wire carries them.
func (u UID) Compact() string { return string(u[:]) }

// String returns the UID in seven groups of four, for reading aloud.
func (u UID) String() string {
	if u.IsZero() {
		return ""
	}
	var b strings.Builder
	for i := 0; i < uidSymbols; i += uidGroup {
		if i > 0 {
			b.WriteByte('-')
		}
		b.Write(u[i : i+uidGroup])
	}
	return b.String()
}

// ParseUID reads a UID as a person types it: hyphens and spaces anywhere, either
// case. The error says what is wrong; a mistyped symbol, two of them, and two
// neighbours swapped are always noticed.
func ParseUID(s string) (UID, error) {
	var u UID
	n := 0
	for i := range len(s) {
		if s[i] == '-' || s[i] == ' ' {
			continue
		}
		v, ok := symbol(s[i])
		if !ok {
			return UID{}, fmt.Errorf("parse UID: %q at position %d is not a base32 character", s[i], i+1)
		}
		if n < uidSymbols {
			u[n] = alphabet[v]
		}
		n++
	}
	if n != uidSymbols {
		return UID{}, fmt.Errorf("parse UID: has %d characters, want %d", n, uidSymbols)
	}
	if !u.Valid() {
		return UID{}, fmt.Errorf("parse UID: the check characters do not match: a character is mistyped or two are swapped")
	}
	return u, nil
}

// The check symbols make the UID a Reed–Solomon codeword over GF(32) with the
// roots α⁰ and α¹ (distance 3): with digits d₀…d₂₇,
//
//	Σ dᵢ = 0   and   Σ dᵢ·αⁱ = 0        (sums are XOR, α = 2, α⁵ = α² + 1)
//
// A single substitution changes the first sum. Swapping digits i and j adds
// (dᵢ − dⱼ)(αⁱ − αʲ) to the second, which is not 0 because α has order 31.
const gfReduce = 0b00101 // α⁵ = α² + 1

func gfMul(a, b byte) byte {
	var p byte
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			p ^= a
		}
		a <<= 1
		if a&0x20 != 0 {
			a = a&0x1f ^ gfReduce
		}
	}
	return p
}

func gfInverse(a byte) byte {
	r := byte(1)
	for range 30 { // a³⁰ = a⁻¹, for a³¹ = 1
		r = gfMul(r, a)
	}
	return r
}

// sums returns Σ dᵢ and Σ dᵢ·αⁱ over the first n symbols, and αⁿ.
func (u *UID) sums(n int) (plain, weighted, next byte) {
	next = 1
	for _, c := range u[:n] {
		d, _ := symbol(c)
		plain ^= d
		weighted ^= gfMul(d, next)
		next = gfMul(next, 2)
	}
	return plain, weighted, next
}

func fillCheck(u *UID) {
	plain, weighted, w := u.sums(uidSymbols - 2)
	w2 := gfMul(w, 2)
	// x + y = plain and x·w + y·w2 = weighted.
	x := gfMul(weighted^gfMul(w2, plain), gfInverse(w^w2))
	u[uidSymbols-2] = alphabet[x]
	u[uidSymbols-1] = alphabet[x^plain]
}

// Valid says whether every symbol is a canonical base32 symbol and the check
// symbols match.
func (u UID) Valid() bool {
	for _, c := range u {
		if v, ok := symbol(c); !ok || alphabet[v] != c {
			return false
		}
	}
	plain, weighted, _ := u.sums(uidSymbols)
	return plain == 0 && weighted == 0
}
