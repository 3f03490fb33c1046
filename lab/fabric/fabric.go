package fabric

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/link"
)

// DefaultMaxPackets is the limit of a Config that gives none: 128 MiB of buffers.
const DefaultMaxPackets = 1 << 16

// Config tunes a Fabric.
type Config struct {
	MaxPackets int // packets in flight in all nets; zero: DefaultMaxPackets
}

// Fabric is the engine that all nets share. Its zero value is not usable: call New.
type Fabric struct {
	heap   eventHeap
	seq    uint64
	pool   pool
	recent window
}

// New returns a fabric without nets.
func New(c Config) *Fabric {
	if c.MaxPackets <= 0 {
		c.MaxPackets = DefaultMaxPackets
	}
	return &Fabric{pool: pool{left: c.MaxPackets}}
}

// Get returns a packet to fill and send, or nil if as many as may be are in flight.
func (f *Fabric) Get() *Packet { return f.pool.get() }

// Put gives back a packet from Get that was not sent.
func (f *Fabric) Put(p *Packet) { f.pool.put(p) }

// Deadline is the time of the next event; ok is false if nothing is in flight.
func (f *Fabric) Deadline() (t time.Duration, ok bool) {
	if len(f.heap) == 0 {
		return 0, false
	}
	return f.heap[0].due, true
}

// Lateness summarizes the deliveries of all nets in the last half to whole second before now.
func (f *Fabric) Lateness(now time.Duration) Lateness {
	f.recent.roll(now)
	return summarize(&f.recent.cur, &f.recent.prev)
}

// Net is an isolated internet: routes, uplinks and their queues.
type Net struct {
	f       *Fabric
	seed    uint64
	epoch   uint32 // counts Resets
	routes  routes
	uplinks []*Uplink // by name
	late    histogram
	closed  bool
}

// NewNet adds a net without uplinks. The seed decides every loss, jitter and so on in it.
func (f *Fabric) NewNet(seed uint64) *Net { return &Net{f: f, seed: seed} }

// Output hands packets to a site.
type Output interface {
	// Deliver takes the packet's bytes before it returns; false means that the site's device refused it.
	Deliver(p *Packet) bool
}

// Point is where a Tap sees a packet.
type Point uint8

const (
	FromSite Point = iota // the site sent it; cause tells whether its uplink passes it on
	ToSite                // it reached the site's downlink; cause tells whether that passes it on
)

// Tap observes the packets of one uplink. It must not keep b or change it. t is when the packet reached the point.
type Tap func(t time.Duration, at Point, cause link.Cause, b []byte)

// UplinkConfig describes an access link.
type UplinkConfig struct {
	Name    string         // unique in the net; the link's random decisions depend on it and on the net's seed
	Routed  []netip.Prefix // what is delivered to this uplink; no other uplink may have the same prefix
	Profile link.Profile
	Output  Output
	Tap     Tap // nil: none
}

// Uplink is an access link that is attached to a net.
type Uplink struct {
	name     string
	net      *Net
	up, down *link.Queue
	out      Output
	tap      Tap
	stats    UplinkStats
}

var errClosed = errors.New("net is closed")

// Attach adds an access link.
func (n *Net) Attach(c UplinkConfig) (*Uplink, error) {
	switch {
	case n.closed:
		return nil, fmt.Errorf("attach uplink %q: %w", c.Name, errClosed)
	case c.Name == "" || c.Output == nil:
		return nil, fmt.Errorf("attach uplink %q: name and output are required", c.Name)
	}
	if err := c.Profile.Validate(); err != nil {
		return nil, fmt.Errorf("attach uplink %q: %w", c.Name, err)
	}
	at, taken := slices.BinarySearchFunc(n.uplinks, c.Name, func(u *Uplink, name string) int { return strings.Compare(u.name, name) })
	if taken {
		return nil, fmt.Errorf("attach uplink %q: the net has one of this name", c.Name)
	}
	for _, p := range c.Routed {
		if !p.IsValid() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("attach uplink %q: route %v is not a prefix of IPv4 or IPv6", c.Name, p)
		}
		if o := n.routes.owner(p); o != nil {
			return nil, fmt.Errorf("attach uplink %q: route %v already leads to %q", c.Name, p, o.name)
		}
	}
	u := &Uplink{name: c.Name, net: n, out: c.Output, tap: c.Tap}
	u.up, u.down = link.NewQueue(c.Profile.Up, 0), link.NewQueue(c.Profile.Down, 0)
	u.reset(n.seed)
	for _, p := range c.Routed {
		n.routes.add(p, u)
	}
	n.uplinks = slices.Insert(n.uplinks, at, u)
	return u, nil
}

// Reset drops what is in flight, starts the random decisions over from the seed and zeroes the counts.
func (n *Net) Reset(seed uint64) {
	n.seed = seed
	n.epoch++
	n.late.reset()
	for _, u := range n.uplinks {
		u.reset(seed)
	}
}

func (u *Uplink) reset(seed uint64) {
	const up, down = 0x75, 0x64
	s := link.Mix(seed ^ hashString(u.name))
	u.up.Reset(link.Mix(s ^ up))
	u.down.Reset(link.Mix(s ^ down))
	u.stats = UplinkStats{Name: u.name}
}

// Close detaches all uplinks and drops what is in flight.
func (n *Net) Close() {
	n.closed = true
	n.epoch++
	n.uplinks, n.routes = nil, routes{}
}

// Stats appends the uplinks' counts to buf and returns them with the net's lateness.
func (n *Net) Stats(buf []UplinkStats) Stats {
	for _, u := range n.uplinks {
		buf = append(buf, u.stats)
	}
	return Stats{Lateness: summarize(&n.late), Uplinks: buf}
}

// SetProfile changes the link for the packets to come.
func (u *Uplink) SetProfile(p link.Profile) error {
	if err := p.Validate(); err != nil {
		return err
	}
	u.up.Set(p.Up)
	u.down.Set(p.Down)
	return nil
}

// Close detaches the uplink. What is on its way to it is dropped without a count.
func (u *Uplink) Close() {
	n := u.net
	n.uplinks = slices.DeleteFunc(n.uplinks, func(k *Uplink) bool { return k == u })
	n.routes.remove(u)
	u.out = nil
}

// hashString is FNV-1a.
func hashString(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
