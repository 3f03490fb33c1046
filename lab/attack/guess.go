package attack

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/punchlab/punchlab/impl/identity"
)

// Guess is a rule by which UIDs are tried: the i-th one, from 0. Each has right check symbols, since others would not even be
// looked up.
type Guess func(i int) identity.UID

// alphabet is Crockford's base32, of which UIDs are (impl/PROTOCOL.md §3).
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// checked makes a UID of 26 symbols' values. The two check symbols are found by trying: there are 32 pairs whose sum is right.
func checked(values [26]byte) (u identity.UID) {
	var plain byte
	for i, v := range values {
		u[i] = alphabet[v&31]
		plain ^= v & 31
	}
	for x := range byte(32) {
		u[26], u[27] = alphabet[x], alphabet[x^plain]
		if u.Valid() {
			break
		}
	}
	return u
}

// number makes a UID whose last symbols before the check count.
func number(n uint64) identity.UID {
	var v [26]byte
	for i := 25; i >= 0 && n > 0; i-- {
		v[i], n = byte(n&31), n>>5
	}
	return checked(v)
}

// Sequential tries numbers from first on, as makers give them who count (CVE-2019-11219).
func Sequential(first uint64) Guess {
	return func(i int) identity.UID { return number(first + uint64(i)) }
}

// FromMAC tries the numbers that MAC addresses are, of one maker (the first three bytes) from an address on, as XMEye's IDs were.
func FromMAC(maker [3]byte, first uint32) Guess {
	return func(i int) identity.UID {
		var b [8]byte
		copy(b[2:], maker[:])
		return number(binary.BigEndian.Uint64(b[:]) | uint64(first+uint32(i))&0xffffff)
	}
}

// Near tries UIDs that differ from a known one in one to three symbols.
func Near(known identity.UID, seed uint64) Guess {
	draw := rand.New(seeded(seed))
	var values [26]byte
	for i := range values {
		for v := range len(alphabet) {
			if alphabet[v] == known[i] {
				values[i] = byte(v)
			}
		}
	}
	return func(int) identity.UID {
		other := values
		for range 1 + draw.IntN(3) {
			other[draw.IntN(26)] ^= byte(1 + draw.IntN(31))
		}
		return checked(other)
	}
}

// Listed tries what others have collected, again and again.
func Listed(uids ...identity.UID) Guess {
	return func(i int) identity.UID { return uids[i%len(uids)] }
}

// Mixed takes turns.
func Mixed(rules ...Guess) Guess {
	return func(i int) identity.UID { return rules[i%len(rules)](i / len(rules)) }
}
