package attack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// Guesser is a viewer that knows all that is public about a camera, its key included, and not the secret on its label: it asks to be
// let in by one proof after the other.
type Guesser struct {
	Server netip.AddrPort
	Key    identity.PublicKey // the rendezvous'
	Camera identity.PublicKey // whom it asks for
	Made   identity.PublicKey // for whom the handshakes are made, such as another unit; zero: Camera
	// Secret is what the i-th proof is made of, from 0; nil: drawn by chance.
	Secret func(i int) identity.Secret
	Tries  int
	Rate   int           // a second; 0: 5, which a viewer is granted
	Wait   time.Duration // for the last answers; 0: 2 s
	Seed   uint64

	guesses []Guessed
}

// Guessed is what came of one proof.
type Guessed struct {
	In       bool          // the camera took it: its answer opened
	Answered bool          // by the rendezvous or the camera
	Code     wire.Code     // why it was refused; 0: it was not
	After    time.Duration // from the question to that
}

// Name returns "guesser".
func (g *Guesser) Name() string { return "guesser" }

// Guesses lists what the last Run tried, in its order.
func (g *Guesser) Guesses() []Guessed { return g.guesses }

// Run guesses. Being let in is a gain.
func (g *Guesser) Run(ctx context.Context, m *lab.Machine, b Budget) (Report, error) {
	r, err := enter(g, m, b)
	if err != nil {
		return r, err
	}
	a, err := newTrier(g)
	if err != nil {
		return r, fmt.Errorf("guesser: %w", err)
	}
	err = serve(ctx, m, b, served{core: a, start: a.start, over: a.over}, &r)
	g.guesses = a.guesses
	for i, x := range a.guesses {
		switch {
		case x.In:
			r.Counts["let in"]++
			r.Gained = append(r.Gained, fmt.Sprintf("the camera let it in by guess %d", i+1))
		case x.Code != 0:
			r.Counts["refused: "+x.Code.String()]++
		case x.Answered:
			r.Counts["not refused, and not let in"]++
		default:
			r.Counts["unanswered"]++
		}
	}
	return r, err
}

// trier is a Guesser without I/O.
type trier struct {
	asking
	g       *Guesser
	key     identity.Key
	random  io.Reader
	asked   map[uint64]int             // id of a connect → its guess
	doors   map[uint32]int             // index of a handshake → its guess
	hands   map[int]*session.Initiator // by guess
	guesses []Guessed
}

func newTrier(g *Guesser) (*trier, error) {
	if g.Tries < 1 {
		return nil, errors.New("nothing to try: set Tries")
	}
	a := &trier{
		asking: newAsking(g.Tries, g.Rate, g.Wait, 2*time.Second), g: g, random: seeded(g.Seed),
		asked: map[uint64]int{}, doors: map[uint32]int{}, hands: map[int]*session.Initiator{},
	}
	a.put, a.settled = a.guess, a.decided
	var err error
	if a.key, err = identity.NewKey(a.random); err != nil {
		return nil, err
	}
	return a, a.login(g.Server, g.Key, a.key, a.random, func(i uint32) bool { _, taken := a.doors[i]; return taken })
}

func (a *trier) HandlePacket(now time.Time, from, _ netip.AddrPort, b []byte) {
	a.box.Begin()
	index, ok := session.ReceiverIndex(b)
	i, mine := a.doors[index]
	switch {
	case !ok:
	case mine:
		if _, _, err := a.hands[i].Finish(b); err == nil {
			a.answered(now, i, 0)
			a.guesses[i].In = true
		}
	case a.link.Owns(index):
		switch m, _ := a.link.Handle(now, from, b); m := m.(type) {
		case *wire.Refused:
			if i, ok := a.asked[m.ID]; ok {
				a.answered(now, i, m.Code)
			}
		case *wire.Peer:
			if i, ok := a.asked[m.ID]; ok {
				a.answered(now, i, 0)
			}
		}
	}
	a.ask(now)
}

// answered takes the first answer to a guess, and the first refusal.
func (a *trier) answered(now time.Time, i int, code wire.Code) {
	x := &a.guesses[i]
	if !x.Answered || x.Code == 0 && code != 0 {
		x.Answered, x.Code, x.After = true, code, now.Sub(a.times[i])
	}
}

// decided reports whether no guess is open: each was refused, or was let in.
func (a *trier) decided() bool {
	for _, x := range a.guesses {
		if !x.In && x.Code == 0 {
			return false
		}
	}
	return true
}

// guess tries one proof. An error: nothing is random any more.
func (a *trier) guess(now time.Time, i int) error {
	var secret identity.Secret
	if a.g.Secret != nil {
		secret = a.g.Secret(i)
	} else if _, err := io.ReadFull(a.random, secret[:]); err != nil {
		return err
	}
	made := a.g.Made
	if made.IsZero() {
		made = a.g.Camera
	}
	id := uint64(i + 1)
	hello := &wire.Hello{
		Version: wire.ProtocolVersion, ID: id, Proof: identity.PairingProof(secret, a.key.Public(), a.g.Camera), PunchKey: wire.PunchKey{1},
		Flags: wire.FlagStart | wire.FlagDirect, Profile: wire.ProfileAES128GCM,
	}
	payload, err := wire.Marshal(hello)
	if err != nil {
		return err
	}
	taken := func(i uint32) bool { _, taken := a.doors[i]; return taken || a.link.Owns(i) }
	hs, err := session.NewInitiator(session.Config{Static: a.key, Rand: a.random, Prologue: []byte(core.PrologueCamera), Taken: taken},
		made, uint64(now.UnixNano()), payload)
	if err != nil {
		return err
	}
	a.asked[id], a.doors[hs.LocalIndex()], a.hands[i] = i, i, hs
	a.guesses = append(a.guesses, Guessed{})
	a.link.Send(core.Signal, &wire.Connect{ID: id, Camera: a.g.Camera.UID(), Noise1: append([]byte(nil), hs.Message()...)})
	return nil
}
