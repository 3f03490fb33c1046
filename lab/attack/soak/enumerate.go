package soak

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/stats"
)

const (
	enumeratorLanes = 8
	onlineCameras   = 8  // whose UIDs nobody has
	offlineCameras  = 32 // whose UIDs somebody has collected
)

// enumeration is what enumerators share.
type enumeration struct {
	online  []identity.UID
	offline []identity.UID
	known   victim // an online camera whose UID everybody has
	noise1  []byte // that no camera opens

	mu    sync.Mutex
	times [2][]float64 // of answers about UIDs that never were, and about those that are offline
}

// same is all that an answer shows.
type same struct {
	code wire.Code
	size int
}

func enumerate(ctx context.Context, s Setup, t *tally) error {
	c, err := openScene(s)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.serve("rendezvous"); err != nil {
		return err
	}
	e, err := c.enumeration()
	if err != nil {
		return err
	}
	defer func() { t.timing = e.timing() }()
	return crew(min(enumeratorLanes, s.Tries), func(lane int) (err error) {
		q := &enumerator{enumeration: e, lane: lane, inquirer: inquirer{scene: c, tally: t, noise1: e.noise1}}
		defer q.leave()
		if err := q.calibrate(); err != nil {
			return err
		}
		return t.each(ctx, Enumeration, q.try)
	})
}

// enumeration has cameras come and go.
func (c *scene) enumeration() (*enumeration, error) {
	e := &enumeration{}
	for range onlineCameras {
		u, err := c.camera("camera", false)
		if err != nil {
			return nil, err
		}
		e.online = append(e.online, u.label.UID())
		e.known = victim{public: u.label.Key, kind: "online"}
		u.device.Node().Do(func(time.Time) { e.known.at = u.camera.Stats().Reflexive })
	}
	for range offlineCameras {
		v, err := c.departed()
		if err != nil {
			return nil, err
		}
		e.offline = append(e.offline, v.public.UID())
	}
	var err error
	e.noise1, err = c.unopened()
	return e, err
}

// enumerator is one lane.
type enumerator struct {
	*enumeration
	inquirer
	lane int
	same same
}

// ask asks for a camera, and says what the answer shows.
func (q *enumerator) ask(u identity.UID) (h heard, a same, err error) {
	if h, err = q.inquirer.ask(u); err != nil {
		return h, a, err
	}
	a.size = h.size
	if r, ok := h.message.(*wire.Refused); ok {
		a.code = r.Code
	}
	return h, a, nil
}

// calibrate asks for what never was, and for a camera that everybody knows.
func (q *enumerator) calibrate() error {
	_, a, err := q.ask(unknownUID(rand.New(random(q.tally.setup.Seed, "calibration", q.lane))))
	if err != nil {
		return err
	}
	q.same = a
	h, _, err := q.ask(q.known.public.UID())
	if err != nil {
		return err
	}
	if m, ok := h.message.(*wire.Peer); !ok || m.Endpoint.AddrPort != q.known.at {
		return fmt.Errorf("a camera that is online is not found by its UID: %+v", h.message)
	}
	q.tally.saw("known cameras that are found by their UIDs", 1)
	if a.code != wire.CodeUnavailable {
		return fmt.Errorf("a camera that never was is answered by %v", a.code)
	}
	return nil
}

// unknownUID is one of a key that nobody has.
func unknownUID(draw *rand.Rand) identity.UID {
	var k identity.PublicKey
	for i := range k {
		k[i] = byte(draw.Uint32())
	}
	return k.UID()
}

// try asks one question.
func (q *enumerator) try(draw *rand.Rand, _ int) error {
	switch way := draw.IntN(10); way {
	case 0, 1, 2, 3: // a guess
		return q.guess(draw)
	case 4:
		return q.watch(draw)
	default:
		return q.collected(draw)
	}
}

// guess tries a UID of which nobody has told it.
func (q *enumerator) guess(draw *rand.Rand) error {
	near := q.online[draw.IntN(len(q.online))]
	rules := []struct {
		name string
		next attack.Guess
	}{
		{"guessed: a number", attack.Sequential(uint64(draw.Uint32()))},
		{"guessed: a MAC address", attack.FromMAC([3]byte{byte(draw.Uint32()), 0x12, 0x31}, draw.Uint32())},
		{"guessed: near a camera that is online", attack.Near(near, draw.Uint64())},
		{"guessed: near a camera that is offline", attack.Near(q.offline[draw.IntN(len(q.offline))], draw.Uint64())},
		{"guessed: the hash of a number", func(int) identity.UID { return identity.PublicKey{byte(draw.Uint32()), byte(draw.Uint32())}.UID() }},
		{"guessed: anything", func(int) identity.UID { return unknownUID(draw) }},
	}
	rule := rules[draw.IntN(len(rules))]
	h, a, err := q.ask(rule.next(0))
	if err != nil {
		return err
	}
	q.tally.tried(rule.name, q.told(h, a, "a UID that was guessed"))
	return nil
}

// collected asks for a camera that is offline or for one that never was: the answers must not tell which.
func (q *enumerator) collected(draw *rand.Rand) error {
	exists := draw.IntN(2)
	u := unknownUID(draw)
	if exists == 1 {
		u = q.offline[draw.IntN(len(q.offline))]
	}
	h, a, err := q.ask(u)
	if err != nil {
		return err
	}
	q.mu.Lock()
	q.times[exists] = append(q.times[exists], h.after.Seconds())
	q.mu.Unlock()
	name := []string{"collected: one that never was", "collected: one that is offline"}[exists]
	q.tally.tried(name, q.told(h, a, "a UID that was collected"))
	return nil
}

// told says what an answer tells that it must not.
func (q *enumerator) told(h heard, a same, whose string) string {
	if m, ok := h.message.(*wire.Peer); ok {
		return fmt.Sprintf("%s is a camera's at %v", whose, m.Endpoint)
	}
	if a != q.same {
		return fmt.Sprintf("%s is answered by %v in %d bytes, and one that never was by %v in %d", whose, a.code, a.size, q.same.code, q.same.size)
	}
	return ""
}

// watch asks to be told of one that is offline and one that never was, in either order.
func (q *enumerator) watch(draw *rand.Rand) error {
	if err := q.fresh(); err != nil {
		return err
	}
	q.spend() // a session's first watch has the sequence 1
	exists := q.offline[draw.IntN(len(q.offline))]
	both := []identity.UID{exists, unknownUID(draw)}
	if draw.IntN(2) == 0 {
		slices.Reverse(both)
	}
	h, err := q.viewer.ask(&wire.Watch{Sequence: 1, Cameras: both}, func(m wire.Message) bool {
		p, ok := m.(*wire.Presence)
		return ok && p.Answers == 1
	})
	if err != nil {
		return err
	}
	p := h.message.(*wire.Presence)
	gain := ""
	if len(p.Cameras) != 2 || p.Cameras[0].UID != both[0] || p.Cameras[1].UID != both[1] {
		gain = fmt.Sprintf("a watch of two is answered by %+v", p.Cameras)
	}
	for _, s := range p.Cameras {
		if s.State != wire.StateUnavailable || s.Age != 0 {
			gain = fmt.Sprintf("a watch tells of %v: %v since %d s (it exists: %v)", s.UID, s.State, s.Age, s.UID == exists)
		}
	}
	q.tally.tried("watched: one that is offline and one that never was", gain)
	return nil
}

// timing compares the times of answers.
func (e *enumeration) timing() *Timing {
	unknown, offline := e.times[0], e.times[1]
	if len(unknown) == 0 || len(offline) == 0 {
		return nil
	}
	u, p := stats.MannWhitney(offline, unknown)
	pairs := float64(len(unknown)) * float64(len(offline))
	// The variance of U where both have one distribution (Mann and Whitney 1947), which is what is asked.
	half := 1.96 * math.Sqrt(float64(len(unknown)+len(offline)+1)/12/pairs)
	chance := u / pairs
	slices.Sort(unknown)
	slices.Sort(offline)
	return &Timing{
		Offline: len(offline), Unknown: len(unknown), Chance: chance, Low: chance - half, High: chance + half, P: p,
		OfflineMedian: stats.Quantile(offline, 0.5), UnknownMedian: stats.Quantile(unknown, 0.5),
	}
}
