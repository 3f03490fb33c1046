package cases

import (
	"context"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// neighbours is NAT-4: camera and viewer are in one LAN, behind a router that hairpins and behind one that does not.
func neighbours(ctx context.Context, s *stage.Stage) certify.Result {
	turned := 0 // packets that the router turned round
	for _, topology := range []string{"same-lan", "same-lan-no-hairpin"} {
		x, err := s.Set(ctx, topology)
		if err != nil {
			return s.Judge(err)
		}
		camera, err := x.Camera(ctx, 1)
		if err != nil {
			return s.Judge(err)
		}
		for range s.N(2, 1) {
			hairpins, verdict, ok := besideIt(ctx, s, x, camera, topology)
			if !ok {
				return verdict
			}
			turned += hairpins
		}
	}
	if turned > 0 {
		return s.PassNonstrict("%d packets of media were turned round by the router (hairpinning), and did not leave it", turned)
	}
	return s.Pass()
}

// routerOf says what tells the topologies apart.
var routerOf = map[string]string{
	"same-lan":            "whose router hairpins (sends back what is for its own external address)",
	"same-lan-no-hairpin": "whose router does not hairpin (send back what is for its own external address)",
}

// besideIt has a viewer in the camera's LAN watch, and counts the packets of media that the router turned round; ok: none left it.
func besideIt(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera, topology string) (hairpins int, r certify.Result, ok bool) {
	// Media may go any way until the sides have found each other.
	settle, watch := s.For(5*time.Second, 2*time.Second), s.For(10*time.Second, 2*time.Second)
	g, err := connect(ctx, s, x, camera, ask{within: 15 * time.Second, watch: settle + watch + time.Second})
	switch {
	case err != nil:
		return 0, s.Judge(err), false
	case g.why != "":
		return 0, s.Fail("a viewer in the camera's LAN, %s: %s", routerOf[topology], g.why), false
	}
	from := g.first.T.Add(settle)
	if err := s.Pause(ctx, time.Until(from.Add(watch))); err != nil {
		return 0, s.Judge(err), false
	}
	sent := tape.Streamed(x.Tape().Packets(g.view.Mark(), camera.Out(), tape.Between(from, from.Add(watch))))
	routes := x.Routes()
	counts := map[string]int{}
	left := 0
	for i := range sent {
		route := routes.Of(&sent[i])
		counts[route.String()]++
		if route != tape.Local && route != tape.Hairpin {
			left++
		}
	}
	s.Saw("frames", len(g.view.Frames())-1) // beside the first
	s.Note("%s: from %v to %v after the first frame the camera sent media by these routes: %v", topology, settle, settle+watch, counts)
	if err := g.view.Stop(); err != nil {
		return 0, s.Judge(err), false
	}
	switch {
	case left > 0:
		return 0, s.Fail("%s: %d of %d packets of media left the site by the router's uplink, from %v to %v after the first frame", topology,
			left, len(sent), settle, settle+watch), false
	case len(sent) < leastMedia:
		return 0, s.Inconclusive("%s: the camera sent %d packets of media from %v to %v after the first frame: too few to say how they go", topology,
			len(sent), settle, settle+watch), false
	}
	return counts[tape.Hairpin.String()], r, true
}

// sixAlone is NAT-5: there is no IPv4, and a stateful firewall before each side.
func sixAlone(ctx context.Context, s *stage.Stage) certify.Result {
	t, err := s.Load("ipv6-only")
	if err != nil {
		return s.Judge(err)
	}
	for i := range t.Public {
		var six []netip.Addr
		for _, a := range t.Public[i].Addrs {
			if a.Is6() {
				six = append(six, a)
			}
		}
		t.Public[i].Addrs = six
	}
	if err := t.Resolve(); err != nil {
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
	a := ask{within: s.Decl().Bounds.FirstFrame, direct: s.For(10*time.Second, 4*time.Second), watch: s.For(15*time.Second, 6*time.Second)}
	for i := range s.N(10, 2) {
		g, err := connect(ctx, s, x, camera, a)
		if err != nil {
			return s.Judge(err)
		}
		s.Note("connect %d: first frame after %s, media went %s %s", i+1, ms(g.took), g.route, g.why)
		if g.why != "" {
			return s.Fail("connect %d of %d: %s", i+1, s.N(10, 2), g.why)
		}
		if err := g.view.WaitFrames(ctx, 7); err != nil {
			return s.Judge(err)
		}
		s.Saw("frames", 6)
		if err := g.view.Stop(); err != nil {
			return s.Judge(err)
		}
	}
	return s.Pass()
}
