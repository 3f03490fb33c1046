package stack

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/peers/ice"
	"github.com/punchlab/punchlab/lab/record"
)

// iceWatch follows a trial by the viewer's events, which come on pion's goroutines.
type iceWatch struct {
	connectOnly bool
	frames      int // to receive
	camera      chan struct{}
	viewer      chan struct{}
	over        chan struct{} // the trial has its end
	once        [3]sync.Once
	reached     func(Moment)

	mu      sync.Mutex
	first   *media.Frame  // whichever it is
	got     []media.Frame // of those that the trial asks for
	moments map[Moment]bool
}

func newICEWatch(t Trial) *iceWatch {
	frames := int(t.Media * time.Duration(media.EmbeddedClip().FPS) / time.Second)
	return &iceWatch{
		connectOnly: t.Media == 0, frames: max(frames, connectFrames), reached: t.Reached, moments: map[Moment]bool{},
		camera: make(chan struct{}), viewer: make(chan struct{}), over: make(chan struct{}),
	}
}

// welcomed waits for the camera to be known by the server; the viewer has to know it itself.
func (w *iceWatch) welcomed(role string) {
	if role == ice.RoleCamera {
		w.once[0].Do(func() { close(w.camera) })
	}
}

// online waits until both are connected to the server.
func (w *iceWatch) online(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	select {
	case <-w.camera:
	case <-ctx.Done():
		return fmt.Errorf("the camera did not reach the signalling server within %v", joinTimeout)
	}
	select {
	case <-w.viewer:
	case <-ctx.Done():
		return fmt.Errorf("the viewer did not reach the signalling server within %v", joinTimeout)
	}
	return nil
}

func (w *iceWatch) event(e any) {
	switch e := e.(type) {
	case ice.Welcomed:
		w.once[1].Do(func() { close(w.viewer) })
	case ice.Connected:
		w.tell(Connected)
	case ice.FirstPacket:
		w.tell(FirstPacket)
	case ice.FrameReceived:
		w.frame(e.Frame)
		w.tell(FirstFrame)
	}
}

// frame keeps a frame, if the trial asks for it. The last one ends the trial, or one that comes after it: then all that was
// asked for may be lost.
func (w *iceWatch) frame(f media.Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == nil {
		w.first = &f
	}
	if f.Index < w.frames {
		w.got = append(w.got, f)
	}
	if f.Index >= w.frames-1 {
		w.once[2].Do(func() { close(w.over) })
	}
}

// tell passes a moment on, the first time it comes.
func (w *iceWatch) tell(m Moment) {
	w.mu.Lock()
	first := !w.moments[m]
	w.moments[m] = true
	w.mu.Unlock()
	if first && w.reached != nil {
		w.reached(m)
	}
}

// observe collects what the trial showed.
func (x *iceTrial) observe() Observation {
	v, c := x.viewer.Stats(), x.camera.Traffic()
	relayed, known := x.server.relayedBytes()
	end := time.Now()
	w := x.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	o := Observation{
		PathChanges: v.PathChanges, FirstPacket: span(v.Asked, v.FirstPacket), FirstFrame: span(v.Asked, v.FirstFrame),
		Bytes: map[string]int64{"camera_up": c.Sent.Bytes, "viewer_up": v.Traffic.Sent.Bytes},
		Probes: map[string]float64{
			"packets":        float64(c.Checks.Packets + v.Traffic.Checks.Packets),
			"bytes":          float64(c.Checks.Bytes + v.Traffic.Checks.Bytes),
			"gather_packets": float64(c.Gather.Packets + v.Traffic.Gather.Packets),
			"gather_bytes":   float64(c.Gather.Bytes + v.Traffic.Gather.Bytes),
			"sockets":        float64(x.sockets[0].UDPSockets() + x.sockets[1].UDPSockets()),
		},
	}
	if known {
		o.Bytes["relay"] = relayed
	}
	// A packet that is authentic proves the keys, even where the library says so later.
	if o.Connect = span(v.Asked, v.Connected); o.FirstPacket > 0 {
		o.Connect = min(o.Connect, o.FirstPacket)
	}
	x.judge(&o, v)
	if w.first != nil {
		o.FirstFrameWire = w.first.Bytes + headersOf(v.Pair)*w.first.Packets
	}
	if !w.connectOnly && !v.Connected.IsZero() {
		compared := watch{frames: w.frames, got: w.got}
		o.Media = compared.media(end, v.Quality, min(x.camera.Sent(), w.frames))
	}
	return o
}

// judge says by which path the media came: what the selected pair says, unless the packets came from elsewhere.
func (x *iceTrial) judge(o *Observation, v ice.Stats) {
	if x.watch.first == nil {
		o.Outcome, o.Cause = record.Failed, iceFailure(v)
		if v.Err != nil {
			o.Error = v.Err.Error()
		}
		return
	}
	pair, packets := v.Pair.Relayed(x.servers), slices.Contains(x.servers, v.Traffic.Media.Addr())
	if o.Outcome = record.Direct; packets {
		o.Outcome = record.Relayed
		o.Cause = fmt.Sprintf("ICE selected %v: no direct pair had passed its checks when the relayed one was nominated", v.Pair)
	}
	if pair != packets {
		o.Error = fmt.Sprintf("ICE says that it uses %v, but the last media packet came from %v", v.Pair, v.Traffic.Media)
	}
}

// iceFailure is one sentence on why nothing came.
func iceFailure(v ice.Stats) string {
	switch {
	case !v.Offered:
		return "the viewer's offer did not leave: the signalling server is gone"
	case !v.Answered:
		return "the camera did not answer the offer within the trial's time"
	case v.Pair == ice.Pair{}:
		return fmt.Sprintf("ICE is %v: no pair passed its checks (camera's candidates: %s; viewer's: %s)",
			v.State, types(v.Peers), types(v.Mine))
	case v.Connected.IsZero():
		return fmt.Sprintf("ICE selected %v, but DTLS did not finish within the trial's time", v.Pair)
	}
	return fmt.Sprintf("the session stands by %v, but no whole frame came within the trial's time", v.Pair)
}

// types lists candidates by their types.
func types(all []ice.Candidate) string {
	var names []string
	for _, c := range all {
		names = append(names, c.Type)
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// headersOf is the bytes of IP and UDP on each packet of a pair.
func headersOf(p ice.Pair) int {
	if a := p.Remote.Addr.Addr(); a.Is6() && a != (netip.Addr{}) {
		return ipv6UDP
	}
	return ipUDP
}

// span is how long after a an event was; 0 if it was not.
func span(a, b time.Time) time.Duration {
	if a.IsZero() || b.IsZero() {
		return 0
	}
	return b.Sub(a)
}
