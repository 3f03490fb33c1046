package cases

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	ids "github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/stats"
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
	return bytes.ReplaceAll(q.offline, uid, q.like(uid))
}

// like is another word of the same form: digits for digits, letters for letters.
func (q *asking6) like(word []byte) []byte {
	other := bytes.Clone(word)
	for i, c := range other {
		switch {
		case c >= '0' && c <= '9':
			other[i] = '0' + byte(q.draw.IntN(10))
		case c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F': // hexadecimal stays so
			other[i] = c&^7 | byte(1+q.draw.IntN(6))
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			other[i] = c&^31 | byte(1+q.draw.IntN(26))
		}
	}
	return other
}

// heard6 is what an asker notices of one answer.
type heard6 struct {
	said     string  // in words: how its program ended, or the code
	packets  int     // from the servers
	bytes    int64   // of these
	after    float64 // seconds until it knew
	answered bool
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

// compare holds answers about cameras that never were, and about one that is offline, to being alike.
func (q *asking6) compare(whose string, got [2][]heard6) (certify.Result, bool) {
	s := q.s
	names := [2]string{"a camera that never was", "one that is offline"}
	var said, sizes [2]map[string]int
	var times [2][]float64
	for kind, hs := range got {
		said[kind], sizes[kind] = map[string]int{}, map[string]int{}
		for _, h := range hs {
			s.Saw("tries", 1)
			s.Saw("answers", 1)
			said[kind][h.said]++
			sizes[kind][fmt.Sprintf("%d packets of %d bytes", h.packets, h.bytes)]++
			if h.answered {
				times[kind] = append(times[kind], h.after)
			}
		}
	}
	d, p := 0.0, 1.0
	if len(times[0]) > 0 && len(times[1]) > 0 {
		d, p = stats.KolmogorovSmirnov(times[0], times[1])
	}
	s.Record(map[string]any{"asked by": whose, "never was": said[0], "offline": said[1], "sizes, never was": sizes[0], "sizes, offline": sizes[1],
		"times D": d, "times p": p, "median never was": median(times[0]), "median offline": median(times[1])})
	s.Note("%s questions: %d about %s, %d about %s; said %v and %v; times D = %.3f, p = %.3g, medians %.1f ms and %.1f ms", whose, len(got[0]), names[0],
		len(got[1]), names[1], said[0], said[1], d, p, 1e3*median(times[0]), 1e3*median(times[1]))
	for what, counts := range map[string][2]map[string]int{"answer": said, "size of the answers": sizes} {
		if a, b, chance := tellApart(counts); a != "" {
			return s.Fail("by %s questions the %s tells %s (%s) from %s (%s), of %d and %d questions (by chance: p = %.2g)",
				whose, what, names[0], a, names[1], b, len(got[0]), len(got[1]), chance), true
		}
	}
	if p < sameLevel {
		return s.Fail("by %s questions the times of answers tell %s from %s: D = %.3f, p = %.2g, of %d and %d answers, medians %.2f ms and %.2f ms",
			whose, names[0], names[1], d, p, len(times[0]), len(times[1]), 1e3*median(times[0]), 1e3*median(times[1])), true
	}
	return certify.Result{}, false
}

// tellApart says which sort tells two sorts of cameras apart, by Fisher's exact test; where there are few questions, if it does so each time.
func tellApart(counts [2]map[string]int) (unknown, offline string, p float64) {
	total := [2]int{}
	for kind, c := range counts {
		for _, n := range c {
			total[kind] += n
		}
	}
	for _, what := range slices.Sorted(maps.Keys(counts[0])) {
		k, o := counts[0][what], counts[1][what]
		_, _, p := stats.Fisher(k, total[0], o, total[1])
		if p < sameLevel || alwaysApart(counts, total) {
			return what, most(counts[1]), p
		}
	}
	return "", "", 1
}

// alwaysApart reports whether every answer told which it was: none came of both, and they were few.
func alwaysApart(counts [2]map[string]int, total [2]int) bool {
	for kind, c := range counts {
		if total[kind] < 4 || len(c) > total[kind]/2 {
			return false
		}
		for what := range c {
			if counts[1-kind][what] > 0 {
				return false
			}
		}
	}
	return true
}

// most is the commonest.
func most(counts map[string]int) (what string) {
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		if what == "" || counts[k] > counts[what] {
			what = k
		}
	}
	return what
}

func median(xs []float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	xs = slices.Clone(xs)
	slices.Sort(xs)
	return stats.Quantile(xs, 0.5)
}

// enumerators run side by side, each with a key of its own, in turn on one of the hosts.
func (q *asking6) enumerators(ctx context.Context, label ids.Label, hosts []string, n, tries, rate int, guess attack.Guess) ([]*attack.Enumerator, error) {
	all, errs := make([]*attack.Enumerator, n), make([]error, n)
	var asking sync.WaitGroup
	for i := range all {
		q.asked++
		host := hosts[i%len(hosts)]
		e := &attack.Enumerator{Server: netip.AddrPortFrom(q.x.Servers(host)[0], rendezvousAt), Key: label.RendezvousKey, Tries: tries, Rate: rate, Seed: q.s.Seed(1000 + q.asked)}
		e.Guess = func(k int) ids.UID { return guess(i*tries + k) }
		all[i] = e
		asking.Go(func() {
			_, errs[i] = e.Run(ctx, q.x.Host(host), attack.Budget{Packets: 20*tries + 100, Duration: time.Duration(tries/max(rate, 1)+20) * time.Second})
		})
	}
	asking.Wait()
	return all, errors.Join(errs...)
}

// byMessages asks in the bundled protocol, as a viewer that nobody has paired, within what one is granted.
func (q *asking6) byMessages(ctx context.Context, label ids.Label) (certify.Result, bool) {
	s := q.s
	offline := label.UID()
	known, _ := labelOf(q.online)
	// In each 25 questions, which is what a key is granted: 12 of each sort, and one for the camera that is online.
	const each = 25
	lanes := s.N(10, 2)
	var kinds []int
	for range lanes {
		part := append(slices.Repeat([]int{0, 1}, each/2), 2)
		q.draw.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		kinds = append(kinds, part...)
	}
	uids := make([]ids.UID, len(kinds))
	for i, kind := range kinds {
		switch kind {
		case 0:
			var k ids.PublicKey
			for j := range k {
				k[j] = byte(q.draw.Uint32())
			}
			uids[i] = k.UID()
		case 1:
			uids[i] = offline
		default:
			uids[i] = known.UID()
		}
	}
	var got [2][]heard6
	found, silent, put := 0, 0, 0
	for lane := 0; lane < lanes; lane += 2 {
		list := uids[lane*each : min(len(uids), (lane+2)*each)]
		hosts := []string{farHost, "rogue"}
		from := q.x.Tape().Mark()
		all, err := q.enumerators(ctx, label, hosts, len(list)/each, each, 8, attack.Listed(list...))
		if err != nil {
			return s.Judge(err), true
		}
		for i, e := range all {
			sizes := q.sizes(from, hosts[i])
			for k, a := range e.Answers() {
				kind := kinds[lane*each+i*each+k]
				switch {
				case kind == 2 && a.Found.IsValid():
					found++
				case !a.Answered:
					silent++
				case a.Code == wire.CodeRateLimited:
					put++
				case kind < 2:
					said := "refused: " + a.Code.String()
					if a.Found.IsValid() {
						said = "found"
					}
					h := heard6{said: said, after: a.After.Seconds(), answered: true}
					if len(sizes) == len(e.Answers()) { // else a question was sent twice, and the sizes are not known
						h.packets, h.bytes = sizes[k].Packets, sizes[k].Bytes
					}
					got[kind] = append(got[kind], h)
				}
			}
		}
	}
	s.Note("a viewer whom nobody has paired asked %d times: the online camera was found %d times; %d questions were put off, %d not answered", len(kinds), found, put, silent)
	if found == 0 {
		return s.Inconclusive("the camera that is online was not found by its own identifier: the questions may have been wrong"), true
	}
	if len(got[0])+len(got[1]) < len(kinds)/2 {
		return s.Inconclusive("of %d questions %d were put off and %d not answered: too few to compare", len(kinds), put, silent), true
	}
	return q.compare("an unpaired viewer's", got)
}

// sizes are what came to a host behind each question that it put, from a position on: of the bundled protocol's sealed messages a
// question is a long one, as it has an initiation in it.
func (q *asking6) sizes(from int, host string) (all []tape.Amount) {
	const question, sealed = 256, 7
	for _, p := range q.x.Tape().Packets(from, tape.At(host), tape.UDP, tape.Full, tape.With(q.x.Servers(host)...)) {
		switch {
		case p.Payload[0] != sealed:
		case p.Out && len(p.Payload) > question:
			all = append(all, tape.Amount{})
		case !p.Out && len(all) > 0:
			all[len(all)-1].Packets++
			all[len(all)-1].Bytes += int64(p.Size)
		}
	}
	return all
}

// throttled asks as fast as it can from one address, with one key after the other, and counts what it learns.
func (q *asking6) throttled(ctx context.Context, label ids.Label) (certify.Result, bool) {
	s := q.s
	// Rounds of four keys, until the watch is over: what was granted at once is used up in the first ones.
	first, span := s.For(10*time.Second, 800*time.Millisecond), s.For(40*time.Second, 3*time.Second)
	guess := func(int) ids.UID {
		var k ids.PublicKey
		for j := range k {
			k[j] = byte(rand.Uint32())
		}
		return k.UID()
	}
	asked, told, later := 0, 0, 0
	began := time.Now()
	var counting time.Time
	for time.Since(began) < span {
		all, err := q.enumerators(ctx, label, []string{"rogue"}, 4, 30, 200, guess)
		if err != nil {
			return s.Judge(err), true
		}
		for _, e := range all {
			for _, a := range e.Answers() {
				asked++
				s.Saw("tries", 1)
				if a.Answered && a.Code != wire.CodeRateLimited {
					told++
					if !counting.IsZero() {
						later++
					}
				}
			}
		}
		if counting.IsZero() && time.Since(began) > first {
			counting = time.Now()
		}
	}
	seconds := time.Since(counting).Seconds()
	allowed := int(learntASecond*seconds*1.1) + 3
	s.Record(map[string]any{"questions": asked, "seconds": time.Since(began).Seconds(), "told": told, "told later": later, "in the last seconds": seconds})
	s.Note("from one address %d questions were asked in %.1f s, by a new key each 30: %d were answered, %d of them in the last %.1f s, in which %d may be",
		asked, time.Since(began).Seconds(), told, later, seconds, allowed)
	if later > allowed {
		return s.Fail("from one address %d of %d questions about cameras that never were are answered, %.1f a second in the last %.1f s; %d a second may be",
			told, asked, float64(later)/seconds, seconds, learntASecond), true
	}
	return certify.Result{}, false
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
