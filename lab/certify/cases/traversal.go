package cases

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// traversal are the procedures of group NAT.
func traversal() map[string]Procedure {
	return map[string]Procedure{
		"NAT-1": everyPair, "NAT-2": twoSymmetric, "NAT-3": carriers,
		"NAT-4": neighbours, "NAT-5": sixAlone, "NAT-6": webAlone, "NAT-7": keptOpen,
		"NAT-8": anotherPort, "NAT-9": anotherAddress, "NAT-10": lossyHandshake,
	}
}

// ask is what is asked of one connect.
type ask struct {
	within time.Duration // of the request: the first whole frame
	direct time.Duration // of the first frame: media goes no more by a server; 0: it may go on doing so
	watch  time.Duration // that the viewer watches
	first  func() error  // is called when the first frame has come, or will not; may be nil
}

// got is what became of one connect.
type got struct {
	view   *stage.View
	first  stage.Frame
	took   time.Duration // from the viewer's first packet to the first whole frame
	direct bool          // media went past the servers in the end
	route  string        // by which it went in the end: "direct", "relayed", …
	why    string        // what was missed; empty: nothing
}

// connect has a viewer ask for the camera, and watches until what is asked for has come, or its time is over. What the camera's side
// misses is in got.why, and an error is a verdict's (Stage.Judge). The viewer goes on watching: whoever calls stops it.
func connect(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera, a ask) (g got, err error) {
	g.view, err = x.View(ctx, stage.Viewing{Camera: camera, For: a.watch})
	if err != nil {
		return g, err
	}
	s.Saw("connects", 1)
	// A vendor's viewer may write its frames down at its end alone: whether the first came in time is told by its time.
	short, cancel := context.WithTimeout(ctx, a.within+a.watch+grace)
	defer cancel()
	g.first, err = g.view.FirstFrame(short)
	if a.first != nil {
		if ferr := a.first(); ferr != nil {
			return g, ferr
		}
	}
	var timeout *stage.Timeout
	var ended *stage.Ended
	switch {
	case ctx.Err() != nil:
		return g, ctx.Err()
	case errors.As(err, &timeout):
		g.why = fmt.Sprintf("no whole frame within %v", a.within+a.watch+grace)
		return g, nil
	case errors.As(err, &ended):
		g.why = fmt.Sprintf("no whole frame: %v", err)
		return g, nil
	case err != nil:
		return g, err
	}
	s.Saw("frames", 1)
	if g.took = g.first.T.Sub(g.view.Asked()); g.took > a.within {
		g.why = fmt.Sprintf("the first whole frame came %s after the request, and %s is allowed", ms(g.took), ms(a.within))
		return g, nil
	}
	return g, g.settle(ctx, s, x, a)
}

// grace is how long what is judged by its own time may take to be written down.
const grace = 2 * time.Second

// ms rounds a time for a sentence.
func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// routeWindow is how long media has to go one way to be called going that way.
const routeWindow = 500 * time.Millisecond

// settle waits until media goes past the servers, as long as that is asked for, and says how it goes then.
func (g *got) settle(ctx context.Context, s *stage.Stage, x *stage.Set, a ask) error {
	began := time.Now()
	for {
		g.direct, g.route = way(x, g.view.Host(), g.view.Mark())
		switch waited := time.Since(began); {
		case g.direct, a.direct == 0 && waited >= routeWindow:
			return nil
		case waited >= max(a.direct, routeWindow):
			g.why = fmt.Sprintf("media did not go directly %s after the first frame: it went %s", ms(a.direct), g.route)
			return nil
		}
		if err := s.Pause(ctx, 25*time.Millisecond); err != nil { // until the window is another one
			return err
		}
	}
}

// way is how media that came to a host in the last moments went: past all servers, or by which routes.
func way(x *stage.Set, host string, from int) (direct bool, route string) {
	routes := x.Routes()
	all := x.Tape().Packets(from, tape.CameTo(host), tape.Between(time.Now().Add(-routeWindow), time.Time{}))
	recent := tape.Select(all, tape.Media)
	counts := map[tape.Route]int{}
	for i := range recent {
		counts[routes.Of(&recent[i])]++
	}
	byServers := tape.Bytes(tape.Select(all, routes.By(tape.Relayed, tape.Other)))
	for _, r := range []tape.Route{tape.Local, tape.Hairpin, tape.Direct, tape.Relayed, tape.Other} {
		if n := counts[r]; n > 0 {
			route += fmt.Sprintf(", %s (%d packets)", r, n)
		}
	}
	if route == "" {
		return false, "nowhere"
	}
	servers := counts[tape.Relayed] + counts[tape.Other]
	if small := byServers > tape.Bytes(all)/4; small && servers == 0 {
		return false, fmt.Sprintf("%s, and %d of %d bytes by servers in small packets", route[2:], byServers, tape.Bytes(all))
	}
	return servers == 0 && len(recent) >= leastMedia, route[2:]
}

// leastMedia is how many packets of media are enough to tell their way.
const leastMedia = 5

// retake is a try of something that the case claims a rate of: it is counted, noted and put down, and its viewer stopped.
func retake(s *stage.Stage, g got, record map[string]any) error {
	s.Try(g.why != "")
	record["first frame after ms"], record["route"] = g.took.Milliseconds(), g.route
	if g.why != "" {
		record["missed"] = g.why
	}
	s.Record(record)
	return g.view.Stop()
}

// rated is the verdict by the tries of a rate. In brief any failure is one too many; in full the number decides (certify.Settle).
func rated(s *stage.Stage, firstMissed string) certify.Result {
	c := s.Claim()
	if c.Failures > 0 && (s.Brief() || c.Refutes(s.Case().Rate)) {
		return s.Fail("%d of %d connects failed; the first: %s", c.Failures, c.Tries, firstMissed)
	}
	return s.Pass()
}
