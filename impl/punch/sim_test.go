package punch

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/wire"
)

// The world of these tests: two agents with an owner each, behind a NAT each, and a rendezvous that tells of samples.
//
//	agent ─ owner ─ NAT ───20 ms─── NAT ─ owner ─ agent
//	                 └──10 ms── R ──10 ms──┘
//
// An owner does what Probe and Spend say, and answers a punch once in 50 ms. A side has a path when it hears that the peer
// hears it. Packets are lost between the NATs, and between a NAT and R.

const (
	oneWay   = 20 * time.Millisecond
	toServer = 10 * time.Millisecond
	opening  = time.Millisecond // of sockets
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// router is a NAT with one external address. Its filter belongs to the mapping, as that of the lab's presets does, or else to the
// internal endpoint, as RFC 4787 §5 words it.
type router struct {
	class       wire.Class
	perEndpoint bool
	lo, hi      uint16  // of mappings' ports
	cross       float64 // mappings of others per second, where ports are sequential
	ip          netip.Addr

	rng     *rand.Rand
	foreign time.Time // when the next mapping of others is made
	last    int
	ports   map[uint16]*mapping
	byFlow  map[flow]*mapping
	allowed map[flow]bool // local: the mapping's external endpoint, or the internal one
	refused func()        // tells of packets that the filter refuses
}

type flow struct{ local, remote netip.AddrPort }

type mapping struct {
	local, external netip.AddrPort
}

func newRouter(class wire.Class, ip netip.Addr, rng *rand.Rand) *router {
	return &router{
		class: class, lo: firstPort, hi: lastPort, ip: ip, rng: rng, last: 20000 + rng.IntN(1000), foreign: epoch,
		ports: map[uint16]*mapping{}, byFlow: map[flow]*mapping{}, allowed: map[flow]bool{},
	}
}

// ignoring is an endpoint without what a dependency does not look at.
func ignoring(d wire.Dependency, a netip.AddrPort) netip.AddrPort {
	switch d {
	case wire.EndpointIndependent:
		return netip.AddrPort{}
	case wire.AddressDependent:
		return netip.AddrPortFrom(a.Addr(), 0)
	}
	return a
}

func (r *router) allocate(now time.Time, local netip.AddrPort) uint16 {
	switch {
	case r.class.Ports == wire.PortsPreserved && r.ports[local.Port()] == nil:
		return local.Port()
	case r.class.Ports == wire.PortsSequential:
		for r.cross > 0 && !r.foreign.After(now) {
			r.last += int(r.class.Step)
			r.foreign = r.foreign.Add(time.Duration(r.rng.ExpFloat64() / r.cross * float64(time.Second)))
		}
		r.last += int(r.class.Step)
		return uint16(r.last)
	}
	for {
		if p := r.lo + uint16(r.rng.IntN(int(r.hi)-int(r.lo)+1)); r.ports[p] == nil {
			return p
		}
	}
}

// rise translates what goes out.
func (r *router) rise(now time.Time, local, remote netip.AddrPort) netip.AddrPort {
	k := flow{local, ignoring(r.class.Mapping, remote)}
	m := r.byFlow[k]
	if m == nil {
		m = &mapping{local, netip.AddrPortFrom(r.ip, r.allocate(now, local))}
		r.byFlow[k], r.ports[m.external.Port()] = m, m
	}
	r.allowed[flow{r.filterOf(m), ignoring(r.class.Filtering, remote)}] = true
	return m.external
}

func (r *router) filterOf(m *mapping) netip.AddrPort {
	if r.perEndpoint {
		return m.local
	}
	return m.external
}

// fall says to which socket something that comes in goes. An answer leaves by the mapping that let it in, unless there is
// another one to that destination.
func (r *router) fall(external, remote netip.AddrPort) (local netip.AddrPort, ok bool) {
	m := r.ports[external.Port()]
	if m == nil || r.class.Filtering != wire.EndpointIndependent && !r.allowed[flow{r.filterOf(m), ignoring(r.class.Filtering, remote)}] {
		if r.refused != nil {
			r.refused()
		}
		return local, false
	}
	if k := (flow{m.local, ignoring(r.class.Mapping, remote)}); r.byFlow[k] == nil {
		r.byFlow[k] = m
	}
	return m.local, true
}

// owner plays a camera or a viewer.
type owner struct {
	w      *simulation
	role   Role
	nat    *router
	agent  *Agent
	peer   *owner
	main   netip.AddrPort
	socks  map[netip.AddrPort]bool // opened beside the main one
	most   int                     // of them at a time
	sent   int
	bytes  int
	path   Path
	at     time.Time // when it had the path
	lowTTL int       // punches that were not meant to arrive
}

type packet struct {
	hears bool // the sender hears the receiver
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

type simulation struct {
	now    time.Time
	seq    int
	queue  queue
	rng    *rand.Rand
	loss   float64
	viewer *owner
	camera *owner
}

func (w *simulation) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now.Add(d), w.seq, do})
}

var (
	serverAddr  = netip.MustParseAddrPort("198.51.100.1:3478")
	sampleAddr  = netip.MustParseAddrPort("198.51.100.2:3479")
	internalNet = netip.MustParseAddr("10.0.0.2")
)

// world has what a simulation varies.
type world struct {
	policy         Policy
	viewer, camera wire.Class
	edit           func(viewer, camera *router)
	loss           float64
	seed           uint64
	spare          bool          // a side that needs it has told the other of a fresh socket
	believed       [2]wire.Class // instead of the truth, if not zero: the viewer's, the camera's
}

func newSimulation(c world) *simulation {
	rng := rand.New(rand.NewPCG(c.seed, 1))
	w := &simulation{now: epoch, rng: rng, loss: c.loss}
	v := newRouter(c.viewer, netip.MustParseAddr("192.0.2.10"), rng)
	k := newRouter(c.camera, netip.MustParseAddr("203.0.113.20"), rng)
	if c.edit != nil {
		c.edit(v, k)
	}
	w.viewer = &owner{w: w, role: Viewer, nat: v, main: netip.AddrPortFrom(internalNet, 5000), socks: map[netip.AddrPort]bool{}}
	w.camera = &owner{w: w, role: Camera, nat: k, main: netip.AddrPortFrom(internalNet, 6000), socks: map[netip.AddrPort]bool{}}
	w.viewer.peer, w.camera.peer = w.camera, w.viewer
	seen := map[*owner]netip.AddrPort{w.viewer: v.rise(w.now, w.viewer.main, serverAddr), w.camera: k.rise(w.now, w.camera.main, serverAddr)}
	skew := time.Duration(rng.IntN(10)) * time.Millisecond
	for _, o := range []*owner{w.camera, w.viewer} {
		w.after(skew, func() { o.begin(c, seen[o], seen[o.peer]) })
		skew = 0
	}
	return w
}

func (o *owner) begin(c world, own, peer netip.AddrPort) {
	cfg := Config{Policy: c.policy, Role: o.role, Mine: o.nat.class, Theirs: o.peer.nat.class, Own: own, Peer: peer, Rand: seeded{o.w.rng}}
	for i, b := range c.believed {
		switch {
		case b.IsZero():
		case Role(i+1) == o.role:
			cfg.Mine = b
		default:
			cfg.Theirs = b
		}
	}
	if c.spare && dependent(o.nat.class) {
		cfg.Spare = netip.AddrPortFrom(internalNet, 7000+uint16(o.role))
		o.socks[cfg.Spare] = true
	}
	o.agent = NewAgent(cfg, o.w.now)
	o.agent.Add(o.w.now, To(peer), Reflexive)
	if c.spare && dependent(o.peer.nat.class) {
		o.agent.Add(o.w.now, To(netip.AddrPortFrom(peer.Addr(), 7000+uint16(o.peer.role))), Host)
	}
	o.work()
}

type seeded struct{ rng *rand.Rand }

func (s seeded) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(s.rng.Uint32())
	}
	return len(b), nil
}

// work does what the agent wants now, and comes back when it wants more.
func (o *owner) work() {
	w := o.w
	o.agent.Due(w.now, func(p Probe) {
		if p.Sample {
			o.sample(p.From)
			return
		}
		if o.agent.Spend(p.Path(), p.Size) {
			o.sent++
			o.bytes += p.Size
			o.send(p.Path(), p.TTL != 0)
		}
	})
	n, closed := o.agent.Wants()
	for _, s := range closed {
		delete(o.socks, s)
	}
	if n > 0 {
		w.after(opening, func() {
			var socks []netip.AddrPort
			for range n {
				s := netip.AddrPortFrom(internalNet, uint16(10000+len(o.socks)+o.most))
				for o.socks[s] {
					s = netip.AddrPortFrom(internalNet, s.Port()+1)
				}
				o.socks[s] = true
				socks = append(socks, s)
			}
			o.most = max(o.most, len(o.socks))
			o.agent.Opened(w.now, socks, nil)
			o.work()
		})
	}
	if d := o.agent.Deadline(); !d.IsZero() {
		w.after(max(d.Sub(w.now), 0), func() {
			if o.agent.Deadline().Equal(d) {
				o.work()
			}
		})
	}
}

func (o *owner) lost() bool { return o.w.rng.Float64() < o.w.loss }

func (o *owner) sample(from netip.AddrPort) {
	o.sent++
	seen := o.nat.rise(o.w.now, from, sampleAddr)
	there, back := o.lost(), o.lost()
	if there || back {
		return
	}
	o.w.after(2*toServer, func() {
		if o.peer.agent != nil {
			o.peer.agent.Sampled(o.w.now, seen)
			o.peer.work()
		}
	})
}

func (o *owner) send(p Path, lowTTL bool) {
	local := p.Local
	if !local.IsValid() {
		local = o.main
	}
	from := o.nat.rise(o.w.now, local, p.Addr)
	c := o.agent.Find(p)
	pk := packet{c != nil && c.Heard}
	if lowTTL {
		o.lowTTL++
		return
	}
	if o.lost() || p.Addr.Addr() != o.peer.nat.ip {
		return
	}
	o.w.after(oneWay, func() {
		if local, ok := o.peer.nat.fall(p.Addr, from); ok {
			o.peer.receive(local, from, pk)
		}
	})
}

func (o *owner) receive(local, from netip.AddrPort, pk packet) {
	if local == o.main {
		local = netip.AddrPort{}
	} else if !o.socks[local] {
		return // closed
	}
	if o.agent == nil {
		return
	}
	p := Between(local, from)
	c := o.agent.Heard(o.w.now, p)
	if c == nil {
		return
	}
	if pk.hears && o.path == (Path{}) {
		o.path, o.at = p, o.w.now
		c.Trusted = true // by an echo
		o.agent.Stop(p)
		for i := range 10 { // as Use is repeated, and media flows
			o.w.after(time.Duration(i)*100*time.Millisecond, func() { o.send(p, false) })
		}
	} else if c.Answer(o.w.now, 50*time.Millisecond) && o.agent.Spend(p, wire.DefaultPunch) {
		o.send(p, false)
	}
	o.work()
}

// run plays until both have a path, or so long.
func (w *simulation) run(d time.Duration) bool {
	end := w.now.Add(d)
	for len(w.queue) > 0 && !w.queue[0].at.After(end) && !w.met() {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	return w.met()
}

func (w *simulation) met() bool { return w.viewer.path != (Path{}) && w.camera.path != (Path{}) }
