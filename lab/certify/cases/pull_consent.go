package cases

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

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
