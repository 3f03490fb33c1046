package attack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/uplink"
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
	e       *Enumerator
	box     core.Outbox
	link    *uplink.Link
	draw    *rand.Rand
	noise1  []byte // of a handshake with nobody: no camera opens it
	gap     time.Duration
	wait    time.Duration
	next    time.Time
	asked   map[uint64]int // id of a question → its answer
	times   []time.Time
	answers []Answer
	open    int
	over    chan struct{}
	ended   bool
}

func newAsker(e *Enumerator) (*asker, error) {
	if e.Guess == nil || e.Tries < 1 {
		return nil, fmt.Errorf("nothing to ask for: set Guess and Tries")
	}
	random := seeded(e.Seed)
	a := &asker{e: e, draw: rand.New(seeded(e.Seed + 1)), gap: 200 * time.Millisecond, wait: e.Wait, asked: map[uint64]int{}, over: make(chan struct{})}
	if e.Rate > 0 {
		a.gap = time.Second / time.Duration(e.Rate)
	}
	if a.wait <= 0 {
		a.wait = time.Second
	}
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
	a.link, err = uplink.New(uplink.Config{
		Session: session.Config{Static: key, Rand: random}, Rendezvous: e.Key, Addrs: []netip.AddrPort{e.Server},
		Keepalive: 15 * time.Second, Hello: &wire.Login{Version: wire.ProtocolVersion},
		Up:   func(now time.Time, _ wire.Message) { a.next = now },
		Down: func(time.Time) {},
	}, &a.box)
	return a, err
}

func (a *asker) start(now time.Time) error {
	a.box.Begin()
	return a.link.Start(now)
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

func (a *asker) HandleTimeout(now time.Time) {
	a.box.Begin()
	a.link.HandleTimeout(now)
	a.ask(now)
}

func (a *asker) Deadline() time.Time {
	if a.ended {
		return time.Time{}
	}
	return core.Earliest(a.link.Deadline(), a.next)
}

func (a *asker) Ready() core.Output { return a.box.Ready() }

// answered takes the first answer to a question, and a refusal that follows.
func (a *asker) answered(now time.Time, id uint64, code wire.Code, found netip.AddrPort) {
	i, ok := a.asked[id]
	if !ok {
		return
	}
	if x := &a.answers[i]; x.Answered {
		if x.Code == 0 && x.Later == 0 {
			x.Later = code
		}
		return
	}
	x := &a.answers[i]
	x.Answered, x.After, x.Code, x.Found = true, now.Sub(a.times[i]), code, found
	a.open--
}

// refused reports whether every question was, at once or later.
func (a *asker) refused() bool {
	return !slices.ContainsFunc(a.answers, func(x Answer) bool { return x.Code == 0 && x.Later == 0 })
}

// ask asks what is due, and ends it when everything is answered or has been waited for.
func (a *asker) ask(now time.Time) {
	if a.ended || !a.link.Up() {
		return
	}
	all := len(a.answers) == a.e.Tries
	if all && (a.open == 0 && (!a.e.Later || a.refused()) || core.Due(now, a.next)) {
		a.ended = true
		close(a.over)
		return
	}
	if all || !core.Due(now, a.next) {
		return
	}
	id := a.draw.Uint64() | 1
	uid := a.e.Guess(len(a.answers))
	a.asked[id] = len(a.answers)
	a.answers, a.times = append(a.answers, Answer{UID: uid}), append(a.times, now)
	a.open++
	a.link.Send(core.Signal, &wire.Connect{ID: id, Camera: uid, Noise1: a.noise1})
	if a.next = now.Add(a.gap); len(a.answers) == a.e.Tries {
		a.next = now.Add(a.wait)
	}
}
