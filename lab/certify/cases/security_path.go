package cases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// observer sits on the path, or is the relay: it looks for what it may not read, and changes what passes.
type observer struct {
	s       *stage.Stage
	x       *stage.Set
	camera  *stage.Camera
	secrets []tape.Secret
	where   string          // in a sentence: "on the path", "at the relay"
	at      tape.Match      // what it sees of the packets
	host    string          // in whose path it stands
	right   map[string]bool // hashes of the source's frames
	bodies  []byte          // of media, all sessions together
	before  []tape.Packet   // the camera's media of the session before
	shown   int             // frames that viewers got
	views   int
}

func newObserver(s *stage.Stage, x *stage.Set, camera *stage.Camera, where, host string, at tape.Match) (*observer, error) {
	secrets, err := secretsOf(s, camera)
	if err != nil {
		return nil, err
	}
	o := &observer{s: s, x: x, camera: camera, secrets: append(secrets, plainly...), where: where, at: at, host: host, right: map[string]bool{}}
	for n := range s.Source().Units {
		o.right[s.Source().Frame(n+1).SHA256] = true
	}
	return o, nil
}

// plainly is what a session that is spoken in plain text has, whatever the camera: its media is in plain text too, or its keys are there
// to be read (RFC 4568).
var plainly = []tape.Secret{
	{Name: "an RTSP answer", Bytes: []byte("RTSP/1.0 200 OK\r\n")},
	{Name: "a session's description (SDP)", Bytes: []byte("\r\na=rtpmap:96 H264/90000")},
}

// read looks at what passed from a position on: secrets in it are a fail.
func (o *observer) read(from int, when string) (certify.Result, bool) {
	ps := o.x.Tape().Packets(from, o.at)
	hits, err := tape.Find(ps, o.secrets...)
	if err != nil {
		return o.s.Judge(err), true
	}
	media := tape.Select(ps, tape.Media)
	if len(o.bodies) < 4*tape.RandomBytes {
		// As the camera sent it: what an attacker has changed or repeated is like what it was made of.
		sent := o.x.Tape().Packets(from, o.camera.Out(), tape.Media)
		o.bodies = append(o.bodies, tape.Bodies(unrepeated(sent, o.before))...)
		o.before = sent
	}
	o.s.Saw("packets", len(ps))
	o.s.Record(map[string]any{"when": when, "packets": len(ps), "media packets": len(media), "secrets looked for": len(o.secrets), "found": len(hits)})
	o.s.Note("%s: %d packets were read %s, %d of them media; of %d secrets %d places were found", when, len(ps), o.where, len(media), len(o.secrets), len(hits))
	if len(hits) > 0 {
		return o.s.Fail("%s %d known pieces can be read %s, in %d packets: %v", when, len(hits), o.where, len(ps), hits[0]), true
	}
	return certify.Result{}, false
}

// Bounds of what was sent again.
const (
	relayHead = 64              // bytes that a relay's header has at most
	leftOver  = 2 * time.Second // after it had been sent something of a session before may come again in the next one
)

// unrepeated is a session's media without the datagrams that were sent again: what a viewer has not got is the same ciphertext once more, however
// late a slow viewer asks for it, and says nothing of the cipher. Such a one is byte for byte the other, its sequence number with it, but for a
// relay's header before it; the same under a keystream that repeats itself has another number. Copies of the session before, with which the
// camera may not have been quite done, go by their time, as a cipher that begins anew in each session gives the same datagrams, too.
func unrepeated(sent, before []tape.Packet) (kept []tape.Packet) {
	const mark = 32
	end := func(b []byte) string { return string(b[max(0, len(b)-mark):]) }
	earlier, old := map[string][]tape.Packet{}, map[string][]tape.Packet{}
	for _, p := range before {
		old[end(p.Payload)] = append(old[end(p.Payload)], p)
	}
	for _, p := range sent {
		same := func(q tape.Packet) bool {
			long, short := p.Payload, q.Payload
			if len(long) < len(short) {
				long, short = short, long
			}
			return len(long)-len(short) <= relayHead && bytes.HasSuffix(long, short)
		}
		lately := func(q tape.Packet) bool { return p.At.Sub(q.At) <= leftOver && same(q) }
		e := end(p.Payload)
		if !tape.UDP(&p) || p.Fragment || !slices.ContainsFunc(earlier[e], same) && !slices.ContainsFunc(old[e], lately) {
			kept = append(kept, p)
		}
		earlier[e] = append(earlier[e], p)
	}
	return kept
}

// random holds the media of all sessions to random bytes.
func (o *observer) random() (certify.Result, bool) {
	r := tape.Measure(o.bodies)
	o.s.Record(map[string]any{"media bytes": r.N, "random": r.Random, "p": r.P, "entropy": r.Entropy, "why": r.Why})
	o.s.Note("media: %d bytes, %.4f bits of entropy a byte, p = %.3g; random: %v %s", r.N, r.Entropy, r.P, r.Random, r.Why)
	switch {
	case r.Random:
		return certify.Result{}, false
	case r.P < tape.RandomLevel:
		return o.s.Fail("the media %s can be told from random bytes: in %d bytes %s", o.where, r.N, r.Why), true
	case o.s.Brief():
		o.s.Note("too little media for a test of randomness: left out, as this is brief")
		return certify.Result{}, false
	}
	return o.s.Inconclusive("the media %s was too little to be told from random bytes: %s", o.where, r.Why), true
}

// watch has a viewer watch for a time while do is done to its packets, and returns its frames. A viewer that could not connect
// is no error.
func (o *observer) watch(ctx context.Context, media time.Duration) (frames []stage.Frame, err error) {
	v, err := o.x.View(ctx, stage.Viewing{Camera: o.camera, For: media})
	if err != nil {
		return nil, err
	}
	o.views++
	within, cancel := context.WithTimeout(ctx, media+15*time.Second)
	defer cancel()
	_, err = v.Wait(within)
	frames = v.Frames()
	o.shown += len(frames)
	var timeout *stage.Timeout
	if errors.As(err, &timeout) && ctx.Err() == nil {
		err = v.Stop()
		frames = v.Frames()
	}
	return frames, err
}

// wrong are the frames that are not the camera's.
func (o *observer) wrong(frames []stage.Frame) (bad []stage.Frame) {
	for _, f := range frames {
		if !o.right[f.SHA256] {
			bad = append(bad, f)
		}
	}
	return bad
}

// meddle is a session with the observer at work, and what came of it: each interference is a try.
func (o *observer) meddle(ctx context.Context, what string, media time.Duration, rule attack.Rule) (certify.Result, bool) {
	from := o.x.Tape().Mark()
	var frames []stage.Frame
	report, err := onPath(ctx, o.s, o.x, o.host, rule, func() (err error) {
		frames, err = o.watch(ctx, media)
		return err
	})
	if err != nil {
		return o.s.Judge(err), true
	}
	n, bad := interfered(report), o.wrong(frames)
	o.s.Saw("tries", n)
	for i := range n {
		o.s.Try(i < len(bad))
	}
	o.s.Record(map[string]any{"try": what, "interfered with": n, "altered": changed(report), "frames": len(frames), "wrong frames": len(bad)})
	o.s.Note("%s: %d packets were interfered with, %d of them altered; the viewer got %d frames, %d of them not the camera's", what, n, changed(report), len(frames), len(bad))
	if len(bad) > 0 {
		return o.s.Fail("%s, %d of %d frames that the viewer took were not the camera's, the first frame %d of %d bytes: %d packets were altered %s",
			what, len(bad), len(frames), bad[0].N, bad[0].Size, changed(report), o.where), true
	}
	return o.read(from, what)
}

// sent is how many frames the camera says it has sent; of one that says nothing, as many as viewers got.
func (o *observer) sent() int {
	frames, err := o.camera.Frames()
	if err != nil || len(frames) == 0 {
		return o.shown
	}
	return len(frames)
}

// attack is all that an observer does, from reading to stripping. calm is for how long it reads only.
func (o *observer) attack(ctx context.Context, calm time.Duration) (certify.Result, bool) {
	frames, err := o.watch(ctx, calm)
	if err != nil {
		return o.s.Judge(err), true
	}
	o.s.Note("a viewer watched undisturbed, and got %d frames", len(frames))
	if r, bad := o.read(0, "while nothing was changed"); bad {
		return r, true
	}
	if o.s.Way() == stage.Box {
		if r, bad := o.random(); bad { // now: frames cannot be compared, so that less can be done after it
			return r, true
		}
	}
	if len(frames) == 0 {
		if o.s.Way() == stage.Box && o.x.Tape().Count(0, o.camera.Out(), tape.Media) > 0 {
			return o.s.Inconclusive("nothing can be read, but this viewer names no frames: whether altered ones are shown cannot be seen"), true
		}
		return o.s.Fail("the viewer got no frame, though nothing was changed %s", o.where), true
	}
	if bad := o.wrong(frames); len(bad) > 0 {
		return o.s.Inconclusive("%d of %d frames differ from the source's though nothing was changed: altered ones cannot be told", len(bad), len(frames)), true
	}
	v := newVandal(o.s.Seed(40))
	media := o.s.For(20*time.Second, 2*time.Second)
	for tries, n := o.s.Observed("tries"), 0; o.s.Observed("tries")-tries < o.s.N(300, 20) && n < 5; n++ {
		what := fmt.Sprintf("with one packet in %d altered", 12<<n)
		if r, bad := o.meddle(ctx, what, media, v.vandalize(12<<n)); bad {
			return r, true
		}
	}
	draw := rand.New(rand.NewPCG(o.s.Seed(41), 5))
	for n := range o.s.N(24, 2) {
		at, first := n-1, 2+draw.IntN(4) // −1: they are dropped; then the versions, types and flags at the front
		if o.s.Brief() {
			at = []int{1, -1}[n]
		}
		if r, bad := o.meddle(ctx, stripping(first, at), time.Second, v.strip(first, at)); bad {
			return r, true
		}
	}
	return o.random()
}

func stripping(first, at int) string {
	if at < 0 {
		return fmt.Sprintf("with the first %d packets of each side dropped", first)
	}
	return fmt.Sprintf("with byte %d of the first %d packets of each side changed", at, first)
}

// onThePath is SEC-4: a middle before the viewer sees what the two say to each other and to the servers.
func onThePath(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "two-homes")
	if err != nil {
		return s.Judge(err)
	}
	o, err := newObserver(s, x, camera, "on the path", "viewer", tape.All(tape.At(camera.Host(), "viewer"), tape.Full))
	if err != nil {
		return s.Judge(err)
	}
	r, bad := o.attack(ctx, s.For(20*time.Second, 2*time.Second))
	s.Saw("frames", o.sent())
	return concluded(s, r, bad)
}

// concluded is a verdict that was found on the way, with what was seen up to the end; or a pass.
func concluded(s *stage.Stage, r certify.Result, bad bool) certify.Result {
	if !bad {
		return s.Pass()
	}
	end := s.Pass()
	r.Observed, r.Claim = end.Observed, end.Claim
	return r
}
