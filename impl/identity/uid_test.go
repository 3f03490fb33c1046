package identity

import (
	"strings"
	"testing"
)

func TestUIDRoundTrip(t *testing.T) {
	for n := range uint64(50) {
		u := testKey(t, n).Public().UID()
		for _, s := range []string{u.String(), u.Compact(), strings.ToLower(u.String()), " " + u.String() + " "} {
			if got, err := ParseUID(s); err != nil || got != u {
				t.Errorf("ParseUID(%q) = %v, %v; want %v", s, got, err, u)
			}
		}
		if strings.Count(u.String(), "-") != 6 || len(u.String()) != 34 {
			t.Errorf("%q is not seven groups of four", u)
		}
	}
}

func TestUIDsDiffer(t *testing.T) {
	seen := map[UID]uint64{}
	for n := range uint64(500) {
		u := testKey(t, n).Public().UID()
		if m, ok := seen[u]; ok {
			t.Fatalf("keys %d and %d have the UID %v", m, n, u)
		}
		seen[u] = n
	}
}

// Every substitution of one symbol by every other one, for several UIDs: the code
// is linear, so one UID would prove it for all.
func TestUIDDetectsEverySubstitution(t *testing.T) {
	for n := range uint64(20) {
		u := testKey(t, n).Public().UID()
		for i := range u {
			for _, c := range []byte(alphabet) {
				if c == u[i] {
					continue
				}
				bad := u
				bad[i] = c
				if _, err := ParseUID(bad.Compact()); err == nil {
					t.Fatalf("%v is accepted with symbol %d changed to %c", u, i, c)
				}
			}
		}
	}
}

func TestUIDDetectsEveryTransposition(t *testing.T) {
	for n := range uint64(50) {
		u := testKey(t, n).Public().UID()
		for i := range u {
			for j := i + 1; j < len(u); j++ { // neighbours, and any other pair
				if u[i] == u[j] {
					continue
				}
				bad := u
				bad[i], bad[j] = bad[j], bad[i]
				if _, err := ParseUID(bad.Compact()); err == nil {
					t.Fatalf("%v is accepted with symbols %d and %d swapped", u, i, j)
				}
			}
		}
	}
}

func TestUIDDetectsTwoSubstitutions(t *testing.T) {
	u := testKey(t, 1).Public().UID()
	for i := range u {
		for j := i + 1; j < len(u); j++ {
			for a := byte(1); a < 32; a++ {
				for b := byte(1); b < 32; b++ {
					bad := u
					x, _ := symbol(u[i])
					y, _ := symbol(u[j])
					bad[i], bad[j] = alphabet[x^a], alphabet[y^b]
					if bad.Valid() {
						t.Fatalf("%v is accepted with symbols %d and %d changed", u, i, j)
					}
				}
			}
		}
	}
}

func TestUIDErrorsSayWhat(t *testing.T) {
	u := testKey(t, 1).Public().UID().Compact()
	swapped := u[1:2] + u[:1] + u[2:]
	for name, c := range map[string]struct{ in, want string }{
		"empty":     {"", "has 0 characters, want 28"},
		"short":     {u[:27], "has 27 characters, want 28"},
		"long":      {u + "0", "has 29 characters, want 28"},
		"character": {u[:3] + "U" + u[4:], `'U' at position 4 is not a base32 character`},
		"swapped":   {swapped, "check characters do not match"},
	} {
		if _, err := ParseUID(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: ParseUID(%q): %v; want %q", name, c.in, err, c.want)
		}
	}
}

func TestUIDConfusableSymbols(t *testing.T) {
	for n := range uint64(30) {
		u := testKey(t, n).Public().UID()
		typed := strings.NewReplacer("0", "o", "1", "L").Replace(u.String())
		if got, err := ParseUID(typed); err != nil || got != u {
			t.Errorf("ParseUID(%q) = %v, %v; want %v", typed, got, err, u)
		}
	}
}

func TestGF32IsAField(t *testing.T) {
	for a := byte(1); a < 32; a++ {
		if gfMul(a, gfInverse(a)) != 1 {
			t.Errorf("%d has no inverse", a)
		}
	}
	power, order := byte(2), 1
	for ; power != 1; order++ {
		power = gfMul(power, 2)
	}
	if order != 31 {
		t.Errorf("α has order %d, want 31", order)
	}
}

func TestZeroUID(t *testing.T) {
	var u UID
	if u.Valid() || !u.IsZero() || u.String() != "" {
		t.Errorf("the zero UID: valid %v, zero %v, %q", u.Valid(), u.IsZero(), u)
	}
}
