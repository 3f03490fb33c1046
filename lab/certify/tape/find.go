package tape

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Secret is something that must not be found.
type Secret struct {
	Name  string
	Bytes []byte // SecretSize at least, of four different values at least
}

// SecretSize is how many bytes a secret has at least: fewer are found by chance.
const SecretSize = 8

// distinct is how many different values a secret has at least.
const distinct = 4

// Slices are n secrets at most spread over data, such as a frame's bytes, of so many bytes each, where it is not monotonous. Each is named
// after its place: "frame 7 @1200".
func Slices(name string, data []byte, size, n int) (found []Secret) {
	if size < SecretSize || n < 1 {
		return nil
	}
	step := max(size, len(data)/n)
	for at := 0; at < len(data) && len(found) < n; at += step {
		for i := at; i+size <= min(len(data), at+step); i += size {
			if b := data[i : i+size]; values(b) >= size/2 {
				found = append(found, Secret{fmt.Sprintf("%s @%d", name, i), b})
				break
			}
		}
	}
	return found
}

// values is how many different bytes there are.
func values(b []byte) (n int) {
	var seen [256]bool
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			n++
		}
	}
	return n
}

// Hit is a secret that was found.
type Hit struct {
	Secret string
	How    string // "plain", "reversed", "base64", "hex"; with a key: "xor 5a", "reversed, xor 5a"
	Packet int    // its index
	Offset int    // in the payload
	At     time.Time
	Host   string
}

func (h Hit) String() string {
	return fmt.Sprintf("%s, %s, at byte %d of packet %d at host %s", h.Secret, h.How, h.Offset, h.Packet, h.Host)
}

// Find looks in the payloads for secrets: plain, reversed, in base64 (either alphabet) or hexadecimal (either case), and each of these under a
// repeated XOR key of one to four, eight or sixteen bytes, if the secret is as long as two keys and eight bytes. Of a secret in one packet one
// hit is told. An error says which secret is too short or too monotonous to say anything.
func Find(ps []Packet, secrets ...Secret) ([]Hit, error) {
	var all []pattern
	for i, s := range secrets {
		if len(s.Bytes) < SecretSize || values(s.Bytes) < distinct {
			return nil, fmt.Errorf("secret %s, %d bytes, says nothing: give %d bytes of %d different values at least",
				s.Name, len(s.Bytes), SecretSize, distinct)
		}
		all = append(all, patternsOf(i, s.Bytes)...)
	}
	var hits []Hit
	found := map[[2]int]bool{} // packet and secret
	for _, period := range periods {
		x := newIndex(all, period)
		for i := range ps {
			p := &ps[i]
			x.scan(p.Payload, func(of *pattern, at int) {
				if key := [2]int{i, of.secret}; !found[key] {
					found[key] = true
					hits = append(hits, Hit{secrets[of.secret].Name, of.how + keyName(p.Payload[at:], of.b, period), i, at, p.At, p.Host})
				}
			})
		}
	}
	slices.SortStableFunc(hits, func(a, b Hit) int { return a.Packet - b.Packet })
	return hits, nil
}

// periods are the lengths of keys that are tried, in bytes.
var periods = []int{1, 2, 3, 4, 8, 16}

// pattern is what a secret looks like.
type pattern struct {
	secret int
	how    string
	b      []byte
}

func patternsOf(secret int, b []byte) (ps []pattern) {
	add := func(how string, b []byte) { ps = append(ps, pattern{secret, how, b}) }
	back := slices.Clone(b)
	slices.Reverse(back)
	add("plain", b)
	add("reversed", back)
	text := hex.EncodeToString(b)
	add("hex", []byte(text))
	if up := strings.ToUpper(text); up != text {
		add("hex", []byte(up))
	}
	for shift := range 3 {
		std := inBase64(base64.RawStdEncoding, b, shift)
		add("base64", std)
		if url := inBase64(base64.RawURLEncoding, b, shift); !bytes.Equal(url, std) {
			add("base64", url)
		}
	}
	return ps
}

// inBase64 is what stands in base64 for the bytes if so many others are before them: without the letters that these have a part in.
func inBase64(e *base64.Encoding, b []byte, shift int) []byte {
	whole := b[(3-shift)%3:]
	whole = whole[:len(whole)/3*3]
	return []byte(e.EncodeToString(whole))
}

// window is how many differences lead to a pattern.
const window = 8

// index finds patterns by differences of bytes a period apart, which no key of that length changes:
//
//	payload   p₀ p₁ p₂ …  = s₀⊕k₀ s₁⊕k₁ s₂⊕k₀ …
//	          p₀⊕p₂ p₁⊕p₃ = s₀⊕s₂ s₁⊕s₃ …            period 2
type index struct {
	period int
	at     map[uint64][]anchor // by eight differences
	maybe  [1 << 10]uint64     // a bit for the hash of each: most places need no look into the map
	short  []*pattern          // too short to be found under a key
}

type anchor struct {
	of     *pattern
	offset int // of the differences, in the pattern
}

// newIndex leaves out what is too short, or monotonous, for the period.
func newIndex(all []pattern, period int) *index {
	x := &index{period: period, at: map[uint64][]anchor{}}
	for i := range all {
		of := &all[i]
		if len(of.b) < window+2*period {
			if period == 1 && len(of.b) >= SecretSize {
				x.short = append(x.short, of)
			}
			continue
		}
		best, most := -1, distinct-1
		for at := 0; at+window+period <= len(of.b); at++ {
			if n := values(differ(of.b[at:], period)); n > most {
				best, most = at, n
			}
		}
		if best < 0 {
			continue
		}
		key := load(differ(of.b[best:], period))
		x.at[key] = append(x.at[key], anchor{of, best})
		x.maybe[slot(key)/64] |= 1 << (slot(key) % 64)
	}
	return x
}

// slot is a hash of 16 bits.
func slot(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> 48 }

// differ is the first differences of bytes a period apart.
func differ(b []byte, period int) []byte {
	d := make([]byte, window)
	for i := range d {
		d[i] = b[i] ^ b[i+period]
	}
	return d
}

func load(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// scan tells where patterns are.
func (x *index) scan(b []byte, tell func(of *pattern, at int)) {
	for _, of := range x.short {
		if at := bytes.Index(b, of.b); at >= 0 {
			tell(of, at)
		}
	}
	if len(x.at) == 0 || len(b) < window+x.period {
		return
	}
	var key uint64
	for i := x.period; i < len(b); i++ {
		key = key<<8 | uint64(b[i]^b[i-x.period])
		if s := slot(key); x.maybe[s/64]&(1<<(s%64)) == 0 || i < x.period+window-1 {
			continue
		}
		for _, a := range x.at[key] {
			if at := i - x.period - window + 1 - a.offset; at >= 0 && at+len(a.of.b) <= len(b) && under(b[at:], a.of.b, x.period) {
				tell(a.of, at)
			}
		}
	}
}

// under tells whether b begins with the pattern under some key of that length.
func under(b, pattern []byte, period int) bool {
	for i := period; i < len(pattern); i++ {
		if b[i]^b[i-period] != pattern[i]^pattern[i-period] {
			return false
		}
	}
	return true
}

// keyName names the key under which b begins with the pattern.
func keyName(b, pattern []byte, period int) string {
	key := make([]byte, period)
	for i := range key {
		key[i] = b[i] ^ pattern[i]
	}
	if values(key) == 1 && key[0] == 0 {
		return ""
	}
	return ", xor " + hex.EncodeToString(key)
}
