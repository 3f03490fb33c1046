package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/lab/record"
)

// watch follows a trial by the events of the rendezvous and the viewer. Its event methods run on the nodes' goroutines.
type watch struct {
	policy      punch.Policy
	uid         identity.UID // the camera's
	connectOnly bool
	frames      int // the camera has to send

	registered, loggedIn     chan struct{}
	cameraReady, viewerReady chan struct{}
	over                     chan struct{} // the trial has its end
	once                     [6]sync.Once
	reached                  func(Moment)
	direct                   func() // called once a direct path is confirmed; it must not block

	mu        sync.Mutex
	got       []media.Frame
	failed    *viewer.Failed
	closed    *viewer.Closed
	confirmed bool // the path in use works both ways, or there is no direct one
	viaRelay  bool // the relay works both ways
	search    bool // a direct path is looked for still: how the trial ends is open
	moments   map[Moment]bool
	presence  viewer.Presence // the last one
	told      chan struct{}   // closed when it is followed by another
}

// connectFrames is what a connect-only trial streams.
const connectFrames = 1

func newWatch(t Trial, p punch.Policy, direct func()) *watch {
	w := &watch{
		policy: p, search: p.Direct, direct: direct,
		registered: make(chan struct{}), loggedIn: make(chan struct{}), over: make(chan struct{}),
		cameraReady: make(chan struct{}), viewerReady: make(chan struct{}), told: make(chan struct{}),
		frames: int(t.Media * time.Duration(media.EmbeddedClip().FPS) / time.Second), connectOnly: t.Media == 0,
		reached: t.Reached, moments: map[Moment]bool{},
	}
	if w.connectOnly {
		w.frames = connectFrames
	}
	return w
}

// rendezvousEvent waits for the camera to be online: the camera itself believes so a one-way delay earlier.
func (w *watch) rendezvousEvent(e any) {
	if e, ok := e.(rendezvous.Online); ok && e.UID == w.uid {
		w.once[0].Do(func() { close(w.registered) })
	}
}

// cameraEvent waits for the camera to know its NAT, where it wants to.
func (w *watch) cameraEvent(e any) {
	if _, ok := e.(camera.Ready); ok {
		w.once[3].Do(func() { close(w.cameraReady) })
	}
}

// online waits until the camera is registered and the viewer logged in.
func (w *watch) online(ctx context.Context) error {
	return errors.Join(until(ctx, w.registered, unregistered), until(ctx, w.loggedIn, notLoggedIn))
}

// ready waits until both know what they want to know before a viewer asks.
func (w *watch) ready(ctx context.Context) error {
	return errors.Join(until(ctx, w.cameraReady, cameraUnclassified), until(ctx, w.viewerReady, viewerUnclassified))
}

func until(ctx context.Context, done <-chan struct{}, otherwise string) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return late(otherwise)
	}
}

// What did not come in time.
const (
	unregistered       = "the camera did not register"
	notLoggedIn        = "the viewer did not log in"
	cameraUnclassified = "the camera did not classify its NAT"
	viewerUnclassified = "the viewer did not classify its NAT"
	untold             = "the rendezvous was not told of the NATs' classes"
)

func late(what string) error { return fmt.Errorf("%s within %v", what, joinTimeout) }

// begin says that the viewer asks now.
func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell(Requested)
}

func (w *watch) viewerEvent(e any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := e.(type) {
	case viewer.LoggedIn:
		w.once[1].Do(func() { close(w.loggedIn) })
	case viewer.Ready:
		w.once[4].Do(func() { close(w.viewerReady) })
	case viewer.Presence:
		w.tellPresence(e)
	case viewer.Connected:
		w.tell(Connected)
	case viewer.FirstPacket:
		w.tell(FirstPacket)
	case viewer.PathConfirmed:
		w.confirmed = true
		w.viaRelay = w.viaRelay || e.Path.Route == punch.Relay
		if e.Path.Route == punch.Direct {
			w.search = false
			w.once[5].Do(w.direct)
		}
	case viewer.DirectFailed:
		w.search = false
	case viewer.FrameReceived:
		w.got = append(w.got, e.Frame)
		w.tell(FirstFrame)
	case viewer.Failed:
		w.failed = &e
	case viewer.Closed:
		w.closed = &e
	}
	if w.ended() {
		w.once[2].Do(func() { close(w.over) })
	}
}

// tell passes a moment on, the first time it comes.
func (w *watch) tell(m Moment) {
	if w.reached != nil && !w.moments[m] {
		w.moments[m] = true
		w.reached(m)
	}
}

// ended reports whether nothing more is to be learnt: the last frame is here, and those before it that are not lost, by a
// path that works both ways, and no better path is looked for any more; or there is no connection. A first flight may arrive
// where the viewer's own packets never reach the camera: that is no direct path.
func (w *watch) ended() bool {
	return w.failed != nil || w.closed != nil || w.lastCame() && w.confirmed && !w.search
}

// lastCame reports whether the video has been played to its end. Frames come in their order; what is skipped is lost.
func (w *watch) lastCame() bool {
	n := len(w.got)
	return n > 0 && w.got[n-1].Index >= w.frames-1
}

// wait waits for the end of the trial, or of ctx.
func (w *watch) wait(ctx context.Context) {
	select {
	case <-w.over:
	case <-ctx.Done():
	}
}

// account is what the nodes say of themselves at a trial's end.
type account struct {
	end           time.Time
	viewer        viewer.Stats
	camera        camera.Stats
	sent          int           // access units that the camera took from its source
	headers       int           // bytes of IP and UDP on each of the viewer's packets
	relayed       int64         // bytes
	relayAtDirect *int64        // what it was when the direct path had stood for settle; nil: it has not
	resolved      time.Duration // how long it took to resolve the camera's name, if it has one
}

// observe collects what the trial showed.
func (b *bundle) observe() Observation {
	a := account{relayAtDirect: b.relayAtDirect.Load(), sent: int(b.sent.Load()), headers: b.headers, resolved: b.resolved}
	b.viewerDevice.Node().Do(func(time.Time) { a.viewer = b.viewer.Stats() })
	b.cameraDevice.Node().Do(func(time.Time) { a.camera = b.camera.Stats() })
	a.relayed = b.server.relayedBytes()
	a.end = time.Now()
	o := b.watch.observe(a)
	if n, ok := b.server.(*nodes); ok {
		if d, ok := n.absence(); ok {
			o.Probes["absent_s"] = d.Seconds()
		}
	}
	if b.scanning() && o.FirstFrame > 0 { // who has no photo begins by asking
		d := o.FirstFrame
		if b.photo != nil {
			d = after(b.scanned, a.viewer.FirstFrame)
		}
		o.Probes["scan_s"] = d.Seconds()
	}
	return o
}

// observe is what the trial showed, by what was watched and what the nodes say.
func (w *watch) observe(a account) Observation {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, c := a.viewer, a.camera
	o := Observation{
		Outcome: w.outcome(v), PathChanges: int(v.PathChanges),
		Connect: a.since(v.Connected), FirstPacket: a.since(v.FirstPacket), FirstFrame: a.since(v.FirstFrame),
		Bytes: map[string]int64{
			"camera_up": c.Traffic.Total().Bytes, "viewer_up": v.Traffic.Total().Bytes, "relay": a.relayed,
		},
		Probes: map[string]float64{
			"packets": float64(v.Probes.Packets + c.Probes.Packets),
			"bytes":   float64(v.Probes.Bytes + c.Probes.Bytes),
			"sockets": float64(v.Opened + c.Opened),
		},
		Cause: w.cause(v),
	}
	if a.relayAtDirect != nil {
		o.Bytes["relay_after_direct"] = a.relayed - *a.relayAtDirect
	}
	if len(w.got) > 0 {
		o.FirstFrameWire = w.got[0].Bytes + a.headers*w.got[0].Packets
	}
	if !w.connectOnly && !v.Connected.IsZero() {
		o.Media = w.media(a.end, v.Quality, a.sent)
	}
	if w.failed != nil {
		o.Error = w.failed.Code.String()
	}
	return o
}

// outcome says by which path the media came in the end.
func (w *watch) outcome(v viewer.Stats) record.Outcome {
	switch {
	case w.failed != nil || len(w.got) == 0:
		return record.Failed
	case !v.Confirmed && w.viaRelay && w.lastCame(): // it was trying another path when the trial ended
		return record.Relayed
	case !v.Confirmed:
		return record.Failed
	case v.Path.Route == punch.Direct && !v.ByAllocation:
		return record.Direct
	}
	return record.Relayed
}

// cause is one sentence on why the media did not go direct.
func (w *watch) cause(v viewer.Stats) string {
	switch {
	case w.failed != nil:
		return w.failed.Cause
	case len(w.got) == 0 && v.Connected.IsZero():
		return "the camera did not answer within the trial's time"
	case len(w.got) == 0:
		return "the camera answered, but no whole frame came within the trial's time"
	case !v.Confirmed && w.viaRelay && w.lastCame():
		return "the video came by the relay; whether the direct path that was tried last works both ways was not known yet when the trial ended"
	case !v.Confirmed:
		return "packets came from the camera, but none of the viewer's reached it within the trial's time"
	case v.ByAllocation:
		return fmt.Sprintf("the path leads over a TURN server's allocation, at %v or towards %v", v.Path.Local, v.Path.Addr)
	case v.Path.Route == punch.Direct:
		return ""
	case !w.policy.Direct:
		return fmt.Sprintf("strategy %s looks for no direct path", w.policy.Name)
	case v.NotDirect != "":
		return v.NotDirect
	}
	return "no direct path was found before the media ended"
}

// media compares what came until the trial's end with the clip, byte for byte.
func (w *watch) media(end time.Time, q media.Quality, sent int) *record.Media {
	m := &record.Media{FramesSent: sent, FramesReceived: len(w.got)}
	clip := media.EmbeddedClip()
	seen := map[int]bool{}
	var bytesAfterFirst int
	var gap time.Duration
	for i, f := range w.got {
		if !seen[f.Index] && bytes.Equal(f.Data, clip.At(f.Index).Data) {
			m.FramesIntact++ // a frame that comes twice is a fault as well
		}
		seen[f.Index] = true
		if d := f.Complete.Sub(f.Captured).Seconds(); d >= 0 { // on a LAN in virtual time it is nothing
			m.LatencyS = append(m.LatencyS, d)
		}
		if i > 0 {
			bytesAfterFirst += len(f.Data)
			gap = max(gap, f.Complete.Sub(w.got[i-1].Complete))
		}
	}
	if n := len(w.got); n > 0 && !w.lastCame() { // the picture stands still for as long as there is video
		last := w.got[n-1]
		due := last.Captured.Add(time.Duration(w.frames-1-last.Index) * time.Second / time.Duration(clip.FPS))
		if due.Before(end) {
			end = due
		}
		gap = max(gap, end.Sub(last.Complete))
	}
	if n := len(w.got); n > 1 {
		if d := w.got[n-1].Complete.Sub(w.got[0].Complete).Seconds(); d > 0 {
			bps := 8 * float64(bytesAfterFirst) / d
			m.GoodputBps = &bps
		}
	}
	if gap > 0 {
		g := gap.Seconds()
		m.GapS = &g
	}
	if q.Expected > 0 {
		loss := float64(q.Lost) / float64(q.Expected)
		m.Loss = &loss
	}
	return m
}

// since returns how long after the viewer's request something was; 0 if it was not. To look up the camera's name is a part of it.
func (a account) since(at time.Time) time.Duration {
	d := after(a.viewer.Asked, at)
	if d > 0 {
		d += a.resolved
	}
	return d
}

// after returns how long after a an event was; 0 if it was not.
func after(a, b time.Time) time.Duration {
	if a.IsZero() || b.IsZero() {
		return 0
	}
	return b.Sub(a)
}
