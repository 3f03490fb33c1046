// Package uplink is a device's relation with its rendezvous, alike for cameras and viewers: one session, kept alive.
//
//	        Start              response                   3 pings unanswered, session too old
//	idle ─────────► greeting ────────────► up ──────────────────────────────► greeting
//	                 │  ▲  initiation again after     │  ▲
//	                 └──┘  0.25 s, 0.5 s … 8 s,       └──┘ Ping every Keepalive × 0.8–1,
//	                       next address each 3rd time      again after an RTO
//	                       a new one after 10 s
//
// A Link is a part of a core: its owner hands it what comes from the rendezvous, and gives it the outbox to send by. It
// measures the round trip, from which retransmission timers follow: max(2 × RTT + 4 × its variation, 50 ms).
package uplink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// The timers that this implementation chose.
const (
	firstRetry = 250 * time.Millisecond // of an initiation, before any round trip is known
	lastRetry  = 8 * time.Second
	freshAfter = 10 * time.Second // an initiation is replaced by a new one: the rendezvous has forgotten what it answered
	minRTO     = 50 * time.Millisecond
	maxPings   = 4 // unanswered ones after which the rendezvous has forgotten us, or died
	triesEach  = 3 // of an address, before the next is tried
)

var errSource = errors.New("response from another address than the rendezvous'")

// Config describes a Link.
type Config struct {
	Session    session.Config     // prologue: core.PrologueRendezvous
	Rendezvous identity.PublicKey // its key
	Addrs      []netip.AddrPort   // its addresses, tried in this order; streams (core.Over) where UDP stays silent
	Keepalive  time.Duration      // between pings; the rendezvous may ask for less, and a NAT may need less
	Longest    time.Duration      // to which the interval may grow where the NAT is seen to remember; 0: Keepalive
	Hello      wire.Message       // Register or Login
	Boot       uint64             // see session.Stamp; 0: the clock is right, also after a restart
	// Up is called with the rendezvous' answer when a session begins, Down when it is lost.
	Up   func(now time.Time, answer wire.Message)
	Down func(now time.Time)
	// Moved, where set, is called when the rendezvous says that this device appears from elsewhere, after the first time.
	Moved func(now time.Time, from, to netip.AddrPort)
}

// Link is one device's session with its rendezvous. Not safe for concurrent use.
type Link struct {
	cfg   Config
	box   *core.Outbox
	stamp session.Stamp

	addr  int // index in Addrs
	hs    *session.Initiator
	made  time.Time // when hs was
	sent  time.Time // when hs' initiation was first sent, with a cookie if it needs one
	tries int
	retry time.Time

	sess      *session.Session
	remote    netip.AddrPort // of sess
	since     time.Time
	keepalive time.Duration
	ping      uint64
	pinged    time.Time // the last ping
	unanswer  int
	next      time.Time // ping

	srtt, rttvar time.Duration
	reflexive    netip.AddrPort
	alternate    netip.AddrPort
}

// New returns a Link that sends by box.
func New(cfg Config, box *core.Outbox) (*Link, error) {
	switch {
	case cfg.Rendezvous.IsZero():
		return nil, errors.New("configure uplink: the rendezvous' key is missing; a label has it")
	case len(cfg.Addrs) == 0:
		return nil, errors.New("configure uplink: no address of the rendezvous given")
	case cfg.Hello == nil:
		return nil, errors.New("configure uplink: neither Register nor Login")
	case cfg.Session.Static.IsZero() || cfg.Session.Rand == nil:
		return nil, errors.New("configure uplink: the static key or the source of randomness is missing")
	}
	for _, a := range cfg.Addrs {
		if !a.IsValid() || a.Port() == 0 {
			return nil, fmt.Errorf("configure uplink: %v is no address of a rendezvous; give ADDRESS:PORT", a)
		}
	}
	cfg.Session.Prologue = []byte(core.PrologueRendezvous)
	return &Link{cfg: cfg, box: box, keepalive: cfg.Keepalive, stamp: session.Stamp{Boot: cfg.Boot}}, nil
}

// Up says whether there is a session.
func (l *Link) Up() bool { return l.sess != nil }

// Started says whether Start was called.
func (l *Link) Started() bool { return l.sess != nil || l.hs != nil }

// Remote is the rendezvous' address in use.
func (l *Link) Remote() netip.AddrPort {
	if l.sess != nil {
		return l.remote
	}
	return l.cfg.Addrs[l.addr]
}

// IsRemote says whether an address is one of the rendezvous'.
func (l *Link) IsRemote(a netip.AddrPort) bool {
	for _, x := range l.cfg.Addrs {
		if x == a {
			return true
		}
	}
	return false
}

// Reflexive is where this device appears from, as the rendezvous last said.
func (l *Link) Reflexive() netip.AddrPort { return l.reflexive }

// Alternate is a socket of the rendezvous that samples go to (wire.Sample); zero: there is none, or no session.
func (l *Link) Alternate() netip.AddrPort { return l.alternate }

// Timeout is the idle time after which the NAT was seen to have forgotten this device's mapping; 0: it was not.
func (l *Link) Timeout() time.Duration { return 0 }

// Report tells the rendezvous what is known of this device's NAT and by which further addresses it may be reached, now and
// after each handshake, until it acknowledges. What the link itself finds out about the NAT's timeout is added to the class
// where that says nothing of it. Of candidates the first wire.MaxCandidates count.
func (l *Link) Report(now time.Time, class wire.Class, candidates []netip.AddrPort) {}

// Moved says that this device's network or address has changed, or a port mapping been made, as far as its owner knows: the
// rendezvous is asked at once, and another endpoint than before says nothing about the NAT's timeout.
func (l *Link) Moved(now time.Time) { l.Probe(now) }

// RTT is the smoothed round trip to the rendezvous; zero: not measured yet.
func (l *Link) RTT() time.Duration { return l.srtt }

// RTO is how long an answer of the rendezvous is waited for.
func (l *Link) RTO() time.Duration {
	if l.srtt == 0 {
		return firstRetry
	}
	return max(2*l.srtt+4*l.rttvar, minRTO)
}

// Start begins the handshake.
func (l *Link) Start(now time.Time) error {
	l.tries = 0
	return l.greet(now)
}

// greet makes a new initiation and sends it.
func (l *Link) greet(now time.Time) error {
	payload, err := wire.Marshal(l.cfg.Hello)
	if err != nil {
		return err
	}
	hs, err := session.NewInitiator(l.cfg.Session, l.cfg.Rendezvous, l.stamp.Next(now), payload)
	if err != nil {
		return err
	}
	l.hs, l.made, l.sent = hs, now, now
	l.send(now)
	return nil
}

func (l *Link) send(now time.Time) {
	l.box.Send(netip.AddrPort{}, l.cfg.Addrs[l.addr], core.Handshake, l.box.Copy(l.hs.Message()))
	gap := min(firstRetry<<min(l.tries, 10), lastRetry)
	l.tries++
	l.retry = now.Add(gap + l.jitter(gap/4))
}

// Send seals a message for the rendezvous; without a session it is lost.
func (l *Link) Send(p core.Purpose, m wire.Message) {
	if l.sess != nil {
		l.sendTo(l.remote, p, m)
	}
}

// sendTo seals a message for an address. Where the session's counters are used up, a new handshake is due at once.
func (l *Link) sendTo(to netip.AddrPort, p core.Purpose, m wire.Message) {
	b, err := wire.Marshal(m)
	if err != nil {
		return
	}
	sealed := l.sess.Seal(nil, b)
	if sealed == nil {
		l.next, l.unanswer = l.since, maxPings
		return
	}
	l.box.Send(netip.AddrPort{}, to, p, sealed)
}

// Handle takes a datagram of this relation: a response, cookie or transport datagram whose receiver index Owns. The
// message is for the owner; nil where there is nothing for it.
func (l *Link) Handle(now time.Time, from netip.AddrPort, b []byte) (wire.Message, error) {
	switch wire.Classify(b) {
	case wire.Cookie:
		if l.hs == nil {
			return nil, session.ErrIndex
		}
		if err := l.hs.HandleCookie(b); err != nil {
			return nil, err
		}
		l.sent = now
		l.send(now)
		return nil, nil
	case wire.Response:
		return nil, l.response(now, from, b)
	}
	if l.sess == nil {
		return nil, session.ErrIndex
	}
	if now.Sub(l.since) >= session.RejectAfterTime {
		return nil, session.ErrExpired
	}
	plain, err := l.sess.Open(nil, b)
	if err != nil {
		return nil, err
	}
	m, err := wire.Unmarshal(plain)
	if err != nil {
		return nil, err
	}
	return l.message(now, from, m), nil
}

// Owns says whether a receiver index is this link's.
func (l *Link) Owns(index uint32) bool {
	return l.hs != nil && l.hs.LocalIndex() == index || l.sess != nil && l.sess.LocalIndex() == index
}

func (l *Link) response(now time.Time, from netip.AddrPort, b []byte) error {
	switch {
	case l.hs == nil:
		return session.ErrReplay
	case !l.IsRemote(from): // a copy on its way round, which would draw the session there
		return errSource
	}
	sess, payload, err := l.hs.Finish(b)
	if err != nil {
		return err
	}
	answer, err := wire.Unmarshal(payload)
	if err != nil {
		return err
	}
	switch m := answer.(type) {
	case *wire.Registered:
		l.reflexive, l.alternate = m.Endpoint.AddrPort, m.Alternate.AddrPort
		l.keepalive = min(l.cfg.Keepalive, time.Duration(m.Keepalive)*time.Second)
	case *wire.LoggedIn:
		l.reflexive, l.alternate = m.Endpoint.AddrPort, m.Alternate.AddrPort
	default:
		return wire.CodeMalformed
	}
	if l.tries == 1 { // Karn: a repeated initiation's answer has no round trip
		l.sample(now.Sub(l.sent))
	}
	l.sess, l.remote, l.since, l.hs, l.retry = sess, from, now, nil, time.Time{}
	l.unanswer = 0
	l.sendPing(now) // confirms the session to the rendezvous
	l.cfg.Up(now, answer)
	return nil
}

// message does what every rendezvous session does and leaves the rest to the owner.
func (l *Link) message(now time.Time, from netip.AddrPort, m wire.Message) wire.Message {
	switch m := m.(type) {
	case *wire.Ping:
		l.sendTo(from, core.Keepalive, &wire.Pong{Sequence: m.Sequence})
		return m // for an owner that doubts: it has moved, and is reachable again by what it sends behind the pong
	case *wire.Pong:
		if m.Sequence != l.ping {
			return nil
		}
		if l.unanswer == 1 {
			l.sample(now.Sub(l.pinged))
		}
		if !m.Endpoint.IsZero() {
			l.reflexive = m.Endpoint.AddrPort
		}
		l.unanswer = 0
		l.next = now.Add(l.keepalive - l.jitter(l.keepalive/5))
		return nil
	case *wire.Goodbye:
		l.lost(now)
		return m
	}
	return m
}

func (l *Link) sendPing(now time.Time) {
	l.ping++
	l.pinged = now
	l.unanswer++
	l.next = now.Add(l.RTO() << min(l.unanswer-1, 5))
	l.Send(core.Keepalive, &wire.Ping{Sequence: l.ping})
}

// Probe asks at once whether the rendezvous hears this device, whose owner has reason to doubt it: it may have moved, or a
// NAT may have forgotten it. Nothing is asked while an answer is waited for.
func (l *Link) Probe(now time.Time) {
	if l.sess != nil && l.unanswer == 0 {
		l.sendPing(now)
	}
}

// lost begins again from the handshake.
func (l *Link) lost(now time.Time) {
	l.sess = nil
	l.cfg.Down(now)
	l.tries = 0
	l.next = time.Time{}
	_ = l.greet(now) // an error comes from the source of randomness and would repeat
}

// HandleTimeout does what is due.
func (l *Link) HandleTimeout(now time.Time) {
	if l.hs != nil && core.Due(now, l.retry) {
		if l.tries%triesEach == 0 {
			l.addr = (l.addr + 1) % len(l.cfg.Addrs)
		}
		if now.Sub(l.made) < freshAfter || l.greet(now) != nil {
			l.send(now)
		}
	}
	if l.sess != nil && core.Due(now, l.since.Add(session.RejectAfterTime)) {
		l.lost(now)
	}
	if l.sess == nil || !core.Due(now, l.next) {
		return
	}
	switch {
	case l.unanswer >= maxPings:
		l.lost(now)
	case l.hs == nil && (now.Sub(l.since) > session.RekeyAfterTime || l.sess.NeedsRekey()):
		l.tries = 0
		_ = l.greet(now)
		l.sendPing(now)
	default:
		l.sendPing(now)
	}
}

// Deadline is when HandleTimeout is wanted.
func (l *Link) Deadline() time.Time {
	var d time.Time
	if l.hs != nil {
		d = l.retry
	}
	if l.sess != nil {
		d = core.Earliest(d, core.Earliest(l.next, l.since.Add(session.RejectAfterTime)))
	}
	return d
}

// Close says goodbye. The link does nothing more until it is started again.
func (l *Link) Close(code wire.Code) {
	l.Send(core.Keepalive, &wire.Goodbye{Code: code})
	l.sess, l.hs = nil, nil
}

// sample smooths a measured round trip as RFC 6298 §2 does.
func (l *Link) sample(rtt time.Duration) {
	if l.srtt == 0 {
		l.srtt, l.rttvar = rtt, rtt/8 // not RTT/2: a handshake's answer comes at once
		return
	}
	l.rttvar = (3*l.rttvar + (l.srtt - rtt).Abs()) / 4
	l.srtt = (7*l.srtt + rtt) / 8
}

// jitter draws a duration below d.
func (l *Link) jitter(d time.Duration) time.Duration { return Jitter(l.cfg.Session.Rand, d) }

// Jitter draws a duration below d; 0 where there is no randomness left.
func Jitter(rand io.Reader, d time.Duration) time.Duration {
	var b [4]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil || d <= 0 {
		return 0
	}
	return time.Duration(uint64(d) * uint64(binary.LittleEndian.Uint32(b[:])) >> 32)
}
