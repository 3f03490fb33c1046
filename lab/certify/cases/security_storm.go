package cases

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// storm is SEC-11: in mid-stream a host off the path sends what is broken to everybody who takes part, each time in the name of the one
// from whom the real thing comes; and where TCP connections are taken, says what is broken on many of its own.
//
//	camera ◄── in the viewer's name, the servers' ── off-path ── in the camera's name ──► viewer, rendezvous, relay
//	camera's TCP ports ◄── connections of its own ── off-path, on-path
func storm(ctx context.Context, s *stage.Stage) certify.Result {
	x, err := s.Set(ctx, "attackers")
	if err != nil {
		return s.Judge(err)
	}
	camera, err := x.Camera(ctx, 1)
	if err != nil {
		return s.Judge(err)
	}
	v, err := x.View(ctx, stage.Viewing{Camera: camera})
	if err == nil {
		err = v.WaitFrames(ctx, 30)
	}
	if err != nil {
		return s.Judge(err)
	}
	began := time.Now()
	err = rage(ctx, s, x, s.N(12000, 2500))
	if err == nil {
		n := s.N(13000, 154)
		if s.Observed("malformed") > 0 {
			n = s.N(2000, 99) // beside the datagrams
		}
		err = garble(ctx, s, x, camera, n)
	}
	if err != nil {
		return s.Judge(cmp.Or(camera.Fault(), err))
	}
	if s.Observed("malformed") == 0 {
		return s.Inconclusive("no datagram of a flow between the camera, the viewer and their servers was seen, and nobody took a TCP " +
			"connection: there was nobody to storm")
	}
	if r, bad := weathered(ctx, s, x, camera, v, began); bad {
		return r
	}
	return again(ctx, s, x, camera)
}

const (
	stormRate = 1500 // packets a second in all: what is broken, not a flood (RES-4)
	longestUp = 1372 // bytes of UDP payload: no router has to split it
)

// rage sends n malformed datagrams over the hops that there are, in turn, and counts those that arrived.
func rage(ctx context.Context, s *stage.Stage, x *stage.Set, n int) error {
	hops := passages(x.Tape().Packets(0))
	if len(hops) == 0 {
		s.Note("no datagram of the camera's, the viewer's or the servers' came to another of them")
		return nil
	}
	var live []passage // in use: they get half of it
	for _, p := range hops {
		if time.Since(p.said[len(p.said)-1].At) < 5*time.Second && len(p.said) > 3 {
			live = append(live, p)
			s.Note("%s to %s: from %v to %v, %d datagrams so far", p.A, p.B, p.From, p.To, len(p.said))
		}
	}
	s.Note("%d ways of datagrams, %d of them in use", len(hops), len(live))
	draw := rand.New(seeded(s.Seed(0)))
	sent := map[string]bool{}
	var shots []attack.Shot
	for i := range n {
		h := hops[i/2%len(hops)]
		if i%2 == 0 && len(live) > 0 {
			h = live[i/2%len(live)]
		}
		b := malform(draw, h.said[draw.IntN(len(h.said))].Payload)
		sent[h.From.String()+string(b)] = true
		shots = append(shots, attack.Shot{From: h.From, To: h.To, B: b})
	}
	for _, h := range hops {
		for _, p := range h.said {
			delete(sent, h.From.String()+string(p.Payload)) // a change that came out as something real
		}
	}
	from := x.Tape().Mark()
	if err := volley(ctx, x.Host("off-path"), stormRate, shots); err != nil {
		return err
	}
	if err := s.Pause(ctx, 200*time.Millisecond); err != nil { // for the last ones to arrive
		return err
	}
	arrived := map[string]int{}
	for _, p := range x.Tape().Packets(from, tape.UDP, tape.In) {
		if sent[p.Src.String()+string(p.Payload)] {
			arrived[p.Host]++
			s.Saw("malformed", 1)
		}
	}
	s.Note("%d malformed datagrams were sent, and came to %v", len(shots), arrived)
	return nil
}

// malform breaks a datagram: cut short, grown, changed, or random throughout.
func malform(draw *rand.Rand, real []byte) []byte {
	b := slices.Clone(real)
	noise := func(n int) []byte {
		some := make([]byte, n)
		for i := range some {
			some[i] = byte(draw.Uint32())
		}
		return some
	}
	switch draw.IntN(5) {
	case 0:
		return noise(1 + draw.IntN(longestUp))
	case 1:
		return b[:draw.IntN(len(b))]
	case 2:
		return b[:draw.IntN(min(len(b), 24))]
	case 3:
		return append(b, noise(1+draw.IntN(max(1, longestUp-len(b))))...)
	}
	for range 1 + draw.IntN(8) {
		b[draw.IntN(len(b))] ^= byte(1 + draw.IntN(255))
	}
	return b
}

// weathered judges what the storm has done to those who were in it.
func weathered(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera, v *stage.View, began time.Time) (certify.Result, bool) {
	over, recovery := time.Now(), s.Decl().Bounds.Recovery
	limit, cancel := context.WithTimeout(ctx, recovery+writeLate)
	defer cancel()
	_, err := v.WaitAfter(limit, over)
	frames := v.Frames()
	s.Saw("frames", len(frames))
	if fault := camera.Fault(); fault != nil {
		return s.Judge(fault), true
	}
	for _, role := range []certify.Role{certify.RoleRendezvous, certify.RoleRelay} {
		if p := x.Program(role); p != nil && !p.Alive() {
			return s.Fail("the %s ended in the storm", role), true
		}
	}
	if err != nil {
		return s.Judge(fmt.Errorf("after %d malformed messages the stream did not go on: %w", s.Observed("malformed"), err)), true
	}
	if gap := v.LongestGap(began, time.Now()); gap > recovery {
		return s.Fail("for %v no frame came in the storm; %v are declared until media flows again", gap.Round(time.Millisecond), recovery), true
	}
	for _, f := range frames {
		if s.Way() != stage.Box && !s.Source().Intact(f) {
			return s.Fail("frame %d of %d, at %s, is not the source's: what was forged was taken for media", f.N, len(frames),
				f.T.UTC().Format("15:04:05.000")), true
		}
	}
	s.Note("the stream went on: %d frames, the longest gap %v", len(frames), v.LongestGap(began, time.Now()).Round(time.Millisecond))
	if err := v.Stop(); err != nil {
		return s.Judge(err), true
	}
	return certify.Result{}, false
}

// again has a viewer connect after the storm.
func again(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera) certify.Result {
	v, _, err := reach(ctx, x, stage.Viewing{Camera: camera}, "after the storm", time.Now(), s.Decl().Bounds.Recovery)
	if err == nil {
		err = v.Stop()
	}
	if err != nil {
		return outcome(s, err)
	}
	return s.Pass()
}
