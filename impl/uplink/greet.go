package uplink

import (
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// The ways to the rendezvous.
const (
	datagrams = iota
	streams
)

// way is a handshake under way by datagrams, or by streams. Each has initiations of its own: the rendezvous answers the same
// one from one address only. The streams' is the newer one, so that it takes the place of a session whose answer was lost.
type way struct {
	addrs []netip.AddrPort
	at    int // index of the next

	hs    *session.Initiator
	stamp uint64
	made  time.Time // when hs was
	sent  time.Time // when hs' initiation was first sent, with a cookie if it needs one
	tries int
	retry time.Time // zero: nothing more is sent
	round bool      // the other addresses are tried too
	begun bool      // streams: something was sent
}

// going says whether there is a handshake, or will be one.
func (w *way) going() bool { return w.hs != nil || !w.retry.IsZero() }

func (w *way) stop() { w.hs, w.retry, w.tries = nil, time.Time{}, 0 }

// step is how often the present gap between datagrams has doubled. In the first round each address is asked as quickly as the
// one before, triesEach times; then one after the other, at a steady pace for the sake of loss, and at last more and more slowly.
func (w *way) step() int {
	n := len(w.addrs)
	if !w.round {
		n = 1
	}
	slowly := max(steadyTries, triesEach*n)
	switch {
	case w.tries < triesEach*n:
		return w.tries % triesEach
	case w.tries < slowly:
		return triesEach - 1
	}
	return w.tries - slowly + triesEach
}

// goTo makes an address the present one.
func (w *way) goTo(a netip.AddrPort) {
	if i := slices.Index(w.addrs, a); i >= 0 {
		w.at = i
	}
}

func isStream(a netip.AddrPort) bool {
	p, _ := core.ProtoOf(a)
	return p != core.UDP
}

// wayOf is the handshake that a receiver index belongs to; nil: there is none.
func (l *Link) wayOf(index uint32) *way {
	for i := range l.ways {
		if w := &l.ways[i]; w.hs != nil && w.hs.LocalIndex() == index {
			return w
		}
	}
	return nil
}

// Start begins the handshake.
func (l *Link) Start(now time.Time) error {
	w := l.begin(now)
	if !l.turn(now, w, w.at) {
		return nil
	}
	return l.initiate(now, w)
}

// begin makes all addresses due, and returns the way that comes first.
func (l *Link) begin(now time.Time) (first *way) {
	for i := len(l.ways) - 1; i >= 0; i-- {
		w := &l.ways[i]
		w.stop()
		if w.round = true; len(w.addrs) == 0 {
			continue
		}
		if w.retry = now; first != nil {
			first.retry = now.Add(headstart)
		}
		first = w
	}
	return first
}

// renew begins a handshake by the way of the session.
func (l *Link) renew(now time.Time) error {
	w := &l.ways[datagrams]
	if isStream(l.remote) {
		w = &l.ways[streams]
	}
	w.tries, w.round = 0, false
	w.goTo(l.remote)
	if !l.turn(now, w, w.at) {
		return nil
	}
	return l.initiate(now, w)
}

// initiate makes a new initiation and sends it.
func (l *Link) initiate(now time.Time, w *way) error {
	payload, err := wire.Marshal(l.cfg.Hello)
	if err != nil {
		return err
	}
	stamp := l.stamp.Next(now)
	hs, err := session.NewInitiator(l.cfg.Session, l.cfg.Rendezvous, stamp, payload)
	if err != nil {
		return err
	}
	w.hs, w.stamp, w.made, w.sent = hs, stamp, now, now
	l.send(now, w, w.addrs[w.at])
	return nil
}

// send sends the initiation to an address and sets the time of the next.
func (l *Link) send(now time.Time, w *way, to netip.AddrPort) {
	l.box.Send(netip.AddrPort{}, to, core.Handshake, l.box.Copy(w.hs.Message()))
	gap := min(firstRetry<<min(w.step(), 10), lastRetry)
	w.tries++
	if isStream(to) {
		w.begun = true
		if gap = stagger; w.tries%len(w.addrs) == 0 {
			gap = min(roundAgain<<min(w.tries/len(w.addrs)-1, 10), lastRetry)
		}
	}
	w.retry = now.Add(gap + l.jitter(gap/4))
}

// repeat sends an initiation that is due again, a new one where the rendezvous has forgotten what it answered or drops it for the other
// way's, which is newer, or the first of the streams'.
func (l *Link) repeat(now time.Time, w *way) {
	if !core.Due(now, w.retry) {
		return
	}
	at := w.at
	if w.round && w.tries > 0 && (isStream(w.addrs[0]) || w.tries%triesEach == 0 || w.tries > triesEach*len(w.addrs)) {
		at++
	}
	if !l.turn(now, w, at) {
		return
	}
	if w.hs != nil && now.Sub(w.made) < freshAfter && !l.overtaken(w) || l.initiate(now, w) != nil {
		l.again(now, w)
	}
}

// overtaken says whether the other way has sent a newer initiation: while the rendezvous waits for that one to be confirmed it drops
// older ones, and the answer may have been lost.
func (l *Link) overtaken(w *way) bool {
	return slices.ContainsFunc(l.ways[:], func(o way) bool { return o.hs != nil && o.stamp > w.stamp })
}

// again sends the same initiation; without randomness for a first one there is nothing to send.
func (l *Link) again(now time.Time, w *way) {
	if w.hs == nil {
		w.retry = now.Add(lastRetry)
		return
	}
	l.send(now, w, w.addrs[w.at])
}

// cookie takes the rendezvous' demand for a proof of this side's address.
func (l *Link) cookie(now time.Time, from netip.AddrPort, b []byte) error {
	index, _ := session.ReceiverIndex(b)
	w := l.wayOf(index)
	switch {
	case w == nil:
		return session.ErrIndex
	case !l.IsRemote(from):
		return errSource
	}
	if err := w.hs.HandleCookie(b); err != nil {
		return err
	}
	w.sent = now
	l.send(now, w, from)
	return nil
}

// response begins the session. One that stands already is replaced by that of a newer initiation only: the rendezvous does so.
func (l *Link) response(now time.Time, from netip.AddrPort, b []byte) error {
	index, _ := session.ReceiverIndex(b)
	w := l.wayOf(index)
	switch {
	case w == nil:
		return session.ErrReplay
	case !l.IsRemote(from): // a copy on its way round, which would draw the session there
		return errSource
	case l.sess != nil && w.stamp < l.stamped:
		return errOlder
	}
	sess, payload, err := w.hs.Finish(b)
	if err != nil {
		return err
	}
	answer, err := wire.Unmarshal(payload)
	if err != nil {
		return err
	}
	if m, ok := answer.(*wire.Denied); ok {
		l.denied(now, w, from, m.Code, m.Retry)
		return nil
	}
	if err := l.welcomed(now, from, answer); err != nil {
		return err
	}
	if w.tries == 1 && !isStream(from) { // Karn: a repeated initiation's answer has no round trip, and a dial is no part of it
		l.sample(now.Sub(w.sent))
	}
	if isStream(l.remote) && l.remote != from && l.sess != nil {
		l.leaveStream(now, l.remote)
	}
	l.sess, l.stamped, l.remote, l.since, l.proven = sess, w.stamp, from, now, false
	w.stop()
	w.goTo(from)
	l.served(from)
	for i := range l.ways {
		l.ways[i].retry = time.Time{} // what was sent may still be answered
	}
	l.unanswer, l.udp = 0, time.Time{}
	if isStream(from) && len(l.ways[datagrams].addrs) > 0 {
		l.udpWait, l.udpTries = firstUDP, 0
		l.udp = now.Add(firstUDP)
	}
	l.sendPing(now) // confirms the session to the rendezvous
	l.restartReport(now)
	l.restartWatch(now)
	l.cfg.Up(now, answer)
	return nil
}

// welcomed takes what the rendezvous says at the beginning of a session.
func (l *Link) welcomed(now time.Time, from netip.AddrPort, answer wire.Message) error {
	var most time.Duration // what the rendezvous puts up with
	var at, alternate wire.Endpoint
	switch m := answer.(type) {
	case *wire.Registered:
		at, alternate, most = m.Endpoint, m.Alternate, time.Duration(m.Keepalive)*time.Second
	case *wire.LoggedIn:
		at, alternate, most = m.Endpoint, m.Alternate, max(time.Duration(m.Expiry)*time.Second*2/3, l.cfg.Keepalive)
	default:
		return wire.CodeMalformed
	}
	l.alternate = alternate.AddrPort
	l.rhythm.bound(min(l.cfg.Keepalive, most), min(l.cfg.Longest, most))
	l.appears(now, at.AddrPort, 0)
	return nil
}

// lost begins again from the handshake, with the next server if there are several.
func (l *Link) lost(now time.Time) {
	l.drop(now)
	w := l.begin(now)
	if !isStream(w.addrs[0]) && l.turn(now, w, w.at) { // a stream that is closed with this batch takes nothing: it is due
		_ = l.initiate(now, w) // an error comes from the source of randomness and would repeat
	}
}

// drop ends the session.
func (l *Link) drop(now time.Time) {
	l.closeStreams(netip.AddrPort{})
	l.sess, l.next, l.udp, l.spoke = nil, time.Time{}, time.Time{}, time.Time{}
	l.report.next = time.Time{}
	l.avoid(l.remote)
	l.cfg.Down(now)
}

// dismissed takes the rendezvous' goodbye. One that is about this device counts as a refusal. A server that shuts down is let alone
// for a moment: it would refuse now, and say for longer than it takes to start again.
func (l *Link) dismissed(now time.Time, from netip.AddrPort, code wire.Code) {
	if !ofDevice(code) {
		if code == wire.CodeShuttingDown {
			l.held[server(l.remote)] = hold{until: now.Add(restartWait + l.jitter(restartWait))}
		}
		l.lost(now)
		return
	}
	l.drop(now)
	l.denied(now, &l.ways[datagrams], from, code, 0)
}

// proved ends the race once a pong has come: the other way's handshake, and streams that are not used.
func (l *Link) proved() {
	if l.proven {
		return
	}
	l.proven = true
	for i := range l.ways {
		if w := &l.ways[i]; w.retry.IsZero() {
			w.hs = nil
		}
	}
	l.closeStreams(l.remote)
}

// closeStreams closes those that were begun, but for one.
func (l *Link) closeStreams(but netip.AddrPort) {
	w := &l.ways[streams]
	if l.left.IsValid() && l.left != but {
		l.closeLeft()
	}
	if !w.begun {
		return
	}
	w.begun = isStream(but)
	for _, a := range w.addrs {
		if a != but {
			l.box.Close(a)
		}
	}
}

// leaveStream closes a stream after a while: what is on its way may still come.
func (l *Link) leaveStream(now time.Time, a netip.AddrPort) {
	l.left, l.leave = a, now.Add(linger)
}

func (l *Link) closeLeft() {
	if l.left != l.remote || l.sess == nil {
		l.box.Close(l.left)
	}
	l.left, l.leave = netip.AddrPort{}, time.Time{}
}

// tryDatagrams asks the rendezvous by a datagram while the session goes by a stream.
func (l *Link) tryDatagrams(now time.Time) {
	if !core.Due(now, l.udp) {
		return
	}
	u := &l.ways[datagrams]
	l.ping++
	l.sendTo(u.addrs[u.at], core.Keepalive, &wire.Ping{Sequence: l.ping})
	u.at = (u.at + 1) % len(u.addrs)
	if l.udpTries++; l.udpTries >= steadyUDP {
		l.udpWait = min(2*l.udpWait, lastUDP)
	}
	l.udp = now.Add(l.udpWait - l.jitter(l.udpWait/8))
}

// byDatagrams moves the session from a stream to a datagram's address by which the rendezvous has answered.
func (l *Link) byDatagrams(now time.Time, from netip.AddrPort) {
	l.leaveStream(now, l.remote)
	l.remote, l.udp, l.unanswer = from, time.Time{}, 0
	l.expecting = true
	l.sendPing(now)
}
