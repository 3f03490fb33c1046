package cases

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// Limits of SEC-6.
const (
	sameLevel     = 0.001 // chance below which two sorts of answers differ
	learntASecond = 10    // answers a second to one address, in the long run
	rendezvousAt  = 4479  // the bundled rendezvous' port
)

// askingAround is SEC-6: somebody without rights asks for cameras that never were, that are offline, and that are online.
func askingAround(ctx context.Context, s *stage.Stage) certify.Result {
	x, err := s.Set(ctx, "attackers", stage.UnitsKey, "2")
	if err != nil {
		return s.Judge(err)
	}
	online, err := x.Camera(ctx, 1)
	if err != nil {
		return s.Judge(err)
	}
	away, err := x.Camera(ctx, 2)
	if err != nil {
		return s.Judge(err)
	}
	tickets := [2][]byte{}
	for i, c := range []*stage.Camera{online, away} {
		if tickets[i], err = c.Ticket(); err != nil {
			return s.Judge(err)
		}
	}
	public, err := away.Identity()
	if err != nil {
		return s.Judge(err)
	}
	if err := away.Stop(); err != nil {
		return s.Judge(err)
	}
	s.Note("camera 2 was registered, and is off now")
	if !s.Brief() {
		// One that left without a word is online for the servers as long as REG-4 lets it be.
		if err := settle(ctx, s, "the servers forget camera 2", 2*s.Decl().Bounds.Keepalive+2*time.Second); err != nil {
			return s.Judge(err)
		}
	}
	q := &asking6{s: s, x: x, draw: rand.New(rand.NewPCG(s.Seed(60), 1)), online: tickets[0], offline: tickets[1], public: public}
	r, bad := q.byViewers(ctx)
	label, bundled := labelOf(tickets[1])
	if !bad && bundled {
		r, bad = q.byMessages(ctx, label)
	}
	if !bad && bundled {
		r, bad = q.throttled(ctx, label)
	}
	if !bad && !bundled {
		r, bad = q.hammered(ctx)
	}
	return concluded(s, r, bad)
}

// asking6 asks.
type asking6 struct {
	s       *stage.Stage
	x       *stage.Set
	draw    *rand.Rand
	online  []byte // tickets
	offline []byte
	public  stage.Identity // of the camera that is offline
	asked   int
}

// invented is a ticket of a camera that never was: of the bundled protocol a label with a key that nobody has, of others the offline
// camera's with another identifier of the same form.
func (q *asking6) invented() []byte {
	if l, ok := labelOf(q.offline); ok {
		for i := range l.Key {
			l.Key[i] = byte(q.draw.Uint32())
		}
		return []byte(l.String())
	}
	uid := []byte(q.public.UID)
	if len(uid) == 0 || !bytes.Contains(q.offline, uid) {
		return nil
	}
	return bytes.ReplaceAll(q.offline, uid, alike(q.draw, uid))
}

// byViewers has the vendor's own viewer ask, with tickets as they come.
func (q *asking6) byViewers(ctx context.Context) (certify.Result, bool) {
	n := q.s.N(40, 4)
	if _, bundled := labelOf(q.offline); !bundled {
		n = q.s.N(150, 4)
	}
	// Side by side on two hosts, of which each asks of both sorts.
	hosts := []string{"rogue", "viewer"}
	var got [2][]heard6 // unknown, offline
	var mu sync.Mutex
	var asking sync.WaitGroup
	errs := make([]error, len(hosts))
	for lane, host := range hosts {
		var tickets [][]byte
		for i := range n {
			ticket := q.offline
			if i%2 == 0 {
				if ticket = q.invented(); ticket == nil {
					return q.s.Inconclusive("no ticket could be made of a camera that never was: the identifier %q is not in the ticket", q.public.UID), true
				}
			}
			tickets = append(tickets, ticket)
		}
		q.draw.Shuffle(len(tickets), func(i, j int) { tickets[i], tickets[j] = tickets[j], tickets[i] })
		asking.Go(func() {
			for i, ticket := range tickets {
				h, err := q.view(ctx, host, ticket, 10+lane*n+i)
				if err != nil {
					errs[lane] = err
					return
				}
				kind := 0
				if bytes.Equal(ticket, q.offline) {
					kind = 1
				}
				mu.Lock()
				got[kind] = append(got[kind], h)
				mu.Unlock()
			}
		})
	}
	asking.Wait()
	if err := errors.Join(errs...); err != nil {
		return q.s.Judge(err), true
	}
	h, err := q.view(ctx, "rogue", q.online, 9)
	if err != nil {
		return q.s.Judge(err), true
	}
	q.s.Note("a viewer with the online camera's ticket: %s, %d packets of %d bytes", h.said, h.packets, h.bytes)
	return q.compare("viewers'", got)
}

// view has a viewer that knows nobody ask, and reports what came of it.
func (q *asking6) view(ctx context.Context, host string, ticket []byte, unit int) (heard6, error) {
	v, err := q.x.View(ctx, stage.Viewing{Ticket: ticket, Unit: unit, Host: host, For: time.Second})
	if err != nil {
		return heard6{}, err
	}
	within, cancel := context.WithTimeout(ctx, 6*time.Second)
	defer cancel()
	code, err := v.Wait(within)
	var timeout *stage.Timeout
	words := ""
	switch {
	case errors.As(err, &timeout) && ctx.Err() == nil:
		if err := v.Stop(); err != nil {
			return heard6{}, err
		}
		words = "goes on asking"
	case err != nil:
		return heard6{}, err
	default:
		words = fmt.Sprintf("ends with code %d, %s", code, lastWords(v))
	}
	h := heard6{said: words}
	servers := q.x.Servers(host)
	from := v.Asked()
	for _, p := range q.x.Tape().Packets(v.Mark(), tape.At(host), tape.Full) {
		if !p.Out && slices.Contains(servers, p.Src.Addr()) {
			h.packets++
			h.bytes += int64(p.Size)
			h.after = p.At.Sub(from).Seconds()
			h.answered = true
		}
	}
	return h, nil
}

// lastWords are the words, without figures and names, of the last line that a viewer printed.
func lastWords(v *stage.View) string {
	r := v.Program().Report()
	if r == nil {
		return ""
	}
	out := r.Output.Tail
	if len(out) == 0 {
		out = r.Output.Head
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var words []string
	for _, w := range strings.Fields(lines[len(lines)-1]) {
		if !strings.ContainsAny(w, "0123456789") && len(w) < 24 {
			words = append(words, w)
		}
	}
	return fmt.Sprintf("%.160q", strings.Join(words, " "))
}

// hammered sends a viewer's own questions again as fast as it can, where nothing else of the protocol is known.
func (q *asking6) hammered(ctx context.Context) (certify.Result, bool) {
	s, x := q.s, q.x
	servers := x.Servers("rogue")
	asked := sample(x.Tape().Packets(0, tape.From("rogue"), tape.To(servers...)), 16)
	if len(asked) == 0 {
		s.Note("viewers ask by TCP alone: no question can be sent again without them")
		return certify.Result{}, false
	}
	c, err := x.Host("rogue").ListenUDP(netip.AddrPort{})
	if err != nil {
		return s.Judge(err), true
	}
	defer c.Close()
	from, began, span := x.Tape().Mark(), time.Now(), s.For(30*time.Second, 2*time.Second)
	sent := 0
	for tick := time.NewTicker(5 * time.Millisecond); time.Since(began) < span; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return s.Judge(ctx.Err()), true
		}
		p := asked[sent%len(asked)]
		_, _ = c.WriteToUDPAddrPort(p.Payload, p.Dst)
		sent++
	}
	n := x.Tape().Count(from, tape.CameTo("rogue"), tape.By(servers...), tape.UDP)
	rate := float64(n) / time.Since(began).Seconds()
	s.Saw("tries", sent)
	s.Note("%d of a viewer's own datagrams, such as %s, were sent again in %v: %d were answered, %.1f a second", sent, hex.EncodeToString(asked[0].Payload[:min(8, len(asked[0].Payload))]), span, n, rate)
	if rate > learntASecond {
		return s.Fail("from one address %d of %d questions are answered, %.1f a second; %d may be", n, sent, rate, learntASecond), true
	}
	return certify.Result{}, false
}
