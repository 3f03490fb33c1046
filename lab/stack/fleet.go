package stack

import (
	"container/heap"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/uplink"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
)

// fleet is many cameras that register at a rendezvous and keep their sessions alive, without a viewer: what a rendezvous
// carries beside the trial's own camera. They share one socket of one host, and are told apart by their sessions.
//
//	fleet host ── socket ── core ─┬─ uplink of camera 0      handshakes go a window at a time
//	                              ├─ uplink of camera 1
//	                              └─ …
type fleet struct {
	box     core.Outbox
	links   []*ship
	byIndex map[uint32]*ship
	due     ships
	begun   int // links that were started
	up      int
	full    chan struct{} // all are up
	random  io.Reader

	node *node.Node // nil: somebody else drives it
}

// ship is one camera of a fleet.
type ship struct {
	link  *uplink.Link
	at    time.Time // its deadline
	place int       // in the heap, from 1; 0: it waits for nothing
	up    bool
}

// fleetHost is the public host that a topology has for a fleet.
const fleetHost = "fleet"

// shakes is how many handshakes of a fleet are under way at a time.
const shakes = 256

// launch registers n cameras from a lab's fleet host, and returns when all are registered.
func launch(ctx context.Context, l *lab.Lab, n int, server identity.PublicKey, at netip.AddrPort) (*fleet, error) {
	m := l.Host(fleetHost)
	if m == nil {
		return nil, fmt.Errorf("topology %s has no host %q, which trial.fleet needs", l.Topology().Name, fleetHost)
	}
	f, err := newFleet(n, server, at, rand.Reader)
	if err != nil {
		return nil, err
	}
	conn, err := m.ListenUDP(netip.AddrPortFrom(m.Addr(), 0))
	if err != nil {
		return nil, err
	}
	if f.node, err = node.New(f, []*net.UDPConn{conn}, node.Options{ReadBuffer: 8 << 20}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	f.node.Do(f.more)
	select {
	case <-f.full:
		return f, nil
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("the fleet's %d cameras did not register in time", n), f.close())
	}
}

// newFleet makes n cameras that have not begun to register.
func newFleet(n int, server identity.PublicKey, at netip.AddrPort, random io.Reader) (*fleet, error) {
	f := &fleet{byIndex: map[uint32]*ship{}, full: make(chan struct{}), random: random}
	for range n {
		if err := f.add(server, at); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *fleet) close() error { return f.node.Close() }

func (f *fleet) add(server identity.PublicKey, at netip.AddrPort) error {
	k, err := identity.NewKey(f.random)
	if err != nil {
		return err
	}
	s := &ship{}
	s.link, err = uplink.New(uplink.Config{
		Session:    session.Config{Static: k, Rand: f.random, Taken: func(i uint32) bool { return f.byIndex[i] != nil }},
		Rendezvous: server, Addrs: []netip.AddrPort{at}, Keepalive: fleetKeepalive,
		Hello: &wire.Register{Version: wire.ProtocolVersion, Keepalive: uint16(fleetKeepalive / time.Second)},
		Up: func(now time.Time, _ wire.Message) {
			if !s.up {
				s.up = true
				if f.up++; f.up == len(f.links) {
					close(f.full)
				}
			}
		},
		Down: func(time.Time) {},
	}, &f.box)
	if err != nil {
		return err
	}
	f.links = append(f.links, s)
	return nil
}

// fleetKeepalive is what a camera has unless told otherwise.
const fleetKeepalive = 15 * time.Second

// more begins handshakes, as many as may be under way.
func (f *fleet) more(now time.Time) {
	f.box.Begin()
	for f.begun < len(f.links) && f.begun-f.up < shakes {
		s := f.links[f.begun]
		f.begun++
		if s.link.Start(now) == nil { // it fails for want of randomness alone
			f.arm(s)
		}
	}
}

// arm puts a ship where its deadline belongs, and its session's index where its packets find it.
func (f *fleet) arm(s *ship) {
	s.at = s.link.Deadline()
	switch {
	case s.at.IsZero() && s.place > 0:
		heap.Remove(&f.due, s.place-1)
	case s.at.IsZero():
	case s.place > 0:
		heap.Fix(&f.due, s.place-1)
	default:
		heap.Push(&f.due, s)
	}
}

// owner is the ship that a session's packets are for.
func (f *fleet) owner(index uint32) *ship {
	if s := f.byIndex[index]; s != nil && s.link.Owns(index) {
		return s
	}
	// An index is drawn with each handshake, and those that are under way were begun last.
	for _, s := range slices.Backward(f.links[:f.begun]) {
		if s.link.Owns(index) {
			f.byIndex[index] = s
			return s
		}
	}
	return nil
}

// HandlePacket, HandleTimeout, Deadline and Ready are core.Core.
func (f *fleet) HandlePacket(now time.Time, from, _ netip.AddrPort, b []byte) {
	f.box.Begin()
	index, ok := session.ReceiverIndex(b)
	if !ok {
		return
	}
	if s := f.owner(index); s != nil {
		_, _ = s.link.Handle(now, from, b) // nobody looks at what a fleet drops
		f.arm(s)
	}
	f.more(now)
}

func (f *fleet) HandleTimeout(now time.Time) {
	f.box.Begin()
	for len(f.due) > 0 && core.Due(now, f.due[0].at) {
		s := f.due[0]
		s.link.HandleTimeout(now)
		f.arm(s)
	}
}

func (f *fleet) Deadline() time.Time {
	if len(f.due) == 0 {
		return time.Time{}
	}
	return f.due[0].at
}

func (f *fleet) Ready() core.Output { return f.box.Ready() }

// ships is a heap by deadline.
type ships []*ship

func (h *ships) Len() int           { return len(*h) }
func (h *ships) Less(i, j int) bool { return (*h)[i].at.Before((*h)[j].at) }
func (h *ships) Swap(i, j int) {
	s := *h
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i+1, j+1
}
func (h *ships) Push(x any) {
	s := x.(*ship)
	*h = append(*h, s)
	s.place = len(*h)
}
func (h *ships) Pop() any {
	old := *h
	s := old[len(old)-1]
	*h = old[:len(old)-1]
	s.place = 0
	return s
}
