package cases

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

// replays is SEC-7: what passed in a session is sent again by a host that has recorded it, each message in the name of its sender, and
// as its own to everybody who takes part.
//
//	session 1, recorded ──► over ── replayed ── session 2, replayed at once ──► over ── restart ── all replayed
//
// Of TCP what was said on a connection to a server is said again on another one.
//
// All NATs are full cones: whatever the attacker sends arrives.
func replays(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "attackers", "camera.nat", "full-cone", "viewer.nat", "full-cone")
	if err != nil {
		return s.Judge(err)
	}
	r := &replayer{s: s, x: x, camera: camera, m: x.Host("off-path"), draw: rand.New(seeded(s.Seed(0)))}
	for _, step := range []func(context.Context) (certify.Result, error){r.first, r.second, r.restarted} {
		if bad, err := step(ctx); err != nil {
			return outcome(s, cmp.Or(camera.Fault(), err))
		} else if bad.Verdict != "" {
			return bad
		}
	}
	if s.Observed("messages") == 0 {
		return s.Inconclusive("nothing was seen to pass between the camera, the viewer and their servers: there was nothing to be sent again")
	}
	return s.Pass()
}

// replayer is a host that has recorded what passed, and sends it again.
type replayer struct {
	s      *stage.Stage
	x      *stage.Set
	camera *stage.Camera
	m      *lab.Machine
	draw   *rand.Rand
	known  int // messages that were recorded, as of the last look
	sent   int // from the attacker's own address
}

// first has a viewer watch and go, and replays that once the camera sends nothing more to anybody but its servers.
func (r *replayer) first(ctx context.Context) (certify.Result, error) {
	v, err := r.x.View(ctx, stage.Viewing{Camera: r.camera, For: r.s.For(10*time.Second, time.Second)})
	if err != nil {
		return certify.Result{}, err
	}
	if _, err := v.FirstFrame(ctx); err != nil {
		return certify.Result{}, err
	}
	if _, err := v.Wait(ctx); err != nil {
		return certify.Result{}, err
	}
	if err := r.settle(ctx); err != nil {
		return certify.Result{}, err
	}
	return r.idle(ctx, "after the session")
}

// second replays in mid-stream.
func (r *replayer) second(ctx context.Context) (certify.Result, error) {
	v, _, err := reach(ctx, r.x, stage.Viewing{Camera: r.camera}, "after the replays", time.Now(), r.s.Decl().Bounds.Recovery)
	if err != nil {
		return certify.Result{}, err
	}
	if err := v.WaitFrames(ctx, r.s.N(150, 30)); err != nil {
		return certify.Result{}, err
	}
	began := time.Now()
	before := r.remotes(v.Mark())
	from := r.x.Tape().Mark()
	drawn, err := r.replay(ctx, "in mid-stream")
	if err != nil {
		return certify.Result{}, err
	}
	late, cancel := context.WithTimeout(ctx, upset+writeLate)
	defer cancel()
	if _, err := v.WaitAfter(late, time.Now()); err != nil {
		return r.s.Fail("replays in mid-stream ended the session: %v", err), nil
	}
	gap, after := v.LongestGap(began, time.Now()), r.remotes(from)
	r.s.Note("in mid-stream the longest time without a frame was %v; media went to %v before, to %v since", gap.Round(time.Millisecond), before, after)
	for _, to := range after {
		if slices.Contains(r.m.Addrs, to.Addr()) {
			return r.s.Fail("replays in mid-stream moved the session: media goes to the attacker's %v", to), nil
		}
	}
	switch {
	case drawn != "":
		return r.s.Fail("in mid-stream %s", drawn), nil
	case gap > upset:
		return r.s.Fail("replays in mid-stream broke the session: no frame for %v", gap.Round(time.Millisecond)), nil
	}
	if err := v.Stop(); err != nil {
		return certify.Result{}, err
	}
	return certify.Result{}, r.settle(ctx)
}

// upset is the longest time without a frame of a stream that nothing has happened to, on a machine that does much else.
const upset = 3 * time.Second

// restarted replays all to a camera that has been without power.
func (r *replayer) restarted(ctx context.Context) (certify.Result, error) {
	err := r.camera.Kill()
	if err == nil {
		err = r.camera.Start(ctx)
	}
	if err == nil {
		err = r.settle(ctx)
	}
	if err != nil {
		return certify.Result{}, err
	}
	return r.idle(ctx, "after a restart")
}

// remotes are where the camera's media went from a position of the tape on.
func (r *replayer) remotes(from int) (all []netip.AddrPort) {
	for _, p := range r.x.Tape().Packets(from, r.camera.Out(), tape.Media) {
		if !slices.Contains(all, p.Dst) {
			all = append(all, p.Dst)
		}
	}
	return all
}

// peers matches what the camera sends to others than its servers, its router and groups.
func (r *replayer) peers() tape.Match {
	routes := r.x.Routes()
	servers := r.x.Servers(r.camera.Host())
	return tape.All(r.camera.Out(), tape.Any(tape.UDP, tape.TCP), routes.By(tape.Direct, tape.Hairpin), tape.Not(tape.To(servers...)))
}

// hush is for how long the camera has sent nothing to a viewer, when a session is over; letGo how long that may take (BW-3, and the
// time of a media packet).
const (
	hush  = 700 * time.Millisecond
	letGo = 35 * time.Second
)

// settle waits until the camera has let go of viewers.
func (r *replayer) settle(ctx context.Context) error {
	began := time.Now()
	for from := r.x.Tape().Mark(); ; from = r.x.Tape().Mark() {
		if err := r.s.Pause(ctx, hush); err != nil {
			return err
		}
		if r.x.Tape().Count(from, r.peers()) == 0 {
			r.s.Note("the camera has sent nothing to viewers for %v", hush)
			return nil
		}
		if time.Since(began) > letGo {
			return &stage.Timeout{What: "the camera to send nothing more to a viewer that has gone", After: time.Since(began)}
		}
	}
}

// idle replays to a camera that nobody watches, and judges what it does.
func (r *replayer) idle(ctx context.Context, when string) (certify.Result, error) {
	from := r.x.Tape().Mark()
	drawn, err := r.replay(ctx, when)
	if err != nil {
		return certify.Result{}, err
	}
	if err := r.s.Pause(ctx, r.s.For(10*time.Second, 500*time.Millisecond)); err != nil { // for what it may do later
		return certify.Result{}, err
	}
	media := tape.Streamed(r.x.Tape().Packets(from, r.camera.Out()))
	to := r.x.Tape().Packets(from, r.peers())
	r.s.Note("%s the camera sent %d media packets, and %d packets of any kind to others than its servers", when, len(media), len(to))
	switch {
	case len(media) > mediaAMinute:
		return r.s.Fail("replays %s started media: %d packets of 500 bytes or more", when, len(media)), nil
	case drawn != "":
		return r.s.Fail("%s %s", when, drawn), nil
	case len(to) > 0:
		return r.s.Fail("replays %s had the camera send %d packets to whom they name, the first to %v", when, len(to), to[0].Dst), nil
	}
	return certify.Result{}, nil
}

// message is something that was recorded.
type message struct {
	hop
	b  []byte
	at time.Time
}

// messages are what was recorded, in the order in which it passed: of each way the first and the last ones, whatever they are, and those
// between that are too small for media. Of too many the camera's come first, and the rest is drawn.
func (r *replayer) messages(atMost int) (all []message) {
	const ends = 8
	var toCamera, ending, between []message
	seen := map[string]bool{}
	for _, p := range passages(r.x.Tape().Packets(0)) {
		if p.A == r.m.Name || p.B == r.m.Name {
			continue
		}
		for i, said := range p.said {
			key := p.To.String() + string(said.Payload)
			if seen[key] {
				continue
			}
			seen[key] = true
			m := message{p.hop, said.Payload, said.At}
			switch {
			case p.B == r.camera.Host() && len(said.Payload) < tape.MediaSize:
				toCamera = append(toCamera, m)
			case i < ends || i >= len(p.said)-ends:
				ending = append(ending, m)
			case len(said.Payload) < tape.MediaSize:
				between = append(between, m)
			}
		}
	}
	for _, list := range [][]message{toCamera, ending, between} {
		r.draw.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		all = append(all, list...)
	}
	all = all[:min(len(all), atMost)]
	slices.SortFunc(all, func(a, b message) int { return a.at.Compare(b.at) })
	return all
}

// parties are where the others are to be reached: the way to each host that most has come by.
func (r *replayer) parties() (to []netip.AddrPort) {
	most, at := map[string]int{}, map[string]netip.AddrPort{}
	for _, p := range passages(r.x.Tape().Packets(0)) {
		if len(p.said) > most[p.B] {
			most[p.B], at[p.B] = len(p.said), p.To
		}
	}
	for _, a := range at {
		to = append(to, a)
	}
	slices.SortFunc(to, netip.AddrPort.Compare)
	return to
}

// replay sends messages again. What the camera sends to the attacker is said in words.
func (r *replayer) replay(ctx context.Context, when string) (drawn string, err error) {
	recorded := r.messages(r.s.N(1000, 90))
	streams := connectionsOf(r.x.Tape().Packets(0, tape.TCP, tape.Not(tape.At(r.m.Name))), r.x.Servers(r.m.Name))
	all := len(recorded)
	for _, t := range streams {
		all += len(t.said)
	}
	r.s.Saw("messages", max(0, all-r.known))
	r.known = max(r.known, all)
	parties := r.parties()
	var shots []attack.Shot
	for _, m := range recorded {
		shots = append(shots, attack.Shot{From: m.From, To: m.To, B: m.b})
		for _, to := range append([]netip.AddrPort{m.To}, parties...) {
			r.sent++
			shots = append(shots, attack.Shot{From: netip.AddrPortFrom(r.m.Addr(), 10000+uint16(r.sent%50000)), To: to, B: m.b})
		}
	}
	from := r.x.Tape().Mark()
	if err := volley(ctx, r.m, replayRate, shots); err != nil {
		return "", err
	}
	if err := r.retell(ctx, streams[max(0, len(streams)-r.s.N(30, 4)):], when); err != nil {
		return "", err
	}
	if err := r.s.Pause(ctx, 300*time.Millisecond); err != nil { // for the last ones' answers
		return "", err
	}
	answers := map[netip.AddrPort]tape.Packet{} // by the attacker's endpoint
	for _, p := range r.x.Tape().Packets(from, tape.Out, tape.To(r.m.Addrs...)) {
		if p.Protocol == packet.ProtocolICMP {
			continue
		}
		if _, more := answers[p.Dst]; !more || p.Host == r.camera.Host() {
			answers[p.Dst] = p
		}
	}
	arrived, byOthers := r.arrived(from, shots), 0
	for i, shot := range shots {
		answer, answered := answers[shot.From]
		mine := answered && answer.Host == r.camera.Host()
		if answered && !mine {
			byOthers++
		}
		if arrived[i] || mine {
			r.s.Try(mine)
			r.s.Saw("tries", 1)
			r.s.Record(map[string]any{"when": when, "to": shot.To, "as": shot.From, "bytes": len(shot.B), "answered": mine})
		}
		if mine && drawn == "" {
			drawn = fmt.Sprintf("the camera answered a replay of %d bytes with %d to the attacker's %v", len(shot.B), len(answer.Payload), shot.From)
		}
	}
	r.s.Note("%s %d recorded messages were sent again, %d datagrams: servers or the viewer answered %d to the attacker, the camera %t",
		when, len(recorded), len(shots), byOthers, drawn != "")
	return drawn, nil
}

// retell says what was said on connections to servers once more, on connections of the attacker's.
func (r *replayer) retell(ctx context.Context, streams []connection, when string) error {
	for _, t := range streams {
		short, cancel := context.WithTimeout(ctx, askTime)
		c, err := r.m.DialContext(short, "tcp", t.to.String())
		cancel()
		if err != nil {
			continue // nobody is there any more
		}
		for _, b := range t.said {
			_ = c.SetDeadline(time.Now().Add(askTime))
			if _, err := c.Write(b); err != nil {
				break
			}
			r.s.Saw("tries", 1)
			r.s.Try(false) // what it leads to shows in what the camera does
		}
		answer := hear(c)
		_ = c.Close()
		r.s.Note("%s %d segments of a connection of the %s's to %v were sent again on another: %d bytes were answered",
			when, len(t.said), t.host, t.to, len(answer))
	}
	return ctx.Err()
}

// replayRate is in packets a second.
const replayRate = 1000

// arrived tells which shots came to a host.
func (r *replayer) arrived(from int, shots []attack.Shot) map[int]bool {
	type key struct {
		from netip.AddrPort
		b    string
	}
	came := map[key]bool{}
	for _, p := range r.x.Tape().Packets(from, tape.In, tape.UDP) {
		came[key{p.Src, string(p.Payload)}] = true
	}
	there := map[int]bool{}
	for i, shot := range shots {
		there[i] = came[key{shot.From, string(shot.B)}]
	}
	return there
}
