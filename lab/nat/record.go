package nat

// The table's state:
//
//	mapping  internal endpoint [remote address [remote port]] → external endpoint      fwd finds it by the former,
//	                                                                                  rev by the latter
//	pin      filter: internal or external endpoint [remote address [remote port]]      who may answer
//	         claim, ghost, hold: see their kinds
//	session  mapping, remote endpoint                                                  a TCP connection's state
//	host     internal address                                                          its quota, address, port block
//
// A mapping's first filter entry is kept in the mapping itself where it belongs to it alone.

// mapping is one cache line.
type mapping struct {
	expires                              int64
	filterUntil                          int64 // the end of the filter entry in here
	inAddr, extAddr, keyAddr, filter     uint32
	inPort, extPort, keyPort, filterPort uint16
	gen                                  uint32
	host                                 uint32
	sessions                             uint32 // TCP: how many
	born                                 uint32 // Masquerade: milliseconds
	proto                                uint8
	flags                                uint8
}

// Flags of a mapping.
const (
	perConnection = 1 << iota // rev finds it by external and remote endpoint: other remotes may share the external one
	alias                     // not in rev: it leads replies to an inbound packet to the external endpoint that let it in
	ownsPort                  // its external port is taken in ports
	disowned                  // overloading: another mapping has taken its place in rev
	replied                   // Masquerade: a packet has come in
)

func (m *mapping) internal() endpoint { return endpoint{m.inAddr, m.inPort} }
func (m *mapping) external() endpoint { return endpoint{m.extAddr, m.extPort} }
func (m *mapping) remote() endpoint   { return endpoint{m.keyAddr, m.keyPort} }
func (m *mapping) is(flag uint8) bool { return m.flags&flag != 0 }

// revRemote is the remote endpoint in rev's key.
func (m *mapping) revRemote() endpoint {
	if m.is(perConnection) {
		return m.remote()
	}
	return endpoint{}
}

// pin is an entry of a set with timeouts.
type pin struct {
	expires      int64
	addr, remote uint32
	port, rport  uint16
	gen          uint32
	proto, kind  uint8
}

// Kinds of pins.
const (
	filterPin = iota // the remote may send to the owner
	claimPin         // inbound-first remap: the router itself took the external endpoint for this remote
	ghostPin         // there was a mapping of this external endpoint
	holdPin          // the same, and its port is not free yet
	usedPin          // Masquerade: some connection has this external endpoint
	blockPin         // inbound-first block: the remote has sent here before it might
)

func (p *pin) owner() endpoint { return endpoint{p.addr, p.port} }
func (p *pin) far() endpoint   { return endpoint{p.remote, p.rport} }

// source is an internal endpoint of a protocol.
type source struct {
	proto uint8
	in    endpoint
}

// session is a TCP connection.
type session struct {
	expires int64
	mapping uint32
	remote  uint32
	gen     uint32
	rport   uint16
	state   uint8
}

func (s *session) far() endpoint { return endpoint{s.remote, s.rport} }

// host is an internal address that has had a mapping.
type host struct {
	addr  uint32
	count uint32 // mappings
	pool  uint16 // number of its external address
	block uint16 // number of its port block
}

func (t *Table) flowHash(proto uint8, e, far endpoint) uint32 {
	return t.hash(e.word()|uint64(proto)<<56, far.word())
}

func (t *Table) pinHash(kind, proto uint8, e, far endpoint) uint32 {
	return t.hash(e.word()|uint64(proto)<<56, far.word()|uint64(kind+1)<<56)
}

func (t *Table) sessionHash(m uint32, far endpoint) uint32 { return t.hash(uint64(m), far.word()) }

const none = ^uint32(0)

func (t *Table) findFwd(proto uint8, in, far endpoint) uint32 {
	h := t.flowHash(proto, in, far)
	for i, at, ok := t.fwd.probe(h, 0); ok; i, at, ok = t.fwd.probe(h, at) {
		m := t.maps.at(i)
		if m.inAddr == in.addr && m.inPort == in.port && m.keyAddr == far.addr && m.keyPort == far.port && m.proto == proto {
			return i
		}
	}
	return none
}

func (t *Table) findRev(proto uint8, ext, far endpoint) uint32 {
	h := t.flowHash(proto, ext, far)
	for i, at, ok := t.rev.probe(h, 0); ok; i, at, ok = t.rev.probe(h, at) {
		m := t.maps.at(i)
		if m.extAddr == ext.addr && m.extPort == ext.port && m.proto == proto && m.revRemote() == far {
			return i
		}
	}
	return none
}

func (t *Table) findPin(kind, proto uint8, e, far endpoint) uint32 {
	h := t.pinHash(kind, proto, e, far)
	for i, at, ok := t.pinned.probe(h, 0); ok; i, at, ok = t.pinned.probe(h, at) {
		p := t.pins.at(i)
		if p.owner() == e && p.far() == far && p.proto == proto && p.kind == kind {
			return i
		}
	}
	return none
}

func (t *Table) findSession(m uint32, far endpoint) uint32 {
	h := t.sessionHash(m, far)
	for i, at, ok := t.talking.probe(h, 0); ok; i, at, ok = t.talking.probe(h, at) {
		s := t.sessions.at(i)
		if s.mapping == m && s.far() == far {
			return i
		}
	}
	return none
}

// pin enters an entry or, if it is there, lets it live until at least then. It reports false if there is no room.
func (t *Table) pin(kind, proto uint8, e, far endpoint, until int64) bool {
	if i := t.findPin(kind, proto, e, far); i != none {
		p := t.pins.at(i)
		p.expires = max(p.expires, until)
		return true
	}
	stray := kind != filterPin && kind != usedPin
	if !stray && t.pins.n-t.strays >= pinsPerMapping*t.maxMappings {
		return false
	}
	if stray { // strangers can make these: they have a bound of their own
		if t.strays >= t.maxMappings {
			return false
		}
		t.strays++
	}
	i := t.pins.alloc()
	p := t.pins.at(i)
	*p = pin{expires: until, addr: e.addr, port: e.port, remote: far.addr, rport: far.port, proto: proto, kind: kind, gen: p.gen + 1}
	t.pinned.insert(t.pinHash(kind, proto, e, far), i)
	t.timers.push(due{until, duePin | i, p.gen})
	return true
}

// pinsPerMapping bounds the filter entries.
const pinsPerMapping = 4

func (t *Table) endPin(i uint32) {
	p := t.pins.at(i)
	if p.kind != filterPin && p.kind != usedPin {
		t.strays--
	}
	if p.kind == holdPin {
		t.ports.give(p.proto, p.owner())
	}
	t.pinned.remove(t.pinHash(p.kind, p.proto, p.owner(), p.far()), i)
	p.gen++
	t.pins.release(i)
}

// shortenPin gives an entry an earlier end.
func (t *Table) shortenPin(i uint32, until int64) {
	p := t.pins.at(i)
	p.expires = until
	p.gen++
	t.timers.push(due{until, duePin | i, p.gen})
}

// ghostLife is how long an ended mapping is remembered, to tell "expired" from "no mapping".
const ghostLife = int64(600e9)

// endMapping forgets a mapping and frees its port.
func (t *Table) endMapping(i uint32) {
	m := t.maps.at(i)
	hold := false
	if !m.is(alias | disowned) {
		kind, life := uint8(ghostPin), ghostLife
		if m.is(ownsPort) && t.b.PortHoldDown > 0 {
			kind, life = holdPin, int64(t.b.PortHoldDown)
		}
		done := t.pin(kind, m.proto, m.external(), m.revRemote(), t.after(life))
		hold = done && kind == holdPin
	}
	if m.is(ownsPort) && !hold {
		t.ports.give(m.proto, m.external())
	}
	t.dropMapping(i)
}

// dropMapping removes a mapping's record.
func (t *Table) dropMapping(i uint32) {
	m := t.maps.at(i)
	t.fwd.remove(t.flowHash(m.proto, m.internal(), m.remote()), i)
	if key := (source{m.proto, m.internal()}); t.b.Kind == Masquerade && t.latest[key] == i {
		delete(t.latest, key)
	}
	if !m.is(alias | disowned) {
		t.rev.remove(t.flowHash(m.proto, m.external(), m.revRemote()), i)
	}
	if m.is(alias) {
		t.aliases--
	} else {
		t.hosts.at(m.host).count--
	}
	m.gen++
	m.proto = 0
	t.maps.release(i)
}

// hostOf finds or makes the record of an internal address. It reports false if there is no room.
func (t *Table) hostOf(addr uint32) (uint32, bool) {
	h := t.hash(uint64(addr), 0)
	for i, at, ok := t.hosted.probe(h, 0); ok; i, at, ok = t.hosted.probe(h, at) {
		if t.hosts.at(i).addr == addr {
			return i, true
		}
	}
	if t.hosts.n >= t.maxMappings && !t.forgetHosts() {
		return none, false
	}
	i := t.hosts.alloc()
	*t.hosts.at(i) = host{addr: addr, pool: uint16(t.paired % max(len(t.external), 1)), block: uint16(t.paired % t.blocks())}
	t.paired++
	t.hosted.insert(h, i)
	return i, true
}

// forgetHosts makes room by forgetting the hosts that have no mapping, and so their addresses and port blocks.
func (t *Table) forgetHosts() bool {
	before := t.hosts.n
	for i := range uint32(before + len(t.hosts.free)) {
		x := t.hosts.at(i)
		if x.addr == 0 || x.count > 0 {
			continue
		}
		t.hosted.remove(t.hash(uint64(x.addr), 0), i)
		*x = host{}
		t.hosts.release(i)
	}
	return t.hosts.n < before
}
