package classify

import (
	"container/heap"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v3"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// The tests' internet: one host behind one NAT, and a STUN server with two addresses and two ports. Only the way
// between NAT and server has delay, jitter and loss.
//
//	host 10.0.0.2 ── NAT 203.0.113.9 ──── loss, RTT ──── {198.51.100.1, 198.51.100.2} × {3478, 3479}
var (
	host     = netip.MustParseAddr("10.0.0.2")
	external = netip.MustParseAddr("203.0.113.9")
	servers  = [2]netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")}
	s00      = netip.AddrPortFrom(servers[0], 3478)
)

// natConfig is one kind of NAT; the zero mapping is none at all, the zero filtering no filter.
type natConfig struct {
	mapping, filtering wire.Dependency
	ports              wire.PortModel
	step               int
	low, high          int // of the ports
	hairpin            bool
	cross              float64 // ports that other hosts take before each of ours, in the mean
}

type serverConfig struct {
	alone    bool // one address: tells no other, ignores CHANGE-REQUEST
	obstinat bool // tells another address, and ignores CHANGE-REQUEST
	other    netip.AddrPort
}

type world struct {
	t      testing.TB
	nat    natConfig
	server serverConfig
	rtt    time.Duration
	jitter time.Duration
	loss   float64
	lan    float64 // loss between host and NAT
	rng    *rand.Rand

	now     time.Time
	c       *Classifier
	box     core.Outbox
	queue   flights
	seq     int
	next    int
	fwd     map[[2]netip.AddrPort]int
	taken   map[int]netip.AddrPort
	allowed map[[2]netip.AddrPort]bool
	closed  []netip.AddrPort
	sent    map[netip.AddrPort]int // packets by destination
	opens   int
	refuse  error // to open sockets
	wild    bool  // sockets are bound to 0.0.0.0
}

type flight struct {
	at       time.Time
	seq      int
	inside   bool // beyond the NAT already
	from, to netip.AddrPort
	b        []byte
}

type flights []flight

func (q flights) Len() int { return len(q) }
func (q flights) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].seq < q[j].seq
}
func (q flights) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *flights) Push(x any)   { *q = append(*q, x.(flight)) }
func (q *flights) Pop() any {
	x := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return x
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func random(seed uint64) io.Reader {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	return rand.NewChaCha8(s)
}

func newWorld(t testing.TB, n natConfig, seed uint64) *world {
	if n.low == 0 {
		n.low, n.high = 1024, 65535
	}
	w := &world{
		t: t, nat: n, rtt: 40 * time.Millisecond, rng: rand.New(rand.NewPCG(seed, 7)), now: epoch,
		fwd: map[[2]netip.AddrPort]int{}, taken: map[int]netip.AddrPort{}, allowed: map[[2]netip.AddrPort]bool{}, sent: map[netip.AddrPort]int{},
	}
	w.next = n.low + w.rng.IntN(n.high-n.low+1)
	w.c = New(Config{Server: s00, Rand: random(seed)}, &w.box)
	return w
}

// run runs the classification to its end and says how long it took.
func (w *world) run() (wire.Class, time.Duration) {
	w.t.Helper()
	w.c.Start(w.now)
	for w.drain(); ; w.drain() {
		r, done := w.c.Result()
		if done {
			return r, w.now.Sub(epoch)
		}
		d := w.c.Deadline()
		switch {
		case len(w.queue) > 0 && (d.IsZero() || !d.Before(w.queue[0].at)):
			f := heap.Pop(&w.queue).(flight)
			w.now = f.at
			w.arrive(f)
		case d.IsZero():
			w.t.Fatalf("nothing is due, and the classification not over: %+v %+v", w.c, w.c.exchanges[0])
		default:
			w.now = d
			w.c.HandleTimeout(d)
			if again := w.c.Deadline(); !again.IsZero() && !again.After(d) {
				w.t.Fatalf("the deadline stays at %v", d.Sub(epoch))
			}
		}
		if w.now.Sub(epoch) > time.Minute {
			w.t.Fatal("not over after a minute")
		}
	}
}

func (w *world) drain() {
	out := w.box.Ready()
	packets := slices.Clone(out.Packets)
	opens := out.Open
	w.closed = append(w.closed, out.Close...)
	w.box.Begin()
	for _, p := range packets {
		w.sent[p.To]++
		if w.rng.Float64() >= w.lan {
			w.leave(p.From, p.To, p.B)
		}
	}
	if opens > 0 {
		w.opens += opens
		if w.refuse != nil {
			w.c.Opened(w.now, nil, w.refuse)
			w.drain()
			return
		}
		var socks []netip.AddrPort
		for i := range opens {
			addr := host
			switch {
			case w.wild:
				addr = netip.IPv4Unspecified()
			case w.nat.mapping == 0:
				addr = external
			}
			socks = append(socks, netip.AddrPortFrom(addr, uint16(40000+w.rng.IntN(1000)*20+i)))
		}
		w.c.Opened(w.now, socks, nil)
		w.drain()
	}
}

func (w *world) push(delay time.Duration, inside bool, from, to netip.AddrPort, b []byte) {
	w.seq++
	heap.Push(&w.queue, flight{w.now.Add(delay), w.seq, inside, from, to, slices.Clone(b)})
}

func (w *world) oneWay() time.Duration {
	d := w.rtt / 2
	if w.jitter > 0 {
		d += time.Duration(w.rng.Int64N(int64(w.jitter)))
	}
	return d
}

func narrow(d wire.Dependency, a netip.AddrPort) netip.AddrPort {
	switch d {
	case wire.AddressAndPortDependent:
		return a
	case wire.AddressDependent:
		return netip.AddrPortFrom(a.Addr(), 0)
	}
	return netip.AddrPort{}
}

// leave translates what the host sends.
func (w *world) leave(from, to netip.AddrPort, b []byte) {
	if w.nat.mapping == 0 {
		from = netip.AddrPortFrom(external, from.Port())
	}
	w.allowed[[2]netip.AddrPort{from, narrow(w.nat.filtering, to)}] = true
	if w.nat.mapping != 0 {
		k := [2]netip.AddrPort{from, narrow(w.nat.mapping, to)}
		port, ok := w.fwd[k]
		if !ok {
			port = w.assign(from)
			w.fwd[k], w.taken[port] = port, from
		}
		if to.Addr() == external {
			if w.nat.hairpin {
				w.push(time.Millisecond, false, netip.AddrPortFrom(external, uint16(port)), to, b)
			}
			return
		}
		from = netip.AddrPortFrom(external, uint16(port))
	} else if to.Addr() == external {
		w.push(time.Microsecond, true, from, to, b)
		return
	}
	if w.rng.Float64() >= w.loss {
		w.push(w.oneWay(), false, from, to, b)
	}
}

// assign chooses an external port.
func (w *world) assign(from netip.AddrPort) int {
	n := &w.nat
	if _, used := w.taken[int(from.Port())]; n.ports == wire.PortsPreserved && !used {
		return int(from.Port())
	}
	for {
		port := n.low + w.rng.IntN(n.high-n.low+1)
		if n.ports == wire.PortsSequential {
			for n.cross > 0 && w.rng.Float64() < n.cross/(1+n.cross) {
				w.advance()
			}
			port = w.next
			w.advance()
		}
		if _, used := w.taken[port]; !used {
			return port
		}
	}
}

func (w *world) advance() {
	span := w.nat.high - w.nat.low + 1
	w.next = w.nat.low + ((w.next-w.nat.low+w.nat.step)%span+span)%span
}

func (w *world) arrive(f flight) {
	if f.to.Addr() != external {
		w.serve(f)
		return
	}
	to := f.to
	if w.nat.mapping != 0 && !f.inside {
		in, ok := w.taken[int(to.Port())]
		if !ok {
			return
		}
		to = in
	}
	if !f.inside && w.nat.filtering != 0 && !w.allowed[[2]netip.AddrPort{to, narrow(w.nat.filtering, f.from)}] {
		return
	}
	if w.rng.Float64() < w.lan {
		return
	}
	if w.wild {
		to = netip.AddrPortFrom(netip.IPv4Unspecified(), to.Port())
	}
	if !w.c.Handle(w.now, f.from, to, f.b) {
		w.t.Errorf("a packet to %v was not taken", to)
	}
}

// serve answers a binding request as RFC 5780 says.
func (w *world) serve(f flight) {
	m := &stun.Message{Raw: slices.Clone(f.b)}
	if f.to.Addr() != servers[0] && f.to.Addr() != servers[1] || m.Decode() != nil || m.Type != stun.BindingRequest {
		return
	}
	origin := f.to
	other := w.server.other
	if !other.IsValid() {
		other = netip.AddrPortFrom(servers[1], 3478+3479-f.to.Port())
		if f.to.Addr() == servers[1] {
			other = netip.AddrPortFrom(servers[0], other.Port())
		}
	}
	if v, err := m.Get(stun.AttrChangeRequest); err == nil && !w.server.alone && !w.server.obstinat {
		if v[3]&changeIP != 0 {
			origin = netip.AddrPortFrom(other.Addr(), origin.Port())
		}
		if v[3]&changePort != 0 {
			origin = netip.AddrPortFrom(origin.Addr(), other.Port())
		}
	}
	setters := []stun.Setter{
		stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
		&stun.XORMappedAddress{IP: f.from.Addr().AsSlice(), Port: int(f.from.Port())},
	}
	if !w.server.alone {
		setters = append(setters, attr{stun.AttrResponseOrigin, origin}, attr{stun.AttrOtherAddress, other})
	}
	a, err := stun.Build(setters...)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(a.Raw) > len(f.b) {
		w.t.Errorf("the answer takes %d bytes, the request %d", len(a.Raw), len(f.b))
	}
	if w.rng.Float64() >= w.loss {
		w.push(w.oneWay(), false, origin, f.from, a.Raw)
	}
}

// attr is an attribute in MAPPED-ADDRESS's form.
type attr struct {
	typ stun.AttrType
	netip.AddrPort
}

func (a attr) AddTo(m *stun.Message) error {
	return (&stun.MappedAddress{IP: a.Addr().AsSlice(), Port: int(a.Port())}).AddToAs(m, a.typ)
}
