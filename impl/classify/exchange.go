package classify

import (
	"io"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// exchange is a request that is repeated until it is answered. Each transmission has a transaction ID of its own, so that
// the round trip and the order in which mappings were made are known where packets are lost.
type exchange struct {
	socket int
	to     netip.AddrPort
	sent   []transmission
	next   time.Time      // next transmission, or when to give up
	mapped netip.AddrPort // as its server sees the socket
	until  int            // number of the packet that was answered
	failed bool
}

// transmission is one packet of an exchange.
type transmission struct {
	id     txID
	at     time.Time
	number int
}

func (x *exchange) settled() bool { return x.mapped.IsValid() || x.failed }

// begun is the number of the exchange's first packet.
func (x *exchange) begun() int { return x.sent[0].number }

// answered takes an answer, and says when the request had been sent; false: it is another's.
func (x *exchange) answered(a answer) (sent time.Time, ok bool) {
	for _, t := range x.sent {
		if t.id == a.id {
			if !x.mapped.IsValid() || t.number < x.until {
				x.mapped, x.until, x.failed = a.mapped, t.number, false
			}
			return t.at, true
		}
	}
	return time.Time{}, false
}

// ask begins an exchange. Its first transmission is due at once.
func (c *Classifier) ask(now time.Time, socket int, to netip.AddrPort) {
	c.exchanges = append(c.exchanges, &exchange{socket: socket, to: to, next: now})
}

func (c *Classifier) repeatAll(now time.Time) {
	for _, x := range c.exchanges {
		c.repeat(now, x)
	}
}

// repeat sends an exchange's request again, and gives it up in the end.
func (c *Classifier) repeat(now time.Time, x *exchange) {
	if x.settled() || !core.Due(now, x.next) {
		return
	}
	if len(x.sent) == tries {
		x.failed = true
		return
	}
	id := c.newID()
	x.sent = append(x.sent, transmission{id, now, c.send(x.socket, x.to, request(id, 0))})
	x.next = now.Add(c.rto)
	if len(x.sent) == tries {
		x.next = now.Add(c.grace())
	}
}

// grace is how long after the last transmission an answer may come.
func (c *Classifier) grace() time.Duration {
	if c.rtt == 0 {
		return lastGrace
	}
	return max(2*c.rtt, c.rto)
}

// send sends a packet, unless too many have gone there, and returns its number.
func (c *Classifier) send(socket int, to netip.AddrPort, b []byte) int {
	if c.affords(to) {
		c.box.Send(c.local[socket], to, core.Signal, b)
	}
	c.packets++
	return c.packets
}

// affords says whether one more packet may go to an endpoint, and counts it where that may be anybody's.
func (c *Classifier) affords(to netip.AddrPort) bool {
	switch to.Addr() {
	case c.cfg.Server.Addr():
		return true
	case c.other.Addr():
		if c.heard {
			return true
		}
		to = netip.AddrPortFrom(to.Addr(), 0)
	}
	c.spent[to]++
	return c.spent[to] <= tries
}

// newID draws a transaction ID. Where there is no randomness left nothing is found out: no answer fits the zero ID twice.
func (c *Classifier) newID() (id txID) {
	if _, err := io.ReadFull(c.cfg.Rand, id[:]); err != nil {
		c.end(ErrConfig)
	}
	return id
}
