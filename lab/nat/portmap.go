package nat

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// PortMap is a mapping that someone asked for, by UPnP IGD, NAT-PMP, PCP or by hand: anyone (or Remote) may then send
// to the external port. An internal endpoint has at most one per protocol.
//
// Where the mapping behavior is endpoint-independent all that the endpoint sends leaves by that port too. Otherwise
// only its answers do (RFC 6887 §11 leaves that open). Behind a firewall that does not translate the external endpoint
// is the internal one.
type PortMap struct {
	Protocol uint8          // 6 or 17
	Internal netip.AddrPort // where packets go; IPv4
	External uint16         // the port that is wanted; zero: any
	Lifetime time.Duration  // zero: until it is taken back
	Remote   netip.Addr     // only packets from there pass; zero: from anywhere
}

// Why Map and Unmap refuse.
var (
	ErrPortTaken = errors.New("another endpoint has that external port: ask for any")
	ErrNoPort    = errors.New("no external port is free")
	ErrNoAddress = errors.New("the router has no external address")
	ErrNotMapped = errors.New("there is no such port mapping")
	ErrPortMap   = errors.New("port mapping is invalid")
)

// statics are the port mappings.
type statics struct {
	list []*static
	last uint32 // number of the newest
}

// static is a port mapping.
type static struct {
	number  uint32
	gen     uint32
	proto   uint8
	in, ext endpoint
	remote  uint32 // 0: any
	expires int64
}

// maxStatics bounds the port mappings of a table.
const maxStatics = 4096

// staticFor finds the port mapping that lets an inbound packet in, or nil.
func (t *Table) staticFor(f flow) *static {
	for _, s := range t.statics.list {
		if s.ext == f.local && s.proto == f.proto && (s.remote == 0 || s.remote == f.remote.addr) {
			return s
		}
	}
	return nil
}

// reserved tells whether a packet goes to a port mapping that admits another remote only (RFC 6887 §13.3).
func (t *Table) reserved(f flow) bool {
	s := t.statics.at(f.proto, f.local)
	return s != nil && s.remote != 0 && s.remote != f.remote.addr
}

// at finds the port mapping of an external endpoint, or nil.
func (s *statics) at(proto uint8, ext endpoint) *static {
	for _, x := range s.list {
		if x.ext == ext && x.proto == proto {
			return x
		}
	}
	return nil
}

// staticOf is the external endpoint that a port mapping gives to all that its internal endpoint sends.
func (t *Table) staticOf(f flow) (ext endpoint, owns, ok bool) {
	if len(t.statics.list) == 0 || t.b.Mapping != EndpointIndependent {
		return endpoint{}, false, false
	}
	s := t.statics.of(f.proto, f.local)
	if s == nil || t.connectionKeyed(f.proto) && t.findRev(f.proto, s.ext, f.remote) != none {
		return endpoint{}, false, false
	}
	return s.ext, false, true
}

func (s *statics) of(proto uint8, in endpoint) *static {
	for _, x := range s.list {
		if x.in == in && x.proto == proto {
			return x
		}
	}
	return nil
}

// Map makes a port mapping or renews it, and returns its external endpoint. An internal endpoint that has one keeps
// it, whatever port is wanted. The mappings that the endpoint made by sending move to that port.
func (t *Table) Map(now time.Duration, m PortMap) (netip.AddrPort, error) {
	t.pass(now)
	ext, err := t.mapPort(m)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("map port of %v: %w", m.Internal, err)
	}
	return ext.addrPort(), nil
}

func (t *Table) mapPort(m PortMap) (endpoint, error) {
	if err := t.checkPortMap(m); err != nil {
		return endpoint{}, err
	}
	in := endpointOf(m.Internal)
	s := t.statics.of(m.Protocol, in)
	if s == nil {
		if len(t.statics.list) >= maxStatics {
			return endpoint{}, ErrNoPort
		}
		ext, err := t.staticEndpoint(m, in)
		if err != nil {
			return endpoint{}, err
		}
		t.statics.last++
		s = &static{number: t.statics.last, proto: m.Protocol, in: in, ext: ext}
		t.statics.list = append(t.statics.list, s)
		t.settle(s)
	}
	s.remote = 0
	if m.Remote.IsValid() {
		s.remote = word(m.Remote)
	}
	s.expires = never
	s.gen++
	if m.Lifetime > 0 {
		s.expires = t.after(int64(m.Lifetime))
		t.timers.push(due{s.expires, dueStatic | s.number, s.gen})
	}
	return s.ext, nil
}

func (t *Table) checkPortMap(m PortMap) error {
	switch {
	case m.Protocol != protoTCP && m.Protocol != protoUDP:
		return fmt.Errorf("%w: protocol %d: want 6 or 17", ErrPortMap, m.Protocol)
	case !m.Internal.Addr().Is4() || m.Internal.Port() == 0:
		return fmt.Errorf("%w: want an internal IPv4 address and a port", ErrPortMap)
	case len(t.lan) > 0 && !t.inLAN(word(m.Internal.Addr())):
		return fmt.Errorf("%w: the internal address is not in the LAN", ErrPortMap)
	case m.Remote.IsValid() && !m.Remote.Is4():
		return fmt.Errorf("%w: remote address %v: want IPv4", ErrPortMap, m.Remote)
	case m.Lifetime < 0:
		return fmt.Errorf("%w: lifetime %v: want 0 (no end) or more", ErrPortMap, m.Lifetime)
	case t.b.Kind != NoNAT && len(t.external) == 0:
		return ErrNoAddress
	}
	return nil
}

// staticEndpoint chooses the external endpoint of a new port mapping: the port that is wanted, or else the one that
// the endpoint has, the internal one, or any.
func (t *Table) staticEndpoint(m PortMap, in endpoint) (endpoint, error) {
	if t.b.Kind == NoNAT {
		return in, nil
	}
	hi, ok := t.hostOf(in.addr)
	if !ok {
		return endpoint{}, ErrNoPort
	}
	h := t.hosts.at(hi)
	ext := endpoint{t.external[0], m.External}
	if t.b.Pooling == Paired {
		ext.addr = t.external[int(h.pool)%len(t.external)]
	}
	if m.External != 0 {
		if t.mayHave(m.Protocol, in, ext) {
			return ext, nil
		}
		return endpoint{}, ErrPortTaken
	}
	if i := t.findFwd(m.Protocol, in, endpoint{}); i != none && t.mayHave(m.Protocol, in, t.maps.at(i).external()) {
		return t.maps.at(i).external(), nil
	}
	ext.port = in.port
	if t.mayHave(m.Protocol, in, ext) {
		return ext, nil
	}
	f := flow{proto: m.Protocol, local: in}
	if t.b.PortAssignment == PortSequential {
		ext, ok = t.assignNext(f, ext.addr)
	} else {
		ext, ok = t.assignRandom(f, h, ext.addr)
	}
	if !ok {
		return endpoint{}, ErrNoPort
	}
	return ext, nil
}

// mayHave tells whether an external endpoint is free, or taken by the same internal one.
func (t *Table) mayHave(proto uint8, in, ext endpoint) bool {
	if !t.ports.taken(proto, ext) {
		return true
	}
	i := t.findRev(proto, ext, endpoint{})
	return i != none && t.maps.at(i).internal() == in && t.maps.at(i).is(ownsPort)
}

// settle gives a new port mapping its port. What its internal endpoint has mapped otherwise ends.
func (t *Table) settle(s *static) {
	if t.b.Kind == NoNAT {
		return
	}
	t.dropWhere(func(m *mapping) bool {
		if m.proto != s.proto || m.internal() != s.in {
			return false
		}
		if m.external() == s.ext {
			m.flags &^= ownsPort // it is the port mapping's now
			return false
		}
		return t.b.Mapping == EndpointIndependent
	})
	t.ports.take(s.proto, s.ext)
}

// dropWhere ends all mappings that match. It looks at every one.
func (t *Table) dropWhere(match func(*mapping) bool) {
	for i := range uint32(t.maps.n + len(t.maps.free)) {
		m := t.maps.at(i)
		if m.proto == 0 || !match(m) { // a record that is not in use has no protocol
			continue
		}
		t.dropSessions(i)
		if m.is(ownsPort) {
			t.ports.give(m.proto, m.external())
		}
		t.dropMapping(i)
	}
}

// Unmap ends the port mapping of m's protocol and internal endpoint, or if that is zero, of its external port. What
// came by it ends too.
func (t *Table) Unmap(now time.Duration, m PortMap) error {
	t.pass(now)
	for i, s := range t.statics.list {
		if s.proto != m.Protocol {
			continue
		}
		if m.Internal.IsValid() && s.in.addrPort() == m.Internal || !m.Internal.IsValid() && m.External != 0 && s.ext.port == m.External {
			t.endStatic(i)
			return nil
		}
	}
	return fmt.Errorf("unmap port of %v (external %d): %w", m.Internal, m.External, ErrNotMapped)
}

func (t *Table) expireStatic(number, gen uint32) {
	i := slices.IndexFunc(t.statics.list, func(s *static) bool { return s.number == number && s.gen == gen })
	if i >= 0 {
		t.endStatic(i)
	}
}

func (t *Table) endStatic(i int) {
	s := t.statics.list[i]
	t.statics.list = slices.Delete(t.statics.list, i, i+1)
	if t.b.Kind == NoNAT {
		return
	}
	t.dropWhere(func(m *mapping) bool { return m.proto == s.proto && m.external() == s.ext })
	t.ports.give(s.proto, s.ext)
}

// PortMaps returns the port mappings with their external ports and what is left of their lifetimes, in the order of
// protocol and external port.
func (t *Table) PortMaps(now time.Duration) []PortMap {
	t.pass(now)
	var all []PortMap
	for _, s := range t.statics.list {
		m := PortMap{Protocol: s.proto, Internal: s.in.addrPort(), External: s.ext.port}
		if s.expires != never {
			m.Lifetime = time.Duration(s.expires - t.now)
		}
		if s.remote != 0 {
			m.Remote = address(s.remote)
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b PortMap) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.External, b.External), a.Internal.Compare(b.Internal))
	})
	return all
}
