package rendezvous

import (
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// A viewer is told how cameras are that it watches, now and at each change:
//
//	Watch ──► Presence, answering it (again until PresenceAck)      camera comes or goes ──► Presence to those who watch it
//
// One message is on its way to a viewer at a time. What changes meanwhile joins what it said in the next one, with a greater
// sequence, so that an acknowledgement says of each camera what its viewer knows.

const (
	watchesEach    = 256             // cameras of a viewer
	watchPerSecond = 32              // cameras that a viewer names, with bursts of watchBurst
	watchBurst     = 1024            // so that all can be asked for again, by a new session, and twice
	lastPresence   = 5 * time.Second // greatest gap between repetitions
)

// watched is a camera that somebody watches.
type watched struct {
	uid   identity.UID
	by    []*watch
	there bool      // online at another node
	since time.Time // there
}

// watch is a viewer's interest in a camera.
type watch struct {
	camera *watched
	viewer *client
	state  wire.State
	since  time.Time // state, unless it is unavailable
	stale  bool      // the viewer is not known to know
	anew   bool      // it has changed since it was told last
}

// watching is what a viewer watches.
type watching struct {
	watches  []*watch
	stale    []*watch // in the order in which they are to be told
	told     int      // how many of them are on their way
	sequence uint32   // of the last Presence
	answers  uint32   // the watch that is to be answered; 0: none
	gap      time.Duration
	timer    timer
	names    bucket
}

// state is what those who watch a camera are told of the cause for which it went; unavailable: nothing.
func (c Cause) state() wire.State {
	switch c {
	case CauseElsewhere, CauseDraining: // it is to be found at another node
		return wire.StateUnavailable
	case CauseGoodbye:
		return wire.StateLeft
	}
	return wire.StateSilent
}

// watch begins or ends a viewer's interest in cameras, and tells what is known of them.
func (s *Server) watch(now time.Time, c *client, m *wire.Watch) error {
	if c.role != Viewer {
		return errUnasked
	}
	w := s.watching(c)
	n := float64(len(m.Cameras))
	if all := float64(s.cfg.WatchesPerSecond); !w.names.take(now, watchPerSecond, watchBurst, n) || !s.lookups.take(now, all, all, n) {
		return errWatches
	}
	for _, u := range m.Cameras {
		if m.End {
			s.endWatch(now, w, u)
		} else {
			s.beginWatch(now, c, w, u)
		}
	}
	w.answers = m.Sequence
	s.presence(now, c)
	return nil
}

// watching is what a viewer watches, made where it watches nothing yet.
func (s *Server) watching(c *client) *watching {
	a := c.affairs()
	if a.watching == nil {
		a.watching = &watching{}
		a.watching.timer.due = func(now time.Time) { s.tellPresence(now, c) }
	}
	return a.watching
}

func (w *watching) find(u identity.UID) int {
	return slices.IndexFunc(w.watches, func(x *watch) bool { return x.camera.uid == u })
}

// spoil notes that a viewer is to be told of a camera.
func (w *watching) spoil(x *watch) {
	x.anew = true
	if !x.stale {
		x.stale = true
		w.stale = append(w.stale, x)
	}
}

// beginWatch notes a camera, unless there are too many already, and that it is to be told of.
func (s *Server) beginWatch(now time.Time, c *client, w *watching, u identity.UID) {
	if at := w.find(u); at >= 0 {
		w.spoil(w.watches[at])
		return
	}
	if len(w.watches) >= watchesEach || s.nwatches >= s.cfg.MaxWatches {
		return
	}
	t := s.watched[u]
	if t == nil {
		t = &watched{uid: u}
		s.watched[u] = t
		if s.cfg.Others != nil {
			s.cfg.Others.Watch(now, u, true)
		}
	}
	x := &watch{camera: t, viewer: c}
	if cam := s.camera(u); cam != nil {
		x.state, x.since = wire.StateOnline, s.time(cam.since)
	} else if t.there {
		x.state, x.since = wire.StateOnline, t.since
	}
	t.by = append(t.by, x)
	w.watches = append(w.watches, x)
	s.nwatches++
	w.spoil(x)
}

// endWatch forgets a camera. What is on its way to the viewer begins anew afterwards, or ends.
func (s *Server) endWatch(now time.Time, w *watching, u identity.UID) {
	at := w.find(u)
	if at < 0 {
		return
	}
	x, t := w.watches[at], w.watches[at].camera
	w.watches = slices.Delete(w.watches, at, at+1)
	if at := slices.Index(w.stale, x); at >= 0 {
		w.stale = slices.Delete(w.stale, at, at+1)
	}
	at = slices.Index(t.by, x)
	t.by = slices.Delete(t.by, at, at+1)
	s.nwatches--
	if len(t.by) > 0 {
		return
	}
	delete(s.watched, u)
	if s.cfg.Others != nil {
		s.cfg.Others.Watch(now, u, false)
	}
}

// unwatch ends all that a device watches.
func (s *Server) unwatch(now time.Time, c *client) {
	if c.busy == nil || c.busy.watching == nil {
		return
	}
	w := c.busy.watching
	for len(w.watches) > 0 {
		s.endWatch(now, w, w.watches[len(w.watches)-1].camera.uid)
	}
	w.told, w.answers, w.sequence = 0, 0, 0
	s.timers.set(&w.timer, time.Time{})
}

// changed tells those who watch a camera how it is now.
func (s *Server) changed(now time.Time, u identity.UID, state wire.State, since time.Time) {
	t := s.watched[u]
	if t == nil || state == wire.StateUnavailable || state != wire.StateOnline && t.there {
		return
	}
	for _, x := range t.by {
		x.state, x.since = state, since
		w := x.viewer.busy.watching
		w.spoil(x)
		if w.told == 0 && w.answers == 0 {
			s.presence(now, x.viewer)
		}
	}
}

// Presence takes how a camera is that is served at another node, for those who watch it here: online since then, or gone.
func (s *Server) Presence(now time.Time, camera identity.UID, state wire.State, since time.Time) {
	s.box.Begin()
	t := s.watched[camera]
	if t == nil {
		return
	}
	was := t.there
	t.there, t.since = state == wire.StateOnline, since
	if state == wire.StateUnavailable {
		state = wire.StateSilent
	}
	if s.camera(camera) == nil && (t.there || was) {
		s.changed(now, camera, state, since)
	}
}

// presence begins another message with as much as it holds of what a viewer is to be told.
func (s *Server) presence(now time.Time, c *client) {
	w := c.busy.watching
	w.sequence++
	w.told = min(len(w.stale), wire.MaxStatuses)
	w.gap = min(max(2*c.trip(), minRTO), lastPresence)
	for _, x := range w.stale[:w.told] {
		x.anew = false
	}
	s.tellPresence(now, c)
}

// tellPresence sends the message and arms the repetition. It is the timer of what a viewer watches.
func (s *Server) tellPresence(now time.Time, c *client) {
	w := c.busy.watching
	m := &wire.Presence{Sequence: w.sequence, Answers: w.answers}
	for _, x := range w.stale[:w.told] {
		status := wire.Status{UID: x.camera.uid, State: x.state}
		if x.state != wire.StateUnavailable {
			status.Age = uint32(min(max(0, now.Sub(x.since)/time.Second), 1<<32-1))
		}
		m.Cameras = append(m.Cameras, status)
	}
	if m.Answers == 0 && len(m.Cameras) == 0 {
		return
	}
	s.stats.Presences++
	s.tell(c, core.Signal, m)
	s.timers.set(&w.timer, now.Add(w.gap))
	w.gap = min(2*w.gap, lastPresence)
}

// presenceAck ends the repetition, and begins with what is still to be told.
func (s *Server) presenceAck(now time.Time, c *client, m *wire.PresenceAck) error {
	if c.busy == nil || c.busy.watching == nil {
		return errUnasked
	}
	w := c.busy.watching
	if m.Sequence != w.sequence {
		return nil // of an older one
	}
	told := w.stale[:w.told]
	rest := append([]*watch(nil), w.stale[w.told:]...)
	w.stale, w.told, w.answers = rest, 0, 0
	for _, x := range told {
		x.stale = false
		if x.anew {
			w.spoil(x)
		}
	}
	if len(w.stale) > 0 {
		s.presence(now, c)
	} else if len(w.watches) == 0 {
		c.settle()
	}
	return nil
}
