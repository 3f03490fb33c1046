package camera

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/punchlab/punchlab/impl/bandwidth"
	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/source"
)

// Handle is a camera that runs. It is safe for concurrent use.
type Handle struct {
	opt      Options
	policy   punch.Policy
	state    *state
	video    *video
	recorder Recorder // nil: nothing is recorded
	lan      []net.PacketConn
	ctx      context.Context // ends with the camera
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	life atomic.Pointer[life] // the one that runs, or the last one

	privacy sync.Mutex // held while the mode is switched
	private atomic.Bool

	mu     sync.Mutex
	closed bool
	last   *Stats // of a camera that has ended
}

// life is one run of the core. There is another one when the rendezvous' name leads elsewhere.
type life struct {
	dev  *device.Device
	core *camera.Camera // within the node's lock
	seen chan netip.Addr
	ctx  context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup
	lost atomic.Int64 // unix nanoseconds since when it has not been registered; 0: it is
	// denied is when the rendezvous last said why not, unix nanoseconds; 0: never.
	denied atomic.Int64
}

// How long things take at most.
const (
	mapTimeout    = 2 * time.Second  // for a router to map a port
	goodbyeLast   = 5 * time.Second  // for the recorder to store what it has, at the end
	silentWhen    = 5 * time.Second  // without the rendezvous: it is told
	elsewhereWhen = 45 * time.Second // without the rendezvous: its name is looked up again
)

// Start opens the folder and the sockets, and serves until Close or Kill. The context is for finding the rendezvous by its name alone.
// Of Options, Ready and Motion are Run's alone.
func Start(ctx context.Context, opt Options) (*Handle, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Handle{opt: opt}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if err := h.start(ctx); err != nil {
		_ = h.end(false)
		return nil, err
	}
	return h, nil
}

func (h *Handle) start(ctx context.Context) (err error) {
	if h.policy, err = punch.Lookup("adaptive"); err != nil { // a viewer that wants another names it
		return err
	}
	if h.state, err = openState(h.opt); err != nil {
		return err
	}
	private, err := h.state.loadPrivacy()
	if err != nil {
		return fmt.Errorf("open the camera's folder: %w", err)
	}
	h.private.Store(private)
	if err := h.state.uncounted; err != nil {
		h.opt.Log.Error("the folder takes nothing: free some room on the disk, or make it writable; until then no change of pairings lasts, "+
			"and a restart with a wrong clock may not be served", "error", err.Error())
	}
	if h.video, err = h.opt.openVideo(h.frames, h.observeSource); err != nil {
		return err
	}
	addrs, err := h.find(ctx)
	if err != nil {
		return err
	}
	l, err := h.open(addrs)
	if err != nil {
		return err
	}
	h.life.Store(l)
	if err := h.record(); err != nil {
		return err
	}
	h.listen()
	h.wg.Go(h.elsewhere)
	h.wg.Go(h.tellSilence)
	return nil
}

// open makes a core with its sockets and starts it.
func (h *Handle) open(addrs []netip.AddrPort) (*life, error) {
	d, err := h.sockets()
	if err != nil {
		return nil, fmt.Errorf("open the camera's socket: %w", err)
	}
	s := h.state
	l := &life{dev: d, seen: make(chan netip.Addr, 1)}
	l.lost.Store(time.Now().UnixNano())
	l.core, err = camera.New(camera.Config{
		Static: s.key, Rendezvous: device.Servers(addrs, h.opt.TLS, h.policy.Uplink), RendezvousKey: s.label.RendezvousKey,
		Secret: s.label.Secret, Book: s.book, Keep: h.keep, Certificate: s.certificate, Rand: h.opt.Rand, Boot: s.boot, Host: d.Host(), Classify: true,
		LAN: s.book != nil && !h.opt.NoLAN, Source: h.video.open, Estimator: h.estimator, Keepalive: h.opt.Keepalive, MaxViewers: h.opt.MaxViewers,
		Sent: h.opt.Sent,
	})
	if err == nil {
		err = d.Drive(l.core, func(e any) { h.observe(l, e) })
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	l.ctx, l.end = context.WithCancel(h.ctx)
	h.state.keepPort(d.Node().LocalAddrs()[0].Port())
	d.Node().Do(func(now time.Time) {
		l.core.HandlePrivacy(now, h.Private())
		err = l.core.Start(now)
	})
	if err != nil {
		l.end()
		return nil, errors.Join(err, d.Close())
	}
	if !h.opt.NoMap {
		l.wg.Go(func() { h.mapPort(l) })
	}
	return l, nil
}

// sockets opens them at the port of the last life, if that is free: who has met the camera on its network looks there.
func (h *Handle) sockets() (*device.Device, error) {
	port := h.opt.UDPPort
	if last := h.state.port(); port == 0 && last != 0 {
		if d, err := device.Open(h.opt.Network, h.policy, last); err == nil {
			return d, nil
		}
	}
	return device.Open(h.opt.Network, h.policy, port)
}

// close ends a life. The device's mapping goes with it.
func (l *life) close() error {
	l.end()
	l.wg.Wait()
	return l.dev.Close()
}

// mapPort asks the router for a port mapping as soon as the rendezvous has said where it sees the camera.
func (h *Handle) mapPort(l *life) {
	select {
	case at := <-l.seen:
		if err := l.dev.MapPort(l.ctx, at, mapTimeout, l.core.HandleMapped); err != nil && l.ctx.Err() == nil {
			h.opt.Log.Info("no port mapping", "reason", err.Error())
		}
	case <-l.ctx.Done():
	}
}

// Least of what a path is taken to carry at first, and at all; bits a second.
const (
	pathStart = 3_000_000
	pathFloor = 60_000
)

func (h *Handle) estimator() media.Estimator {
	e, err := bandwidth.New(bandwidth.Config{Start: max(pathStart, h.opt.Source.Bitrate*3/2), Floor: pathFloor})
	if err != nil {
		return unknown{} // the configuration is this package's own
	}
	return e
}

// listen hears viewers on the local network. Without, they still come by the rendezvous.
func (h *Handle) listen() {
	if h.state.book == nil || h.opt.NoLAN {
		return
	}
	socks, err := h.opt.listenLAN(h.ctx)
	if err != nil {
		h.opt.Log.Warn("viewers on this network find the camera by the rendezvous alone", "reason", err.Error())
		return
	}
	h.lan = socks
	for _, c := range socks {
		h.wg.Go(func() {
			hear(h.ctx, c, func(from netip.AddrPort, b []byte) {
				h.do(func(now time.Time, core *camera.Camera) { core.HandleLAN(now, from, b) })
			})
		})
	}
	if h.opt.ownHost {
		h.wg.Go(func() { rejoin(h.ctx, socks) })
	}
}

// record starts the recorder, and hands it the video.
func (h *Handle) record() (err error) {
	if h.opt.Record == nil {
		return nil
	}
	if h.recorder, err = h.opt.Record(h.state.label.UID(), h.state.path(SpoolDir)); err != nil {
		return err
	}
	h.wg.Go(func() { h.video.each(h.ctx, h.Private, h.recorder.Write) })
	return nil
}

// do runs f with the core that runs.
func (h *Handle) do(f func(now time.Time, core *camera.Camera)) {
	if l := h.life.Load(); l != nil {
		l.dev.Node().Do(func(now time.Time) { f(now, l.core) })
	}
}

// frames tells the core that its sources have something new.
func (h *Handle) frames() {
	h.do(func(now time.Time, core *camera.Camera) { core.HandleFrames(now) })
}

// Run serves until the context ends; then the camera says goodbye.
func Run(ctx context.Context, opt Options) error {
	h, err := Start(ctx, opt)
	if err != nil {
		return err
	}
	if opt.Ready != nil {
		opt.Ready(h)
	}
	for {
		select {
		case <-opt.Motion:
			h.Motion()
		case <-ctx.Done():
			return h.Close()
		}
	}
}

// Close says goodbye to the viewers and the rendezvous, lets the recorder store what it has for a moment, and ends everything.
func (h *Handle) Close() error {
	if !h.finish() {
		return nil
	}
	h.do(func(now time.Time, core *camera.Camera) { core.Close(now) })
	return h.end(true)
}

// Kill ends the camera as a power cut does: nobody is told, and the recorder stores nothing more.
func (h *Handle) Kill() {
	if h.finish() {
		_ = h.end(false)
	}
}

// finish notes the last counts, and says whether that is to be done.
func (h *Handle) finish() bool {
	s := h.Stats()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.closed, h.last = true, &s
	return true
}

// end ends everything that has been started. store lets the recorder store what it has.
func (h *Handle) end(store bool) error {
	h.cancel()
	var errs []error
	for _, c := range h.lan {
		_ = c.Close()
	}
	h.wg.Wait()
	if l := h.life.Load(); l != nil {
		errs = append(errs, l.close())
	}
	if h.recorder != nil {
		ctx, cancel := context.WithTimeout(context.Background(), goodbyeLast)
		if !store {
			cancel()
		}
		if err := h.recorder.Close(ctx); err != nil && store {
			h.opt.Log.Warn("not everything that was recorded is stored", "reason", err.Error())
		}
		cancel()
	}
	if h.video != nil {
		errs = append(errs, h.video.close())
	}
	if h.state != nil {
		h.state.close()
	}
	return errors.Join(errs...)
}

// Label is what viewers need. It holds the pairing secret.
func (h *Handle) Label() identity.Label { return h.state.label }

// Motion tells the recorder that something moves.
func (h *Handle) Motion() {
	if h.recorder != nil {
		h.recorder.Motion(time.Now())
	}
}

// Do runs f with the core to itself; f must not call the Handle. After Close it does nothing.
func (h *Handle) Do(f func(now time.Time, core *camera.Camera)) { h.do(f) }

// Addrs lists the main sockets' addresses.
func (h *Handle) Addrs() []netip.AddrPort { return h.life.Load().dev.Node().LocalAddrs() }

// Suspend puts the camera's network to sleep, as a host that sleeps does, and Resume wakes it.
func (h *Handle) Suspend() { h.life.Load().dev.Node().Suspend() }

// Resume wakes what Suspend has put to sleep.
func (h *Handle) Resume() { h.life.Load().dev.Node().Resume() }

// Stats is what a camera has done so far.
type Stats struct {
	Core    camera.Stats
	Node    node.Stats
	Serving []camera.Serving
	Source  source.Stats // zero where the video is a stored stream
}

// Stats returns the counts so far; after Close or Kill the last ones.
func (h *Handle) Stats() (s Stats) {
	h.mu.Lock()
	last := h.last
	h.mu.Unlock()
	if last != nil {
		return *last
	}
	h.do(func(_ time.Time, core *camera.Camera) { s.Core, s.Serving = core.Stats(), core.Serving() })
	if l := h.life.Load(); l != nil {
		s.Node = l.dev.Node().Stats()
	}
	if h.video.hub != nil {
		s.Source = h.video.hub.Stats()
	}
	return s
}
