package cases

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	ids "github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
)

// replayRefused is REG-2: what the camera said to its server is sent again.
func replayRefused(ctx context.Context, s *stage.Stage) certify.Result {
	c, err := newRegistry(ctx, s, sentAgain)
	if err != nil {
		return verdictOf(s, err)
	}
	defer c.enemy.close()
	first := c.at
	each := s.N(38, 10)
	if r, bad := c.replay(ctx, each, "at once", true, netip.AddrPort{}, first); bad {
		return r
	}
	if err := c.moves(ctx); err != nil {
		return verdictOf(s, err)
	}
	if r, bad := c.replay(ctx, each, "after the camera moved", true, netip.AddrPort{}, first); bad {
		return r
	}
	back, err := c.leave(ctx)
	if err != nil {
		return s.Judge(err)
	}
	if r, bad := c.replay(ctx, each, "after the camera went offline", false, netip.AddrPort{}, c.at); bad {
		return r
	}
	s.Note("the server is killed, and started again")
	server := c.x.Program(certify.RoleRendezvous)
	server.Kill()
	if err := server.Start(ctx); err != nil {
		return s.Judge(err)
	}
	if r, bad := c.replay(ctx, each, "after the server restarted", false, netip.AddrPort{}, c.at); bad {
		return r
	}
	if err := back(ctx); err != nil {
		return s.Judge(err)
	}
	r, err := c.look(ctx, "once the camera was back")
	switch {
	case err != nil:
		return s.Judge(err)
	case !r.Reached:
		return c.caught("after %d replays no viewer reaches the camera, which is back: the viewer ended with code %d after %v",
			c.tried, r.Code, r.Took.Round(time.Millisecond))
	}
	return s.Pass()
}

// moves gives the camera another external address, where it registers anew: a program after a power cut, a box by itself.
func (c *registry) moves(ctx context.Context) error {
	if c.s.Way() != stage.Box {
		if err := c.camera.Kill(); err != nil {
			return err
		}
	}
	if _, err := c.x.Do(lab.Event{Do: lab.DoReaddress, Site: "camera"}); err != nil {
		return err
	}
	mark := c.x.Tape().Mark()
	if err := c.camera.Start(ctx); err != nil {
		return err
	}
	if c.s.Way() == stage.Box {
		if err := c.s.Pause(ctx, time.Duration(c.s.Decl().Bounds.Keepalive)+time.Duration(c.s.Decl().Bounds.Recovery)); err != nil {
			return err
		}
	}
	was := c.at
	if err := c.listen(mark); err != nil {
		return err
	}
	c.forger.said = c.said
	c.s.Saw("registrations", 1)
	c.s.Note("the camera has moved: the server saw it at %v, and sees it at %v now", was, c.at)
	return nil
}

// replay sends what was overheard again, from each source (none: the impostor's own), and looks what became of it. It says what the
// case ends with, if it does.
func (c *registry) replay(ctx context.Context, n int, when string, online bool, from ...netip.AddrPort) (certify.Result, bool) {
	before := visited{}
	if !online {
		var err error
		if before, err = c.look(ctx, when+", before any replay"); err != nil {
			return c.s.Judge(err), true
		}
		if before.Reached {
			return c.s.Inconclusive("the camera is offline, and a viewer gets frames all the same: whose, nobody can tell"), true
		}
	}
	for _, source := range from {
		whose := "the impostor's own address"
		if source.IsValid() {
			whose = "the camera's address"
		}
		mark := c.x.Tape().Mark()
		if err := c.attack(ctx, n, source); err != nil {
			return c.s.Judge(err), true
		}
		r, err := c.look(ctx, when)
		if err != nil {
			return c.s.Judge(err), true
		}
		if why := c.betrayed(mark); why != "" {
			return c.caught("replayed %s from %s, a recorded registration was taken: %s", when, whose, why), true
		}
		switch {
		case online && !r.Reached:
			return c.caught("replayed %s from %s, recorded registrations kept a viewer from the camera: it ended with code %d after %v",
				when, whose, r.Code, r.Took.Round(time.Millisecond)), true
		case !online && r.Frames > 0:
			return c.caught("replayed %s from %s, recorded registrations brought a viewer %d frames, and the camera was offline", when, whose, r.Frames), true
		case !online && r.Took > before.Took+waits:
			return c.caught("replayed %s from %s, recorded registrations have the camera said to be online: a viewer waited %v for it, %v before",
				when, whose, r.Took.Round(time.Millisecond), before.Took.Round(time.Millisecond)), true
		}
		if at, said, err := c.located(ctx); err != nil {
			return c.s.Judge(err), true
		} else if said && !online {
			return c.caught("replayed %s from %s, recorded registrations have the camera said to be online, at %v", when, whose, at), true
		} else if said && at.Addr() == c.enemy.host.Addr() {
			return c.caught("replayed %s from %s, recorded registrations have viewers sent to the impostor at %v", when, whose, at), true
		}
		c.enemy.hangUp()
	}
	return certify.Result{}, false
}

// waits is how much longer a viewer takes that waits for a camera than one that is told at once that there is none.
const waits = 4 * time.Second

// located asks a bundled server where the camera is; false: it says that it is offline, or the server is not bundled.
func (c *registry) located(ctx context.Context) (netip.AddrPort, bool, error) {
	label, ok := labelOf(c.ticket)
	if !ok || !c.s.Bundled(certify.RoleRendezvous) && c.s.Way() == stage.Endpoint {
		return netip.AddrPort{}, false, nil
	}
	answers, err := c.enumerate(ctx, label, 1, attack.Listed(label.UID()))
	if err != nil || len(answers) == 0 {
		return netip.AddrPort{}, false, err
	}
	return answers[0].Found, answers[0].Found.IsValid(), nil
}

// enumerate asks a server of the bundled protocol for UIDs, as a viewer that nobody has paired.
func (c *registry) enumerate(ctx context.Context, label ids.Label, n int, guess attack.Guess) ([]attack.Answer, error) {
	return askFor(ctx, c.s, c.x, label, &attack.Enumerator{Guess: guess, Tries: n})
}

// askFor runs an enumerator on the host rogue, against the server of a label.
func askFor(ctx context.Context, s *stage.Stage, x *stage.Set, label ids.Label, e *attack.Enumerator) ([]attack.Answer, error) {
	at, err := labelServer(x, "rogue", label)
	if err != nil {
		return nil, err
	}
	e.Server, e.Key, e.Seed = at, label.RendezvousKey, s.Seed(2000+x.Tape().Mark())
	_, err = e.Run(ctx, x.Host("rogue"), attack.Budget{Packets: 10*e.Tries + 100, Duration: 2 * time.Minute})
	return e.Answers(), err
}

// labelServer is where a label's rendezvous is, as a host reaches it.
func labelServer(x *stage.Set, host string, label ids.Label) (netip.AddrPort, error) {
	_, port, err := splitPort(label.Rendezvous[0])
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("the label's rendezvous: %w", err)
	}
	for _, a := range x.Servers(host) {
		if a.Is4() {
			return netip.AddrPortFrom(a, port), nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("host %s reaches the rendezvous by no IPv4 address", host)
}
