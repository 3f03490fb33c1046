package uplink

import (
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// How long a server is let alone: one that denies its service without saying for how long, and one that has said that it shuts
// down, which takes up to twice as long.
const (
	firstDenied = time.Minute
	lastDenied  = time.Hour
	restartWait = 2 * time.Second
)

// hold is a refusal: nothing is asked before it ends.
type hold struct {
	until time.Time
	times int // how often in a row
}

// longer notes another refusal, for a number of seconds or, where that is 0, twice as long as the last time. Devices that were
// refused together do not come back together.
func (h *hold) longer(now time.Time, seconds uint16, l *Link) time.Duration {
	wait := time.Duration(seconds) * time.Second
	if wait == 0 {
		wait = min(firstDenied<<min(h.times, 10), lastDenied)
	}
	wait += l.jitter(wait / 4)
	h.times++
	h.until = now.Add(wait)
	return wait
}

// ofDevice says whether every server would refuse for this reason: it lies in the device and not in the server.
func ofDevice(c wire.Code) bool {
	switch c {
	case wire.CodeVersion, wire.CodeCertificate, wire.CodeWrongMaker, wire.CodeCertificateExpired, wire.CodeRevoked,
		wire.CodeAccount, wire.CodeAccountExpired, wire.CodeDuplicateKey:
		return true
	}
	return false
}

// denied takes a refusal by the server at an address. Another server is asked at once, unless the reason is this device.
func (l *Link) denied(now time.Time, w *way, from netip.AddrPort, code wire.Code, seconds uint16) {
	w.stop()
	w.round = true
	var wait time.Duration
	if ofDevice(code) {
		wait = l.refused.longer(now, seconds, l)
		l.begin(l.refused.until)
	} else {
		h := l.held[server(from)]
		wait = h.longer(now, seconds, l)
		l.held[server(from)] = h
		if l.turn(now, w, w.at) {
			_ = l.initiate(now, w) // an error comes from the source of randomness and would repeat
		}
	}
	if l.cfg.Denied != nil {
		l.cfg.Denied(now, code, wait)
	}
}

// served forgets the refusals once a server has taken this device.
func (l *Link) served(by netip.AddrPort) {
	l.refused = hold{}
	delete(l.held, server(by))
}

// server is an address without its protocol: datagrams and streams go to one server.
func server(a netip.AddrPort) netip.AddrPort {
	_, bare := core.ProtoOf(a)
	return bare
}

// turn moves a way to the first address from one on that may be asked now. Where there is none, the way waits.
func (l *Link) turn(now time.Time, w *way, from int) bool {
	var soonest time.Time
	for i := range w.addrs {
		at := (from + i) % len(w.addrs)
		until := l.held[server(w.addrs[at])].until
		if l.refused.until.After(until) {
			until = l.refused.until
		}
		if !until.After(now) {
			w.at = at
			return true
		}
		soonest = core.Earliest(soonest, until)
	}
	w.stop()
	w.retry = soonest
	return false
}

// avoid has the addresses behind that of a server that has gone come first.
func (l *Link) avoid(gone netip.AddrPort) {
	for i := range l.ways {
		w := &l.ways[i]
		if at := slices.IndexFunc(w.addrs, func(a netip.AddrPort) bool { return server(a) == server(gone) }); at >= 0 {
			w.at = (at + 1) % len(w.addrs)
		}
	}
}

// elsewhere says whether there is another server than the present one.
func (l *Link) elsewhere() bool {
	return slices.ContainsFunc(l.cfg.Addrs, func(a netip.AddrPort) bool { return server(a) != server(l.remote) })
}

// most is how many unanswered pings end a session. Where there is nowhere else to go, nothing is gained by haste.
func (l *Link) most() int {
	if l.elsewhere() {
		return maxPings
	}
	return maxPings + 1
}

// patience is how long a silent server is waited for where there is another one, from the first unanswered ping on.
func (l *Link) patience() time.Duration {
	rto := l.pongRTO()
	return (1<<(maxPings-1)-1)*rto + max(rto<<(maxPings-1), lastWait)
}

// pongRTO is how long the answer to a first ping is waited for.
func (l *Link) pongRTO() time.Duration {
	if isStream(l.remote) {
		return max(l.RTO(), streamRTO)
	}
	return l.RTO()
}

// lead is how much earlier a ping leaves where there is another server to go to: it has the device by the time at which the
// ping would have been due, though the present one died behind the last pong.
func (l *Link) lead() time.Duration {
	if !l.elsewhere() {
		return 0
	}
	return min(l.patience()+l.RTO(), l.rhythm.every/4)
}
