package cases

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/link"
)

// corrupting is MED-4: a middle at the viewer's host flips bits, and mends the checksums. A link's own corruption would be found by the
// kernels and be no more than loss.
func corrupting(ctx context.Context, s *stage.Stage) certify.Result {
	rate, err := usual(ctx, s)
	if err != nil {
		return s.Judge(err)
	}
	x, camera, err := bring(ctx, s, "two-homes")
	if err != nil {
		return s.Judge(err)
	}
	var w watched
	rule := flipping(0.02, s.Seed(100))
	report, err := onPath(ctx, s, x, "viewer", rule, func() (err error) {
		w, err = watch(ctx, s, x, camera, s.For(time.Minute, 5*time.Second))
		return err
	})
	s.Saw("corrupted", changed(report))
	if err != nil {
		return s.Judge(err)
	}
	if changed(report) == 0 {
		return s.Inconclusive("no packet was corrupted while the viewer watched")
	}
	if err := camera.Fault(); err != nil {
		return s.Judge(err)
	}
	return survived(s, &w, rate, 0.90, fmt.Sprintf("while %d packets were corrupted", changed(report)))
}

// flipping flips a bit in the payload of a share of the packets, each way, wherever in it.
func flipping(share float64, seed uint64) attack.Rule {
	draw := rand.New(rand.NewPCG(seed, 0x666c6970))
	return func(seen attack.Seen) attack.Act {
		b, ok := payloadOf(seen.Packet)
		if !ok || draw.Float64() >= share {
			return attack.Act{}
		}
		c := bytes.Clone(b)
		c[draw.IntN(len(c))] ^= 1 << draw.IntN(8)
		return attack.Act{Packet: withPayload(seen, c)}
	}
}

// Of MED-5 and MED-6: how long there is a stream before something happens to it, and how much of what came in a second before it has to
// come again.
const (
	calm = 1500 * time.Millisecond
	half = 2 // one part of so many
)

// blow is something that happens to a stream, and is over: from then on the camera's recovery counts.
type blow struct {
	Began, Over time.Time
	Before      int // frames in the second before
	Last        int // number of the last frame before
	live        bool
}

// struck waits until a viewer has a stream, and has something happen to it.
func struck(ctx context.Context, s *stage.Stage, x *stage.Set, v *stage.View, from int, what func() error) (b blow, err error) {
	if err := streaming(ctx, x, v, from, 30); err != nil {
		return b, err
	}
	if err := s.Pause(ctx, calm); err != nil { // the stream that is struck
		return b, err
	}
	b.live = len(v.Frames()) > 0
	b.Began = time.Now()
	err = what()
	b.Over = time.Now()
	return b, err
}

// back says when frames came again, half as many in a second as before at least, and whether the viewer had asked anew: then they begin
// at the source's beginning.
func (b *blow) back(frames []stage.Frame) (at time.Time, anew, ok bool) {
	b.Before = within(frames, b.Began.Add(-time.Second), b.Began)
	for _, f := range frames {
		if f.T.Before(b.Began) {
			b.Last = f.N
		}
	}
	at, ok = flows(frames, b.Over, max(2, b.Before/half))
	for _, f := range frames {
		anew = anew || !f.T.Before(b.Began) && f.N < b.Last/2
	}
	return at, anew, ok
}

// outages is MED-5: everything between the camera and the world is dropped for two seconds, again and again.
func outages(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "two-homes")
	if err != nil {
		return s.Judge(err)
	}
	v, err := x.View(ctx, stage.Viewing{Camera: camera})
	if err != nil {
		return s.Judge(err)
	}
	defer v.Stop()
	recovery := s.Decl().Bounds.Recovery
	var blows []blow
	from := v.Mark()
	for range s.N(10, 1) {
		b, err := struck(ctx, s, x, v, from, func() error { return nothing(ctx, s, x) })
		if err != nil {
			return s.Judge(err)
		}
		blows = append(blows, b)
		from = x.Tape().Mark()
		if err := resumed(ctx, s, v, b.Over, stage.SourceRate/half, recovery+time.Second, b.live); err != nil {
			return s.Judge(err)
		}
	}
	if err := s.Pause(ctx, calm); err != nil {
		return s.Judge(err)
	}
	if err := v.Stop(); err != nil {
		return s.Judge(err)
	}
	return judgeOutages(s, v.Frames(), blows, recovery)
}

// nothing drops every packet of the camera's site for two seconds.
func nothing(ctx context.Context, s *stage.Stage, x *stage.Set) error {
	undo, err := x.Do(lab.Event{Do: lab.DoBlackhole, Between: [2]string{"camera"}})
	if err != nil {
		return err
	}
	if err := s.Pause(ctx, 2*time.Second); err != nil {
		return err
	}
	return undo()
}

func judgeOutages(s *stage.Stage, frames []stage.Frame, blows []blow, recovery time.Duration) certify.Result {
	s.Saw("frames", len(frames))
	asked := 0
	for i, b := range blows {
		at, anew, ok := b.back(frames)
		if b.Before == 0 {
			return s.Inconclusive("no frame came in the second before outage %d: there was nothing to be interrupted", i+1)
		}
		first, some := after(frames, b.Over)
		s.Record(map[string]any{"outage": i + 1, "frames in the second before": b.Before, "first frame after, milliseconds": since(first, b.Over, some),
			"half as many again after, milliseconds": since(at, b.Over, ok), "asked anew": anew})
		s.Note("outage %d: the first frame came %d ms after its end, and half as many a second as before (%d) from %d ms on; asked anew: %v",
			i+1, since(first, b.Over, some), b.Before, since(at, b.Over, ok), anew)
		switch {
		case !some:
			return s.Fail("no frame came after outage %d of 2 s, in %.1f s", i+1, time.Since(b.Over).Seconds())
		case !ok:
			return s.Fail("after outage %d of 2 s frames did not come again as before: %d had come in the second before it, and never again "+
				"half of that a second for %d seconds",
				i+1, b.Before, lasting)
		case at.Sub(b.Over) > recovery:
			return s.Fail("after outage %d of 2 s frames came again as before after %.1f s; the declared recovery is %v", i+1,
				at.Sub(b.Over).Seconds(), recovery)
		case anew:
			asked++
		}
		s.Saw("outages", 1)
	}
	if asked > 0 {
		return s.PassNonstrict("the viewer asked anew after %d of %d outages, and frames came within the recovery", asked, len(blows))
	}
	return s.Pass()
}

// after is when the first frame came after a time.
func after(frames []stage.Frame, from time.Time) (time.Time, bool) {
	for _, f := range frames {
		if f.T.After(from) {
			return f.T, true
		}
	}
	return time.Time{}, false
}

// since is a time after another one in milliseconds; -1: it never came.
func since(t, from time.Time, ok bool) int64 {
	if !ok {
		return -1
	}
	return t.Sub(from).Milliseconds()
}

// tunnel is the largest packet that passes the narrow path of MED-6, bytes with the IP header.
const tunnel = 1280

// largeVanish is MED-6: the camera's line swallows large packets, from a moment in mid-stream on, and another time from before the
// connect.
func largeVanish(ctx context.Context, s *stage.Stage) certify.Result {
	recovery := s.Decl().Bounds.Recovery
	for _, when := range []string{"in mid-stream", "before the connect"} {
		x, camera, err := bring(ctx, s, "two-homes")
		if err != nil {
			return s.Judge(err)
		}
		before, err := dropped(x, link.Blackhole)
		if err != nil {
			return s.Judge(err)
		}
		narrow := func() error {
			_, err := x.Do(lab.Event{Do: lab.DoMTUBlackhole, Site: "camera", MTU: tunnel})
			return err
		}
		if when == "before the connect" {
			if err := narrow(); err != nil {
				return s.Judge(err)
			}
		}
		v, err := x.View(ctx, stage.Viewing{Camera: camera})
		if err != nil {
			return s.Judge(err)
		}
		b, err := blow{Began: v.Started(), Over: time.Now(), live: true}, nil
		if when == "in mid-stream" {
			b, err = struck(ctx, s, x, v, v.Mark(), narrow)
		}
		if err == nil {
			err = resumed(ctx, s, v, b.Over, stage.SourceRate/half, recovery+time.Second, b.live)
		}
		if err != nil {
			return s.Judge(err)
		}
		if err := s.Pause(ctx, calm); err != nil { // for packets to be counted
			return s.Judge(err)
		}
		if err := v.Stop(); err != nil {
			return s.Judge(err)
		}
		if r, bad := judgeNarrow(s, x, v, b, when, before, recovery); bad {
			return r
		}
	}
	return s.Pass()
}

func judgeNarrow(s *stage.Stage, x *stage.Set, v *stage.View, b blow, when string, before int, recovery time.Duration) (certify.Result, bool) {
	frames := v.Frames()
	s.Saw("frames", len(frames))
	after, err := dropped(x, link.Blackhole)
	if err != nil {
		return s.Judge(err), true
	}
	swallowed := after - before
	all := x.Tape().Packets(v.Mark(), tape.From("camera", v.Host()))
	large := tape.Count(all, tape.AtLeast(tunnel+1))
	at, _, ok := b.back(frames)
	media := tape.Select(all, tape.From("camera"), tape.Media, tape.Between(b.Over, time.Time{}))
	s.Record(map[string]any{"when": when, "swallowed": swallowed, "larger packets sent": large, "media packets after": len(media),
		"frames again after, milliseconds": since(at, b.Over, ok)})
	s.Note("%s: %d packets were swallowed, of %d larger than %d bytes that were sent; frames came again %d ms after",
		when, swallowed, large, tunnel, since(at, b.Over, ok))
	switch {
	case !ok:
		return s.Fail("large packets vanished %s, and no second after that had frames again, as many as half of the second before; %d packets of "+
			"more than %d bytes were swallowed", when, swallowed, tunnel), true
	case at.Sub(b.Over) > recovery:
		return s.Fail("large packets vanished %s, and frames came again after %.1f s; the declared recovery is %v", when,
			at.Sub(b.Over).Seconds(), recovery), true
	case swallowed == 0 && large > 0:
		return s.Inconclusive("%d packets of more than %d bytes were sent, and the path swallowed none", large, tunnel), true
	}
	s.Saw("swallowed", max(swallowed, 1)) // or none was sent that large
	return certify.Result{}, false
}

// besideTCP is MED-7: somebody in the camera's home uploads something.
func besideTCP(ctx context.Context, s *stage.Stage) certify.Result {
	bounds := s.Decl().Bounds
	capacity := bounds.Bitrate * 3 / 2
	t, err := tight(s, capacity)
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
	v, err := x.View(ctx, stage.Viewing{Camera: camera})
	if err != nil {
		return s.Judge(err)
	}
	defer v.Stop()
	if err := streaming(ctx, x, v, v.Mark(), 30); err != nil {
		return s.Judge(err)
	}
	up, err := upload(x)
	if err != nil {
		return s.Judge(err)
	}
	defer up.close()
	s.Note("an upload by TCP with Cubic begins beside the stream, on an uplink of %d bit/s", capacity)
	if err := s.Pause(ctx, s.For(30*time.Second, 4*time.Second)); err != nil {
		return s.Judge(err)
	}
	from, t0 := x.Tape().Mark(), time.Now()
	if err := s.Pause(ctx, s.For(90*time.Second, 7*time.Second)); err != nil {
		return s.Judge(err)
	}
	t1 := time.Now()
	if err := up.close(); err != nil {
		return s.Judge(err)
	}
	if err := v.Stop(); err != nil {
		return s.Judge(err)
	}
	return judgeShare(s, x, v, up, from, t0, t1, capacity)
}

// tight is two homes, the camera's with a neighbour on its LAN and an uplink of so many bits a second.
func tight(s *stage.Stage, capacity int64) (*lab.Topology, error) {
	t, err := s.Load("two-homes")
	if err != nil {
		return nil, err
	}
	p, _ := link.Lookup("broadband")
	p.Name, p.Source, p.Up.Rate = "tight", "broadband with half again as much uplink as the camera's declared bitrate", capacity
	t.Links = append(t.Links, p)
	site := t.SiteOf("camera")
	site.Link, site.Hosts = p.Name, append(site.Hosts, lab.Host{Name: besideHost})
	return t, t.Resolve()
}

func judgeShare(s *stage.Stage, x *stage.Set, v *stage.View, up *uploading, from int, t0, t1 time.Time, capacity int64) certify.Result {
	all := tape.Select(x.Tape().Packets(from), tape.Between(t0, t1))
	tcp := tape.Rate(tape.Select(all, tape.CameTo("rendezvous"), tape.TCP, tape.Port(up.port)), t0, t1)
	stream := tape.Rate(tape.Select(all, tape.CameTo(v.Host()), tape.Media), t0, t1)
	frames := v.Frames()
	s.Saw("frames", len(frames))
	s.Saw("beside", int(up.bytes.Load()))
	s.Record(map[string]any{"uplink": capacity, "TCP, bits a second": int64(tcp), "stream": int64(stream), "frames": len(frames),
		"frames meanwhile": within(frames, t0, t1)})
	s.Note("for %.0f s the upload had %.0f bit/s of %d, the stream %.0f", t1.Sub(t0).Seconds(), tcp, capacity, stream)
	switch floor := s.Decl().Bounds.Floor; {
	case tcp < float64(capacity)/3:
		return s.Fail("beside the stream the TCP upload had %.0f bit/s, %.0f %% of the uplink of %d; a third is its share (the stream had %.0f)",
			tcp, 100*tcp/float64(capacity), capacity, stream)
	case stream < float64(floor):
		return s.Fail("beside the TCP upload the stream had %.0f bit/s; the declared floor is %d", stream, floor)
	}
	return s.Pass()
}

// besideHost is another host in the camera's home.
const besideHost = "neighbour"

// uploading is a TCP connection from that host to the rendezvous' host that is never idle.
type uploading struct {
	port  uint16
	bytes atomic.Int64
	close func() error
}
