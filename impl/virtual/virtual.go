// Package virtual runs cores in virtual time over a small internet in memory: the test double of sockets and a clock.
//
//	host ─ NAT ─ delay ─┐             one site a side; hosts of a site share its NAT and see each other directly
//	host ─ NAT ─ delay ─┼─ backbone   d(x, y) = delay(x) + delay(y)
//	host ─────── delay ─┘             a multicast group reaches the hosts of a site that have joined it
//
// Datagrams are lost and cut off as the sites say, and die where their TTL ends. Streams (streams.go) go through the same
// NATs and come whole and in order. A core that asks for sockets gets them.
//
// Everything happens in one goroutine, in the order of time and then of sending, and randomness comes from one seed: a
// run can be repeated byte for byte. The NATs here are the nine pairs of RFC 4787 and nothing else; the lab's tables are
// the full model, and impl may not import them.
package virtual

import (
	"container/heap"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// Start is when virtual time begins.
var Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// SiteConfig describes one access to the backbone.
type SiteConfig struct {
	Addr  netip.Addr    // external address; hosts without NAT use it themselves
	NAT   *NATConfig    // nil: none
	Delay time.Duration // one way, to and from the backbone
	LAN   time.Duration // one way between hosts of the site
	Loss  float64       // of the packets through the access, each way, 0–1
	Hops  int           // routers on its half of the way, beside the NAT; 0: one
	Up    int64         // bits a second to the backbone, IPv4 and UDP headers counted, behind an endless queue; 0: no limit
}

// Net is the internet.
type Net struct {
	Now time.Time
	// Filter, where set, sees each packet as it leaves a host; false drops it.
	Filter func(from *Host, p core.Packet) bool
	// Trace, where set, is told of each packet as it is delivered or dropped.
	Trace func(at time.Time, from, to netip.AddrPort, b []byte, fate string)

	rng    *rand.Rand
	hosts  []*Host
	sites  []*Site
	queue  queue
	seq    uint64
	digest hash.Hash64
}

// Site is an access with its hosts behind it.
type Site struct {
	SiteConfig
	net  *Net
	nat  *nat
	busy time.Time // until then the access sends what was queued before
}

// Host runs one core.
type Host struct {
	Name   string
	Core   core.Core
	Addrs  []netip.AddrPort
	Events []Event
	// OnEvent, where set, is called for each event, after it was recorded.
	OnEvent func(Event)
	// Refuse, where set, is what a core that asks for sockets is told.
	Refuse error
	// Accept lists the endpoints at which the host accepts streams, by core.Over: at its own addresses. Its streams leave
	// from the first TCP one, or else from the port of Addrs[0].
	Accept []netip.AddrPort
	// StreamDrops counts packets to streams that could not be made, or were backlogged meanwhile.
	StreamDrops int

	site    *Site
	groups  map[netip.AddrPort]func(now time.Time, from netip.AddrPort, b []byte)
	lent    map[netip.AddrPort]*allocation
	down    bool
	fixed   int    // of Addrs, those that it began with
	port    uint16 // of the last socket opened
	streams map[netip.AddrPort]*stream
}

// Event is what a core said, and when.
type Event struct {
	At time.Time
	E  any
}

// New makes an empty internet at Start.
func New(seed uint64) *Net {
	return &Net{Now: Start, rng: rand.New(rand.NewPCG(seed, 0)), digest: fnv.New64a()}
}

// Site adds an access.
func (n *Net) Site(c SiteConfig) *Site {
	s := &Site{SiteConfig: c, net: n}
	if c.NAT != nil {
		s.nat = newNAT(*c.NAT, c.Addr)
	}
	n.sites = append(n.sites, s)
	return s
}

// Host puts a core behind the access. Its addresses are private ones where the site has a NAT.
func (s *Site) Host(name string, c core.Core, addrs ...netip.AddrPort) *Host {
	h := &Host{
		Name: name, Core: c, Addrs: slices.Clone(addrs), site: s, fixed: len(addrs), port: firstPort, streams: map[netip.AddrPort]*stream{},
	}
	s.net.hosts = append(s.net.hosts, h)
	s.net.drain(h)
	return h
}

// Do runs f with the host's core at the present time and sends what it has to say.
func (h *Host) Do(f func(now time.Time)) {
	f(h.site.net.Now)
	h.site.net.drain(h)
}

// Join puts the host into a multicast group of its site's network: what the site's other hosts send there is handed to hand.
func (h *Host) Join(group netip.AddrPort, hand func(now time.Time, from netip.AddrPort, b []byte)) {
	if h.groups == nil {
		h.groups = map[netip.AddrPort]func(time.Time, netip.AddrPort, []byte){}
	}
	h.groups[group] = hand
}

// Down cuts the host off (and stops its clock) or brings it back.
func (h *Host) Down(down bool) { h.down = down }

// Inject delivers a datagram to a host as if from the network.
func (n *Net) Inject(to *Host, from netip.AddrPort, b []byte) {
	to.Core.HandlePacket(n.Now, from, to.Addrs[0], append([]byte(nil), b...))
	n.drain(to)
}

// Digest is a checksum of everything delivered, with its times.
func (n *Net) Digest() uint64 { return n.digest.Sum64() }

// Run moves time until done says so, or for at most d, and reports whether done did. nil never does.
func (n *Net) Run(d time.Duration, done func() bool) bool {
	end := n.Now.Add(d)
	for {
		if done != nil && done() {
			return true
		}
		at, host := n.next()
		if at.IsZero() || at.After(end) {
			n.Now = end
			return false
		}
		n.Now = at
		if host != nil {
			host.Core.HandleTimeout(n.Now)
			if dl := host.Core.Deadline(); core.Due(n.Now, dl) {
				host.Core.HandleTimeout(n.Now)
				if dl2 := host.Core.Deadline(); core.Due(n.Now, dl2) {
					panic(fmt.Sprintf("virtual: %s's deadline %v does not move at %v", host.Name, dl2, n.Now))
				}
			}
			n.drain(host)
			continue
		}
		n.arrive(heap.Pop(&n.queue).(*flight))
	}
}

// next finds the earliest arrival or deadline; arrivals first.
func (n *Net) next() (at time.Time, host *Host) {
	if len(n.queue) > 0 {
		at = n.queue[0].at
	}
	for _, h := range n.hosts {
		if h.down {
			continue
		}
		d := h.Core.Deadline()
		if d.IsZero() {
			continue
		}
		if d.Before(n.Now) {
			d = n.Now
		}
		if at.IsZero() || d.Before(at) {
			at, host = d, h
		}
	}
	return at, host
}

// drain does what a core wants done.
func (n *Net) drain(h *Host) {
	out := h.Core.Ready()
	for _, p := range out.Packets {
		n.leave(h, p)
	}
	for _, e := range out.Events {
		ev := Event{n.Now, e}
		h.Events = append(h.Events, ev)
		if h.OnEvent != nil {
			h.OnEvent(ev)
		}
	}
	for _, a := range out.Close {
		h.close(a)
	}
	if o, ok := h.Core.(core.Opener); ok && out.Open > 0 {
		o.HandleOpened(n.Now, h.open(out.Open), h.Refuse)
		n.drain(h)
	}
}

// leave sends a packet, unless the host or the test is against it.
func (n *Net) leave(h *Host, p core.Packet) {
	proto, to := core.ProtoOf(p.To)
	if proto != core.UDP {
		p.From = h.streamFrom(proto, to.Addr())
	} else if !p.From.IsValid() {
		p.From = h.addrFor(to.Addr())
	}
	switch {
	case h.down || n.Filter != nil && !n.Filter(h, p):
		n.trace(p.From, p.To, p.B, "filtered by the test")
	case proto != core.UDP:
		n.stream(h, p)
	case h.lent[p.From] != nil:
		n.lend(h, h.lent[p.From], &flight{from: p.From, to: p.To, b: slices.Clone(p.B), ttl: int(p.TTL)})
	case !h.has(p.From):
		n.trace(p.From, p.To, p.B, "no socket")
	default:
		n.send(h, &flight{from: p.From, to: p.To, b: slices.Clone(p.B), ttl: int(p.TTL)})
	}
}

// addrFor is the address that a packet leaves from of itself: the first of its destination's family.
func (h *Host) addrFor(to netip.Addr) netip.AddrPort {
	for _, a := range h.Addrs[:h.fixed] {
		if a.Addr().Is4() == to.Is4() {
			return a
		}
	}
	return h.Addrs[0]
}

// firstPort is before that of the first socket which a host opens for its core.
const firstPort = 40000

// open makes sockets for the core.
func (h *Host) open(count int) (opened []netip.AddrPort) {
	if h.Refuse != nil {
		return nil
	}
	for len(opened) < count {
		h.port++
		if a := netip.AddrPortFrom(h.Addrs[0].Addr(), h.port); !h.has(a) {
			h.Addrs = append(h.Addrs, a)
			opened = append(opened, a)
		}
	}
	return opened
}

// close gives up a socket that was opened for the core, or a stream.
func (h *Host) close(a netip.AddrPort) {
	if s := h.streams[a]; s != nil {
		h.site.net.segment(h, s, fin, nil)
		delete(h.streams, a)
	}
	if i := slices.Index(h.Addrs, a); i >= h.fixed {
		h.Addrs = slices.Delete(h.Addrs, i, i+1)
	}
}

// send translates a packet at the host's own NAT and puts it on its way.
func (n *Net) send(h *Host, f *flight) {
	f.at = n.Now.Add(h.site.LAN)
	if f.to.Addr().IsMulticast() {
		n.multicast(h, f)
		return
	}
	for _, o := range n.hosts {
		if o.site == h.site && o.has(f.to) {
			f.local = o
			n.push(f)
			return
		}
	}
	if f.expires(h.site.nat.hops()) {
		n.trace(f.from, f.to, f.b, "TTL ended")
		return
	}
	if h.site.nat != nil {
		f.from = h.site.nat.out(f.from, f.to)
	}
	f.site = n.siteOf(f.to.Addr())
	switch {
	case f.site == nil || f.site == h.site:
		n.trace(f.from, f.to, f.b, "no route")
		return
	case f.expires(h.site.nat.hops() + h.site.hops() + f.site.hops() + f.site.nat.hops()):
		n.trace(f.from, f.to, f.b, "TTL ended")
		return
	}
	lost := n.lost(h.site.Loss) || n.lost(f.site.Loss)
	if lost && f.kind == datagram {
		n.trace(f.from, f.to, f.b, "lost")
		return
	}
	f.at = h.site.leave(n.Now, len(f.b)).Add(h.site.Delay + f.site.Delay)
	for ; lost; lost = n.lost(h.site.Loss) || n.lost(f.site.Loss) {
		f.at = f.at.Add(resend)
	}
	f.ordered()
	n.push(f)
}

// multicast brings a packet to the hosts of the site that have joined its group.
func (n *Net) multicast(h *Host, f *flight) {
	for _, o := range n.hosts {
		hand := o.groups[f.to]
		if o == h || o.site != h.site || hand == nil {
			continue
		}
		g := *f
		g.timer = func() {
			if o.down {
				return
			}
			n.trace(g.from, g.to, g.b, "delivered")
			fmt.Fprintf(n.digest, "%d %v %v %x\n", n.Now.UnixNano(), g.from, g.to, g.b)
			hand(n.Now, g.from, slices.Clone(g.b))
			n.drain(o)
		}
		n.push(&g)
	}
}

// expires says whether a packet dies at one of so many routers: each takes one off its TTL.
func (f *flight) expires(routers int) bool { return f.ttl > 0 && f.ttl <= routers }

func (s *Site) hops() int { return max(1, s.Hops) }

// headers are those of IPv4 and UDP.
const headers = 28

// leave is when a datagram of size bytes has left the access.
func (s *Site) leave(now time.Time, size int) time.Time {
	if s.Up == 0 {
		return now
	}
	if s.busy.Before(now) {
		s.busy = now
	}
	s.busy = s.busy.Add(time.Duration(int64(size+headers) * 8 * int64(time.Second) / s.Up))
	return s.busy
}

func (n *Net) arrive(f *flight) {
	if f.timer != nil {
		f.timer()
		return
	}
	if o, a := n.lentAt(f.to); a != nil {
		n.lendBack(o, a, f)
		return
	}
	to, h := f.to, f.local
	if h == nil && f.site.nat != nil {
		inside, ok := f.site.nat.in(f.from, f.to)
		if !ok {
			n.trace(f.from, f.to, f.b, "filtered by the NAT")
			return
		}
		to = inside
	}
	for _, o := range n.hosts {
		if h == nil && o.site == f.site && o.has(to) {
			h = o
		}
	}
	if h == nil || h.down {
		n.trace(f.from, f.to, f.b, "no host")
		return
	}
	if f.kind != datagram {
		n.arrived(h, f, to)
		return
	}
	n.trace(f.from, f.to, f.b, "delivered")
	n.deliver(h, f.from, to, f.b)
}

// deliver hands a core what has come.
func (n *Net) deliver(h *Host, from, to netip.AddrPort, b []byte) {
	fmt.Fprintf(n.digest, "%d %v %v %x\n", n.Now.UnixNano(), from, to, b)
	h.Core.HandlePacket(n.Now, from, to, b)
	n.drain(h)
}

func (n *Net) trace(from, to netip.AddrPort, b []byte, fate string) {
	if n.Trace != nil {
		n.Trace(n.Now, from, to, b, fate)
	}
}

func (n *Net) lost(p float64) bool { return p > 0 && n.rng.Float64() < p }

func (n *Net) siteOf(a netip.Addr) *Site {
	a = bare(a)
	for _, s := range n.sites {
		if s.Addr == a {
			return s
		}
		for _, h := range n.hosts {
			if h.site == s && s.nat == nil {
				for _, ap := range h.Addrs {
					if ap.Addr() == a {
						return s
					}
				}
			}
		}
	}
	return nil
}

// has says whether an endpoint is a socket of the host's, or for a stream, whether its address is.
func (h *Host) has(a netip.AddrPort) bool {
	if proto, at := core.ProtoOf(a); proto != core.UDP {
		return slices.ContainsFunc(h.Addrs, func(x netip.AddrPort) bool { return x.Addr() == at.Addr() })
	}
	return slices.Contains(h.Addrs, a)
}

// bare is an address without the mark of a stream's.
func bare(a netip.Addr) netip.Addr {
	_, ap := core.ProtoOf(netip.AddrPortFrom(a, 0))
	return ap.Addr()
}

// flight is a packet on its way.
type flight struct {
	at       time.Time
	seq      uint64
	from, to netip.AddrPort
	b        []byte
	site     *Site // destination, or
	local    *Host // on the same LAN
	ttl      int   // 0: as much as it takes

	kind  kind
	proto core.Proto // of a segment
	after *time.Time // when the one before on its stream arrives
	timer func()     // no packet at all
}

func (n *Net) push(f *flight) {
	n.seq++
	f.seq = n.seq
	heap.Push(&n.queue, f)
}

type queue []*flight

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*flight)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}
