package cases

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/stage"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// follows is REG-3: the camera's router forgets its mappings, then gets another address.
func follows(ctx context.Context, s *stage.Stage) certify.Result {
	t, err := s.Load("two-homes")
	if err != nil {
		return s.Judge(err)
	}
	t.Site("camera").Override = map[string]string{"port-assignment": "random"} // what is mapped anew gets another port
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
	if !talked(x, camera, 0) {
		return s.Inconclusive("the camera exchanged nothing with its servers that could be a registration")
	}
	s.Saw("registrations", 1)
	r, err := visit{Camera: camera}.make(ctx, x)
	if err != nil {
		return s.Judge(err)
	}
	if !r.Reached {
		return s.Inconclusive("no viewer reaches the camera before anything changed: it ended with code %d after %v", r.Code, r.Took.Round(time.Millisecond))
	}
	events := []lab.Event{{Do: lab.DoReboot, Site: "camera"}, {Do: lab.DoReaddress, Site: "camera"}}
	for _, e := range events {
		if r, bad := found(ctx, s, x, camera, e); bad {
			return r
		}
	}
	return s.Pass()
}

// found has something happen to the camera's router, and viewers ask until one reaches the camera.
func found(ctx context.Context, s *stage.Stage, x *stage.Set, camera *stage.Camera, e lab.Event) (certify.Result, bool) {
	within := time.Duration(s.Decl().Bounds.Keepalive) + time.Duration(s.Decl().Bounds.Recovery)
	before := seenAt(x, camera, serverHost, 0)
	mark := x.Tape().Mark()
	if _, err := x.Do(e); err != nil {
		return s.Judge(err), true
	}
	began := time.Now()
	asked := 0
	for {
		r, err := visit{Camera: camera, Within: within + grace - time.Since(began)}.make(ctx, x)
		if err != nil {
			return s.Judge(err), true
		}
		asked++
		after := time.Since(began)
		if r.Reached && after <= within {
			s.Saw("connects", 1)
			s.Note("after the %s viewer %d reached the camera, %v after it; %v are allowed", e.Do, asked, after.Round(time.Millisecond), within)
			s.Record(map[string]any{"event": e.Do, "viewers that asked": asked, "reached after seconds": after.Seconds(), "allowed seconds": within.Seconds()})
			break
		}
		if after > within {
			s.Record(map[string]any{"event": e.Do, "viewers that asked": asked, "not reached within seconds": within.Seconds()})
			return s.Fail("after the %s of the camera's router no viewer reached the camera within %v, a keepalive and the declared recovery; %d asked",
				e.Do, within, asked), true
		}
		if err := s.Pause(ctx, 500*time.Millisecond); err != nil {
			return s.Judge(err), true
		}
	}
	// The mapping has changed where anybody sees the camera under an endpoint that it did not have.
	fresh := seenAt(x, camera, serverHost, mark)
	fresh = append(fresh, seenAt(x, camera, "viewer", mark)...)
	fresh = slices.DeleteFunc(fresh, func(at netip.AddrPort) bool { return slices.Contains(before, at) })
	if len(fresh) > 0 {
		s.Saw("rebinds", 1)
		s.Note("the server saw the camera at %v before, and after the %s it is seen at %v", before[len(before)-1:], e.Do, fresh[len(fresh)-1])
	}
	return certify.Result{}, false
}

// goes is REG-4: the camera loses its power, and its uplink.
func goes(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "attackers")
	if err != nil {
		return s.Judge(err)
	}
	if !talked(x, camera, 0) {
		return s.Inconclusive("the camera exchanged nothing with its servers that could be a registration")
	}
	s.Saw("registrations", 1)
	a := &absence{s: s, x: x, camera: camera, period: time.Duration(s.Decl().Bounds.Keepalive)}
	if a.ticket, err = camera.Ticket(); err != nil {
		return s.Judge(err)
	}
	if err := a.reference(ctx); err != nil {
		return s.Judge(err)
	}
	var slow []string
	for _, why := range []string{"power", "uplink"} {
		if r, bad := a.watch(ctx, why, &slow); bad {
			return r
		}
	}
	if len(slow) > 0 {
		return s.PassNonstrict("%s", slow[0])
	}
	return s.Pass()
}

// absence is REG-4 at work.
type absence struct {
	s       *stage.Stage
	x       *stage.Set
	camera  *stage.Camera
	ticket  []byte
	period  time.Duration // of the declared keepalive
	unknown time.Duration // a viewer waits that asks for a camera that nobody knows; 0: nobody could ask for one
}

// reference asks for a camera that nobody knows: what the answer for one that is offline may look like.
func (a *absence) reference(ctx context.Context) error {
	wrong := nobody(a.ticket)
	if wrong == nil {
		return nil
	}
	r, err := visit{Ticket: wrong, Unit: 90}.make(ctx, a.x)
	if err != nil || !r.Asked || r.Code < 0 {
		return err
	}
	a.unknown = r.Took
	a.s.Note("a viewer that asks for a camera that nobody knows ends with code %d after %v", r.Code, r.Took.Round(time.Millisecond))
	return nil
}

// asksEvery is how often a viewer asks.
const asksEvery = time.Second

// watch takes the camera offline, has viewers ask every second, and brings it back.
func (a *absence) watch(ctx context.Context, why string, slow *[]string) (certify.Result, bool) {
	s := a.s
	r, err := visit{Camera: a.camera, Ticket: a.ticket}.make(ctx, a.x)
	if err != nil {
		return s.Judge(err), true
	}
	if !r.Reached {
		return s.Inconclusive("no viewer reaches the camera before its %s was cut: it ended with code %d after %v", why, r.Code, r.Took.Round(time.Millisecond)), true
	}
	s.Saw("connects", 1)
	undo, err := a.cut(ctx, why)
	if err != nil {
		return s.Judge(err), true
	}
	began := time.Now()
	s.Saw("losses", 1)
	q := &visitors{absence: a, began: began}
	limit := s.For(3*a.period, 2*a.period+2*time.Second)
	after := s.For(a.period, 3*time.Second) // "and ever after" is watched that long
	for {
		known, ok := q.known()
		now := time.Since(began)
		if ok && now > known+after || !ok && now > limit {
			break
		}
		q.ask(ctx)
		if err := s.Pause(ctx, asksEvery); err != nil {
			q.wait()
			return s.Judge(err), true
		}
	}
	if err := q.wait(); err != nil {
		return s.Judge(err), true
	}
	known, ok := q.known()
	s.Record(map[string]any{"cut": why, "viewers that asked": q.asked, "known after seconds": known.Seconds(), "known": ok, "allowed seconds": (2 * a.period).Seconds()})
	s.Note("%s cut: %d viewers asked; it was known to be offline %v after, and ever after: %v", why, q.asked, known.Round(time.Millisecond), ok)
	switch {
	case q.frames > 0:
		return s.Fail("%d frames came to viewers that asked after the camera's %s was cut", q.frames, why), true
	case !ok:
		return s.Fail("%v after the camera's %s was cut no viewer was told that it is offline: %d asked", limit, why, q.asked), true
	case known > limit:
		return s.Fail("a viewer was told that the camera is offline %v after its %s was cut; two keepalives are %v", known.Round(time.Millisecond), why, 2*a.period), true
	case known > 2*a.period:
		*slow = append(*slow, fmt.Sprintf("it was known %v after the camera's %s was cut, within three keepalives and not two", known.Round(time.Millisecond), why))
	}
	if err := undo(ctx); err != nil {
		return s.Judge(err), true
	}
	return certify.Result{}, false
}

// cut takes the camera offline. undo brings it back, and waits until it is reached again if it needs to.
func (a *absence) cut(ctx context.Context, why string) (undo func(context.Context) error, err error) {
	if why == "power" && a.s.Way() != stage.Box {
		return a.camera.Start, a.camera.Kill()
	}
	if why == "power" { // a hook cuts it for a second: then it is off for as long as its cable is, too
		if err := a.camera.Kill(); err != nil {
			return nil, err
		}
	}
	back, err := a.x.Do(lab.Event{Do: lab.DoUplinkDown, Site: "camera"})
	return func(ctx context.Context) error {
		if err := back(); err != nil {
			return err
		}
		if why != "power" {
			return nil
		}
		return a.s.Pause(ctx, a.period+time.Duration(a.s.Decl().Bounds.Recovery))
	}, err
}

// visitors are the viewers that ask for a camera that is gone.
type visitors struct {
	*absence
	began time.Time

	mu      sync.Mutex
	all     sync.WaitGroup
	asked   int
	frames  int
	told    []time.Duration // since began: when viewers that were told had been told
	untold  []time.Duration // since began: when viewers that were not told had asked
	failure error
}

// mostAsking is how many viewers ask at once.
const mostAsking = 6

// ask has one ask, beside the others.
func (q *visitors) ask(ctx context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.asked-len(q.told)-len(q.untold) >= mostAsking {
		return
	}
	q.asked++
	unit := 1 + (q.asked-1)%mostAsking
	asked := time.Since(q.began)
	q.all.Go(func() {
		told, frames, err := q.one(ctx, unit)
		q.mu.Lock()
		defer q.mu.Unlock()
		q.frames += frames
		if err != nil {
			q.failure = errors.Join(q.failure, err)
		}
		if told {
			q.told = append(q.told, time.Since(q.began))
		} else {
			q.untold = append(q.untold, asked)
		}
	})
}

// one asks once: a server of the bundled protocol directly, any other by a viewer. told is that it said that the camera is offline, or
// what it says of one that nobody knows.
func (q *visitors) one(ctx context.Context, unit int) (told bool, frames int, err error) {
	const patient = 10 * time.Second
	if label, ok := labelOf(q.ticket); ok {
		e := &attack.Enumerator{Guess: attack.Listed(label.UID()), Tries: 1, Wait: patient, Later: true}
		answers, err := askFor(ctx, q.s, q.x, label, e)
		if err != nil || len(answers) == 0 {
			return false, 0, err
		}
		a := answers[0]
		return a.Answered && (a.Code != 0 || a.Later != 0), 0, nil
	}
	within := patient
	if q.unknown > 0 {
		within = q.unknown*5/4 + 2*time.Second
	}
	r, err := visit{Ticket: q.ticket, Unit: 100 + unit, Within: within}.make(ctx, q.x)
	return r.Code >= 0 && r.Frames == 0, r.Frames, err
}

func (q *visitors) wait() error {
	q.all.Wait()
	return q.failure
}

// known is when, since the loss, viewers were told for the first time, without one being left untold after; false: not so far.
func (q *visitors) known() (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	last := time.Duration(-1)
	for _, d := range q.untold {
		last = max(last, d)
	}
	first := time.Duration(-1)
	for _, d := range q.told {
		if d > last && (first < 0 || d < first) {
			first = d
		}
	}
	return max(first, 0), first >= 0
}

// spaced is REG-5: an idle camera's keepalives.
func spaced(ctx context.Context, s *stage.Stage) certify.Result {
	x, camera, err := bring(ctx, s, "two-homes") // whose routers keep a UDP mapping for two minutes (lab/nat.DefaultUDPTimeout)
	if err != nil {
		return s.Judge(err)
	}
	period := time.Duration(s.Decl().Bounds.Keepalive)
	if err := s.Pause(ctx, s.For(30*time.Second, 500*time.Millisecond)); err != nil { // until it has settled, and only idles
		return s.Judge(err)
	}
	servers := x.Servers(camera.Host())
	from := x.Tape().Mark()
	watch := s.For(10*time.Minute, 50*time.Second)
	s.Note("watching the idle camera for %v", watch)
	began := time.Now()
	times := func() []time.Time {
		return tape.Keepalives(x.Tape().Packets(from, camera.Out(), tape.To(servers...), tape.Full), time.Second)
	}
	for time.Since(began) < watch {
		if err := s.Pause(ctx, time.Second); err != nil {
			return s.Judge(err)
		}
		if s.Brief() && len(times()) > 3 { // enough to tell
			break
		}
	}
	all := times()
	distances := tape.Distances(all)
	mean := tape.Mean(distances)
	s.Saw("seconds", int(time.Since(began)/time.Second))
	s.Saw("keepalives", len(all))
	for i, t := range all {
		d := time.Duration(0)
		if i > 0 {
			d = distances[i-1]
		}
		s.Record(map[string]any{"keepalive": i + 1, "at": t.UTC().Format("15:04:05.000"), "since the one before, seconds": d.Seconds()})
	}
	s.Note("%d keepalives in %v, %v apart on average; at most %v is declared", len(all), time.Since(began).Round(time.Second), mean.Round(time.Millisecond), period)
	switch {
	case len(distances) == 0:
		return s.Inconclusive("%d keepalives were seen in %v: no distance can be measured", len(all), time.Since(began).Round(time.Second))
	case mean < leastKeepalive:
		return s.Fail("the keepalives are %v apart on average, %d of them in %v; %v at least are asked for", mean.Round(time.Millisecond), len(all),
			time.Since(began).Round(time.Second), leastKeepalive)
	case mean > period*11/10:
		return s.Fail("the keepalives are %v apart on average; %v are declared, and a tenth more is allowed", mean.Round(time.Millisecond), period)
	}
	return s.Pass()
}

// leastKeepalive is RFC 8085 §3.5's.
const leastKeepalive = 15 * time.Second
