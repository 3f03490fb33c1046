package cases

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// registration are the procedures of group REG.
func registration() map[string]Procedure {
	return map[string]Procedure{
		"REG-1": holderStays,
		"REG-2": replayRefused,
		"REG-3": follows,
		"REG-4": goes,
		"REG-5": spaced,
		"REG-6": mass,
	}
}

// registry is a registered camera, what was overheard of its registration, and an impostor.
type registry struct {
	s      *stage.Stage
	x      *stage.Set
	camera *stage.Camera
	ticket []byte
	said   []piece
	at     netip.AddrPort // where the server sees the camera
	enemy  *registrant
	forger *forger
	tried  int
}

// serverHost is the host of that name in each topology.
const serverHost = "rendezvous"

// newRegistry sets it up. A viewer has reached the camera once. close its enemy.
func newRegistry(ctx context.Context, s *stage.Stage, only ...string) (*registry, error) {
	x, camera, err := bring(ctx, s, "attackers")
	if err != nil {
		return nil, err
	}
	c := &registry{s: s, x: x, camera: camera}
	if c.ticket, err = c.camera.Ticket(); err != nil {
		return nil, err
	}
	if err := c.listen(0); err != nil {
		return nil, err
	}
	s.Saw("registrations", 1)
	r, err := visit{Camera: c.camera}.make(ctx, x)
	if err != nil {
		return nil, err
	}
	if !r.Reached {
		return nil, &notSeen{fmt.Sprintf("no viewer could reach the camera before any try was made: the viewer ended with code %d after %v", r.Code, r.Took.Round(time.Millisecond))}
	}
	if c.enemy, err = newRegistrant(x); err != nil {
		return nil, err
	}
	c.forger = newForger(s, c.said, c.ticket, only...)
	kinds := map[string]int{}
	for _, p := range c.said {
		if p.TCP {
			kinds["streams"]++
		} else {
			kinds["datagrams"]++
		}
	}
	s.Note("overheard of the camera's words to its servers: %d datagrams, %d streams; the server sees it at %v; the impostor is at %v",
		kinds["datagrams"], kinds["streams"], c.at, c.enemy.host.Addr())
	return c, nil
}

// notSeen is what could not be observed: no verdict can be given.
type notSeen struct{ why string }

func (u *notSeen) Error() string { return u.why }

// listen takes what the camera has said since a position of the tape.
func (c *registry) listen(from int) error {
	if !talked(c.x, c.camera, from) {
		return &notSeen{"the camera exchanged nothing with its servers that could be a registration"}
	}
	c.said = append(c.said, overheard(c.x, c.camera, from)...)
	if len(c.said) == 0 {
		return &notSeen{"nothing that the camera said to its servers could be read at the IP layer: there is nothing to send again"}
	}
	if ends := seenAt(c.x, c.camera, serverHost, from); len(ends) > 0 {
		c.at = ends[len(ends)-1]
	}
	return nil
}

// verdictOf makes one of an error of a registry's.
func verdictOf(s *stage.Stage, err error) certify.Result {
	if u, ok := err.(*notSeen); ok {
		return s.Inconclusive("%s", u.why)
	}
	return s.Judge(err)
}

// attack makes tries, from the impostor's address or the camera's, and counts them.
func (c *registry) attack(ctx context.Context, n int, from netip.AddrPort) error {
	made, err := c.enemy.batch(ctx, c.s, c.forger, c.tried, n, from)
	if err != nil {
		return err
	}
	total := 0
	for _, k := range made {
		total += k
	}
	c.tried += n
	whose := "its own address"
	if from.IsValid() {
		whose = "the camera's address, " + from.String()
	}
	c.s.Note("the impostor made %d tries from %s: %v", total, whose, made)
	c.s.Saw("tries", total)
	for range total {
		c.s.Try(false)
	}
	return nil
}

// caught ends the case: a try was taken.
func (c *registry) caught(format string, args ...any) certify.Result {
	c.s.Try(true)
	return c.s.Fail(format, args...)
}

// look has a viewer ask, and notes what came of it.
func (c *registry) look(ctx context.Context, when string) (visited, error) {
	r, err := visit{Camera: c.camera, Ticket: c.ticket}.make(ctx, c.x)
	if err != nil {
		return r, err
	}
	led, told := c.enemy.led(c.x, r.Mark, "viewer"), c.enemy.told(c.x, r.Mark, "viewer")
	c.s.Record(map[string]any{"when": when, "tries so far": c.tried, "reached": r.Reached, "code": r.Code, "seconds": r.Took.Seconds(),
		"packets to the impostor": led, "packets that told the impostor the viewer's address": told})
	c.s.Note("a viewer asked %s: reached %v, code %d, %v; %d packets to the impostor", when, r.Reached, r.Code, r.Took.Round(time.Millisecond), led)
	return r, nil
}

// betrayed says what the impostor has of a viewer since a position of the tape; empty: nothing.
func (c *registry) betrayed(from int) string {
	if n := c.enemy.led(c.x, from, "viewer"); n > 0 {
		return fmt.Sprintf("the viewer was sent to the impostor at %v: it sent %d packets there", c.enemy.host.Addr(), n)
	}
	if n := c.enemy.told(c.x, from, "viewer"); n > 0 {
		return fmt.Sprintf("the impostor was told where the viewer is, in %d packets", n)
	}
	return ""
}

// keyProved is ID-2: an impostor registers as the camera while that is offline.
func keyProved(ctx context.Context, s *stage.Stage) certify.Result {
	c, err := newRegistry(ctx, s)
	if err != nil {
		return verdictOf(s, err)
	}
	defer c.enemy.close()
	back, err := c.leave(ctx)
	if err != nil {
		return s.Judge(err)
	}
	batches := s.N(6, 2)
	for range batches {
		if err := c.attack(ctx, s.N(50, 18), netip.AddrPort{}); err != nil {
			return s.Judge(err)
		}
		r, err := c.look(ctx, fmt.Sprintf("after %d tries", c.tried))
		if err != nil {
			return s.Judge(err)
		}
		if why := c.betrayed(r.Mark); why != "" {
			return c.caught("while the camera was offline a registration without its key was taken within %d tries: %s", c.tried, why)
		}
		if r.Frames > 0 {
			return c.caught("while the camera was offline a viewer got %d frames after %d tries of the impostor", r.Frames, c.tried)
		}
		c.enemy.hangUp()
	}
	if err := back(ctx); err != nil {
		return s.Judge(err)
	}
	r, err := c.look(ctx, "once the camera was back")
	switch {
	case err != nil:
		return s.Judge(err)
	case !r.Reached:
		return c.caught("after %d tries no viewer reaches the camera, which is back: the viewer ended with code %d after %v", c.tried, r.Code, r.Took.Round(time.Millisecond))
	}
	s.Saw("registrations", 1)
	return s.Pass()
}

// leave takes the camera offline, as its server sees it: in brief in order, in full by its power and the time that REG-4 gives. back
// brings it back.
func (c *registry) leave(ctx context.Context) (back func(context.Context) error, err error) {
	known := 2*time.Duration(c.s.Decl().Bounds.Keepalive) + 2*time.Second
	switch {
	case c.s.Way() == stage.Box:
		undo, err := c.x.Do(lab.Event{Do: lab.DoUplinkDown, Site: "camera"})
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			if err := undo(); err != nil {
				return err
			}
			return c.s.Pause(ctx, time.Duration(c.s.Decl().Bounds.Keepalive)+time.Duration(c.s.Decl().Bounds.Recovery))
		}, c.s.Pause(ctx, known)
	case c.s.Brief():
		c.s.Note("the camera is told to end")
		return func(ctx context.Context) (err error) {
			c.camera, err = c.x.Camera(ctx, 1)
			return err
		}, c.camera.Stop()
	}
	if err := c.camera.Kill(); err != nil {
		return nil, err
	}
	c.s.Note("waiting %v until the server must have missed the camera", known)
	return c.camera.Start, c.s.Pause(ctx, known)
}

// holderStays is REG-1: an impostor registers as a camera that is there.
func holderStays(ctx context.Context, s *stage.Stage) certify.Result {
	c, err := newRegistry(ctx, s)
	if err != nil {
		return verdictOf(s, err)
	}
	defer c.enemy.close()
	s.Saw("connects", 1)
	for i := range s.N(10, 2) {
		from := netip.AddrPort{}
		if i%2 == 1 {
			from = c.at
		}
		mark := c.x.Tape().Mark()
		trying := make(chan error, 1)
		go func() { trying <- c.attack(ctx, s.N(32, 18), from) }()
		during, err := c.look(ctx, "during the tries")
		if e := <-trying; err == nil {
			err = e
		}
		if err != nil {
			return s.Judge(err)
		}
		after, err := c.look(ctx, fmt.Sprintf("after %d tries", c.tried))
		if err != nil {
			return s.Judge(err)
		}
		s.Saw("connects", 2)
		if why := c.betrayed(mark); why != "" {
			return c.caught("the holder was displaced within %d tries: %s", c.tried, why)
		}
		for i, r := range []visited{during, after} {
			if !r.Reached {
				return c.caught("%s %d tries of the impostor a viewer did not reach the camera: it ended with code %d after %v",
					[]string{"during", "after"}[i], c.tried, r.Code, r.Took.Round(time.Millisecond))
			}
		}
		c.enemy.hangUp()
	}
	return s.Pass()
}
