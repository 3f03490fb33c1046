package cases

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	ids "github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// Of BW-4: who has no right to media, and asks for it.
const (
	strangerHost = "rogue" // of topology attackers: a viewer elsewhere
	together     = 4       // strangers that ask together
	// answers are how many packets of 500 bytes or more an ask may draw: a handshake's, with certificates, are as large as media.
	answers = 5
)

// unasked is BW-4: a right viewer is served, and between that everybody else asks.
func unasked(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "attackers", stage.UnitsKey, "2")
	if err != nil {
		return s.Judge(err)
	}
	c := &claimants{s: s, x: x, camera: camera, vandal: newVandal(s.Seed(200)), draw: rand.New(rand.NewPCG(s.Seed(201), 0))}
	if err := c.another(ctx); err != nil {
		return s.Judge(err)
	}
	for _, step := range []func(context.Context) error{c.right, c.quiet, c.strangers, c.quiet, c.forgers, c.quiet, c.repeaters, c.quiet, c.right} {
		err := step(ctx)
		if err != nil {
			return s.Judge(err)
		}
		if c.caught != "" {
			return s.Fail("%s", c.caught)
		}
	}
	return s.Pass()
}

// claimants are those who ask.
type claimants struct {
	s      *stage.Stage
	x      *stage.Set
	camera *stage.Camera
	vandal *vandal
	draw   *rand.Rand
	other  []byte        // ticket of another camera; nil: there is none
	served time.Duration // from when the right viewer asked to its first frame
	said   []tape.Packet // by the right viewer
	caught string        // a fail's reason
}

// another starts another camera, so that its ticket is one.
func (c *claimants) another(ctx context.Context) error {
	if c.s.Way() == stage.Box {
		return nil // the one that there is would be the other one then
	}
	camera, err := c.x.Camera(ctx, 2)
	var unsupported *stage.Unsupported
	if errors.As(err, &unsupported) {
		c.s.Note("there is no other camera, whose ticket could be shown: %v", err)
		return nil
	}
	if err == nil {
		c.other, err = camera.Ticket()
	}
	return err
}

// right has the right viewer watch: he is served, or what others are not given means nothing.
func (c *claimants) right(ctx context.Context) error {
	w, err := watch(ctx, c.s, c.x, c.camera, c.s.For(3*time.Second, time.Second))
	if none(ctx, err) {
		c.caught = fmt.Sprintf("a right viewer was not served: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	c.s.Saw("accepted", 1)
	if asked := w.view.Asked(); !asked.IsZero() {
		c.served = max(c.served, w.from.Sub(asked))
	}
	if c.said == nil {
		c.said = c.x.Tape().Packets(w.mark, tape.From(w.view.Host()), tape.Full, tape.Between(time.Time{}, w.from.Add(time.Second)))
	}
	return nil
}

// quiet waits until the camera has let go of who watched last: what leaves it then is for somebody else.
func (c *claimants) quiet(ctx context.Context) error {
	const hush = time.Second
	for end := time.Now().Add(consentLasts + 5*time.Second); time.Now().Before(end); {
		from := c.x.Tape().Mark()
		if err := c.s.Pause(ctx, hush); err != nil {
			return err
		}
		if c.x.Tape().Count(from, c.camera.Out(), tape.Media) == 0 {
			return nil
		}
	}
	c.caught = fmt.Sprintf("the camera still sent media %v after the viewer had gone", consentLasts+5*time.Second)
	return nil
}

// given judges a few tries together, by what left the camera since a position of the tape.
func (c *claimants) given(from, tries int, who string) {
	media := tape.Streamed(c.x.Tape().Packets(from, c.camera.Out()))
	bad := len(media) > answers*tries
	for i := range tries {
		c.s.Try(bad && i == 0)
		c.s.Saw("tries", 1)
	}
	came := c.x.Tape().Count(from, tape.CameTo(c.camera.Host(), "rendezvous"), tape.Full)
	c.s.Record(map[string]any{"who": who, "tries": tries, "came to the camera and its servers": came, "packets of media": len(media)})
	if bad && c.caught == "" {
		c.caught = fmt.Sprintf("%d packets of media left the camera, %d bytes to %v, when %s asked", len(media), tape.Bytes(media), media[0].Dst, who)
	}
}

// strangers are viewers elsewhere with wrong tickets. They have the time that the right one needed, and more: where all is slow, they are
// not let off by that.
func (c *claimants) strangers(ctx context.Context) error {
	wrong, err := c.wrongTickets(c.s.N(100, 8))
	if err != nil {
		return err
	}
	c.s.Note("%d viewers with wrong tickets ask, %d at once", len(wrong), together)
	for len(wrong) > 0 && c.caught == "" {
		some := wrong[:min(together, len(wrong))]
		wrong = wrong[len(some):]
		from := c.x.Tape().Mark()
		results, errs := make([]visited, len(some)), make([]error, len(some))
		var asking sync.WaitGroup
		for i, t := range some {
			asking.Go(func() {
				results[i], errs[i] = visit{
					Ticket: t.ticket, Host: strangerHost, Unit: 100 + len(wrong) + i, Within: c.s.For(5*time.Second, 2*time.Second) + together*c.served,
				}.make(ctx, c.x)
			})
		}
		asking.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		asked := 0 // who has not, as the ticket made no sense to it, has tried nothing
		for i, r := range results {
			if r.Asked {
				asked++
			}
			c.s.Record(map[string]any{"viewer": some[i].what, "asked": r.Asked, "ended with code": r.Code, "frames": r.Frames})
			if r.Reached && c.caught == "" {
				c.caught = fmt.Sprintf("a viewer %s was served: of the camera's frames %d came to it", some[i].what, r.Frames)
			}
		}
		c.given(from, asked, "viewers "+some[0].what+" or with other wrong tickets")
	}
	return nil
}

// wrongTicket is one that gives no right to watch.
type wrongTicket struct {
	what   string
	ticket []byte
}

// wrongTickets are n tickets: of the bundled protocol, labels with another secret; of others, with a third of the letters and digits
// changed. Where the ticket says no more than where the camera is, it is no credential, and is wrong as it is.
func (c *claimants) wrongTickets(n int) (wrong []wrongTicket, err error) {
	ticket, err := c.camera.Ticket()
	if err != nil {
		return nil, err
	}
	if bare(ticket) {
		wrong = append(wrong, wrongTicket{"without credentials, who knew where the camera is and no more,", ticket})
	}
	for i := len(wrong); i < n; i++ {
		if l, ok := labelOf(ticket); ok {
			wrong = append(wrong, c.wrongLabel(l, i))
			continue
		}
		wrong = append(wrong, wrongTicket{fmt.Sprintf("with a ticket whose third %d was made up", i%3+1), c.madeUp(ticket, i%3)})
	}
	return wrong, nil
}

// bare reports whether a ticket has nothing but addresses.
func bare(ticket []byte) bool {
	words := strings.Fields(string(ticket))
	for _, w := range words {
		if _, err := netip.ParseAddrPort(w); err != nil {
			return false
		}
	}
	return true
}

// wrongLabel is a label that does not hold the camera's secret.
func (c *claimants) wrongLabel(l ids.Label, i int) wrongTicket {
	what := "with a secret that was made up"
	made := ids.Secret{}
	for j := range made {
		made[j] = byte(c.draw.Uint32())
	}
	other, ok := labelOf(c.other)
	switch {
	case i%4 == 0:
		what, made = "with no secret", ids.Secret{}
	case i%4 == 1 && ok:
		what, made = "with another camera's secret", other.Secret
	case i%4 == 2:
		what, made = "with a secret of which one bit is wrong", l.Secret
		made[c.draw.IntN(len(made))] ^= 1 << c.draw.IntN(8)
	}
	l.Secret = made
	return wrongTicket{what, []byte(l.String())}
}

// madeUp is a ticket one third of whose letters and digits are others.
func (c *claimants) madeUp(ticket []byte, third int) []byte {
	b := []byte(string(ticket))
	for i := third * len(b) / 3; i < (third+1)*len(b)/3; i++ {
		switch ch := b[i]; {
		case ch >= '0' && ch <= '9':
			b[i] = '0' + byte((int(ch-'0')+1+c.draw.IntN(9))%10)
		case ch >= 'a' && ch <= 'z':
			b[i] = 'a' + byte((int(ch-'a')+1+c.draw.IntN(25))%26)
		case ch >= 'A' && ch <= 'Z':
			b[i] = 'A' + byte((int(ch-'A')+1+c.draw.IntN(25))%26)
		}
	}
	return b
}

// recorded are the datagrams and segments that the right viewer has sent to one end, in order.
type recorded struct {
	to       netip.AddrPort
	stream   bool // TCP
	payloads [][]byte
}

// conversations are what the right viewer has said, to each end that was not of its own network.
func (c *claimants) conversations() (all []*recorded) {
	byEnd := map[netip.AddrPort]*recorded{}
	routes := c.x.Routes()
	for _, p := range c.said {
		if !p.Dst.Addr().Is4() || p.Dst.Addr().IsMulticast() || routes.Of(&p) == tape.Local {
			continue
		}
		r := byEnd[p.Dst]
		if r == nil {
			r = &recorded{to: p.Dst, stream: tape.TCP(&p)}
			byEnd[p.Dst] = r
			all = append(all, r)
		}
		const most = 60
		if len(r.payloads) < most {
			r.payloads = append(r.payloads, p.Payload)
		}
	}
	return all
}

// listed lists where something was said to.
func listed(all []*recorded) string {
	words := make([]string, len(all))
	for i, r := range all {
		words[i] = fmt.Sprintf("%v (%d packets)", r.to, len(r.payloads))
	}
	return strings.Join(words, ", ")
}

// repeaters send what the right viewer has said once more, from another address: as it was, from the middle on, or changed.
func (c *claimants) repeaters(ctx context.Context) error {
	all := c.conversations()
	if len(all) == 0 {
		c.s.Note("nothing that the right viewer said can be repeated")
		return nil
	}
	n := c.s.N(max(100, c.s.Case().Tries()-c.s.Claim().Tries), 8)
	c.s.Note("host %s repeats what the right viewer had said to %s, %d times", farHost, listed(all), n)
	for i := 0; i < n && c.caught == ""; i += together {
		from := c.x.Tape().Mark()
		for j := i; j < i+together; j++ {
			for _, r := range all {
				if err := c.repeat(ctx, r, j); err != nil {
					return err
				}
			}
		}
		if err := c.s.Pause(ctx, 400*time.Millisecond); err != nil { // for what they draw
			return err
		}
		c.given(from, together, "somebody else repeated what a right viewer had said, from another address,")
	}
	return nil
}

// variant is what is said in try i: all of it, from further on, or changed.
func (c *claimants) variant(r *recorded, i int) (payloads [][]byte) {
	payloads = r.payloads[(i/3)%len(r.payloads)*(i%3/2):]
	if i%3 != 1 {
		return payloads
	}
	changed := make([][]byte, len(payloads))
	for k, b := range payloads {
		changed[k] = c.vandal.change(b, r.stream)
	}
	return changed
}

// repeat says something once more from the host off the path.
func (c *claimants) repeat(ctx context.Context, r *recorded, i int) error {
	m := c.x.Host(farHost)
	if r.stream {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		conn, err := m.DialTCP(short, netip.AddrPort{}, r.to)
		if err != nil {
			return ctx.Err() // nobody takes a connection there now
		}
		defer conn.Close()
		for _, b := range c.variant(r, i) {
			if _, err := conn.Write(b); err != nil {
				break // it was closed
			}
		}
		return nil
	}
	conn, err := m.ListenUDP(netip.AddrPort{})
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, b := range c.variant(r, i) {
		if _, err := conn.WriteToUDPAddrPort(b, r.to); err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// forgers send the same in the right viewer's name, with the address that the camera and its servers have seen him by.
func (c *claimants) forgers(ctx context.Context) error {
	routes := c.x.Routes()
	outside := routes.External("viewer")
	all := c.conversations()
	n := c.s.N(100, 8)
	c.s.Note("host %s says the same in the right viewer's name, %d times", farHost, n)
	for i := 0; i < n && c.caught == "" && len(outside) > 0; i += together {
		from := c.x.Tape().Mark()
		var shots []attack.Shot
		for j := i; j < i+together; j++ {
			for _, r := range all {
				if r.stream {
					continue
				}
				as := c.seenFrom(outside, r.to)
				for _, b := range c.variant(r, j) {
					shots = append(shots, attack.Shot{From: as, To: r.to, B: b})
				}
			}
		}
		if len(shots) == 0 {
			c.s.Note("the right viewer spoke TCP alone: nobody off the path can speak in its name")
			return nil
		}
		if err := volley(ctx, c.x.Host(farHost), 1000, shots); err != nil {
			return err
		}
		if err := c.s.Pause(ctx, 400*time.Millisecond); err != nil { // for what they draw
			return err
		}
		c.given(from, together, "a forger repeated in a right viewer's name what that had said,")
	}
	return nil
}

// seenFrom is the endpoint by which the right viewer appeared at an end: that of what came from its router's address; any port, if none did.
func (c *claimants) seenFrom(outside []netip.Addr, to netip.AddrPort) netip.AddrPort {
	for _, p := range c.x.Tape().Packets(0, tape.In, tape.By(outside...), tape.UDP) {
		if p.Dst == to || p.Host == c.camera.Host() {
			return p.Src
		}
	}
	return netip.AddrPortFrom(outside[0], 4477)
}
