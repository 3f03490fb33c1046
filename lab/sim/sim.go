// Package sim has a topology in virtual time: the fabric, the routers' tables, and on the hosts UDP sockets and timers, all in
// memory, in the goroutine of whoever calls Run.
//
//	Socket.Send ──► IP packet ──► lab.Model: table ── link ── … ── table ──► inbox ──► Socket's handler
//	Timer.Set ─────────────────────────────────────────────────────────────────────► Timer's function
//	                             Run: what is due first, at its time
//
// Nothing takes time but the links: a host answers in no time, and no timer is late. What happens at the same time happens in the
// order of arrivals before timers, and of each in the order of their making. So the seed and what the handlers do decide everything,
// on any machine.
//
// Left out of what real hosts have: ICMP errors, which UDP sockets do not hear of; fragments, which hosts that discover the path's
// MTU do not send; TCP; a clock that is wrong.
package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
)

// Start is when virtual time begins.
var Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Net is a topology in virtual time. It is not safe for concurrent use.
type Net struct {
	model  *lab.Model
	hosts  map[string]*Host
	now    time.Duration // since Start
	timers []*Timer      // armed, in no order
	seq    uint64        // of the last timer armed
	inbox  []arrival
	spare  [][]byte
	err    error // the first
	ports  *rand.Rand
}

// arrival is a datagram that has come to a host and waits to be handled.
type arrival struct {
	host     *Host
	from, to netip.AddrPort
	b        []byte // from spare
}

// New has the resolved topology, reset to the seed.
func New(t *lab.Topology, seed uint64) (*Net, error) {
	n := &Net{hosts: map[string]*Host{}, ports: rand.New(rand.NewPCG(seed, 0x706f727473))}
	model, err := t.Model(seed, func(name string) lab.Resident {
		h := &Host{Name: name, net: n}
		n.hosts[name] = h
		return h
	})
	if err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	n.model = model
	return n, nil
}

// Now is the virtual time.
func (n *Net) Now() time.Time { return Start.Add(n.now) }

// Host returns a host by its name in the topology, or nil.
func (n *Net) Host(name string) *Host { return n.hosts[name] }

// Do has an event happen now, which must be valid. Undo takes it back, later.
func (n *Net) Do(e lab.Event) (undo func() error, err error) {
	back, err := n.model.Do(n.now, e)
	if err != nil {
		return nil, err
	}
	return func() error { return back(n.now) }, nil
}

// SetTap lets t observe every packet, until the net is given another tap or nil.
func (n *Net) SetTap(t fabric.Tap) { n.model.Net.SetTap(t) }

// askEvery is after how many steps Run looks whether it should end early.
const askEvery = 1 << 10

// mostSteps is how many steps a second of virtual time may take: ten times what a trial needs whose sockets punch by the thousand. A
// program that wants to be called again at once, for ever, takes a million.
const mostSteps = 1 << 19

// Run lets time pass until done says so or for d at most, and reports whether done did; nil never does. An error is ctx's, or says
// what cannot be simulated.
func (n *Net) Run(ctx context.Context, d time.Duration, done func() bool) (bool, error) {
	end := n.now + d
	since, moment := 0, n.now
	for i := 0; ; i++ {
		if i%askEvery == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		if n.now-moment >= time.Second {
			since, moment = i, n.now
		}
		if i-since > mostSteps {
			n.fail("virtual time hardly moves at %v: a program wants to be called again at once, for ever", n.now)
		}
		n.hand()
		switch {
		case n.err != nil:
			return false, n.err
		case done != nil && done():
			return true, nil
		case !n.step(end):
			n.now = end
			return false, nil
		}
	}
}

// step does what is due next, if that is not after end.
func (n *Net) step(end time.Duration) bool {
	due, packets := n.model.Fabric.Deadline()
	t := n.next()
	if t != nil && (!packets || t.at < due) {
		if t.at > end {
			return false
		}
		n.now = max(n.now, t.at)
		n.disarm(t)
		t.f(n.Now())
		return true
	}
	if !packets || due > end {
		return false
	}
	n.now = max(n.now, due)
	n.model.Fabric.Deliver(n.now, 0)
	return true
}

// hand gives the sockets what has come, which may make them send, and more come.
func (n *Net) hand() {
	for i := 0; i < len(n.inbox); i++ {
		a := n.inbox[i]
		a.host.receive(a)
		n.spare = append(n.spare, a.b)
	}
	clear(n.inbox)
	n.inbox = n.inbox[:0]
}

// buffer is room for a packet.
func (n *Net) buffer() []byte {
	if k := len(n.spare); k > 0 {
		b := n.spare[k-1]
		n.spare = n.spare[:k-1]
		return b[:0]
	}
	return make([]byte, 0, link.MaxMTU)
}

// fail ends the simulation.
func (n *Net) fail(format string, args ...any) {
	if n.err == nil {
		n.err = fmt.Errorf("simulate: "+format, args...)
	}
}

// Timer calls a function once it is due.
type Timer struct {
	net   *Net
	f     func(now time.Time)
	at    time.Duration
	seq   uint64
	armed bool
}

// NewTimer makes a timer that is not set.
func (n *Net) NewTimer(f func(now time.Time)) *Timer { return &Timer{net: n, f: f} }

// After calls f after d.
func (n *Net) After(d time.Duration, f func(now time.Time)) { n.NewTimer(f).Set(n.Now().Add(d)) }

// tick is how much later a timer comes that is set to what has passed: whoever sets it again and again does not stop the time.
const tick = time.Microsecond

// Set sets the timer, once; zero: it is not due any more.
func (t *Timer) Set(at time.Time) {
	n := t.net
	if at.IsZero() {
		n.disarm(t)
		return
	}
	due := at.Sub(Start)
	if due <= n.now {
		due = n.now + tick
	}
	if t.armed && t.at == due {
		return
	}
	n.seq++
	t.at, t.seq = due, n.seq
	if !t.armed {
		t.armed = true
		n.timers = append(n.timers, t)
	}
}

func (n *Net) disarm(t *Timer) {
	if !t.armed {
		return
	}
	t.armed = false
	i := slices.Index(n.timers, t)
	last := len(n.timers) - 1
	n.timers[i], n.timers[last] = n.timers[last], nil
	n.timers = n.timers[:last]
}

// next is the timer that is due first. There are few, one for each program and event.
func (n *Net) next() (first *Timer) {
	for _, t := range n.timers {
		if first == nil || t.at < first.at || t.at == first.at && t.seq < first.seq {
			first = t
		}
	}
	return first
}
