package portmap

import "time"

// Announcements are sent ten times, first at once, then after 250 ms, and then after twice the time before (RFC 6886
// §3.2.1, RFC 6887 §14.1.2); the first two also advertise the UPnP device.
const (
	announcements = 10
	firstPause    = 250 * time.Millisecond
	ssdpNotices   = 2
)

// Announce begins to tell the LAN, unasked, what the services are and which address and epoch they have.
func (c *Core) Announce(now time.Duration) {
	c.notices = nil
	if !speaks(c.cfg.UPnP) && !speaks(c.cfg.NATPMP) && !speaks(c.cfg.PCP) {
		return
	}
	for at, pause := now, firstPause; len(c.notices) < announcements; pause *= 2 {
		c.notices = append(c.notices, at)
		at += pause
	}
	c.alive = ssdpNotices
}

// Deadline is when Advance has something to send; false if there is nothing to come.
func (c *Core) Deadline() (time.Duration, bool) {
	if len(c.notices) == 0 {
		return 0, false
	}
	return c.notices[0], true
}

// Advance returns the announcement that is due; several that were missed are one.
func (c *Core) Advance(now time.Duration) (out []Outgoing) {
	due := 0
	for due < len(c.notices) && c.notices[due] <= now {
		due++
	}
	if due == 0 {
		return nil
	}
	c.notices = c.notices[due:]
	if c.alive > 0 {
		for _, b := range c.aliveNotices() {
			out = append(out, Outgoing{To: SSDPGroup, Data: b})
		}
	}
	c.alive -= due
	if speaks(c.cfg.NATPMP) && c.connected() {
		b, _ := c.pmpExternal(now)
		out = append(out, Outgoing{To: AnnounceGroup, Data: b})
	}
	if speaks(c.cfg.PCP) {
		out = append(out, Outgoing{To: AnnounceGroup, Data: c.pcpHeader(now, pcpAnnounce, pcpSuccess, 0)})
	}
	return out
}

// speaks reports whether a service in that mode says anything.
func speaks(m Mode) bool { return m != Off && m != Silent }
