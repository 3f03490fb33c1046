package cases

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"regexp"
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
)

// Bounds of ID-4.
const (
	enoughBits   = 80               // of a secret that nobody guesses at any rate
	rightWithin  = 15 * time.Minute // after the guesses the right secret is let in
	guessedShare = 0.01             // of what may be tried, in a year at least
	year         = 365 * 24 * time.Hour
)

// lockpick is ID-4 at work.
type lockpick struct {
	s      *stage.Stage
	x      *stage.Set
	camera *stage.Camera
	ticket []byte
	draw   *rand.Rand
	bits   float64       // of the secret
	asked  int           // guesses that the camera, or what stands before it, was asked
	spent  time.Duration // on them
}

// guessing is ID-4: wrong secrets as fast as they are taken, and the right one after them.
func guessing(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "attackers")
	if err != nil {
		return s.Judge(err)
	}
	l := &lockpick{s: s, x: x, camera: camera, draw: rand.New(rand.NewPCG(s.Seed(1), 1))}
	if l.ticket, err = camera.Ticket(); err != nil {
		return s.Judge(err)
	}
	var r certify.Result
	var bad bool
	if label, ok := labelOf(l.ticket); ok {
		r, bad = l.labels(ctx, label)
	} else {
		r, bad = l.words(ctx)
	}
	if bad {
		return r
	}
	if r, bad := l.right(ctx); bad {
		return r
	}
	return l.judge()
}

// judge holds what was measured to the criterion.
func (l *lockpick) judge() certify.Result {
	rate := float64(l.asked) / max(l.spent.Seconds(), 0.001)
	years := guessedShare * math.Exp2(l.bits) / rate / year.Seconds()
	l.s.Record(map[string]any{"secret's room in bits": l.bits, "guesses": l.asked, "seconds": l.spent.Seconds(), "a second": rate, "years for 1 %": years})
	l.s.Note("%d wrong secrets in %v, %.1f a second; the secret has room for 2^%.0f values: 1 %% of them take %.3g years", l.asked,
		l.spent.Round(time.Millisecond), rate, l.bits, years)
	if l.bits < enoughBits && years < 1 {
		return l.s.Fail("a secret of 2^%.1f values can be guessed: the camera took %.1f tries a second, at which 1 %% of them take %.3g years; one is asked for",
			l.bits, rate, years)
	}
	return l.s.Pass()
}

// right has a viewer ask with the right secret until it is let in.
func (l *lockpick) right(ctx context.Context) (certify.Result, bool) {
	within := l.s.For(rightWithin, 15*time.Second)
	began := time.Now()
	for {
		r, err := visit{Camera: l.camera}.make(ctx, l.x)
		switch {
		case err != nil:
			return l.s.Judge(err), true
		case r.Reached:
			l.s.Saw("accepted", 1)
			l.s.Note("the right secret is let in, %v after the last wrong one", time.Since(began).Round(time.Millisecond))
			return certify.Result{}, false
		case time.Since(began) > within && l.asked == 0:
			return l.s.Inconclusive("the right secret is not let in either: the viewer ended with code %d after %v", r.Code, r.Took.Round(time.Millisecond)), true
		case time.Since(began) > within:
			return l.s.Fail("the right secret was not let in within %v after %d wrong ones: the owner is locked out by guessing", within, l.asked), true
		}
		if err := l.s.Pause(ctx, l.s.For(10*time.Second, time.Second)); err != nil {
			return l.s.Judge(err), true
		}
	}
}

// took counts guesses that were made at once.
func (l *lockpick) took(n int, d time.Duration) {
	l.asked += n
	l.spent += d
}

// open is the time in which one flow at least was between its first packet and its last one. A guesser keeps one for all its guesses: what it is
// made to wait between two is in that time, and what it waits at the end, for answers that do not come, is not.
func open(flows []tape.Flow) (d time.Duration) {
	var end time.Time
	for _, f := range flows { // by their beginnings
		if f.Last.After(end) {
			if f.First.After(end) {
				end = f.First
			}
			d += f.Last.Sub(end)
			end = f.Last
		}
	}
	return d
}

// labels guesses at the secret on a label of the bundled protocol: by viewers with an altered label, and by an attacker that speaks the
// protocol and is not slowed down by a viewer, from one address and from several.
func (l *lockpick) labels(ctx context.Context, label ids.Label) (certify.Result, bool) {
	l.bits = 8 * float64(len(label.Secret))
	for i := range l.s.N(5, 1) {
		wrong := label
		for j := 0; j < len(wrong.Secret); j += 8 {
			binary.BigEndian.PutUint64(wrong.Secret[j:], l.draw.Uint64())
		}
		r, err := visit{Ticket: []byte(wrong.String()), Unit: 2 + i}.make(ctx, l.x)
		if err != nil {
			return l.s.Judge(err), true
		}
		l.s.Note("a viewer with a wrong secret: %d frames, code %d, %v", r.Frames, r.Code, r.Took.Round(time.Millisecond))
		l.s.Saw("tries", 1)
		l.s.Try(r.Frames > 0)
		if r.Frames > 0 {
			return l.s.Fail("a viewer with a wrong secret was let in: it got %d frames", r.Frames), true
		}
	}
	// As fast as can be from one address, which the server slows down; then from several, as fast as it lets each.
	if r, bad := l.guess(ctx, label, l.s.N(100, 24), 200, "rogue"); bad {
		return r, true
	}
	return l.guess(ctx, label, l.s.N(100, 24), l.s.N(8, 200), "viewer", registrantHost, "on-path")
}

// guess makes n guesses from each of the hosts, at once, and so many a second. What the server refuses since they are too many is none.
func (l *lockpick) guess(ctx context.Context, label ids.Label, n, rate int, hosts ...string) (certify.Result, bool) {
	var all sync.WaitGroup
	guessers := make([]*attack.Guesser, len(hosts))
	errs := make([]error, len(hosts))
	from := l.x.Tape().Mark()
	for i, host := range hosts {
		at, err := labelServer(l.x, host, label)
		if err != nil {
			return l.s.Judge(err), true
		}
		g := &attack.Guesser{
			Server: at, Key: label.RendezvousKey, Camera: label.Key, Tries: n, Rate: rate, Wait: 8 * time.Second, Seed: l.s.Seed(100 + i + l.asked),
		}
		guessers[i] = g
		all.Go(func() {
			_, errs[i] = g.Run(ctx, l.x.Host(host), attack.Budget{Packets: 20*n + 200, Duration: 3 * time.Minute})
		})
	}
	all.Wait()
	took := open(tape.Flows(l.x.Tape().Packets(from, tape.At(hosts...), tape.Any(tape.UDP, tape.TCP))))
	if err := errors.Join(errs...); err != nil {
		return l.s.Judge(err), true
	}
	counts, decided, in := map[string]int{}, 0, 0
	for _, g := range guessers {
		for _, x := range g.Guesses() {
			switch {
			case x.In:
				in, decided = in+1, decided+1
				counts["let in"]++
				l.s.Try(true)
			case x.Code != 0:
				counts[x.Code.String()]++
				if x.Code != wire.CodeRateLimited {
					decided++
					l.s.Try(false)
				}
			default:
				counts["no decision"]++
			}
		}
	}
	l.s.Saw("tries", decided)
	l.took(decided, took)
	l.s.Note("from %s: %d guesses of the label's secret, decided in %v: %v", strings.Join(hosts, ", "), n*len(hosts), took.Round(time.Millisecond), counts)
	l.s.Record(map[string]any{"from": hosts, "guesses": n * len(hosts), "seconds": took.Seconds(), "answers": counts})
	if in > 0 {
		return l.s.Fail("%d of %d wrong secrets were taken: what the camera compares can be guessed", in, decided), true
	}
	if err := ctx.Err(); err != nil {
		return l.s.Judge(fmt.Errorf("guess: %w", err)), true
	}
	return certify.Result{}, false
}

// wordOf is a word of a ticket in which a secret may be.
type wordOf struct {
	at, end int
	text    string
}

// wordPattern are runs of what passwords, tokens and keys are written in.
var wordPattern = regexp.MustCompile(`[0-9A-Za-z+_=~!$%-]{4,}`)

// isPlace reports whether a part of a ticket says where a camera is: a scheme, an address, or one with a port.
func isPlace(part string) bool {
	part = strings.Trim(part, ":")
	if slices.Contains([]string{"http", "https", "rtsp", "rtsps", "tcp", "udp"}, strings.ToLower(part)) {
		return true
	}
	_, err1 := netip.ParseAddr(strings.Trim(part, "[]"))
	_, err2 := netip.ParseAddrPort(part)
	return err1 == nil || err2 == nil
}

// secretWords are the words of a ticket but for addresses, names of servers, and what is public about the camera.
func secretWords(s *stage.Stage, ticket []byte, public stage.Identity) (words []wordOf) {
	var names []string
	for _, server := range s.Decl().Servers {
		names = append(names, server.Name)
	}
	return secretWordsIn(names, ticket, public)
}

func secretWordsIn(servers []string, ticket []byte, public stage.Identity) (words []wordOf) {
	open := append([]string{public.UID, public.MAC, public.Serial}, servers...)
	text := string(ticket)
	for _, m := range regexp.MustCompile(`[^\s"'<>{},;/@?&]+`).FindAllStringIndex(text, -1) {
		if isPlace(text[m[0]:m[1]]) {
			continue
		}
		for _, w := range wordPattern.FindAllStringIndex(text[m[0]:m[1]], -1) {
			word := wordOf{m[0] + w[0], m[0] + w[1], text[m[0]+w[0] : m[0]+w[1]]}
			if !known(word.text, open) {
				words = append(words, word)
			}
		}
	}
	return words
}

// another is a word of the same symbols' kinds, by chance.
func (l *lockpick) another(word string) string {
	b := []byte(word)
	for {
		for i, c := range b {
			switch {
			case c >= '0' && c <= '9':
				b[i] = '0' + byte(l.draw.IntN(10))
			case c >= 'a' && c <= 'f' && alphabetOf(word) == 16:
				b[i] = 'a' + byte(l.draw.IntN(6))
			case c >= 'A' && c <= 'F' && alphabetOf(word) == 16:
				b[i] = 'A' + byte(l.draw.IntN(6))
			case c >= 'a' && c <= 'z':
				b[i] = 'a' + byte(l.draw.IntN(26))
			case c >= 'A' && c <= 'Z':
				b[i] = 'A' + byte(l.draw.IntN(26))
			}
		}
		if string(b) != word {
			return string(b)
		}
	}
}

// words guesses at the secrets in a ticket of any protocol: each word is replaced by others. One whose change lets nobody in has a
// secret in it; one whose change never matters has none.
func (l *lockpick) words(ctx context.Context) (certify.Result, bool) {
	public, err := l.camera.Identity()
	if err != nil {
		return l.s.Judge(err), true
	}
	first, err := visit{Camera: l.camera}.make(ctx, l.x)
	if err != nil {
		return l.s.Judge(err), true
	}
	if !first.Reached {
		return l.s.Inconclusive("no viewer reaches the camera with its own ticket: it ended with code %d after %v", first.Code, first.Took.Round(time.Millisecond)), true
	}
	words := secretWords(l.s, l.ticket, public)
	l.s.Note("the ticket of %d bytes has %d words in which a secret may be", len(l.ticket), len(words))
	if len(words) == 0 {
		l.s.Saw("tries", 1)
		l.s.Try(true)
		return l.s.Fail("no secret is asked for: the ticket says where the camera is and nothing else, and whoever knows that is let in"), true
	}
	// As many guesses at each word as make the whole number; a few at first, to see which ones matter.
	const few = 3
	var secret []wordOf
	for _, w := range words {
		in, asked, r, bad := l.wrong(ctx, w, few)
		if bad {
			return r, true
		}
		switch {
		case asked == 0:
			return l.s.Inconclusive("the viewer does not ask the camera with a changed ticket: what the camera would say is not to be seen"), true
		case in == 0:
			secret = append(secret, w)
			l.bits += float64(len(w.text)) * math.Log2(float64(alphabetOf(w.text)))
		case in < asked:
			return l.letIn(in, asked), true
		}
	}
	if len(secret) == 0 {
		l.s.Saw("tries", 1)
		l.s.Try(true)
		return l.s.Fail("no secret is asked for: no word of the ticket has to be right, %d were changed, and the viewer is let in all the same", len(words)), true
	}
	for i := 0; l.asked < l.s.N(300, 4); i++ {
		in, asked, r, bad := l.wrong(ctx, secret[i%len(secret)], l.s.N(16, 2))
		switch {
		case bad:
			return r, true
		case in > 0:
			return l.letIn(in, asked), true
		case asked == 0:
			return l.s.Inconclusive("the viewer asks the camera no more after %d wrong secrets", l.asked), true
		}
	}
	return certify.Result{}, false
}

// letIn is the verdict that wrong secrets were, each of which was a try.
func (l *lockpick) letIn(in, asked int) certify.Result {
	l.s.Saw("tries", in)
	for range in {
		l.s.Try(true)
	}
	return l.s.Fail("%d of %d wrong secrets were let in: what the camera compares can be guessed", in, asked)
}

// atOnce is how many viewers guess at once.
const atOnce = 8

// wrong has viewers ask with one word replaced, n times, and says how many were let in, of how many that asked.
func (l *lockpick) wrong(ctx context.Context, w wordOf, n int) (in, asked int, r certify.Result, bad bool) {
	began := time.Now()
	results, errs := make([]visited, n), make([]error, n)
	tickets := make([][]byte, n)
	for i := range tickets {
		tickets[i] = []byte(string(l.ticket[:w.at]) + l.another(w.text) + string(l.ticket[w.end:]))
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i], errs[i] = visit{Ticket: tickets[i], Unit: 2 + i}.make(ctx, l.x)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, 0, l.s.Judge(err), true
	}
	for _, r := range results {
		if !r.Asked {
			continue
		}
		asked++
		if r.Frames > 0 {
			in++
		} else {
			l.s.Try(false)
			l.s.Saw("tries", 1)
		}
	}
	// By the clock, and not while a flow was open: the lab waits for nothing between two viewers, and a camera that throttles by turning them
	// away at once shows it in nothing else. Their starts are in it, which a guesser with a program of its own would save.
	l.took(asked, time.Since(began))
	l.s.Note("a word of %d symbols replaced: %d of %d viewers asked, %d were let in", len(w.text), asked, n, in)
	l.s.Record(map[string]any{"word of": len(w.text), "replaced": n, "asked": asked, "let in": in, "seconds": time.Since(began).Seconds()})
	return in, asked, certify.Result{}, false
}
