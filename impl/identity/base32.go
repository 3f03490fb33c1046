package identity

import "fmt"

// alphabet is Crockford's base32: the symbols that are hard to confuse.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// symbol returns the value of a base32 symbol as people type it: letters in
// either case, O for 0, I and L for 1.
func symbol(c byte) (byte, bool) {
	if c >= 'a' && c <= 'z' {
		c -= 'a' - 'A'
	}
	switch c {
	case 'O':
		c = '0'
	case 'I', 'L':
		c = '1'
	}
	for i := range len(alphabet) {
		if alphabet[i] == c {
			return byte(i), true
		}
	}
	return 0, false
}

// encode32 writes the first n×5 bits of b as n symbols, most significant bit
// first; bits beyond b's end are 0.
func encode32(b []byte, n int) string {
	out := make([]byte, n)
	for i := range out {
		var v byte
		for bit := i * 5; bit < i*5+5; bit++ {
			v <<= 1
			if bit/8 < len(b) {
				v |= b[bit/8] >> (7 - bit%8) & 1
			}
		}
		out[i] = alphabet[v]
	}
	return string(out)
}

// decode32 fills b from the symbols of s, which must be exactly as many as
// encode32 writes for b, with the bits beyond b's end 0.
func decode32(b []byte, s string) error {
	if want := (len(b)*8 + 4) / 5; len(s) != want {
		return fmt.Errorf("has %d characters, want %d", len(s), want)
	}
	clear(b)
	for i := range len(s) {
		v, ok := symbol(s[i])
		if !ok {
			return fmt.Errorf("has %q, which is not a base32 character, at position %d", s[i], i+1)
		}
		for j := range 5 {
			bit, one := i*5+j, v>>(4-j)&1
			switch {
			case bit < len(b)*8:
				b[bit/8] |= one << (7 - bit%8)
			case one != 0:
				return fmt.Errorf("ends in %q, which no key ends in", s[i])
			}
		}
	}
	return nil
}
