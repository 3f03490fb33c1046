package cases

import (
	"context"
	"net"
	"strings"

	ids "github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// asksEach is how many UIDs one stranger asks a bundled server for: what it grants at once.
const asksEach = 30

// neighboursAsked asks the server for identifiers beside those of the units: of the bundled protocol by strangers, of another by the
// vendor's viewer with an altered ticket.
func neighboursAsked(ctx context.Context, s *stage.Stage, x *stage.Set, units []unitFacts) (certify.Result, bool) {
	label, bundled := labelOf(units[0].ticket)
	if !bundled {
		return neighboursViewed(ctx, s, x, units)
	}
	known, err := askFor(ctx, s, x, label, &attack.Enumerator{Guess: attack.Listed(label.UID()), Tries: 1})
	if err != nil {
		return s.Judge(err), true
	}
	if len(known) == 0 || !known[0].Found.IsValid() {
		return s.Inconclusive("a stranger that asks for a camera that is online is told nothing: that it finds no neighbour says nothing"), true
	}
	rules := []attack.Guess{attack.Near(label.UID(), s.Seed(1)), attack.Sequential(1), attack.Sequential(1 << 32)}
	if mac, err := net.ParseMAC(units[0].MAC); err == nil && len(mac) == 6 {
		rules = append(rules, attack.FromMAC([3]byte(mac[:3]), uint32(mac[3])<<16|uint32(mac[4])<<8|uint32(mac[5])))
	}
	if other, ok := labelOf(units[1].ticket); ok {
		rules = append(rules, attack.Near(other.UID(), s.Seed(2)))
	}
	own := map[ids.UID]bool{}
	for _, u := range units {
		if l, ok := labelOf(u.ticket); ok {
			own[l.UID()] = true
		}
	}
	all := attack.Mixed(rules...)
	counts := map[string]int{}
	for asked, n := 0, s.N(300, asksEach); asked < n; asked += asksEach {
		from := asked
		answers, err := askFor(ctx, s, x, label, &attack.Enumerator{
			Guess: func(i int) ids.UID { return all(from + i) }, Tries: asksEach, Rate: 100,
		})
		if err != nil {
			return s.Judge(err), true
		}
		for _, a := range answers {
			s.Saw("tries", 1)
			s.Try(a.Found.IsValid() && !own[a.UID])
			if a.Found.IsValid() && !own[a.UID] {
				return s.Fail("a neighbour was found by guessing: %v, at %v", a.UID, a.Found), true
			}
			counts[a.Code.String()]++
		}
	}
	s.Note("a stranger asked the server for neighbours: %v", counts)
	s.Record(map[string]any{"asked for neighbours": counts})
	return certify.Result{}, false
}

// neighboursViewed has viewers ask with tickets whose identifier is a neighbour's.
func neighboursViewed(ctx context.Context, s *stage.Stage, x *stage.Set, units []unitFacts) (certify.Result, bool) {
	ticket, id := string(units[0].ticket), units[0].UID
	if !strings.Contains(ticket, id) {
		s.Note("the ticket does not name the identifier: viewers cannot be made to ask for another one")
		return certify.Result{}, false
	}
	for i := range s.N(8, 2) {
		b := []byte(id)
		at := len(b) - 1 - i%len(b)
		switch c := b[at]; {
		case c == '9':
			b[at] = '0'
		case c >= '0' && c < '9':
			b[at]++
		case c == 'Z' || c == 'z' || c == 'F' || c == 'f':
			b[at] -= 2
		default:
			b[at]++
		}
		r, err := visit{Ticket: []byte(strings.ReplaceAll(ticket, id, string(b))), Unit: 2 + i}.make(ctx, x)
		if err != nil {
			return s.Judge(err), true
		}
		s.Note("a viewer asked for %s: %d frames", b, r.Frames)
		s.Saw("tries", 1)
		s.Try(r.Frames > 0)
		if r.Frames > 0 {
			return s.Fail("a viewer that guessed the neighbour %s of %s got frames", b, id), true
		}
	}
	return certify.Result{}, false
}
