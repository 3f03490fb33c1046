package attack

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/packet"
)

// Direction is a packet's way, seen from the host behind a Middle.
type Direction uint8

// The directions.
const (
	Up   Direction = iota // from the host
	Down                  // to it
)

// String names the direction.
func (d Direction) String() string {
	if d == Up {
		return "up"
	}
	return "down"
}

// Seen is a packet that comes to a Middle. Its bytes are valid until the rule returns.
type Seen struct {
	N         int // of this direction, from 1
	Direction Direction
	Packet    []byte // IPv4
}

// UDP is the packet's datagram; false: it is no UDP, or a fragment.
func (s Seen) UDP() (payload []byte, ok bool) {
	ip, err := packet.ParseIPv4(s.Packet)
	if err != nil || ip.Protocol() != packet.ProtocolUDP || ip.MoreFragments() || ip.FragmentOffset() != 0 {
		return nil, false
	}
	u, err := packet.ParseUDP(ip.Payload())
	if err != nil {
		return nil, false
	}
	return u.Payload(), true
}

// WithUDP is the packet with another datagram in it, checksums included. It must be UDP.
func (s Seen) WithUDP(payload []byte) []byte {
	ip, err := packet.ParseIPv4(s.Packet)
	if err != nil {
		return s.Packet
	}
	u, err := packet.ParseUDP(ip.Payload())
	if err != nil {
		return s.Packet
	}
	return packet.AppendUDP(nil, addrPort(ip.Src(), u.SrcPort()), addrPort(ip.Dst(), u.DstPort()), payload)
}

// Act is what a Middle does with a packet. Zero: it passes.
type Act struct {
	Drop   bool
	Delay  time.Duration
	Packet []byte          // in its place; nil: itself
	Again  []time.Duration // copies of what came, unaltered, so long after it
}

func (a Act) zero() bool { return !a.Drop && a.Delay <= 0 && a.Packet == nil && len(a.Again) == 0 }

// cost is what it takes of a budget of packets.
func (a Act) cost() int {
	n := len(a.Again)
	if a.Drop || a.Delay > 0 || a.Packet != nil {
		n++
	}
	return n
}

// Rule decides what becomes of packets. It is called in the order in which they come.
type Rule func(Seen) Act

// Match picks packets.
type Match func(Seen) bool

// Every matches each nth packet of a direction, that is UDP.
func Every(n int, d Direction) Match {
	count := 0
	return func(s Seen) bool {
		if _, udp := s.UDP(); !udp || s.Direction != d {
			return false
		}
		count++
		return count%n == 0
	}
}

// First matches datagrams that begin with one of these bytes (impl/PROTOCOL.md §4), in either direction.
func First(bytes ...byte) Match {
	return func(s Seen) bool {
		b, udp := s.UDP()
		return udp && len(b) > 0 && slices.Contains(bytes, b[0])
	}
}

// Dropping drops what matches.
func Dropping(m Match) Rule { return acting(m, func(Seen) Act { return Act{Drop: true} }) }

// Delaying holds back what matches: what comes behind it overtakes it.
func Delaying(m Match, d time.Duration) Rule {
	return acting(m, func(Seen) Act { return Act{Delay: d} })
}

// Replaying lets what matches pass, and sends copies after it.
func Replaying(m Match, after ...time.Duration) Rule {
	return acting(m, func(Seen) Act { return Act{Again: after} })
}

// Altering flips one bit of each datagram that matches, anywhere in it, and mends the checksum.
func Altering(m Match, seed uint64) Rule {
	draw := rand.New(seeded(seed))
	return acting(m, func(s Seen) Act {
		b, udp := s.UDP()
		if !udp || len(b) == 0 {
			return Act{}
		}
		b = slices.Clone(b)
		b[draw.IntN(len(b))] ^= 1 << draw.IntN(8)
		return Act{Packet: s.WithUDP(b)}
	})
}

func acting(m Match, do Rule) Rule {
	return func(s Seen) Act {
		if m(s) {
			return do(s)
		}
		return Act{}
	}
}

// Rules asks one rule after the other. The first that does anything decides.
func Rules(rules ...Rule) Rule {
	return func(s Seen) Act {
		for _, r := range rules {
			if a := r(s); !a.zero() {
				return a
			}
		}
		return Act{}
	}
}

// held is a packet that waits in a passage.
type held struct {
	due       time.Duration
	order     int
	direction Direction
	b         []byte
}

// passage is a Middle without I/O: packets in, packets out when they are due. Its times are since its beginning.
type passage struct {
	rule   Rule
	spend  func(n int) bool // of the budget; false: no more, and the passage lets everything pass
	counts map[string]int64
	n      [2]int
	queue  queue
	order  int
}

// handle takes a packet. What becomes of it is due now or later.
func (p *passage) handle(now time.Duration, d Direction, b []byte) {
	p.n[d]++
	act := Act{}
	if p.rule != nil {
		act = p.rule(Seen{N: p.n[d], Direction: d, Packet: b})
	}
	if !act.zero() && !p.spend(act.cost()) {
		act = Act{}
	}
	original := slices.Clone(b)
	for _, after := range act.Again {
		p.put(now+max(0, after), d, original)
		p.counts["replayed "+d.String()]++
	}
	switch {
	case act.Drop:
		p.counts["dropped "+d.String()]++
		return
	case act.Packet != nil:
		original = slices.Clone(act.Packet)
		p.counts["altered "+d.String()]++
	}
	if act.Delay > 0 {
		p.counts["delayed "+d.String()]++
	}
	p.put(now+max(0, act.Delay), d, original)
}

func (p *passage) put(due time.Duration, d Direction, b []byte) {
	p.order++
	heap.Push(&p.queue, held{due, p.order, d, b})
}

// next is the next packet that is due by now.
func (p *passage) next(now time.Duration) (h held, ok bool) {
	if len(p.queue) == 0 || p.queue[0].due > now {
		return h, false
	}
	return heap.Pop(&p.queue).(held), true
}

// deadline is when a packet will be due; false: none waits.
func (p *passage) deadline() (time.Duration, bool) {
	if len(p.queue) == 0 {
		return 0, false
	}
	return p.queue[0].due, true
}

// queue is a heap.Interface, the packet that is due first on top.
type queue []held

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(held)) }
func (q queue) Less(i, j int) bool {
	return q[i].due < q[j].due || q[i].due == q[j].due && q[i].order < q[j].order
}
func (q *queue) Pop() any {
	last := len(*q) - 1
	h := (*q)[last]
	*q = (*q)[:last]
	return h
}
