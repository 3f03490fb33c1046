package live

import (
	"github.com/punchlab/punchlab/lab/capture/pcapng"
	"github.com/punchlab/punchlab/lab/internal/sniff"
	"golang.org/x/sys/unix"
)

// monitored is the host's direction: what the router sends comes in to it.
func monitored(p *sniff.Passed) pcapng.Direction {
	if p.Out {
		return pcapng.Inbound
	}
	return pcapng.Outbound
}

// addMonitor serves opMonitor.
func (l *loop) addMonitor(n *netState, r *request) error {
	name := r.body.text()
	if r.body.err != nil || r.fd < 0 {
		return errMessage
	}
	p := &port{fd: r.fd, monitor: name, net: n}
	if err := l.register(p); err != nil {
		return err
	}
	r.fd = -1
	n.monitors = append(n.monitors, p)
	if n.capture != nil {
		return sniff.Unmute(p.fd)
	}
	return nil
}

// drainMonitor records a burst of what a monitor saw, and tells whether there may be more.
func (l *loop) drainMonitor(p *port) (more bool) {
	c := p.net.capture
	for range readBurst {
		passed, e := l.sniffer.Read(p.fd)
		switch {
		case e == unix.ENETDOWN:
			continue // the device went down; the error is reported once
		case e == unix.EINVAL && c != nil:
			c.lost++
			continue
		case e != 0:
			return false
		case c == nil:
			continue
		}
		t := l.now()
		if passed.At > 0 {
			t = passed.At - c.log.Origin
		}
		dir := monitored(&passed)
		passed.Wire(func(b []byte) {
			if c.room(len(b)) {
				c.cur = c.log.AppendMonitored(c.cur, p.monitor, t, dir, b, len(b))
			}
		})
	}
	return true
}
