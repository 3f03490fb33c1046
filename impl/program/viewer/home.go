package viewer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	core "github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
)

const (
	measureEvery = time.Second // while something is watched
	// resolveAgain is when names that could not be resolved are tried again.
	resolveAgain = 5 * time.Second
)

// home is the session with one rendezvous, and the cameras that are reached by it.
//
//	API, events ──wake──► run ──node.Do──► step: what is wanted and what there is, brought together
//	core ──event──► observe: what there is
//
// Viewer.mu guards what both sides use. It is taken within the node's lock, never around it: nobody who holds it calls the node.
type home struct {
	v      *Viewer
	key    identity.PublicKey
	kick   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc

	dev   *device.Device   // run's
	core  *core.Viewer     // run's, within the node's lock
	addrs []netip.AddrPort // run's: what the hosts stand for

	// Guarded by Viewer.mu.
	running  bool
	hosts    []string
	known    []netip.AddrPort // what the hosts stood for, as the book says
	loggedIn bool
	silent   time.Time // since then the rendezvous has not answered, or its names were resolved again; zero: it answers
	rtt      time.Duration
	failure  string
	keys     []identity.UID // of cameras that are asked for a key frame
	followed []identity.UID
	gone     []identity.UID // cameras that are no longer known
}

// wake has run look at what is wanted.
func (h *home) wake() {
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// run lives until the context ends.
func (h *home) run() {
	ctx := h.ctx
	defer h.close()
	if !h.open(ctx) {
		return
	}
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.kick:
		case <-tick.C:
		}
		var next time.Time
		h.dev.Node().Do(func(now time.Time) { next = h.step(now) })
		if h.stale() {
			h.renew()
			h.wake()
		}
		if h.dev == nil { // the context has ended
			return
		}
		if d := time.Until(next); !next.IsZero() {
			tick.Reset(max(d, time.Millisecond))
		}
	}
}

// open resolves the rendezvous' names, until that works, and starts the core.
func (h *home) open(ctx context.Context) bool {
	for {
		err := h.start()
		if err == nil {
			return true
		}
		h.v.opt.Log.Warn("rendezvous cannot be used", "hosts", h.hosts, "error", err)
		h.v.mu.Lock()
		h.failure = err.Error()
		h.v.failHome(h, &Refusal{wire.CodeRendezvousSilent, err.Error()})
		h.v.changed()
		h.v.mu.Unlock()
		select {
		case <-ctx.Done():
			return false
		case <-time.After(resolveAgain):
		}
	}
}

// stale says whether the rendezvous has been silent for so long, and nobody watching, that its names may stand for others now.
func (h *home) stale() bool {
	h.v.mu.Lock()
	defer h.v.mu.Unlock()
	if h.silent.IsZero() || time.Since(h.silent) < h.v.opt.renew {
		return false
	}
	h.silent = time.Now()
	return !slices.ContainsFunc(h.v.of(h), func(c *camera) bool { return c.phase == Watching })
}

// renew resolves the names again, and begins anew where they stand for other addresses.
func (h *home) renew() {
	addrs, err := h.resolve()
	if err != nil || slices.Equal(addrs, h.addrs) {
		return
	}
	h.v.opt.Log.Info("rendezvous has moved", "hosts", h.hosts)
	h.v.mu.Lock()
	for _, c := range h.v.of(h) {
		if c.phase == Connecting {
			c.dropped++ // its Closed is not news
			c.requeue()
			c.become(Idle)
		}
	}
	h.followed = nil
	h.v.mu.Unlock()
	h.close()
	h.dev = nil
	h.open(h.ctx)
}

// resolve finds the addresses of the rendezvous; where names cannot be resolved, those of the last time.
func (h *home) resolve() ([]netip.AddrPort, error) {
	h.v.mu.Lock()
	hosts, known := slices.Clone(h.hosts), slices.Clone(h.known)
	h.v.mu.Unlock()
	var addrs []netip.AddrPort
	var errs []error
	for _, host := range hosts {
		at, err := h.v.opt.Resolve(h.ctx, host)
		for _, a := range at {
			if !slices.Contains(addrs, a) {
				addrs = append(addrs, a)
			}
		}
		errs = append(errs, err)
	}
	if len(addrs) > 0 {
		return addrs, nil
	}
	if len(known) > 0 {
		return known, nil
	}
	return nil, fmt.Errorf("find rendezvous %v: %w", hosts, errors.Join(errs...))
}

func (h *home) start() error {
	o := &h.v.opt
	addrs, err := h.resolve()
	if err != nil {
		return err
	}
	boot, err := o.Boot()
	if err != nil {
		return err
	}
	d, err := device.Open(o.Network, h.v.policy, 0)
	if err != nil {
		return fmt.Errorf("open sockets: %w", err)
	}
	c, err := core.New(core.Config{
		Static: o.Key, Rendezvous: device.Servers(addrs, o.TLS, h.v.policy.Uplink), RendezvousKey: h.key, Rand: o.Rand, Host: d.Host(),
		Classify: device.Classifies(h.v.policy), FPS: o.FPS, Name: o.Name, Token: o.Token, MaxCameras: maxWatched, Boot: boot,
	})
	if err == nil {
		err = d.Drive(c, h.observe)
	}
	if err != nil {
		return errors.Join(err, d.Close())
	}
	h.dev, h.core, h.addrs = d, c, addrs
	d.Node().Do(func(now time.Time) { err = c.Start(now) })
	h.v.mu.Lock()
	h.known, h.failure, h.silent = addrs, "", time.Now()
	h.v.mu.Unlock()
	return err
}

// maxWatched is how many cameras of one rendezvous may be watched at a time.
const maxWatched = 64

func (h *home) close() {
	if h.dev == nil {
		return
	}
	h.dev.Node().Do(func(now time.Time) { h.core.Close(now) })
	if err := h.dev.Close(); err != nil {
		h.v.opt.Log.Warn("sockets closed", "error", err)
	}
}

// step brings together what is wanted and what there is, and returns when it wants to be called again; zero: when woken.
func (h *home) step(now time.Time) (next time.Time) {
	h.v.mu.Lock()
	defer h.v.mu.Unlock()
	for _, u := range h.gone {
		h.core.Disconnect(now, u)
	}
	h.gone = nil
	h.follow(now)
	for _, c := range h.v.of(h) {
		h.connect(now, c)
		h.ask(now, c)
		if c.phase == Watching {
			h.measure(now, c)
			next = sooner(next, c.measured.at.Add(measureEvery))
		}
		if any, _ := c.wanted(); any && c.phase == Waiting {
			next = sooner(next, c.retryAt)
		}
	}
	for _, u := range h.keys {
		h.core.RequestKeyFrame(now, u)
	}
	h.keys = nil
	h.rtt = h.core.Stats().RTT
	if !h.silent.IsZero() {
		next = sooner(next, h.silent.Add(h.v.opt.renew))
	}
	return next
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// follow has the rendezvous tell of the cameras in the book.
func (h *home) follow(now time.Time) {
	var all []identity.UID
	for _, c := range h.v.of(h) {
		if len(all) < core.MaxWatch {
			all = append(all, c.uid)
		}
	}
	if slices.Equal(all, h.followed) {
		return
	}
	h.followed = all
	if err := h.core.Watch(now, all); err != nil {
		h.v.opt.Log.Warn("presence cannot be followed", "error", err)
	}
}

// connect begins and ends the connection with a camera as it is wanted.
func (h *home) connect(now time.Time, c *camera) {
	any, video := c.wanted()
	live := c.phase == Connecting || c.phase == Watching
	if live && (!any || video && c.quiet) {
		if c.dropped++; c.phase == Watching {
			h.v.met(now, c)
		}
		h.core.Disconnect(now, c.uid)
		c.requeue()
		live = false
		c.become(Idle)
	}
	switch {
	case live:
		return
	case !any:
		c.become(Idle)
		c.failure, c.retryGap = nil, 0
		return
	case c.phase == Refused || c.phase == Waiting && now.Before(c.retryAt):
		return
	}
	r := core.Request{Label: c.label, Strategy: h.v.opt.Strategy, Quiet: !video}
	if !h.v.opt.NoLAN && !c.temporary { // whom the camera does not know it does not answer there
		groups := h.v.opt.Groups
		r.Near = slices.Concat(c.Near[:min(len(c.Near), core.MaxNear-len(groups))], groups)
	}
	if err := h.core.Ask(now, r); err != nil {
		h.failed(now, c, &Refusal{wire.CodeInternal, err.Error()})
		return
	}
	c.quiet = !video
	c.become(Connecting)
}

// become writes the phase.
func (c *camera) become(p Phase) {
	if c.phase == p {
		return
	}
	c.phase = p
	if p != Watching {
		c.gop, c.gopSize, c.measured = nil, 0, meter{}
	}
	c.home.v.changed()
}

// failed notes that there is no connection, and what becomes of who waits for it.
func (h *home) failed(now time.Time, c *camera, r *Refusal) {
	c.failure = r
	c.refuse(r)
	switch {
	case final(r.Code):
		c.become(Refused)
		for _, f := range slices.Clone(c.feeds) {
			f.end(r)
		}
	default:
		c.later(now)
		c.become(Waiting)
		for _, f := range slices.Clone(c.feeds) {
			if f.opt.Once {
				f.end(r)
			}
		}
	}
	h.wake()
	h.v.changed()
}

// measure reads the connection's counts.
func (h *home) measure(now time.Time, c *camera) {
	if !c.measured.at.IsZero() && now.Sub(c.measured.at) < measureEvery {
		return
	}
	x, ok := h.core.Connection(c.uid)
	if !ok {
		return
	}
	c.measured.read(now, x.Quality)
	c.path, c.rtt = x.Path, x.RTT
	if len(x.Near) > 0 {
		c.Near = x.Near
	}
	c.LastPath = c.pathName(c.path)
	h.v.changed()
}
