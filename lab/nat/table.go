package nat

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/packet"
)

// Table is a router's translator and filter:
//
//	              ┌ fragments wait for their first ┐
//	Inside ──► look ──► spoofed? ──► outbound: mapping, filter opens ──► rewrite ──► Outside
//	              │                      └── to an external address: hairpin ──┐
//	Inside ◄── rewrite ◄── inbound: mapping? filter? port mapping? ◄───────────┴── look ◄── Outside
//	                          └── refused: dropped, and perhaps answered (Next)
//
// It is pure: the same calls give the same answers, byte for byte. It is not safe for concurrent use.
//
// What an outbound packet makes stays until its timeout; a packet that is refused changes nothing, except that a
// hairpin which the target's filter refuses has opened the sender's (two hosts behind one NAT punch that way), and
// except for the quirk Behavior.InboundFirstRemap. Memory is bounded by Config.MaxMappings.
type Table struct {
	cfg         Config
	b           Behavior // with defaults
	times       times
	external    []uint32
	lan         []block
	maxMappings int
	ownFilter   bool // a mapping's first filter entry may be kept in it
	salt        uint64

	now    int64 // nanoseconds; the latest
	counts Counts
	timers timers

	maps     slab[mapping]
	fwd, rev index
	aliases  int
	pins     slab[pin]
	pinned   index
	strays   int // pins that are no filter entries
	sessions slab[session]
	talking  index
	latest   map[source]uint32 // Masquerade: an internal endpoint's newest mapping
	hosts    slab[host]
	hosted   index
	paired   int // hosts seen: the next one's external address and port block
	ports    ports
	draws    [32]uint64 // numbers drawn, by protocol
	sequence [32]uint64 // the same of sequential ports, where draws chooses addresses
	statics  statics
	pieces   pieces
	six      six
	out      outbox
	silent   []silence // SYNs that wait for their RST
	down     int64     // until when a crash lasts
}

// block is an IPv4 prefix.
type block struct{ addr, mask uint32 }

// NewTable returns an empty table.
func NewTable(c Config) (*Table, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("make NAT table: %w", err)
	}
	t := &Table{}
	t.configure(c)
	return t, nil
}

func (t *Table) configure(c Config) {
	c.External, c.LAN, c.Behavior = slices.Clone(c.External), slices.Clone(c.LAN), c.Behavior.clone()
	t.cfg, t.b, t.times = c, c.Behavior.WithDefaults(), timesOf(c.Behavior)
	t.maxMappings = c.MaxMappings
	set(&t.maxMappings, DefaultMaxMappings)
	t.ownFilter = !c.InboundFirstRemap && (c.FilterPerMapping || c.Mapping == EndpointIndependent)
	t.external, t.lan = t.external[:0], t.lan[:0]
	for _, a := range c.External {
		t.external = append(t.external, word(a))
	}
	for _, p := range c.LAN {
		if p.Addr().Is4() {
			mask := uint32(uint64(0xffffffff) << (32 - p.Bits()))
			t.lan = append(t.lan, block{word(p.Addr()) & mask, mask})
		}
	}
	t.forget(c.Seed)
}

// forget empties the table. Its clock may begin again.
func (t *Table) forget(seed uint64) {
	t.now, t.down = 0, 0
	t.cfg.Seed = seed
	t.salt = scramble(seed) | 1
	t.counts, t.timers = Counts{}, nil
	t.maps.reset()
	t.pins.reset()
	t.sessions.reset()
	t.hosts.reset()
	for _, x := range []*index{&t.fwd, &t.rev, &t.pinned, &t.talking, &t.hosted} {
		x.reset()
	}
	t.aliases, t.strays, t.paired, t.latest = 0, 0, 0, map[source]uint32{}
	t.ports.reset(t.external)
	t.draws, t.sequence = [32]uint64{}, [32]uint64{}
	t.statics, t.pieces, t.silent = statics{}, pieces{}, nil
	t.out.clear()
	t.forget6()
}

// Reset forgets everything, as a reboot does; all that is drawn begins again from seed, and time may.
func (t *Table) Reset(seed uint64) { t.forget(seed) }

// Apply gives the router another behavior. It implies a Reset.
func (t *Table) Apply(b Behavior, seed uint64) error {
	c := t.cfg
	c.Behavior, c.Seed = b, seed
	if err := c.validate(); err != nil {
		return fmt.Errorf("apply behavior: %w", err)
	}
	t.configure(c)
	return nil
}

// SetExternal gives the router other external addresses. All mappings are lost, those that were asked for too; the
// counts stay.
func (t *Table) SetExternal(addrs []netip.Addr) error {
	c := t.cfg
	c.External = addrs
	if err := c.validate(); err != nil {
		return fmt.Errorf("set external addresses: %w", err)
	}
	counts := t.counts
	t.configure(c)
	t.counts = counts
	return nil
}

// Translate decides about a packet that comes from a side, and rewrites it in place if it passes. Time must not go
// back. Checksums must be complete. The TTL is not the table's business.
func (t *Table) Translate(now time.Duration, from Side, b []byte) Verdict {
	t.pass(now)
	var v Verdict
	if t.down > t.now {
		v = drop(Crashed)
	} else if packet.Version(b) == 6 {
		v = t.translate6(t.time(), from, b)
	} else {
		v = t.translate4(from, b)
	}
	if t.b.IPv6 == NAT64 {
		v = t.leave64(v)
	}
	t.counts[v.Reason]++
	return v
}

// pass lets time go on and ends what has reached its end.
func (t *Table) pass(now time.Duration) {
	t.out.clear()
	t.now = max(t.now, int64(now))
	if len(t.timers) > 0 && t.timers[0].at <= t.now {
		t.expire()
	}
	if len(t.silent) > 0 && t.silent[0].due <= t.now {
		t.breakSilence()
	}
}

func (t *Table) time() time.Duration { return time.Duration(t.now) }

// Next returns what the last call with a time caused besides its result: ICMP errors, resets, and fragments that were
// held. What is not taken is lost with the next such call.
func (t *Table) Next() (Emission, bool) {
	for {
		e, ok := t.out.next()
		if !ok || t.b.IPv6 != NAT64 || t.emit64(&e) {
			return e, ok
		}
	}
}

// Deadline returns when Advance will have something to send, and false if nothing is due.
func (t *Table) Deadline() (time.Duration, bool) {
	if len(t.silent) == 0 {
		return 0, false
	}
	return time.Duration(t.silent[0].due), true
}

// Advance lets time pass: mappings end, and resets that waited fall due (see Next).
func (t *Table) Advance(now time.Duration) { t.pass(now) }

// Len is the number of mappings. Those that have ended since the last call with a time count still.
func (t *Table) Len() int { return t.maps.n - t.aliases }

// Counts returns how many packets met which end since NewTable, Reset or Apply.
func (t *Table) Counts() Counts { return t.counts }

// times are a behavior's timeouts in nanoseconds.
type times struct {
	udp, unreplied               int64 // unreplied: Masquerade, until the flow has lasted in both directions
	syn, established, transitory int64
	icmp                         int64
}

// timesOf fills in the defaults: the RFCs', or for plain masquerade those that Linux ships.
func timesOf(b Behavior) times {
	if b.Kind == Masquerade {
		udp := b.UDPTimeout
		set(&b.UDPTimeout, 120*time.Second)
		set(&udp, 30*time.Second)
		set(&b.TCPEstablished, 5*24*time.Hour)
		set(&b.TCPTransitory, 120*time.Second)
		set(&b.ICMPTimeout, 30*time.Second)
		t := timesOf(b.as(Translate))
		t.unreplied = int64(udp)
		return t
	}
	b = b.WithDefaults()
	return times{
		udp: int64(b.UDPTimeout), unreplied: int64(b.UDPTimeout),
		syn: int64(b.TCPSynTimeout), established: int64(b.TCPEstablished), transitory: int64(b.TCPTransitory), icmp: int64(b.ICMPTimeout),
	}
}

func (b Behavior) as(k Kind) Behavior {
	b.Kind = k
	return b
}

// life is what a protocol's first packet gives its mapping.
func (t *Table) life(proto uint8) int64 {
	switch proto {
	case protoTCP:
		return t.times.syn
	case protoICMP:
		return t.times.icmp
	default:
		return t.times.unreplied
	}
}

// masqueradeLife is conntrack's: short until the flow has had packets both ways and is two seconds old.
func (t *Table) masqueradeLife(m *mapping) int64 {
	const young = 2000
	if m.is(replied) && uint32(t.now/1e6)-m.born > young {
		return t.times.udp
	}
	return t.times.unreplied
}
