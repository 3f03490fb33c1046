package cases

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// nothingShared is ID-5: what two units of one firmware say, and whether one takes what was made for the other.
func nothingShared(ctx context.Context, s *stage.Stage) certify.Result {
	x, err := s.Set(ctx, "attackers")
	if err != nil {
		return s.Judge(err)
	}
	var units []unitFacts
	for n := 1; n <= 2; n++ {
		u, err := unitOf(ctx, x, n)
		if err != nil {
			return s.Judge(err)
		}
		units = append(units, u)
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

// isTLS reports whether a payload begins with a record of TLS (RFC 8446 §5.1) or DTLS.
func isTLS(b []byte) bool {
	return len(b) > 5 && b[0] >= 20 && b[0] <= 23 && (b[1] == 3 && b[2] <= 4 || b[1] == 254)
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

// madeForTheOther tries at a unit what was made for another one: its ticket, as if it were this one's, and its handshakes.
func madeForTheOther(ctx context.Context, s *stage.Stage, x *stage.Set, of, at unitFacts) (certify.Result, bool) {
	n := at.camera.Unit
	ticket, how, ok := mixed(of, at)
	if !ok {
		s.Note("the tickets name nothing public that could be exchanged in them")
		return handshakesOfTheOther(ctx, s, x, of, at)
	}
	for i := range s.N(5, 1) {
		r, err := visit{Ticket: ticket, Unit: 20 + 10*n + i}.make(ctx, x)
		if err != nil {
			return s.Judge(err), true
		}
		s.Saw("tries", 1)
		s.Try(r.Frames > 0)
		s.Note("%s: %d frames, code %d, %v", how, r.Frames, r.Code, r.Took.Round(time.Millisecond))
		s.Record(map[string]any{"how": how, "frames": r.Frames, "code": r.Code, "seconds": r.Took.Seconds()})
		if r.Frames > 0 {
			return s.Fail("unit %d took what was made for the other unit (%s): a viewer got %d frames", n, how, r.Frames), true
		}
	}
	return handshakesOfTheOther(ctx, s, x, of, at)
}

// saidToTheOther says a session with one unit to another one.
func saidToTheOther(ctx context.Context, s *stage.Stage, x *stage.Set, of, at unitFacts, session []spoke) (certify.Result, bool) {
	n := at.camera.Unit
	mark := x.Tape().Mark()
	sent, err := redirect(ctx, s, x, of.camera, at.camera, session)
	if err != nil {
		return s.Judge(err), true
	}
	if err := s.Pause(ctx, s.For(3*time.Second, 500*time.Millisecond)); err != nil {
		return s.Judge(err), true
	}
	got := len(tape.Streamed(x.Tape().Packets(mark, tape.CameTo(registrantHost))))
	s.Saw("tries", 1)
	s.Try(got > 0)
	s.Note("%d datagrams of a session with unit %d were sent to unit %d: %d media packets came", sent, of.camera.Unit, n, got)
	if got > 0 {
		return s.Fail("unit %d took a session that was made for unit %d: it sent %d media packets", n, of.camera.Unit, got), true
	}
	return certify.Result{}, false
}

// handshakesOfTheOther speaks the bundled protocol to a unit: with the other's secret, and with handshakes made for the other.
func handshakesOfTheOther(ctx context.Context, s *stage.Stage, x *stage.Set, of, at unitFacts) (certify.Result, bool) {
	first, ok1 := labelOf(of.ticket)
	second, ok2 := labelOf(at.ticket)
	if !ok1 || !ok2 {
		return certify.Result{}, false
	}
	server, err := labelServer(x, "rogue", second)
	if err != nil {
		return s.Judge(err), true
	}
	for _, try := range []struct {
		name string
		*attack.Guesser
	}{
		{"with the other unit's secret", &attack.Guesser{Secret: constant(first.Secret)}},
		{"with the right secret, in a handshake made for the other unit", &attack.Guesser{Made: first.Key, Secret: constant(second.Secret)}},
	} {
		name, g := try.name, try.Guesser
		g.Server, g.Key, g.Camera, g.Tries, g.Wait = server, second.RendezvousKey, second.Key, s.N(5, 2), 8*time.Second
		g.Seed = s.Seed(300 + x.Tape().Mark())
		if _, err := g.Run(ctx, x.Host("rogue"), attack.Budget{Packets: 500, Duration: time.Minute}); err != nil {
			return s.Judge(err), true
		}
		answers, in := map[string]int{}, 0
		for _, a := range g.Guesses() {
			s.Saw("tries", 1)
			s.Try(a.In)
			if a.In {
				in++
			}
			answers[a.Code.String()]++
		}
		s.Note("unit %d was asked %s: %v, %d let in", at.camera.Unit, name, answers, in)
		if in > 0 {
			return s.Fail("unit %d took what was made for the other unit (%s), %d times", at.camera.Unit, name, in), true
		}
	}
	return certify.Result{}, false
}

func constant[T any](v T) func(int) T { return func(int) T { return v } }

// mixed is the first unit's ticket with the second's public facts: who has one, and has seen the other from outside, has no more.
func mixed(of, at unitFacts) (ticket []byte, how string, ok bool) {
	how = fmt.Sprintf("the ticket of unit %d with what is public about unit %d", of.camera.Unit, at.camera.Unit)
	if first, bundled := labelOf(of.ticket); bundled {
		if second, ok := labelOf(at.ticket); ok {
			first.Key = second.Key
			return []byte(first.String()), how, true
		}
	}
	text := string(of.ticket)
	for _, pair := range [][2]string{{of.UID, at.UID}, {of.MAC, at.MAC}, {of.Serial, at.Serial}, {plainText(of.UID), plainText(at.UID)}} {
		if pair[0] != "" && pair[1] != "" {
			text = strings.ReplaceAll(text, pair[0], pair[1])
		}
	}
	for i, a := range of.camera.Addrs() {
		if others := at.camera.Addrs(); i < len(others) {
			text = strings.ReplaceAll(text, a.String(), others[i].String())
		}
	}
	return []byte(text), how, text != string(of.ticket) && text != string(at.ticket)
}

// redirect sends a viewer's datagrams of a session with one unit to another one, and those to servers as they are, from a stranger's
// address.
func redirect(ctx context.Context, s *stage.Stage, x *stage.Set, of, to *stage.Camera, said []spoke) (sent int, err error) {
	c, err := x.Host(registrantHost).ListenUDP(netip.AddrPort{})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	ends := func(camera *stage.Camera) []netip.AddrPort {
		return append(seenAt(x, camera, serverHost, 0), seenAt(x, camera, "viewer", 0)...)
	}
	from, at := ends(of), ends(to)
	if len(at) == 0 {
		return 0, errors.New("nobody has seen a packet of the unit: where is it?")
	}
	for _, d := range said {
		target := d.to
		if slices.Contains(from, target) {
			target = at[len(at)-1]
		}
		if _, err := c.WriteToUDPAddrPort(d.b, target); err == nil {
			sent++
		}
		if err := s.Pause(ctx, between); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// identities are what TLS and DTLS show of who speaks: certificates by their digests, and the names of pre-shared keys (RFC 8446 §4.2.11,
// RFC 4279 §2), each with what it is. TLS 1.3 hides certificates.
func identities(ps []tape.Packet) map[string]string {
	found := map[string]string{}
	for _, p := range streamsOf(tape.Select(ps, tape.TCP)) {
		handshakesIn(records(p.B, 5), found)
	}
	var dtls []byte
	for _, p := range tape.Select(ps, tape.UDP) {
		if len(p.Payload) > 13 && p.Payload[0] == 22 && p.Payload[1] == 254 {
			dtls = append(dtls, whole(records(p.Payload, 13))...)
		}
	}
	handshakesIn(dtls, found)
	return found
}

// records are the handshake records of TLS (a header of 5 bytes) or DTLS (13), up to the first encrypted one.
func records(b []byte, header int) (said []byte) {
	for len(b) >= header {
		n := int(binary.BigEndian.Uint16(b[header-2:]))
		if b[0] < 20 || b[0] > 23 || len(b) < header+n {
			return said
		}
		if b[0] == 20 { // ChangeCipherSpec: the rest is encrypted
			return said
		}
		if b[0] == 22 {
			said = append(said, b[header:header+n]...)
		}
		b = b[header+n:]
	}
	return said
}

// whole are the messages in DTLS' handshake records that came in one fragment, with TLS' headers.
func whole(b []byte) (messages []byte) {
	for len(b) >= 12 {
		size, at, n := uint24(b[1:]), uint24(b[6:]), uint24(b[9:])
		if len(b) < 12+n {
			return messages
		}
		if at == 0 && n == size {
			messages = append(append(messages, b[:4]...), b[12:12+n]...)
		}
		b = b[12+n:]
	}
	return messages
}

func uint24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// handshakesIn reads TLS' handshake messages.
func handshakesIn(b []byte, found map[string]string) {
	for len(b) >= 4 && len(b) >= 4+uint24(b[1:]) {
		n := uint24(b[1:])
		body := b[4 : 4+n]
		switch b[0] {
		case 1:
			for _, name := range offeredKeys(body) {
				found[printable(name)] = "name of a pre-shared key"
			}
		case 11:
			if len(body) >= 6 && len(body) >= 6+uint24(body[3:]) { // TLS 1.2: the first certificate is the speaker's
				sum := sha256.Sum256(body[6 : 6+uint24(body[3:])])
				found[hex.EncodeToString(sum[:])] = "certificate"
			}
		case 16:
			if len(body) >= 3 && int(binary.BigEndian.Uint16(body)) == len(body)-2 && len(body) <= 130 {
				found[printable(body[2:])] = "name of a pre-shared key, or key exchange"
			}
		}
		b = b[4+n:]
	}
}

// offeredKeys are the identities of a ClientHello's pre_shared_key.
func offeredKeys(b []byte) (names [][]byte) {
	skip := func(size int) bool { // a vector behind its length
		if len(b) < size {
			return false
		}
		n := 0
		for _, c := range b[:size] {
			n = n<<8 | int(c)
		}
		if len(b) < size+n {
			return false
		}
		b = b[size+n:]
		return true
	}
	dtls := len(b) > 2 && b[0] == 254
	if len(b) < 34 {
		return nil
	}
	b = b[34:]
	if !skip(1) || dtls && !skip(1) || !skip(2) || !skip(1) || len(b) < 2 {
		return nil
	}
	for b = b[2:]; len(b) >= 4; {
		kind, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+n {
			return names
		}
		if list := b[4 : 4+n]; kind == 41 && n > 2 {
			for list = list[2:min(n, 2+int(binary.BigEndian.Uint16(list)))]; len(list) > 6; {
				size := int(binary.BigEndian.Uint16(list))
				if len(list) < 2+size+4 {
					break
				}
				names = append(names, list[2:2+size])
				list = list[2+size+4:]
			}
		}
		b = b[4+n:]
	}
	return names
}

// printable is text as it is, and anything else in hexadecimal.
func printable(b []byte) string {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return hex.EncodeToString(b)
		}
	}
	return string(b)
}
