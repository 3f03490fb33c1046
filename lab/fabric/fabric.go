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

// The limits of a Config that gives none: 128 MiB and 64 MiB of buffers.
const (
	DefaultMaxPackets = 1 << 16
	DefaultMaxBig     = 1 << 10
)

// Config tunes a Fabric.
type Config struct {
	MaxPackets int // packets in flight in all nets; zero: DefaultMaxPackets
	MaxBig     int // packets with room for 64 KiB; zero: DefaultMaxBig
}

// Fabric is the engine that all nets share. Its zero value is not usable: call New.
type Fabric struct {
	heap     eventHeap
	seq      uint64
	siblings int // callers that have more packets to send than the one at hand
	pool     pool
	recent   window
}

// New returns a fabric without nets.
func New(c Config) *Fabric {
	if c.MaxPackets <= 0 {
		c.MaxPackets = DefaultMaxPackets
	}
	if c.MaxBig <= 0 {
		c.MaxBig = DefaultMaxBig
	}
	return &Fabric{pool: pool{left: c.MaxPackets, leftBig: c.MaxBig}}
}

// Get returns a packet to fill and send, or nil if as many as may be are in flight.
func (f *Fabric) Get() *Packet { return f.pool.get() }

// GetBig is Get for a packet of up to 65,535 bytes, as kernels send them with GSO. What turns out to be no longer than
// link.MaxMTU should be sent in a packet from Get: there are few big ones.
func (f *Fabric) GetBig() *Packet { return f.pool.getBig() }

// Put gives back a packet from Get or GetBig that was not sent.
func (f *Fabric) Put(p *Packet) { f.pool.put(p) }

// Deadline is the time of the next event: a packet's, or what a router's table does by itself. ok is false if there
// is none.
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
	routes  routes[*Uplink]
	uplinks []*Uplink // by name
	routers []*Router // in the order of their coming
	holes   map[hole]struct{}
	late    histogram
	ids     uint64 // the latest packet's number
	tap     Tap
	closed  bool
}

// number is that of a new packet.
func (n *Net) number() uint64 {
	n.ids++
	return n.ids
}

// begin takes a packet into the net.
func (n *Net) begin(p *Packet) {
	p.net, p.epoch, p.id = n, n.epoch, n.number()
}

// NewNet adds a net without uplinks. The seed decides every loss, jitter and so on in it.
func (f *Fabric) NewNet(seed uint64) *Net { return &Net{f: f, seed: seed} }

// Output hands packets to a site.
type Output interface {
	// Deliver takes the packet's bytes before it returns; false means that the site's device refused it.
	Deliver(p *Packet) bool
}

// UplinkConfig describes an access link.
type UplinkConfig struct {
	Name    string         // unique in the net; the link's random decisions depend on it and on the net's seed
	Routed  []netip.Prefix // what is delivered to this uplink; no other uplink may have the same prefix
	Profile link.Profile
	Output  Output
	Offload bool // Output takes GSO packets and unfinished checksums; otherwise it is given neither
}

// Uplink is an access link that is attached to a net.
type Uplink struct {
	name               string
	net                *Net
	up, down           *link.Queue
	upPlain, downPlain bool // GSO packets pass whole
	offload            bool
	isDown             bool
	attached           bool
	mute               bool    // too big a packet on the way up vanishes (link.Impairment.MTUBlackhole)
	out                Output  // nil: a router has it
	router             *Router // nil: out has it
	stats              UplinkStats
}

var errClosed = errors.New("net is closed")

// Attach adds an access link.
func (n *Net) Attach(c UplinkConfig) (*Uplink, error) {
	u, err := n.attach(c, nil)
	if err != nil {
		return nil, fmt.Errorf("attach uplink %q: %w", c.Name, err)
	}
	return u, nil
}

// attach adds an access link to an output or to a router.
func (n *Net) attach(c UplinkConfig, r *Router) (*Uplink, error) {
	switch {
	case n.closed:
		return nil, errClosed
	case c.Name == "" || c.Output == nil && r == nil:
		return nil, errors.New("name and output are required")
	}
	if err := c.Profile.Validate(); err != nil {
		return nil, err
	}
	at, taken := n.place(c.Name)
	if taken {
		return nil, errors.New("the net has one of this name")
	}
	u := &Uplink{name: c.Name, net: n, out: c.Output, offload: c.Offload, router: r, attached: true}
	if err := n.routes.check(c.Routed, u); err != nil {
		return nil, err
	}
	u.up, u.down = link.NewQueue(c.Profile.Up, 0), link.NewQueue(c.Profile.Down, 0)
	u.learn(c.Profile)
	u.reset(n.seed)
	for _, p := range c.Routed {
		n.routes.add(p, u)
	}
	n.uplinks = slices.Insert(n.uplinks, at, u)
	return u, nil
}

// place is where the uplink of the name stands, or should.
func (n *Net) place(name string) (at int, found bool) {
	return slices.BinarySearchFunc(n.uplinks, name, func(u *Uplink, name string) int { return strings.Compare(u.name, name) })
}

func (n *Net) uplink(name string) *Uplink {
	if at, found := n.place(name); found {
		return n.uplinks[at]
	}
	return nil
}

// Reset drops what is in flight, starts the random decisions over from the seed, empties the routers' tables, zeroes
// the counts and numbers packets from 1 again. Profiles, faults and the tap stay.
func (n *Net) Reset(seed uint64) {
	n.seed = seed
	n.epoch++
	n.ids = 0
	n.late.reset()
	for _, u := range n.uplinks {
		u.reset(seed)
	}
	for _, r := range n.routers {
		r.reset()
	}
}

func (u *Uplink) reset(seed uint64) {
	const up, down = 0x75, 0x64
	s := link.Mix(seed ^ hashString(u.name))
	u.up.Reset(link.Mix(s ^ up))
	u.down.Reset(link.Mix(s ^ down))
	u.stats = UplinkStats{Name: u.name}
}

// Close detaches all uplinks and routers and drops what is in flight.
func (n *Net) Close() {
	n.closed = true
	n.epoch++
	n.uplinks, n.routers, n.routes = nil, nil, routes[*Uplink]{}
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
	u.learn(p)
	return nil
}

// learn keeps what the engine must know of the profile.
func (u *Uplink) learn(p link.Profile) {
	u.upPlain, u.downPlain, u.mute = plain(p.Up), plain(p.Down), p.Up.MTUBlackhole
}

// Name is the uplink's name.
func (u *Uplink) Name() string { return u.name }

// SetRouted replaces what is delivered to the uplink.
func (u *Uplink) SetRouted(routed []netip.Prefix) error {
	if err := u.net.routes.replace(routed, u); err != nil {
		return fmt.Errorf("route to uplink %q: %w", u.name, err)
	}
	return nil
}

// Close detaches the uplink. What is on its way to it is dropped without a count.
func (u *Uplink) Close() {
	n := u.net
	n.uplinks = slices.DeleteFunc(n.uplinks, func(k *Uplink) bool { return k == u })
	n.routes.remove(u)
	u.attached = false
}

// hashString is FNV-1a.
func hashString(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
