package portmap

import (
	"time"
)

// Announcements are sent ten times, first at once, then after 250 ms, and then after twice the time before (RFC 6886
// §3.2.1, RFC 6887 §14.1.2); the first two also advertise the UPnP device.
const (
	announcements = 10
	firstPause    = 250 * time.Millisecond
	ssdpNotices   = 2
)

// Announce begins to tell the LAN, unasked, what the services are and which address and epoch they have.
func (c *Core) Announce(now time.Duration) {
	c.notices = c.notices[:0]
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

// Advance returns the announcements that are due: by UDP to AnnounceGroup from port 5351, and to SSDPGroup.
func (c *Core) Advance(now time.Duration) (out []Outgoing) {
	for len(c.notices) > 0 && c.notices[0] <= now {
		c.notices = c.notices[1:]
		if c.alive > 0 {
			c.alive--
			for _, b := range c.aliveNotices() {
				out = append(out, Outgoing{To: SSDPGroup, Data: b})
			}
		}
		if c.speaks(c.cfg.NATPMP) && c.connected() {
			b, _ := c.pmpExternal(now)
			out = append(out, Outgoing{To: AnnounceGroup, Data: b})
		}
		if c.speaks(c.cfg.PCP) {
			out = append(out, Outgoing{To: AnnounceGroup, Data: c.pcpHeader(now, pcpAnnounce, pcpSuccess, 0)})
		}
	}
	return out
}

// speaks reports whether a service in that mode says anything.
func (c *Core) speaks(m Mode) bool { return m != Off && m != Silent }
