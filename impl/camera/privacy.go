package camera

import "time"

// HandlePrivacy says whether the camera is to give no media: people want to be unseen. Viewers stay connected, and others may come;
// they get no packet of media, new or again, until the mode is off. A stored source goes on where it was; a live one has moved on.
func (c *Camera) HandlePrivacy(now time.Time, on bool) {
	c.awake(now)
	if c.closed || on == !c.private.IsZero() {
		return
	}
	if on {
		c.private = now
		return
	}
	since := c.private
	c.private = time.Time{}
	for _, v := range c.viewers {
		v.reveal(now, since)
	}
}

// reveal goes on with a stream that was held since a time.
func (v *viewer) reveal(now, since time.Time) {
	s := &v.stream
	if s.begun && !s.live {
		if s.start.After(since) {
			since = s.start
		}
		s.origin = s.origin.Add(now.Sub(since))
	}
	if s.pending {
		v.look(now)
		return
	}
	v.streamTimeout(now)
}
