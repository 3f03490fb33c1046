package attack

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// Enumerator is a viewer that nobody has paired: it logs in at a rendezvous and asks for one UID after the other, to learn which
// ones exist, by what is answered and by how long that takes.
type Enumerator struct {
	Server netip.AddrPort
	Key    identity.PublicKey // the rendezvous', which is on each label
	Guess  Guess
	Tries  int
	Rate   int           // a second; 0: 5, which a viewer is granted
	Wait   time.Duration // for the last answers; 0: 1 s
	// Later has it wait, though all is answered, for what becomes of those that were found: until all were refused after all.
	Later bool
	Seed  uint64

	answers []Answer
}

// Answer is what came of one UID.
type Answer struct {
	UID      identity.UID
	Answered bool
	After    time.Duration  // from the question to the first answer
	Code     wire.Code      // why it was refused; 0: it was not
	Found    netip.AddrPort // the camera's endpoint, where it was not refused
	Later    wire.Code      // why it was refused after all, as the camera did not answer, or by the camera itself; 0: it was not
}

// Name returns "enumerator".
func (e *Enumerator) Name() string { return "enumerator" }

// Answers lists what the last Run asked for, in its order.
func (e *Enumerator) Answers() []Answer { return e.answers }

// Run enumerates. A camera that is found is a gain, whoever may watch it.
func (e *Enumerator) Run(ctx context.Context, m *lab.Machine, b Budget) (Report, error) {
	r, err := enter(e, m, b)
	if err != nil {
		return r, err
	}
	a, err := newAsker(e)
	if err != nil {
		return r, fmt.Errorf("enumerator: %w", err)
	}
	err = serve(ctx, m, b, served{core: a, start: a.start, over: a.over}, &r)
	e.answers = a.answers
	for _, x := range a.answers {
		switch {
		case !x.Answered:
			r.Counts["unanswered"]++
		case x.Found.IsValid():
			r.Counts["found"]++
			r.Gained = append(r.Gained, fmt.Sprintf("camera %v is at %v", x.UID, x.Found))
		default:
			r.Counts["refused: "+x.Code.String()]++
		}
	}
	return r, err
}

// asker is an Enumerator without I/O.
type asker struct {
	asking
	e       *Enumerator
	draw    *rand.Rand
	noise1  []byte         // of a handshake with nobody: no camera opens it
	asked   map[uint64]int // id of a question → its answer
	answers []Answer
	open    int
}

func newAsker(e *Enumerator) (*asker, error) {
	if e.Guess == nil || e.Tries < 1 {
		return nil, errors.New("nothing to ask for: set Guess and Tries")
	}
	random := seeded(e.Seed)
	a := &asker{asking: newAsking(e.Tries, e.Rate, e.Wait, time.Second), e: e, draw: rand.New(seeded(e.Seed + 1)), asked: map[uint64]int{}}
	a.put, a.settled = a.question, a.decided
	key, err := identity.NewKey(random)
	if err != nil {
		return nil, err
	}
	nobody, err := identity.NewKey(random)
	if err != nil {
		return nil, err
	}
	if a.noise1, err = initiation(ToCamera, nobody.Public(), random); err != nil {
		return nil, err
	}
	return a, a.login(e.Server, e.Key, key, random, nil)
}

func (a *asker) HandlePacket(now time.Time, from, _ netip.AddrPort, b []byte) {
	a.box.Begin()
	index, ok := session.ReceiverIndex(b)
	if !ok || !a.link.Owns(index) {
		return
	}
	m, err := a.link.Handle(now, from, b)
	if err != nil {
		return
	}
	switch m := m.(type) {
	case *wire.Refused:
		a.answered(now, m.ID, m.Code, netip.AddrPort{})
	case *wire.Peer:
		a.answered(now, m.ID, 0, m.Endpoint.AddrPort)
	}
	a.ask(now)
}

// answered takes the first answer to a question, and a refusal that follows.
func (a *asker) answered(now time.Time, id uint64, code wire.Code, found netip.AddrPort) {
	i, ok := a.asked[id]
	if !ok {
		return
	}
	x := &a.answers[i]
	if x.Answered {
		if x.Code == 0 && x.Later == 0 {
			x.Later = code
		}
		return
	}
	x.Answered, x.After, x.Code, x.Found = true, now.Sub(a.times[i]), code, found
	a.open--
}

// decided reports whether every question was answered; where what comes later counts, refused, at once or later.
func (a *asker) decided() bool {
	open := func(x Answer) bool { return x.Code == 0 && x.Later == 0 }
	return a.open == 0 && (!a.e.Later || !slices.ContainsFunc(a.answers, open))
}

// question asks for one UID.
func (a *asker) question(_ time.Time, i int) error {
	id := a.draw.Uint64() | 1
	uid := a.e.Guess(i)
	a.asked[id] = i
	a.answers = append(a.answers, Answer{UID: uid})
	a.open++
	a.link.Send(core.Signal, &wire.Connect{ID: id, Camera: uid, Noise1: a.noise1})
	return nil
}
