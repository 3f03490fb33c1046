package cases

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

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
