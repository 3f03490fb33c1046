// Package uplink is a device's relation with its rendezvous, alike for cameras and viewers: one session, kept alive.
//
//	        Start              response                   3 or 4 pings unanswered, session too old, goodbye
//	idle ─────────► greeting ────────────► up ────────────────────────────────────────────► greeting, the next server first
//	                 │  ▲  initiation again after     │  ▲
//	                 └──┘  0.25 s, 0.5 s … 8 s,       └──┘ Ping every Keepalive × 0.8–1,
//	                       next address each 3rd time      again after an RTO
//	                       a new one after 10 s
//
// A Link is a part of a core: its owner hands it what comes from the rendezvous, and gives it the outbox to send by. It
// measures the round trip, from which retransmission timers follow: max(2 × RTT + 4 × its variation, 50 ms).
//
// Datagrams go first. Where they meet silence, streams follow, one address after the other; whichever session stands
// first is used (RFC 8305's happy eyeballs). Over a stream the way by datagrams is tried again and again: the session is the
// same, so a ping suffices, and the rendezvous' answer by that way moves it.
//
//	0          UDP       initiation ── again, as above ──►
//	0.75 s     stream 1  a newer initiation
//	1.00 s     stream 2  the same            …  round again after 2 s, 4 s, 8 s
//	up, by a stream:     pings by UDP after 1 s, 2 s … 5 min
//
// Where there are several servers, the pings leave so early that a silent one is left, and the next one asked, before Keepalive
// is over (see servers.go). A response may also be a refusal:
//
//	denied, for what is the server's (overloaded, shutting-down …)   it is let alone for the time it says; others are asked at once
//	denied, for what is the device's (certificate, revoked …)        all are let alone: for the time it says, or 1 min, 2 min … 1 h
//
// Watch follows cameras' presence: it is asked in each session until answered, and what comes is acknowledged.
//
// The NAT shows in the pongs, which say where this device appears from: see rhythm. What the device knows of itself is told
// by Report, again after each handshake, until it is acknowledged.
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
	headstart  = 750 * time.Millisecond // of datagrams over streams
	stagger    = 250 * time.Millisecond // between streams (RFC 8305 §5)
	roundAgain = 2 * time.Second        // from the last stream to the first, doubling
	firstUDP   = 500 * time.Millisecond // by a stream: until the way by datagrams is tried, and again, doubling after steadyUDP tries
	lastUDP    = 5 * time.Minute
	streamRTO  = time.Second     // least wait for a pong by a stream, whose own repetitions take their time
	linger     = 5 * time.Second // of a stream that was left: what is on its way may still come
	maxPings   = 3               // unanswered ones after which the server has forgotten us, or died; one more where there is no other
	lastWait   = time.Second     // least wait for an answer to the last of them: a busy server that pauses loses nobody
	triesEach  = 3               // of an address, before the next is tried

	// steadyTries and steadyUDP are how many initiations leave before their gaps grow beyond a second, and how many tries of datagrams
	// before theirs grow at all: where three packets of ten are lost each way, half of the tries fail, and one in two hundred has no
	// answer after eight.
	steadyTries = 10
	steadyUDP   = 8
)

// Why datagrams are refused, beside what session and wire say.
var (
	errSource = errors.New("response from another address than the rendezvous'")
	errOlder  = errors.New("response to an older initiation than the session's")
)

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
	// Denied, where set, is called when the rendezvous serves this device not, or no longer, and says why. The link tries
	// again by itself: here after retry, elsewhere at once where the reason is the server's and not the device's.
	Denied func(now time.Time, code wire.Code, retry time.Duration)
	// Presence, where set, is called with what the rendezvous tells of watched cameras, each status once. What was told
	// before a Down is void: after Up it is told anew.
	Presence func(now time.Time, cameras []wire.Status)
}

// Link is one device's session with its rendezvous. Not safe for concurrent use.
type Link struct {
	cfg   Config
	box   *core.Outbox
	stamp session.Stamp

	ways [2]way // datagrams, streams

	sess      *session.Session
	stamped   uint64         // of its initiation
	proven    bool           // a pong has come: the rendezvous holds the session too
	remote    netip.AddrPort // of sess
	since     time.Time
	rhythm    rhythm
	ping      uint64    // number of the last one sent
	asked     uint64    // and of the last that is not a try of datagrams
	pinged    time.Time // the last ping
	unanswer  int
	next      time.Time     // ping
	spoke     time.Time     // when the last packet left for the rendezvous, if that was a ping; else zero
	idle      time.Duration // how long that had been when the first of the unanswered pings was sent
	expecting bool          // another endpoint: the owner has said so

	udp      time.Time // next try of datagrams, by a stream
	udpWait  time.Duration
	udpTries int            // since the session goes by a stream
	left     netip.AddrPort // a stream to close
	leave    time.Time

	report  report
	watch   watch
	refused hold                    // of this device, by every server
	held    map[netip.AddrPort]hold // of servers, by their addresses

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
	l := &Link{cfg: cfg, box: box, stamp: session.Stamp{Boot: cfg.Boot}, held: map[netip.AddrPort]hold{}}
	l.rhythm.reset(cfg.Keepalive, cfg.Longest)
	for _, a := range cfg.Addrs {
		w := &l.ways[datagrams]
		if isStream(a) {
			w = &l.ways[streams]
		}
		w.addrs = append(w.addrs, a)
	}
	return l, nil
}

// Up says whether there is a session.
func (l *Link) Up() bool { return l.sess != nil }

// Started says whether Start was called.
func (l *Link) Started() bool {
	return l.sess != nil || l.ways[datagrams].going() || l.ways[streams].going()
}

// Remote is the rendezvous' address in use.
func (l *Link) Remote() netip.AddrPort {
	if l.sess != nil {
		return l.remote
	}
	for i := range l.ways {
		if w := &l.ways[i]; len(w.addrs) > 0 {
			return w.addrs[w.at]
		}
	}
	return netip.AddrPort{}
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
func (l *Link) Timeout() time.Duration { return l.rhythm.forgotten }

// Keepalive is the present interval between pings, of which up to a fifth is cut at random.
func (l *Link) Keepalive() time.Duration { return l.rhythm.every }

// Moved says that this device's network or address has changed, or a port mapping been made, as far as its owner knows: the
// rendezvous is asked at once, and another endpoint than before says nothing about the NAT's timeout.
func (l *Link) Moved(now time.Time) {
	l.expecting = true
	l.Probe(now)
}

// RTT is the smoothed round trip to the rendezvous; zero: not measured yet.
func (l *Link) RTT() time.Duration { return l.srtt }

// RTO is how long an answer of the rendezvous is waited for.
func (l *Link) RTO() time.Duration {
	if l.srtt == 0 {
		return firstRetry
	}
	return max(2*l.srtt+4*l.rttvar, minRTO)
}

// Send seals a message for the rendezvous; without a session it is lost.
func (l *Link) Send(p core.Purpose, m wire.Message) {
	if l.sess != nil {
		l.spoke = time.Time{}
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
		l.next, l.unanswer = l.since, l.most()
		return
	}
	l.box.Send(netip.AddrPort{}, to, p, sealed)
}

// Handle takes a datagram of this relation: a response, cookie or transport datagram whose receiver index Owns. The
// message is for the owner; nil where there is nothing for it.
func (l *Link) Handle(now time.Time, from netip.AddrPort, b []byte) (wire.Message, error) {
	switch wire.Classify(b) {
	case wire.Cookie:
		return nil, l.cookie(now, from, b)
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
	return l.wayOf(index) != nil || l.sess != nil && l.sess.LocalIndex() == index
}

// HandleTimeout does what is due.
func (l *Link) HandleTimeout(now time.Time) {
	for i := range l.ways {
		l.repeat(now, &l.ways[i])
	}
	if core.Due(now, l.leave) {
		l.closeLeft()
	}
	if l.sess != nil && core.Due(now, l.since.Add(session.RejectAfterTime)) {
		l.lost(now)
	}
	if l.sess == nil {
		return
	}
	l.repeatReport(now)
	l.repeatWatch(now)
	l.tryDatagrams(now)
	if core.Due(now, l.next) {
		l.keep(now)
	}
}

// Deadline is when HandleTimeout is wanted.
func (l *Link) Deadline() time.Time {
	d := l.leave
	for i := range l.ways {
		d = core.Earliest(d, l.ways[i].retry)
	}
	if l.sess == nil {
		return d
	}
	for _, t := range [...]time.Time{l.next, l.report.next, l.watch.next, l.udp, l.since.Add(session.RejectAfterTime)} {
		d = core.Earliest(d, t)
	}
	return d
}

// Close says goodbye. The link does nothing more until it is started again.
func (l *Link) Close(code wire.Code) {
	l.Send(core.Keepalive, &wire.Goodbye{Code: code})
	l.closeStreams(netip.AddrPort{})
	for i := range l.ways {
		l.ways[i].stop()
	}
	l.sess = nil
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
