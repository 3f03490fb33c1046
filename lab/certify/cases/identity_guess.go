package cases

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math"
	"math/big"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"golang.org/x/crypto/blake2s"
)

// leastRoom is how many bits an identifier that cannot be guessed has room for.
const leastRoom = 100

// unguessable is ID-1: identifiers of two units against what is public about them, and each other.
func unguessable(ctx context.Context, s *stage.Stage) certify.Result {
	x, units, err := twoUnits(ctx, s)
	if err != nil {
		return s.Judge(err)
	}
	for _, u := range units {
		if len(u.symbols) == 0 {
			return s.Inconclusive("unit %d's identity.json has no uid: nobody can tell how it is guessed", u.camera.Unit)
		}
		s.Note("unit %d: identifier %s, MAC %s, serial %q", u.camera.Unit, u.UID, u.MAC, u.Serial)
		s.Saw("identifiers", 1)
	}
	a, b := units[0], units[1]
	if a.UID == b.UID {
		return s.Fail("both units have the identifier %s", a.UID)
	}
	bits, fixed := room(a.symbols, b.symbols)
	s.Record(map[string]any{"identifiers": []string{a.UID, b.UID}, "symbols that they share": fixed, "room in bits": bits})
	s.Note("the identifiers share %d symbols in runs of three or more; what differs has room for 2^%.0f values", fixed, bits)
	if bits < leastRoom {
		return s.Fail("the identifiers %s and %s share %d of %d symbols: what differs has room for 2^%.0f values, and 2^%d are asked for",
			a.UID, b.UID, fixed, len(a.symbols), bits, leastRoom)
	}
	for _, pair := range [][2]unitFacts{{a, b}, {b, a}} {
		if r, bad := derived(s, pair[0], pair[1]); bad {
			return r
		}
	}
	if r, bad := neighboursAsked(ctx, s, x, units); bad {
		return r
	}
	return s.Pass()
}

// unitFacts are what is public about a unit.
type unitFacts struct {
	stage.Identity
	camera  *stage.Camera
	ticket  []byte
	card    string // MAC address that its host has, whatever it names
	symbols string // of the identifier, without what separates them
}

// twoUnits brings up two units of one firmware.
func twoUnits(ctx context.Context, s *stage.Stage) (x *stage.Set, units []unitFacts, err error) {
	if x, err = s.Set(ctx, "attackers"); err != nil {
		return nil, nil, err
	}
	for n := 1; n <= 2; n++ {
		u, err := unitOf(ctx, x, n)
		if err != nil {
			return nil, nil, err
		}
		units = append(units, u)
	}
	return x, units, nil
}

// unitOf starts a unit and reads what is public about it. Its MAC is that of its host if it names none.
func unitOf(ctx context.Context, x *stage.Set, n int) (u unitFacts, err error) {
	if u.camera, err = x.Camera(ctx, n); err != nil {
		return u, err
	}
	if u.Identity, err = u.camera.Identity(); err != nil {
		return u, err
	}
	if u.ticket, err = u.camera.Ticket(); err != nil {
		return u, err
	}
	u.symbols = plainText(u.UID)
	if u.card, err = macOf(x, u.camera); u.MAC == "" {
		u.MAC = u.card
	}
	return u, err
}

// macs are the addresses that its identifier must not follow from: the one that it names, and its card's.
func (u unitFacts) macs() (all []net.HardwareAddr) {
	for _, text := range slices.Compact([]string{u.MAC, u.card}) {
		if mac, err := net.ParseMAC(text); err == nil {
			all = append(all, mac)
		}
	}
	return all
}

// macOf is the address of the camera's card.
func macOf(x *stage.Set, camera *stage.Camera) (mac string, err error) {
	if box := x.Box(); box != nil {
		for _, l := range box.Leases() {
			mac = l.MAC
		}
		return mac, nil
	}
	err = x.Host(camera.Host()).Do(func() error {
		cards, err := net.Interfaces()
		for _, c := range cards {
			if len(c.HardwareAddr) == 6 && mac == "" {
				mac = c.HardwareAddr.String()
			}
		}
		return err
	})
	return mac, err
}

// plainText is a text without separators.
func plainText(s string) string {
	return strings.NewReplacer("-", "", ":", "", " ", "", ".", "", "_", "").Replace(s)
}

// room is how many bits the symbols take in which two identifiers may differ, by the alphabet that they show, and how many are the same
// in both, in runs of three or more: fewer are by chance.
func room(a, b string) (bits float64, fixed int) {
	n := min(len(a), len(b))
	for i := 0; i < n; {
		run := 0
		for i+run < n && a[i+run] == b[i+run] {
			run++
		}
		if run >= 3 {
			fixed += run
		}
		i += max(run, 1)
	}
	return float64(n-fixed) * math.Log2(float64(alphabetOf(a+b))), fixed
}

// alphabetOf is the size of the smallest usual alphabet that a text is of.
func alphabetOf(s string) int {
	has := func(set string) bool { return strings.ContainsAny(s, set) }
	const digits, hexLower, lower = "0123456789", "abcdef", "ghijklmnopqrstuvwxyz"
	few := !has(lower) && !has(strings.ToUpper(lower))
	switch mixed := has(hexLower+lower) && has(strings.ToUpper(hexLower+lower)); {
	case few && !has(hexLower) && !has(strings.ToUpper(hexLower)):
		return 10
	case few && !mixed:
		return 16
	case !mixed:
		return 32
	}
	return 62
}

// leastMatch is how many symbols of a derived text make an identifier that follows from it: 2^32 times too many for chance.
const leastMatch = 8

// derived looks whether the identifier of a unit follows from what is public about it, or from the other's by the same rule. Each
// rule is a try.
func derived(s *stage.Stage, u, other unitFacts) (certify.Result, bool) {
	facts := append(u.forms(), other.neighbours()...)
	tried, how, found := ruleOf(u, facts)
	s.Saw("tries", tried)
	if found {
		s.Try(true)
		return s.Fail("the identifier %s follows from a public fact: %s (guessed by rule %d)", u.UID, how, tried), true
	}
	if gap, ok := apart(u.symbols, other.symbols); ok && gap.BitLen() <= 32 {
		s.Try(true)
		return s.Fail("the identifiers %s and %s are %v numbers apart: whoever has one guesses the other", u.UID, other.UID, gap), true
	}
	for range tried {
		s.Try(false)
	}
	s.Note("%d rules were tried on unit %d's identifier: none makes it", tried, u.camera.Unit)
	s.Record(map[string]any{"unit": u.camera.Unit, "facts": len(facts), "rules": tried, "that make the identifier": 0})
	return certify.Result{}, false
}

// ruleOf is the rule by which the identifier follows from facts, if there is one, and how many were tried.
func ruleOf(u unitFacts, facts []fact) (tried int, how string, found bool) {
	id := strings.ToUpper(u.symbols)
	for _, f := range facts {
		for _, d := range digests(f.value) {
			for _, text := range d.texts() {
				text = strings.ToUpper(plainText(text))
				if len(text) < leastMatch {
					continue
				}
				tried++
				for _, part := range []string{text[:leastMatch], text[len(text)-leastMatch:]} {
					if strings.Contains(id, part) {
						return tried, fmt.Sprintf("it has %s in it, which is of the %s of %s", part, d.name, f.name), true
					}
				}
			}
		}
	}
	return tried, "", false
}

// fact is something public.
type fact struct{ name, value string }

// forms are the unit's own facts, as texts and numbers are written.
func (u unitFacts) forms() (facts []fact) {
	for _, mac := range u.macs() {
		facts = append(facts, macForms("the MAC address", mac)...)
	}
	if u.Serial != "" {
		facts = append(facts, fact{"the serial number", u.Serial}, fact{"the serial number, reversed", reversed(u.Serial)})
	}
	return facts
}

// neighbours are what a unit's facts say of others': counted on, and by its identifier.
func (u unitFacts) neighbours() (facts []fact) {
	for _, mac := range u.macs() {
		for _, d := range []int{-2, -1, 1, 2} {
			next := new(big.Int).Add(new(big.Int).SetBytes(mac), big.NewInt(int64(d))).FillBytes(make([]byte, len(mac)))
			facts = append(facts, macForms(fmt.Sprintf("the other's MAC address %+d", d), next)...)
		}
	}
	if n, err := strconv.ParseUint(u.Serial, 10, 64); err == nil {
		for _, d := range []int64{-1, 1} {
			facts = append(facts, fact{fmt.Sprintf("the other's serial number %+d", d), fmt.Sprintf("%0*d", len(u.Serial), int64(n)+d)})
		}
	}
	return append(facts, fact{"the other's identifier", u.UID}, fact{"the other's identifier, reversed", reversed(u.symbols)})
}

func macForms(name string, mac net.HardwareAddr) []fact {
	number := new(big.Int).SetBytes(mac)
	return []fact{
		{name, mac.String()}, {name, strings.ToUpper(mac.String())}, {name, hex.EncodeToString(mac)},
		{name, strings.ToUpper(hex.EncodeToString(mac))}, {name + ", its bytes", string(mac)}, {name + ", a number", number.String()},
		{name + ", reversed", reversed(hex.EncodeToString(mac))},
	}
}

func reversed(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// digest is something made of a fact.
type digest struct {
	name string
	b    []byte
}

// digests are the usual ones, the fact itself first.
func digests(fact string) []digest {
	b := []byte(fact)
	m, one, two, five, blake := md5.Sum(b), sha1.Sum(b), sha256.Sum256(b), sha512.Sum512(b), blake2s.Sum256(b)
	crc := crc32.ChecksumIEEE(b)
	return []digest{
		{"text", b}, {"MD5", m[:]}, {"SHA-1", one[:]}, {"SHA-256", two[:]}, {"SHA-512", five[:]}, {"BLAKE2s", blake[:]},
		{"CRC-32", []byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)}},
	}
}

// crockford is the base32 of UIDs.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// texts are the ways in which it is written.
func (d digest) texts() []string {
	texts := []string{
		hex.EncodeToString(d.b), base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(d.b), crockford.EncodeToString(d.b),
		base64.RawStdEncoding.EncodeToString(d.b), new(big.Int).SetBytes(d.b).String(),
	}
	if d.name == "text" {
		texts = append(texts, string(d.b))
	}
	return texts
}

// apart is the distance of two identifiers as numbers; false: they are none of one length.
func apart(a, b string) (*big.Int, bool) {
	base := alphabetOf(a + b)
	if base == 32 {
		base = 36
	}
	x, ok1 := new(big.Int).SetString(strings.ToLower(a), min(base, 36))
	y, ok2 := new(big.Int).SetString(strings.ToLower(b), min(base, 36))
	if !ok1 || !ok2 || len(a) != len(b) {
		return nil, false
	}
	return x.Abs(x.Sub(x, y)), true
}
