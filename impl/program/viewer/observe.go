package viewer

import (
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	core "github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
)

// observe takes a core's event, on the node's goroutine.
func (h *home) observe(event any) {
	if h.v.opt.Observe != nil {
		h.v.opt.Observe(event)
	}
	h.v.mu.Lock()
	defer h.v.mu.Unlock()
	switch e := event.(type) {
	case core.FrameReceived:
		h.about(e.Camera, func(c *camera) { h.frame(c, e) })
		return // numbers: told once a second
	case core.LoggedIn:
		h.loggedIn, h.failure, h.rtt, h.silent = true, "", e.RTT, time.Time{}
		h.v.opt.Log.Info("logged in", "hosts", h.hosts, "reflexive", e.Reflexive)
	case core.LoggedOut:
		h.loggedIn, h.silent = false, e.At
		for _, c := range h.v.of(h) {
			c.presence, c.since, c.why = Unknown, time.Time{}, ""
		}
	case core.Denied:
		h.loggedIn, h.failure = false, e.Code.Sentence()
		h.v.opt.Log.Warn("rendezvous denies", "hosts", h.hosts, "code", e.Code)
	case core.Presence:
		h.about(e.Camera, func(c *camera) { h.present(c, e) })
	case core.Connected:
		h.about(e.Camera, func(c *camera) { h.connected(c, e) })
	case core.PathConfirmed: // what the camera grants counts from now on
		h.about(e.Camera, func(c *camera) {
			c.retryGap = 0
			c.greet()
		})
	case core.PathChanged:
		h.about(e.Camera, func(c *camera) { c.path, c.LastPath = e.To, c.pathName(e.To) })
	case core.Reconnecting:
		h.about(e.Camera, func(c *camera) {
			c.lost(&Refusal{wire.CodeExpired, "the connection was made anew"})
			c.become(Connecting)
		})
	case core.Managed:
		h.about(e.Camera, func(c *camera) { c.answered(e) })
	case core.Failed:
		h.about(e.Camera, func(c *camera) { h.over(e.At, c, &Refusal{e.Code, e.Cause}) })
	case core.Closed:
		h.about(e.Camera, func(c *camera) { h.over(e.At, c, &Refusal{e.Code, e.Code.Sentence()}) })
	default:
		return
	}
	h.v.changed()
}

// about does something with a camera, if it is still known.
func (h *home) about(u identity.UID, do func(*camera)) {
	if c := h.v.find(u); c != nil {
		do(c)
	}
}

// present notes whether the camera can be reached: one that is back need not be waited for.
func (h *home) present(c *camera, e core.Presence) {
	was := c.presence
	c.presence, c.since, c.why = Offline, e.Since, ""
	switch e.State {
	case wire.StateOnline:
		c.presence, c.LastSeen = Online, e.At
		if was != Online && c.phase == Waiting {
			c.retryAt, c.retryGap = time.Time{}, 0
			h.wake()
		}
	case wire.StateLeft:
		c.why = "said goodbye"
	case wire.StateSilent:
		c.why = "fell silent"
	}
	if was == Online && c.presence == Offline {
		c.LastSeen = e.At
	}
}

func (h *home) connected(c *camera, e core.Connected) {
	c.path, c.LastPath, c.LastSeen = e.Path, c.pathName(e.Path), e.At
	c.failure = nil
	if e.Role != 0 {
		c.Role = e.Role
	}
	c.stream++
	c.become(Watching)
	h.v.opt.Log.Info("connected", "camera", c.uid, "path", c.LastPath, "role", e.Role)
	h.v.note(c)
	h.wake()
}

func (h *home) frame(c *camera, e core.FrameReceived) {
	f := Frame{Frame: e.Frame, Path: c.pathName(e.Path), Stream: c.stream}
	c.latency = e.Frame.Latency()
	c.keep(f)
	for _, x := range c.feeds {
		x.push(f)
	}
}

// over notes the end of a connection; one that this side has ended is not news.
func (h *home) over(now time.Time, c *camera, r *Refusal) {
	if c.dropped > 0 {
		c.dropped--
		return
	}
	h.v.opt.Log.Info("disconnected", "camera", c.uid, "code", r.Code, "cause", r.Cause)
	h.v.met(now, c)
	c.lost(r)
	h.failed(now, c, r)
}

// met notes where the camera was until now.
func (v *Viewer) met(now time.Time, c *camera) {
	if c.phase == Watching {
		c.LastSeen = now
		v.note(c)
	}
}
