package probe_test

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/classify"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
)

// The implementation's classifier, behind the lab's NAT table, asks the implementation's rendezvous. In virtual time; the
// way between router and rendezvous takes 20 ms.
//
//	classifier 192.168.1.2 ── nat.Table 203.0.113.9 ── {198.51.100.1, .2} × {3478, 3479} rendezvous
type meeting struct {
	table  *nat.Table
	server *rendezvous.Server
	c      *classify.Classifier
	box    core.Outbox
	rng    *rand.Rand
	now    time.Time
	queue  arrivals
	host   netip.Addr
	ports  uint16
	sent   int
}

type arrival struct {
	at       time.Time
	seq      int
	from, to netip.AddrPort
	b        []byte
	passed   bool // the router has, inwards
}

type arrivals []arrival

func (q arrivals) Len() int { return len(q) }
func (q arrivals) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].seq < q[j].seq
}
func (q arrivals) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *arrivals) Push(x any)   { *q = append(*q, x.(arrival)) }
func (q *arrivals) Pop() any {
	x := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return x
}

var (
	began  = time.Unix(1e9, 0)
	outer  = netip.MustParseAddr("203.0.113.9")
	grid   = rendezvous.Grid{Addrs: [2]netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")}, Ports: [2]uint16{3478, 3479}}
	asked  = netip.AddrPortFrom(grid.Addrs[0], grid.Ports[0])
	oneWay = 20 * time.Millisecond
)

func meet(t *testing.T, b nat.Behavior, seed uint64) *meeting {
	t.Helper()
	m := &meeting{rng: rand.New(rand.NewPCG(seed, 1)), now: began, host: netip.MustParseAddr("192.168.1.2"), ports: 40000}
	cfg := nat.Config{Behavior: b, External: []netip.Addr{outer}, LAN: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}, Seed: seed}
	if b.Kind == nat.NoNAT {
		m.host, cfg.External, cfg.LAN = outer, nil, []netip.Prefix{netip.PrefixFrom(outer, 32)}
	}
	var err error
	if m.table, err = nat.NewTable(cfg); err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{byte(seed)})
	key, err := identity.NewKey(random)
	if err != nil {
		t.Fatal(err)
	}
	if m.server, err = rendezvous.New(rendezvous.Config{Static: key, Rand: random, Grids: []rendezvous.Grid{grid}}); err != nil {
		t.Fatal(err)
	}
	m.c = classify.New(classify.Config{Server: asked, Rand: random}, &m.box)
	return m
}

// run runs the classification to its end.
func (m *meeting) run(t *testing.T) (wire.Class, time.Duration) {
	t.Helper()
	m.c.Start(m.now)
	for m.drain(); ; m.drain() {
		if r, done := m.c.Result(); done {
			return r, m.now.Sub(began)
		}
		d := m.c.Deadline()
		if len(m.queue) > 0 && (d.IsZero() || !d.Before(m.queue[0].at)) {
			a := heap.Pop(&m.queue).(arrival)
			m.now = a.at
			m.arrive(a)
			continue
		}
		if d.IsZero() || d.Sub(began) > time.Minute {
			t.Fatalf("the classification does not end")
		}
		m.now = d
		m.c.HandleTimeout(d)
	}
}

func (m *meeting) drain() {
	out := m.box.Ready()
	packets, opens := slices.Clone(out.Packets), out.Open
	m.box.Begin()
	for _, p := range packets {
		m.pass(nat.Inside, packet.AppendUDP(nil, p.From, p.To, p.B))
	}
	if opens > 0 {
		var socks []netip.AddrPort
		for range opens {
			m.ports += uint16(1 + m.rng.IntN(7))
			socks = append(socks, netip.AddrPortFrom(m.host, m.ports))
		}
		m.c.Opened(m.now, socks, nil)
		m.drain()
	}
}

// pass takes a packet to the router.
func (m *meeting) pass(from nat.Side, b []byte) {
	v := m.table.Translate(m.now.Sub(began), from, b)
	if v.Reason != nat.Passed {
		return
	}
	p := packet.IPv4(v.Packet)
	u := packet.UDP(p.Payload())
	a := arrival{from: netip.AddrPortFrom(p.Src(), u.SrcPort()), to: netip.AddrPortFrom(p.Dst(), u.DstPort()), b: slices.Clone(u.Payload())}
	if v.To == nat.Inside {
		a.passed = true
		m.later(0, a)
		return
	}
	m.later(oneWay, a)
}

func (m *meeting) later(d time.Duration, a arrival) {
	m.sent++
	a.at, a.seq = m.now.Add(d), m.sent
	heap.Push(&m.queue, a)
}

// arrive is at the host, at the rendezvous, or at the router from outside.
func (m *meeting) arrive(a arrival) {
	switch {
	case slices.Contains(grid.Addrs[:], a.to.Addr()):
		m.server.HandlePacket(m.now, a.from, a.to, a.b)
		for _, p := range m.server.Ready().Packets {
			m.later(oneWay, arrival{from: p.From, to: p.To, b: slices.Clone(p.B)})
		}
	case a.passed:
		m.c.Handle(m.now, a.from, a.to, a.b)
	default:
		m.pass(nat.Outside, packet.AppendUDP(nil, a.from, a.to, a.b))
	}
}

// models are the classes' names for how the lab's NATs choose ports.
var models = map[nat.PortAssignment]wire.PortModel{
	0: wire.PortsPreserved, nat.PortPreservation: wire.PortsPreserved, nat.PortSequential: wire.PortsSequential,
	nat.PortRandom: wire.PortsRandom, nat.PortBlock: wire.PortsBlock,
}

// What the implementation finds out about each of the lab's NATs is what it promises.
func TestClassifierAgainstTheTable(t *testing.T) {
	for _, p := range nat.Presets() {
		t.Run(p.Name, func(t *testing.T) {
			promise := nat.Promise([]nat.Behavior{p.Behavior})
			for seed := range uint64(20) {
				m := meet(t, p.Behavior, seed)
				got, took := m.run(t)
				if promise.NoUDP {
					if got != (wire.Class{}) {
						t.Errorf("%v, want nothing", got)
					}
					continue
				}
				want := wire.Class{
					Mapping: wire.Dependency(promise.Mapping), Filtering: wire.Dependency(promise.Filtering), NoNAT: !promise.Translated, Hairpin: promise.Hairpin,
					Ports: models[p.Behavior.PortAssignment], Step: got.Step, BlockStart: got.BlockStart, BlockSize: got.BlockSize,
				}
				if err := differ(p.Behavior, got, want); err != nil {
					t.Errorf("seed %d, after %v: %v", seed, took, err)
				}
			}
		})
	}
}

func differ(b nat.Behavior, got, want wire.Class) error {
	b = b.WithDefaults()
	low, high := int(got.BlockStart), int(got.BlockStart)+int(got.BlockSize)-1
	switch {
	case got != want:
		return fmt.Errorf("found %v, want %v", got, want)
	case got.Ports == wire.PortsSequential && int(got.Step) != b.PortStep:
		return fmt.Errorf("step %d, want %d", got.Step, b.PortStep)
	case got.Ports == wire.PortsBlock && got.Mapping != wire.EndpointIndependent && (low%b.PortBlockSize != 0 || high-low+1 != b.PortBlockSize):
		return fmt.Errorf("block from %d to %d, want one of %d", low, high, b.PortBlockSize)
	}
	return nil
}
