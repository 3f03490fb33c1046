package cases

import (
	"context"
	"errors"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/link"
)

// handshakeLoss is how many of the packets each way are lost from the request to the first frame.
const handshakeLoss = 0.30

// lossyTopology is two homes, and links that lose on their way up: a packet from one host to another meets one such link.
func lossyTopology(s *stage.Stage) (*lab.Topology, error) {
	t, err := s.Load("two-homes")
	if err != nil {
		return nil, err
	}
	for _, base := range []string{"broadband", "lan"} {
		p, _ := link.Lookup(base)
		p.Name, p.Source, p.Up.Loss = "lossy-"+base, "this case's choice, on "+base, handshakeLoss
		t.Links = append(t.Links, p)
	}
	return t, t.Resolve()
}

// lossyHandshake is NAT-10: from the request to the first frame 30 % of all packets are lost.
func lossyHandshake(ctx context.Context, s *stage.Stage) certify.Result {
	t, err := lossyTopology(s)
	if err != nil {
		return s.Judge(err)
	}
	x, err := s.Topology(ctx, t)
	if err != nil {
		return s.Judge(err)
	}
	camera, err := x.Camera(ctx, 1)
	if err != nil {
		return s.Judge(err)
	}
	first := ""
	for i := range s.N(93, 4) { // one failure in 93 still shows 95 %
		g, lost, err := lossyConnect(ctx, s, x, camera)
		if err != nil {
			return s.Judge(err)
		}
		s.Saw("lost", lost)
		s.Note("connect %d: %d packets lost, first frame after %s, media went %s %s", i+1, lost, ms(g.took), g.route, g.why)
		if first == "" {
			first = g.why
		}
		if err := retake(s, g, map[string]any{"connect": i + 1, "lost": lost}); err != nil {
			return s.Judge(err)
		}
		if s.Brief() && first != "" {
			break
		}
	}
	return rated(s, first)
}

// lossyConnect has the links lose from before the viewer's request until its first frame.
func lossyConnect(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera) (g got, lost int, err error) {
	before, err := lostBy(x)
	if err != nil {
		return g, 0, err
	}
	var mend []func() error
	for _, e := range []lab.Event{
		{Do: lab.DoLink, Site: "camera", Link: "lossy-broadband"},
		{Do: lab.DoLink, Site: "viewer", Link: "lossy-broadband"},
		{Do: lab.DoLink, Host: "rendezvous", Link: "lossy-lan"},
	} {
		undo, err := x.Do(e)
		if err != nil {
			return g, 0, err
		}
		mend = append(mend, undo)
	}
	g, err = connect(ctx, s, x, camera, ask{within: 15 * time.Second, watch: 2 * time.Second, first: func() error {
		after, err := lostBy(x)
		lost = after - before
		for _, undo := range mend {
			err = errors.Join(err, undo())
		}
		return err
	}})
	return g, lost, err
}

// lostBy is how many packets the links have lost so far.
func lostBy(x *stage.Set) (n int, err error) {
	stats, err := x.Lab().Stats()
	for _, u := range stats.Uplinks {
		n += int(u.Drops[link.Lost])
	}
	return n, err
}
