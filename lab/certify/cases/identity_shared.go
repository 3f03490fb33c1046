package cases

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// nothingShared is ID-5: what two units of one firmware say, and whether one takes what was made for the other.
func nothingShared(ctx context.Context, s *stage.Stage) certify.Result {
	x, units, err := twoUnits(ctx, s)
	if err != nil {
		return s.Judge(err)
	}
	for i := range units { // as they left the factory: one that has an owner might refuse for that
		if r, bad := madeForTheOther(ctx, s, x, units[i], units[1-i]); bad {
			return r
		}
	}
	var sessions [][]spoke
	for i, u := range units {
		r, err := visit{Camera: u.camera, Unit: i + 1}.make(ctx, x)
		if err != nil {
			return s.Judge(err)
		}
		if !r.Reached {
			return s.Inconclusive("no viewer reaches unit %d with its own ticket: it ended with code %d after %v", i+1, r.Code, r.Took.Round(time.Millisecond))
		}
		if talked(x, u.camera, 0) || both(x, u.camera, r.Mark) {
			s.Saw("handshakes", 1)
		}
		sessions = append(sessions, spoken(x, "viewer", u.camera, r.Mark))
	}
	if r, bad := sameOnTheWire(s, x, units); bad {
		return r
	}
	if r, bad := sameOnPaper(s, units); bad {
		return r
	}
	for i := range units {
		if r, bad := saidToTheOther(ctx, s, x, units[i], units[1-i], sessions[i]); bad {
			return r
		}
	}
	return s.Pass()
}

// both reports whether a camera and a viewer exchanged packets both ways.
func both(x *stage.Set, camera *stage.Camera, from int) bool {
	return x.Tape().Count(from, camera.Out(), tape.Full) > 0 && x.Tape().Count(from, tape.CameTo(camera.Host()), tape.Full) > 0
}

// pieceOf is how many bytes two units may not both have said: a key has as many at least.
const pieceOf = 16

// sameOnTheWire compares what two units said: certificates and names of pre-shared keys in (D)TLS, and any piece as random as a key.
func sameOnTheWire(s *stage.Stage, x *stage.Set, units []unitFacts) (certify.Result, bool) {
	var said [2][]tape.Packet
	var tokens [2]map[string]string
	for i, u := range units {
		said[i] = x.Tape().Packets(0, u.camera.Out(), tape.Full)
		tokens[i] = identities(said[i])
		s.Note("unit %d said %d packets, %d bytes; in their TLS and DTLS are %d certificates and names of keys", i+1, len(said[i]), tape.PayloadBytes(said[i]), len(tokens[i]))
		s.Record(map[string]any{"unit": i + 1, "packets": len(said[i]), "certificates and names of keys": tokens[i]})
	}
	for id, what := range tokens[0] {
		if _, both := tokens[1][id]; both {
			return s.Fail("both units show the same %s: %s", what, id), true
		}
	}
	// What is not theirs: the source's pictures, and what the servers told both.
	mine := pieces(said[0], nil)
	shared := pieces(said[1], mine)
	told := x.Tape().Packets(0, tape.CameTo(units[0].camera.Host(), units[1].camera.Host()), tape.Full)
	for piece := range pieces(told, shared) {
		delete(shared, piece)
	}
	for piece := range shared {
		if bytes.Contains(s.Source().Bytes, []byte(piece)) {
			delete(shared, piece)
		}
	}
	if len(shared) > 0 {
		first := slices.Min(slices.Collect(maps.Keys(shared)))
		return s.Fail("both units said the same %d bytes, as random as a key, in %d places: %x", pieceOf, len(shared), first), true
	}
	s.Note("no %d bytes that could be a key are in what both said; %d were looked for", pieceOf, len(mine))
	return certify.Result{}, false
}

// pieces are the pieces of payloads that could be of a key: see keylike. TLS, DTLS and STUN are left out: what of these names a unit is
// known, and the rest is the same in all. With among, those of them alone that are in it.
func pieces(ps []tape.Packet, among map[string]bool) map[string]bool {
	const most = 256 << 10 // bytes: handshakes come first
	found := map[string]bool{}
	total := 0
	for _, p := range ps {
		if aSTUN(p.Payload) || isTLS(p.Payload) {
			continue
		}
		if total += len(p.Payload); total > most {
			break
		}
		for i := 0; i+pieceOf <= len(p.Payload); i++ {
			piece := p.Payload[i : i+pieceOf]
			if among == nil && keylike(piece) || among != nil && among[string(piece)] {
				found[string(piece)] = true
			}
		}
	}
	return found
}

// keylike reports whether bytes could be of a key: 16 random ones have 13 different values at least, but for one time in thousands, and
// no five letters in a row, but for one time in twelve: another piece of the same key has none.
func keylike(b []byte) bool {
	var seen [256]bool
	different, letters := 0, 0
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			different++
		}
		if letters++; c < ' ' || c > '~' {
			letters = 0
		}
		if letters == 5 {
			return false
		}
	}
	return different >= 13
}

// sameOnPaper compares the tickets: of the bundled protocol key and secret have to differ; of another what both have is noted.
func sameOnPaper(s *stage.Stage, units []unitFacts) (certify.Result, bool) {
	a, ok1 := labelOf(units[0].ticket)
	b, ok2 := labelOf(units[1].ticket)
	if ok1 && ok2 {
		switch {
		case a.Key == b.Key:
			return s.Fail("both units have the key %v", a.Key), true
		case a.Secret == b.Secret:
			return s.Fail("both units have the same secret on their labels: what one camera's label says opens the other"), true
		}
		s.Record(map[string]any{"keys differ": true, "secrets differ": true})
		return certify.Result{}, false
	}
	mine, others := secretWords(s, units[0].ticket, units[0].Identity), secretWords(s, units[1].ticket, units[1].Identity)
	shared := 0
	for _, w := range mine {
		if len(w.text) >= 8 && slices.ContainsFunc(others, func(o wordOf) bool { return o.text == w.text }) {
			shared++
			s.Note("both tickets have a word of %d symbols in them, %.3s…: a server's name or key, it is hoped", len(w.text), w.text)
		}
	}
	if string(units[0].ticket) == string(units[1].ticket) && len(mine) > 0 {
		return s.Fail("both units have the same ticket, with %d words in which a secret may be", len(mine)), true
	}
	s.Record(map[string]any{"words that both tickets have": shared})
	return certify.Result{}, false
}
