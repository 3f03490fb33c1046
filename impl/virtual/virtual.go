// Package virtual runs cores in virtual time over a small internet in memory: the test double of sockets and a clock.
//
//	host ─ NAT ─ delay ─┐             one site a side; hosts of a site share its NAT and see each other directly
//	host ─ NAT ─ delay ─┼─ backbone   d(x, y) = delay(x) + delay(y)
//	host ─────── delay ─┘
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
	site    *Site
	down    bool
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
	h := &Host{Name: name, Core: c, Addrs: addrs, site: s}
	s.net.hosts = append(s.net.hosts, h)
	s.net.drain(h)
	return h
}

// Do runs f with the host's core at the present time and sends what it has to say.
func (h *Host) Do(f func(now time.Time)) {
	f(h.site.net.Now)
	h.site.net.drain(h)
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

func (n *Net) drain(h *Host) {
	out := h.Core.Ready()
	for _, p := range out.Packets {
		if !p.From.IsValid() {
			p.From = h.Addrs[0]
		}
		if h.down || n.Filter != nil && !n.Filter(h, p) {
			n.trace(p.From, p.To, p.B, "filtered by the test")
			continue
		}
		n.send(h, p)
	}
	for _, e := range out.Events {
		ev := Event{n.Now, e}
		h.Events = append(h.Events, ev)
		if h.OnEvent != nil {
			h.OnEvent(ev)
		}
	}
}

// send translates a packet at the host's own NAT and puts it on its way.
func (n *Net) send(h *Host, p core.Packet) {
	f := &flight{from: p.From, to: p.To, b: append([]byte(nil), p.B...), at: n.Now.Add(h.site.LAN)}
	for _, o := range n.hosts {
		if o.site == h.site && o.has(p.To) {
			f.local = o
			n.push(f)
			return
		}
	}
	if h.site.nat != nil {
		f.from = h.site.nat.out(p.From, p.To)
	}
	f.site = n.siteOf(p.To.Addr())
	if f.site == nil || f.site == h.site {
		n.trace(f.from, f.to, f.b, "no route")
		return
	}
	if n.lost(h.site.Loss) || n.lost(f.site.Loss) {
		n.trace(f.from, f.to, f.b, "lost")
		return
	}
	f.at = h.site.leave(n.Now, len(f.b)).Add(h.site.Delay + f.site.Delay)
	n.push(f)
}

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
	n.trace(f.from, f.to, f.b, "delivered")
	fmt.Fprintf(n.digest, "%d %v %v %x\n", n.Now.UnixNano(), f.from, to, f.b)
	h.Core.HandlePacket(n.Now, f.from, to, f.b)
	n.drain(h)
}

func (n *Net) trace(from, to netip.AddrPort, b []byte, fate string) {
	if n.Trace != nil {
		n.Trace(n.Now, from, to, b, fate)
	}
}

func (n *Net) lost(p float64) bool { return p > 0 && n.rng.Float64() < p }

func (n *Net) siteOf(a netip.Addr) *Site {
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

func (h *Host) has(a netip.AddrPort) bool {
	for _, x := range h.Addrs {
		if x == a {
			return true
		}
	}
	return false
}

// flight is a packet on its way.
type flight struct {
	at       time.Time
	seq      uint64
	from, to netip.AddrPort
	b        []byte
	site     *Site // destination, or
	local    *Host // on the same LAN
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
