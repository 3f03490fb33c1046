// Package classify finds out what the NATs between this host and its rendezvous do, as RFC 5780 does: by asking a STUN
// server with two addresses and two ports from a few fresh sockets at once.
//
//	               server  S00  S01        first index: address, second: port; S00 is Config.Server
//	                       S10  S11        learnt from S00's OTHER-ADDRESS
//	map socket    ──► S00, then S10, S11, S01     one reflexive endpoint: EIM; one for each address: ADM; else APDM
//	any socket    ──► S00 "answer from S11"       arrives: EIF
//	port socket   ──► S00 "answer from S01"       arrives: ADF; neither: APDF
//	x, y sockets  ──► S00, then each other's reflexive endpoint: hairpinning
//	all the others ─► S10, S11                    where the mapping is not EIM, once their own tests are over: more ports seen
//
// Each test has a socket of its own, because what one socket has sent opens filters and makes mappings for all that it sends
// later. A filtered answer can only be seen as an absent one, so each such request is followed by a plain one on the same
// socket, and counts as filtered when that one's answer is there and its own is not, several times over.
//
// The external ports seen, in the order in which they were asked for, tell how the NAT chooses them: see ports.go. Without
// loss all is known after about three round trips of 40 ms.
//
// What the server says may be a lie: no more than tries requests go to an endpoint that it calls ours, nor to all ports of
// OTHER-ADDRESS together before that one has answered. Answers count from where they were asked for only, with a transaction ID
// of ours: a server that ignores CHANGE-REQUEST passes no filter.
//
// A server that tells no OTHER-ADDRESS has one address only. Then the translation, the ports of fresh sockets and
// hairpinning are found out; the mapping if another of the rendezvous' addresses sees the same endpoint; the rest is unknown.
//
// The package is a core (see impl/core): not safe for concurrent use.
package classify

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// Timing. What follows from the round trip is bounded by these.
const (
	tries      = 5                      // transmissions of a request
	firstRTO   = 100 * time.Millisecond // between them, where no round trip is known
	leastRTO   = 50 * time.Millisecond
	mostRTO    = 500 * time.Millisecond
	lastGrace  = time.Second // after the last transmission, where no round trip is known
	burst      = 10 * time.Millisecond
	silence    = 5                     // filtered tries that settle it
	margin     = 20 * time.Millisecond // by which an answer may come later than that to a request sent with it
	hairpins   = 4                     // packets each way; the first ones open filters for the later ones
	moreTries  = 15                    // tries of a filter, beyond silence, until it counts as unknown
	mostPacket = 1500
)

// Sockets is how many sockets a classification opens.
const Sockets = 5

// What was wrong, see Classifier.Err.
var (
	ErrNoAnswer = errors.New("no answer from the STUN server: UDP is blocked, or the server is down")
	ErrConfig   = errors.New("configure classifier: server address or randomness missing")
	ErrSockets  = errors.New("sockets for the classification: fewer than asked for")
	ErrCancel   = errors.New("classification cancelled")
)

// Config describes a classification.
type Config struct {
	Server netip.AddrPort   // of the rendezvous, UDP
	Others []netip.AddrPort // further ones, asked only if Server tells no OTHER-ADDRESS
	Host   []netip.Addr     // this host's own addresses: whether there is a NAT at all, where sockets are bound to 0.0.0.0
	RTT    time.Duration    // to the server, as far as known; zero: not known
	Rand   io.Reader        // cryptographically random: transaction IDs
}

// The sockets' tasks.
const (
	mapSocket = iota
	anySocket
	portSocket
	xSocket
	ySocket
)

// Classifier is one classification: Start it once. Not safe for concurrent use.
type Classifier struct {
	cfg   Config
	box   *core.Outbox
	local [Sockets]netip.AddrPort
	rto   time.Duration

	other     netip.AddrPort // S11
	rtt       time.Duration  // the greatest seen
	exchanges []*exchange    // in the order in which they were begun
	filters   [2]filter      // of anySocket and portSocket
	pin       hairpin
	explored  bool                   // the map socket has been sent to the server's other endpoints
	further   bool                   // the other sockets as well
	packets   int                    // sent
	heard     bool                   // other has answered
	spent     map[netip.AddrPort]int // packets to where nobody has answered; with port 0: to all ports

	result  wire.Class
	err     error
	started bool
	opened  bool
	done    bool
}

// New returns a classification that sends by box.
func New(cfg Config, box *core.Outbox) *Classifier {
	c := &Classifier{cfg: cfg, box: box, rto: firstRTO, spent: map[netip.AddrPort]int{}}
	if cfg.RTT > 0 {
		c.rto = min(max(cfg.RTT+cfg.RTT/4+margin, leastRTO), mostRTO)
	}
	return c
}

// Start asks the driver, by Outbox.Open, for Sockets sockets at once. The owner hands the answer to Opened: it is the first
// HandleOpened after those of earlier Opens.
func (c *Classifier) Start(now time.Time) {
	if c.started {
		return
	}
	c.started = true
	if p, a := core.ProtoOf(c.cfg.Server); p != core.UDP || !a.IsValid() || a.Port() == 0 || c.cfg.Rand == nil {
		c.end(ErrConfig)
		return
	}
	c.box.Open(Sockets)
}

// Opened takes the driver's answer. After Cancel it has the sockets closed again.
func (c *Classifier) Opened(now time.Time, socks []netip.AddrPort, err error) {
	if c.opened {
		return
	}
	c.opened = true
	if c.done || len(socks) < Sockets {
		c.box.Close(socks...)
		c.end(errors.Join(ErrSockets, err))
		return
	}
	c.box.Close(socks[Sockets:]...)
	copy(c.local[:], socks)
	// In this order: where ports are given out one after the other it is that of their numbers.
	for i := range c.local {
		if i != anySocket && i != portSocket {
			c.ask(now, i, c.cfg.Server)
		}
	}
	c.filters = [2]filter{
		{socket: anySocket, change: changeIP | changePort, next: now},
		{socket: portSocket, change: changePort, next: now},
	}
	c.HandleTimeout(now)
}

// Handle takes a datagram that came to one of the classification's sockets, and says whether it did: others are not
// the classifier's.
func (c *Classifier) Handle(now time.Time, from, to netip.AddrPort, b []byte) bool {
	i := slices.Index(c.local[:], to)
	if i < 0 || !c.opened {
		return false
	}
	if c.done || len(b) > mostPacket {
		return true
	}
	a, err := parse(b)
	switch {
	case err != nil:
	case a.request:
		c.pin.arrived(i, a.id)
	default:
		c.answered(now, i, from, a)
	}
	c.HandleTimeout(now)
	return true
}

// answered takes a success response.
func (c *Classifier) answered(now time.Time, socket int, from netip.AddrPort, a answer) {
	ours := false
	for _, x := range c.exchanges {
		if x.socket != socket || x.to != from {
			continue
		}
		if sent, ok := x.answered(a); ok {
			c.rtt = max(c.rtt, now.Sub(sent))
			c.heard = c.heard || from.Addr() == c.other.Addr()
			ours = true
		}
	}
	for i := range c.filters {
		if f := &c.filters[i]; f.socket == socket && c.filterAnswer(now, f, from, a) {
			ours = true
		}
	}
	if ours && from == c.cfg.Server && !c.other.IsValid() && c.plausible(a.other) {
		c.other = a.other
	}
}

// plausible says whether an OTHER-ADDRESS can be the server's: it is the one address here that nobody vouches for.
func (c *Classifier) plausible(o netip.AddrPort) bool {
	s := c.cfg.Server
	a := o.Addr()
	return o.IsValid() && o.Port() != 0 && o.Port() != s.Port() && a != s.Addr() && a.Is4() == s.Addr().Is4() && a.Zone() == "" &&
		!a.IsUnspecified() && !a.IsMulticast() && a.IsPrivate() == s.Addr().IsPrivate() && a.IsLoopback() == s.Addr().IsLoopback() &&
		a.IsLinkLocalUnicast() == s.Addr().IsLinkLocalUnicast()
}

// HandleTimeout does what is due.
func (c *Classifier) HandleTimeout(now time.Time) {
	if !c.opened || c.done {
		return
	}
	c.repeatAll(now)
	for i := range c.filters {
		c.testFilter(now, &c.filters[i])
	}
	c.testHairpin(now)
	c.explore(now)
	c.repeatAll(now) // what has just been begun
	if c.settled() {
		c.conclude()
	}
}

// explore asks the server's other endpoints, once it has told them: the map socket all, and where mappings differ the other
// sockets too, as soon as their own tests are over, because more ports tell more.
func (c *Classifier) explore(now time.Time) {
	m := c.exchanges[0]
	if !c.explored && m.mapped.IsValid() {
		c.explored = true
		switch s := c.cfg.Server; {
		case c.other.IsValid():
			c.ask(now, mapSocket, netip.AddrPortFrom(c.other.Addr(), s.Port()))
			c.ask(now, mapSocket, c.other)
			c.ask(now, mapSocket, netip.AddrPortFrom(s.Addr(), c.other.Port()))
		default:
			for _, o := range c.cfg.Others {
				if p, _ := core.ProtoOf(o); p == core.UDP && o.Addr() != s.Addr() && o.Addr().Is4() == s.Addr().Is4() {
					c.ask(now, mapSocket, o)
					break
				}
			}
		}
	}
	if c.further || !c.other.IsValid() || !c.ownTestsOver() {
		return
	}
	if d := c.mapping(); d == wire.AddressDependent || d == wire.AddressAndPortDependent {
		c.further = true
		for _, x := range c.exchanges {
			if x.socket != mapSocket || x.to.Addr() != c.other.Addr() || !x.mapped.IsValid() { // it has answered the map socket
				continue
			}
			for i := mapSocket + 1; i < Sockets; i++ {
				c.ask(now, i, x.to)
			}
		}
	}
}

// ownTestsOver says whether every socket's own test is.
func (c *Classifier) ownTestsOver() bool {
	return c.filters[0].settled() && c.filters[1].settled() && c.pin.over && c.answeredAll()
}

// answeredAll says whether no exchange is waited for.
func (c *Classifier) answeredAll() bool {
	return !slices.ContainsFunc(c.exchanges, func(x *exchange) bool { return !x.settled() })
}

func (c *Classifier) settled() bool {
	if !c.answeredAll() {
		return false
	}
	switch {
	case c.unreachable():
		return true
	case !c.explored && c.exchanges[0].mapped.IsValid():
		return false
	case !c.pin.over:
		return false
	case !c.other.IsValid():
		return true // no other address to be answered from
	}
	return c.filters[0].settled() && c.filters[1].settled()
}

// unreachable says that no socket ever got an answer, and none will.
func (c *Classifier) unreachable() bool { return c.rtt == 0 && c.exchanges[0].failed }

// Deadline is when HandleTimeout is wanted; zero: never.
func (c *Classifier) Deadline() time.Time {
	if !c.opened || c.done {
		return time.Time{}
	}
	d := c.pin.deadline()
	for _, x := range c.exchanges {
		if !x.settled() {
			d = core.Earliest(d, x.next)
		}
	}
	for i := range c.filters {
		d = core.Earliest(d, c.filters[i].deadline())
	}
	return d
}

// Result is what was found out, and whether the classification is over: its sockets are closed then. A zero field is
// unknown; Timeout always is. See Err where everything is.
func (c *Classifier) Result() (wire.Class, bool) { return c.result, c.done }

// Err says why nothing was found out: ErrNoAnswer, ErrCancel, or why there are no sockets; nil while it runs and if something
// was found out.
func (c *Classifier) Err() error { return c.err }

// Reflexive is where the first of the sockets appears from, as Server sees it; zero: not known.
func (c *Classifier) Reflexive() netip.AddrPort {
	if len(c.exchanges) == 0 {
		return netip.AddrPort{}
	}
	return c.exchanges[0].mapped
}

// Cancel ends the classification at once and has its sockets closed.
func (c *Classifier) Cancel(now time.Time) { c.end(ErrCancel) }

// end closes the sockets. The first reason counts.
func (c *Classifier) end(err error) {
	if c.done {
		return
	}
	c.done, c.err = true, err
	if c.opened && c.local[0].IsValid() {
		c.box.Close(c.local[:]...)
	}
}
