package cases

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"

	ids "github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// labelOf is a ticket of the bundled protocol (impl/PROTOCOL.md §3); false: it is of another.
func labelOf(ticket []byte) (ids.Label, bool) {
	l, err := ids.ParseLabel(strings.TrimSpace(string(ticket)))
	return l, err == nil
}

// pieceSize is how many bytes of a picture are looked for: as much as is found under a key of 16 bytes, and more.
const pieceSize = 48

// pictures are pieces of the source's frames, from all over it: what nobody on the way may read.
func pictures(source stage.Source, units int) (found []tape.Secret) {
	for i := range units {
		n := i * len(source.Units) / units
		found = append(found, tape.Slices(fmt.Sprintf("frame %d of the source", n+1), source.Units[n], pieceSize, 3)...)
	}
	return found
}

// tokenSize is how long a word of a ticket is at least to be a secret.
const tokenSize = 16

// tokens are the secrets in a ticket: its long words, but for what is public about the camera and names of servers; and, of the bundled
// protocol, the pairing secret as it would travel.
func tokens(ticket []byte, public stage.Identity, servers ...string) (found []tape.Secret) {
	open := []string{public.UID, public.MAC, public.Serial}
	open = append(open, servers...)
	words := bytes.FieldsFunc(ticket, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '+' || r == '_' || r == '=')
	})
	for _, w := range words {
		if len(w) < tokenSize || known(string(w), open) {
			continue
		}
		s := tape.Secret{Name: fmt.Sprintf("a word of %d bytes of the camera's ticket", len(w)), Bytes: w}
		if _, err := tape.Find(nil, s); err == nil {
			found = append(found, s)
		}
	}
	if l, ok := labelOf(ticket); ok {
		found = append(found, tape.Secret{Name: "the pairing secret of the camera's label", Bytes: bytes.Clone(l.Secret[:])})
	}
	return found
}

// known reports whether a word is one that is no secret.
func known(word string, open []string) bool {
	plain := func(s string) string {
		return strings.ToUpper(strings.NewReplacer("-", "", " ", "", ":", "").Replace(s))
	}
	for _, o := range open {
		if o = plain(o); o != "" && (strings.Contains(o, plain(word)) || strings.Contains(plain(word), o)) {
			return true
		}
	}
	return false
}

// alike is another word of the same form: digits for digits, letters for letters.
func alike(draw *rand.Rand, word []byte) []byte {
	other := bytes.Clone(word)
	for i, c := range other {
		switch {
		case c >= '0' && c <= '9':
			other[i] = '0' + byte(draw.IntN(10))
		case c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F': // hexadecimal stays so
			other[i] = c&^7 | byte(1+draw.IntN(6))
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			other[i] = c&^31 | byte(1+draw.IntN(26))
		}
	}
	return other
}

// credentials are a camera's ticket, and the secrets in it.
func credentials(s *stage.Stage, camera *stage.Camera) (ticket []byte, found []tape.Secret, err error) {
	if ticket, err = camera.Ticket(); err != nil {
		return nil, nil, err
	}
	public, err := camera.Identity()
	if err != nil {
		return nil, nil, err
	}
	var servers []string
	for _, v := range s.Decl().Servers {
		servers = append(servers, v.Name)
	}
	return ticket, tokens(ticket, public, servers...), nil
}

// secretsOf are all that may not be read on the way: of the camera's ticket, and of its pictures.
func secretsOf(s *stage.Stage, camera *stage.Camera) ([]tape.Secret, error) {
	_, found, err := credentials(s, camera)
	return append(found, pictures(s.Source(), 40)...), err
}
