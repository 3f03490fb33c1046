package classify

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// hairpin has two sockets send to each other's reflexive endpoint (RFC 5780 §4.5).
type hairpin struct {
	ids    [2]txID
	sent   int
	next   time.Time // zero until both endpoints are known
	passed bool
	over   bool
}

// arrived takes a binding request that came to a socket.
func (p *hairpin) arrived(socket int, id txID) {
	if p.sent > 0 && (socket == ySocket && id == p.ids[0] || socket == xSocket && id == p.ids[1]) {
		p.passed, p.over = true, true
	}
}

func (p *hairpin) deadline() time.Time {
	if p.over {
		return time.Time{}
	}
	return p.next
}

// testHairpin sends what is due. The turn is taken this side of the server, so that silence for half the round trip to it
// and a margin is believed.
func (c *Classifier) testHairpin(now time.Time) {
	p := &c.pin
	x, y := c.greeting(xSocket), c.greeting(ySocket)
	if p.over || !x.settled() || !y.settled() || !p.next.IsZero() && !core.Due(now, p.next) {
		return
	}
	if x.failed || y.failed || p.sent == hairpins {
		p.over = true
		return
	}
	if p.sent == 0 {
		p.ids = [2]txID{c.newID(), c.newID()}
	}
	c.send(xSocket, y.mapped, request(p.ids[0], 0))
	c.send(ySocket, x.mapped, request(p.ids[1], 0))
	p.next = now.Add(burst)
	if p.sent++; p.sent == hairpins {
		p.next = now.Add(max(c.rtt/2, margin))
	}
}

// greeting is a socket's first exchange with the server.
func (c *Classifier) greeting(socket int) *exchange {
	for _, x := range c.exchanges {
		if x.socket == socket {
			return x
		}
	}
	return &exchange{failed: true}
}

// endpointOf is where a socket appears from, as Server sees it; zero: not known.
func (c *Classifier) endpointOf(socket int) netip.AddrPort {
	switch socket {
	case anySocket, portSocket:
		return c.filters[socket-anySocket].mapped
	}
	return c.greeting(socket).mapped
}
