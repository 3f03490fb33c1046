package cases

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// atTheRelay is SEC-5: where no direct path is, whoever runs the relay reads and alters what passes; then the relay itself is asked for
// addresses that it must not reach.
func atTheRelay(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "two-homes", "camera.nat", "symmetric", "viewer.nat", "symmetric")
	if err != nil {
		return s.Judge(err)
	}
	o, err := newObserver(s, x, camera, "at the relay", x.Relay(), tape.All(tape.At(x.Relay()), tape.Full))
	if err != nil {
		return s.Judge(err)
	}
	r, bad := o.attack(ctx, s.For(20*time.Second, 2*time.Second))
	s.Saw("frames", o.sent())
	s.Saw("relayed", x.Tape().Count(0, tape.CameTo(x.Relay()), tape.Media))
	if !bad && s.Observed("relayed") == 0 {
		r, bad = s.Inconclusive("no media packet went by the relay, though both NATs are symmetric: there was nothing to read"), true
	}
	if !bad {
		r, bad = o.answer(ctx)
	}
	if !bad {
		r, bad = openRelay(ctx, s, x)
	}
	return concluded(s, r, bad)
}

// answer has the relay speak in the camera's place: what the viewer should get is replaced by the viewer's own words, by what the camera
// said to others before, and by what nobody said.
func (o *observer) answer(ctx context.Context) (certify.Result, bool) {
	draw := rand.New(rand.NewPCG(o.s.Seed(42), 6))
	homes := o.x.Routes()
	viewer := homes.External("viewer")
	var older, words [][]byte
	rule := func(seen attack.Seen) attack.Act {
		b, ok := seen.UDP()
		if !ok {
			return attack.Act{}
		}
		src, dst := netip.AddrFrom4([4]byte(seen.Packet[12:16])), netip.AddrFrom4([4]byte(seen.Packet[16:20]))
		switch {
		case seen.Direction == attack.Down && slices.Contains(viewer, src):
			words = append(words, bytes.Clone(b))
		case seen.Direction == attack.Up && slices.Contains(viewer, dst):
			own := bytes.Clone(b)
			older = append(older, own)
			if draw.IntN(4) > 0 {
				return attack.Act{}
			}
			forged := make([]byte, len(b))
			switch way := draw.IntN(3); {
			case way == 0 && len(words) > 0:
				forged = bytes.Clone(words[draw.IntN(len(words))])
			case way == 1:
				forged = older[draw.IntN(len(older))]
			default:
				for i := range forged {
					forged[i] = byte(draw.Uint32())
				}
				copy(forged, own[:min(len(own), 8)])
			}
			return attack.Act{Packet: seen.WithUDP(forged)}
		}
		return attack.Act{}
	}
	return o.meddle(ctx, "with the relay answering for the camera", o.s.For(10*time.Second, time.Second), rule)
}
