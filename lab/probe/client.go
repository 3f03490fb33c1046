package probe

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
	"github.com/punchlab/punchlab/lab/nat"
)

// The client's sockets.
const (
	mapSocket  = iota
	anySocket  // asks for answers from the other address and port
	portSocket // asks for answers from the other port
	xSocket    // hairpin
	ySocket
	sockets
)

// Timing that does not depend on Options.
const (
	burst  = 10 * time.Millisecond // between the tries of a test whose outcome may be silence
	enough = 5                     // silent tries that settle it: with 10 % loss both ways, wrong in 1 of 100,000
	margin = 20 * time.Millisecond // by which an answer may come later than that to a request sent with it
	grace  = time.Second           // for the last answer, where no round trip time is known
)

type txID = [stun.TransactionIDSize]byte

// client is the classification without its sockets and clock. Not safe for concurrent use.
type client struct {
	o      Options
	local  [sockets]netip.AddrPort
	server netip.AddrPort
	newID  func() txID

	other     netip.AddrPort
	reflexive [sockets]netip.AddrPort // as s00 sees the socket
	rtt       time.Duration           // the greatest seen
	exchanges map[txID]*exchange
	mappings  [3]*exchange  // of the map socket: s00, s10, s11
	greetings [2]*exchange  // of the hairpin sockets, with s00
	filters   [2]*filtering // of anySocket and portSocket
	pin       hairpin
	out       []outgoing
	done      bool
}

// outgoing is a datagram to send.
type outgoing struct {
	socket int
	to     netip.AddrPort
	b      []byte
}

// exchange is a request that is repeated until it is answered.
type exchange struct {
	socket int
	to     netip.AddrPort
	id     txID
	sent   int
	first  time.Time
	next   time.Time // next transmission, or when to give up
	mapped netip.AddrPort
	failed bool
}

func (x *exchange) settled() bool { return x != nil && (x.mapped.IsValid() || x.failed) }

// filtering is a test that asks for answers from elsewhere.
type filtering struct {
	socket int
	change uint32
	tries  []try
	next   time.Time
	passed bool
	silent int // tries that were judged as filtered
	failed bool
}

// try is a request for an answer from elsewhere and the plain one sent with it.
type try struct {
	id, control txID
	sent        time.Time
	judge       time.Time // zero until the control is answered
	judged      bool
}

func (f *filtering) settled() bool { return f.passed || f.silent >= enough || f.failed }

// hairpin has both sockets send to the other's reflexive endpoint. The first tries open filters for the later ones. Its
// silence is believed some time after the answer to a plain request that left behind the last try.
type hairpin struct {
	ids    [2]txID
	sent   int
	next   time.Time
	fence  *exchange
	passed bool
	over   bool
}

func newClient(now time.Time, local [sockets]netip.AddrPort, server netip.AddrPort, o Options, newID func() txID) *client {
	c := &client{o: o.withDefaults(), local: local, server: server, newID: newID, exchanges: map[txID]*exchange{}}
	c.mappings[0] = c.exchange(now, mapSocket, server)
	c.greetings = [2]*exchange{c.exchange(now, xSocket, server), c.exchange(now, ySocket, server)}
	c.filters = [2]*filtering{
		{socket: anySocket, change: changeIP | changePort, next: now},
		{socket: portSocket, change: changePort, next: now},
	}
	c.pin.ids = [2]txID{newID(), newID()}
	return c
}

func (c *client) exchange(now time.Time, socket int, to netip.AddrPort) *exchange {
	x := &exchange{socket: socket, to: to, id: c.newID(), first: now, next: now}
	c.exchanges[x.id] = x
	return x
}

// Ready returns the datagrams to send; they are valid until the next call.
func (c *client) Ready() []outgoing {
	out := c.out
	c.out = nil
	return out
}

func (c *client) send(socket int, to netip.AddrPort, id txID, change uint32) {
	c.out = append(c.out, outgoing{socket, to, ask(id, change)})
}

// Done reports whether there is nothing left to find out.
func (c *client) Done() bool { return c.done }

// Deadline is when HandleTimeout is due.
func (c *client) Deadline() time.Time {
	var d time.Time
	due := func(t time.Time) {
		if !t.IsZero() && (d.IsZero() || t.Before(d)) {
			d = t
		}
	}
	for _, x := range c.exchanges {
		if !x.settled() {
			due(x.next)
		}
	}
	for _, f := range c.filters {
		if f.settled() {
			continue
		}
		due(f.next)
		for _, t := range f.tries {
			if !t.judged {
				due(t.judge)
			}
		}
	}
	if c.pin.sent > 0 && !c.pin.over && (c.pin.fence == nil || c.pin.fence.settled()) {
		due(c.pin.next)
	}
	return d
}

// HandlePacket takes a datagram that a socket received.
func (c *client) HandlePacket(now time.Time, socket int, _ netip.AddrPort, b []byte) {
	a, err := parseAnswer(b)
	if err != nil {
		return
	}
	if a.request {
		if a.id == c.pin.ids[0] && socket == ySocket || a.id == c.pin.ids[1] && socket == xSocket {
			c.pin.passed, c.pin.over = true, true
		}
		return
	}
	if a.other.IsValid() && !c.other.IsValid() {
		c.other = a.other
	}
	if x := c.exchanges[a.id]; x != nil && x.socket == socket && !x.mapped.IsValid() {
		x.mapped, x.failed = a.mapped, false
		c.saw(now.Sub(x.first))
		if x.to == c.server {
			c.reflexive[socket] = a.mapped
		}
		if x == c.pin.fence {
			c.pin.next = now.Add(max(c.rtt/2, margin))
		}
	}
	for _, f := range c.filters {
		if f.socket == socket {
			c.answered(now, f, a)
		}
	}
}

func (c *client) saw(rtt time.Duration) { c.rtt = max(c.rtt, rtt) }

func (c *client) answered(now time.Time, f *filtering, a answer) {
	for i := range f.tries {
		t := &f.tries[i]
		switch {
		case a.id == t.id:
			f.passed = true
		case a.id == t.control && t.judge.IsZero():
			rtt := now.Sub(t.sent)
			c.saw(rtt)
			t.judge = now.Add(max(rtt/2, margin))
			if !c.reflexive[f.socket].IsValid() {
				c.reflexive[f.socket] = a.mapped
			}
		}
	}
}

// HandleTimeout does what is due.
func (c *client) HandleTimeout(now time.Time) {
	if c.other.IsValid() && c.mappings[0].mapped.IsValid() && c.mappings[1] == nil {
		c.mappings[1] = c.exchange(now, mapSocket, netip.AddrPortFrom(c.other.Addr(), c.server.Port()))
		c.mappings[2] = c.exchange(now, mapSocket, c.other)
	}
	// In this order, since a mapping's port may depend on it.
	for _, x := range []*exchange{c.mappings[0], c.mappings[1], c.mappings[2], c.greetings[0], c.greetings[1], c.pin.fence} {
		if x != nil {
			c.repeat(now, x)
		}
	}
	for _, f := range c.filters {
		c.testFilter(now, f)
	}
	c.testHairpin(now)
	c.done = c.settled()
}

// repeat sends an exchange's request again, and gives it up in the end.
func (c *client) repeat(now time.Time, x *exchange) {
	if x.settled() || now.Before(x.next) {
		return
	}
	if x.sent == c.o.Tries {
		x.failed = true
		return
	}
	c.send(x.socket, x.to, x.id, 0)
	x.sent++
	x.next = now.Add(c.o.RTO)
	if x.sent == c.o.Tries {
		x.next = now.Add(c.patience())
	}
}

// patience is how long after the last transmission an answer may come.
func (c *client) patience() time.Duration {
	if c.rtt == 0 {
		return grace
	}
	return max(3*c.rtt, c.o.RTO)
}

func (c *client) testFilter(now time.Time, f *filtering) {
	for i := range f.tries {
		if t := &f.tries[i]; !t.judged && !t.judge.IsZero() && !now.Before(t.judge) {
			t.judged = true
			f.silent++
		}
	}
	if f.settled() || now.Before(f.next) {
		return
	}
	if len(f.tries) == enough+c.o.Tries {
		f.failed = true
		return
	}
	t := try{id: c.newID(), control: c.newID(), sent: now}
	f.tries = append(f.tries, t)
	c.send(f.socket, c.server, t.id, f.change)
	c.send(f.socket, c.server, t.control, 0)
	switch {
	case len(f.tries) < enough:
		f.next = now.Add(burst)
	case len(f.tries) == enough+c.o.Tries:
		f.next = now.Add(c.patience())
	default:
		f.next = now.Add(max(c.o.RTO, c.rtt+margin))
	}
}

func (c *client) testHairpin(now time.Time) {
	p := &c.pin
	switch {
	case p.over || now.Before(p.next):
		return
	case c.greetings[0].failed || c.greetings[1].failed || p.fence.settled():
		p.over = true
		return
	case !c.greetings[0].settled() || !c.greetings[1].settled() || p.fence != nil:
		return
	}
	c.send(xSocket, c.greetings[1].mapped, p.ids[0], 0)
	c.send(ySocket, c.greetings[0].mapped, p.ids[1], 0)
	p.next = now.Add(burst)
	if p.sent++; p.sent > enough {
		p.fence = c.exchange(now, xSocket, c.server)
		c.repeat(now, p.fence)
	}
}

// unreachable reports that no socket ever got an answer, and none will.
func (c *client) unreachable() bool {
	return c.rtt == 0 && c.mappings[0].failed && c.greetings[0].failed && c.greetings[1].failed
}

func (c *client) settled() bool {
	if c.unreachable() {
		return true
	}
	if c.mappings[0].failed || c.mappings[0].settled() && !c.other.IsValid() {
		return true
	}
	return c.mappings[1].settled() && c.mappings[2].settled() && c.filters[0].settled() && c.filters[1].settled() && c.pin.over
}

// result says what was found out.
func (c *client) result() (Result, error) {
	if c.unreachable() {
		return Result{NoUDP: true}, nil
	}
	switch m := c.mappings; {
	case m[0].failed:
		return Result{}, fmt.Errorf("%w: %v answers other sockets but not the first: too much loss", ErrInconclusive, c.server)
	case !c.other.IsValid():
		return Result{}, fmt.Errorf("%w: %v does not tell its other address: it is no RFC 5780 server", ErrInconclusive, c.server)
	case m[1].failed:
		return Result{}, fmt.Errorf("%w: no answer from %v, the server's other address", ErrInconclusive, m[1].to)
	case m[2].failed:
		return Result{}, fmt.Errorf("%w: no answer from %v, the server's other address", ErrInconclusive, m[2].to)
	case c.filters[0].failed || c.filters[1].failed:
		return Result{}, fmt.Errorf("%w: too few answers to tell whether others are filtered: too much loss", ErrInconclusive)
	case c.greetings[0].failed || c.greetings[1].failed:
		return Result{}, fmt.Errorf("%w: too few answers to test for hairpinning: too much loss", ErrInconclusive)
	}
	return Result{
		Mapping:       c.mapping(),
		Filtering:     c.filtering(),
		Translated:    c.reflexive[mapSocket] != c.local[mapSocket],
		PortPreserved: c.preserved(),
		Hairpin:       c.pin.passed,
		Reflexive:     c.reflexive[mapSocket],
	}, nil
}

func (c *client) mapping() nat.Dependency {
	m := c.mappings
	switch {
	case m[0].mapped == m[1].mapped && m[1].mapped == m[2].mapped:
		return nat.EndpointIndependent
	case m[1].mapped == m[2].mapped:
		return nat.AddressDependent
	default:
		return nat.AddressAndPortDependent
	}
}

func (c *client) filtering() nat.Dependency {
	switch {
	case c.filters[0].passed:
		return nat.EndpointIndependent
	case c.filters[1].passed:
		return nat.AddressDependent
	default:
		return nat.AddressAndPortDependent
	}
}

// preserved decides by majority: a port may happen to be taken.
func (c *client) preserved() bool {
	kept, seen := 0, 0
	for i, r := range c.reflexive {
		if r.IsValid() {
			seen++
			if r.Port() == c.local[i].Port() {
				kept++
			}
		}
	}
	return 2*kept > seen
}
