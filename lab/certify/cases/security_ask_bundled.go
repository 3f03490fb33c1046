package cases

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	ids "github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

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

// question is one for a camera that never was, that is offline, or that is online.
type question struct {
	kind int
	uid  ids.UID
}

// Kinds of questions; the first two are those whose answers have to be alike.
const (
	neverWas = iota
	isOffline
	isOnline
)

// grantedEach is how many questions a key is granted: as many of each sort as can be, and one for the camera that is online.
const grantedEach = 25

// questions are those of some keys.
func (q *asking6) questions(keys int, offline, online ids.UID) (all []question) {
	for range keys {
		part := append(slices.Repeat([]int{neverWas, isOffline}, grantedEach/2), isOnline)
		q.draw.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		for _, kind := range part {
			uid := map[int]ids.UID{isOffline: offline, isOnline: online}[kind]
			all = append(all, question{kind, uid})
		}
	}
	for i := range all {
		if all[i].kind == neverWas {
			var k ids.PublicKey
			for j := range k {
				k[j] = byte(q.draw.Uint32())
			}
			all[i].uid = k.UID()
		}
	}
	return all
}

// replies are what questions came to.
type replies struct {
	got                [2][]heard6 // about cameras that never were, about one that is offline
	found, silent, put int         // of the one that is online; not answered; put off
}

// take counts the answers to some questions. Sizes are of these, where each was sent once.
func (r *replies) take(asked []question, answers []attack.Answer, sizes []tape.Amount) {
	for k, a := range answers {
		kind := asked[k].kind
		switch {
		case kind == isOnline && a.Found.IsValid():
			r.found++
		case !a.Answered:
			r.silent++
		case a.Code == wire.CodeRateLimited:
			r.put++
		case kind != isOnline:
			h := heard6{said: "refused: " + a.Code.String(), after: a.After.Seconds(), answered: true}
			if a.Found.IsValid() {
				h.said = "found"
			}
			if len(sizes) == len(answers) { // else a question was sent twice, and the sizes are not known
				h.packets, h.bytes = sizes[k].Packets, sizes[k].Bytes
			}
			r.got[kind] = append(r.got[kind], h)
		}
	}
}

// byMessages asks in the bundled protocol, as a viewer that nobody has paired, within what one is granted.
func (q *asking6) byMessages(ctx context.Context, label ids.Label) (certify.Result, bool) {
	s := q.s
	known, _ := labelOf(q.online)
	hosts := []string{farHost, "rogue"}
	all := q.questions(s.N(10, 2), label.UID(), known.UID())
	var r replies
	for list := range slices.Chunk(all, len(hosts)*grantedEach) {
		from := q.x.Tape().Mark()
		uids := make([]ids.UID, len(list))
		for i, a := range list {
			uids[i] = a.uid
		}
		enumerators, err := q.enumerators(ctx, label, hosts, len(list)/grantedEach, grantedEach, 8, attack.Listed(uids...))
		if err != nil {
			return s.Judge(err), true
		}
		for i, e := range enumerators {
			r.take(list[i*grantedEach:], e.Answers(), q.sizes(from, hosts[i]))
		}
	}
	s.Note("a viewer whom nobody has paired asked %d times: the online camera was found %d times; %d questions were put off, %d not answered",
		len(all), r.found, r.put, r.silent)
	if r.found == 0 {
		return s.Inconclusive("the camera that is online was not found by its own identifier: the questions may have been wrong"), true
	}
	if len(r.got[neverWas])+len(r.got[isOffline]) < len(all)/2 {
		return s.Inconclusive("of %d questions %d were put off and %d not answered: too few to compare", len(all), r.put, r.silent), true
	}
	return q.compare("an unpaired viewer's", r.got)
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
	for rounds := 0; time.Since(began) < span || rounds == 0; { // one at least that counts, however slow the machine is
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
		switch {
		case !counting.IsZero():
			rounds++
		case time.Since(began) > first:
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
