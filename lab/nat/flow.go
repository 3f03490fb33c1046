package nat

// The protocols that are translated.
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)

// flow is what a packet of a translated protocol says. Local is its internal endpoint on the way out and its external
// one on the way in. For an ICMP echo the local port is its identifier, and the remote one is 0.
type flow struct {
	proto         uint8
	flags         uint8 // TCP's control bits
	local, remote endpoint
}

// connectionKeyed tells whether mappings belong to one connection each, so that only its remote end matches and others
// may have the same external endpoint: plain masquerade, and echo requests on any translator.
func (t *Table) connectionKeyed(proto uint8) bool {
	return t.b.Kind == Masquerade || proto == protoICMP
}

// outbound returns the external endpoint of a packet from inside. It makes the mapping if there is none, opens its
// filter for the remote endpoint, and refreshes both. Unless it returns Passed, nothing has changed.
//
// NAT64 calls it too, with a number for each IPv6 host as internal address. Call expire first.
func (t *Table) outbound(f flow) (ext endpoint, created bool, r Reason) {
	i, width := t.lookOut(f)
	if i == none {
		if i, r = t.create(f, width); r != Passed {
			return endpoint{}, false, r
		}
		created = true
	}
	if !t.keepOut(i, f, created) {
		if created {
			t.undo(i)
		}
		return endpoint{}, false, Full
	}
	m := t.maps.at(i)
	if m.is(disowned) {
		t.takeBack(i)
	}
	ext = m.external()
	if t.b.FlowLimit > 0 && t.flows() > t.b.FlowLimit {
		t.crash()
		return endpoint{}, false, Crashed
	}
	return ext, created, Passed
}

// lookOut finds the mapping of an outbound packet, or says what a new one's key depends on.
func (t *Table) lookOut(f flow) (i uint32, width Dependency) {
	width = t.mappingFor(f.remote)
	if t.connectionKeyed(f.proto) {
		width = AddressAndPortDependent
	}
	if t.b.InboundFirstRemap && width != AddressAndPortDependent {
		if i := t.findFwd(f.proto, f.local, f.remote); i != none {
			return i, width
		}
	}
	i = t.findFwd(f.proto, f.local, f.remote.narrowed(width))
	if i == none {
		return none, width
	}
	m := t.maps.at(i)
	if m.is(alias) && t.target(m) == none { // what it led to has ended
		t.dropMapping(i)
		return none, width
	}
	if width != AddressAndPortDependent && t.claimed(f.proto, m.external(), f.remote) {
		return none, AddressAndPortDependent // moved: this remote gets a mapping of its own
	}
	return i, width
}

// target is the mapping that an alias leads replies to.
func (t *Table) target(m *mapping) uint32 {
	i := t.findRev(m.proto, m.external(), endpoint{})
	if i == none || t.maps.at(i).internal() != m.internal() {
		return none
	}
	return i
}

// create makes a mapping whose key is as wide as said.
func (t *Table) create(f flow, width Dependency) (uint32, Reason) {
	hi, ok := t.hostOf(f.local.addr)
	if !ok || t.maps.n >= t.maxMappings {
		return none, Full
	}
	h := t.hosts.at(hi)
	if t.b.Quota > 0 && int(h.count) >= t.b.Quota {
		return none, Quota
	}
	m := mapping{
		inAddr: f.local.addr, inPort: f.local.port, proto: f.proto, host: hi,
		born: uint32(t.now / 1e6), expires: t.after(t.life(f.proto)),
	}
	far := f.remote.narrowed(width)
	m.keyAddr, m.keyPort = far.addr, far.port
	if t.connectionKeyed(f.proto) {
		m.flags |= perConnection
	}
	ext, owns, ok := t.staticOf(f)
	if !ok {
		if ext, owns, ok = t.assign(f, h); !ok {
			return none, NoPort
		}
	}
	m.extAddr, m.extPort = ext.addr, ext.port
	if owns {
		m.flags |= ownsPort
		t.ports.take(f.proto, ext)
	}
	if !m.is(perConnection) {
		t.disown(f.proto, ext)
	}
	h.count++
	return t.enter(m), Passed
}

// enter stores a mapping.
func (t *Table) enter(m mapping) uint32 {
	i := t.maps.alloc()
	m.gen = t.maps.at(i).gen + 1
	*t.maps.at(i) = m
	t.fwd.insert(t.flowHash(m.proto, m.internal(), m.remote()), i)
	if !m.is(alias) {
		t.rev.insert(t.flowHash(m.proto, m.external(), m.revRemote()), i)
	}
	t.timers.push(due{m.expires, dueMapping | i, m.gen})
	if t.b.Kind == Masquerade {
		t.latest[source{m.proto, m.internal()}] = i
	}
	return i
}

// undo takes a mapping back that was made a moment ago.
func (t *Table) undo(i uint32) {
	if m := t.maps.at(i); m.is(ownsPort) {
		t.ports.give(m.proto, m.external())
	}
	t.dropMapping(i)
}

// disown takes an external endpoint from the mapping that has it (port overloading, or a port mapping's endpoint).
func (t *Table) disown(proto uint8, ext endpoint) {
	i := t.findRev(proto, ext, endpoint{})
	if i == none {
		return
	}
	t.rev.remove(t.flowHash(proto, ext, endpoint{}), i)
	t.maps.at(i).flags |= disowned
}

// takeBack makes a mapping the owner of its external endpoint again: the last sender is.
func (t *Table) takeBack(i uint32) {
	m := t.maps.at(i)
	t.disown(m.proto, m.external())
	m.flags &^= disowned
	t.rev.insert(t.flowHash(m.proto, m.external(), endpoint{}), i)
}

// keepOut opens the filter for an outbound packet and refreshes what it may. It reports false if there is no room.
func (t *Table) keepOut(i uint32, f flow, created bool) bool {
	m := t.maps.at(i)
	if !t.roomToOpen(m, f.remote) {
		return false
	}
	until := t.after(t.life(f.proto))
	closing := false
	switch f.proto {
	case protoTCP:
		until, closing = t.connect(i, f)
	case protoUDP:
		if t.b.Kind == Masquerade {
			until = t.after(t.masqueradeLife(m))
		}
		if t.b.NoOutboundRefresh && !created {
			t.open(m, f.remote, until, false)
			return true
		}
	}
	t.open(m, f.remote, until, true)
	if closing {
		t.shut(i, f.remote, until)
	}
	t.prolong(i, until)
	return true
}

// prolong lets a mapping live until at least then, and what an alias leads to.
func (t *Table) prolong(i uint32, until int64) {
	m := t.maps.at(i)
	m.expires = max(m.expires, until)
	if t.b.Kind == Masquerade {
		t.pin(usedPin, m.proto, m.external(), endpoint{}, until)
	}
	if m.is(alias) {
		if j := t.target(m); j != none {
			x := t.maps.at(j)
			x.expires = max(x.expires, until)
		}
	}
}

// owner is what a mapping's filter entries belong to.
func (t *Table) owner(m *mapping) endpoint {
	if t.b.FilterPerMapping {
		return m.external()
	}
	return m.internal()
}

// open enters a remote endpoint into a mapping's filter; refresh lets an entry that is there live on.
func (t *Table) open(m *mapping, remote endpoint, until int64, refresh bool) {
	filtering := t.filteringFor(remote)
	if m.is(perConnection) || filtering == EndpointIndependent {
		return
	}
	far := remote.narrowed(filtering)
	if t.ownFilter && !m.is(alias) {
		same := m.filter == far.addr && m.filterPort == far.port
		if m.filterUntil <= t.now || same {
			if refresh || m.filterUntil <= t.now {
				m.filter, m.filterPort, m.filterUntil = far.addr, far.port, max(m.filterUntil, until)
			}
			return
		}
	}
	if refresh || t.findPin(filterPin, m.proto, t.owner(m), far) == none {
		t.pin(filterPin, m.proto, t.owner(m), far, until)
	}
}

// roomToOpen tells whether open can enter a remote endpoint.
func (t *Table) roomToOpen(m *mapping, remote endpoint) bool {
	return t.pins.n-t.strays < pinsPerMapping*t.maxMappings || t.ownFilter && !m.is(alias) && m.filterUntil <= t.now || t.passes(m, remote)
}

// passes tells whether a mapping's filter is open for a remote endpoint.
func (t *Table) passes(m *mapping, remote endpoint) bool {
	filtering := t.filteringFor(remote)
	if m.is(perConnection) || filtering == EndpointIndependent {
		return true
	}
	far := remote.narrowed(filtering)
	if t.ownFilter && m.filter == far.addr && m.filterPort == far.port && m.filterUntil > t.now {
		return true
	}
	return t.findPin(filterPin, m.proto, t.owner(m), far) != none
}

// inbound returns the internal endpoint of a packet to an external one, if a mapping leads there and its filter or a
// port mapping lets the remote endpoint in. Unless it returns Passed nothing has changed.
func (t *Table) inbound(f flow) (in endpoint, created bool, r Reason) {
	i, r := t.lookIn(f)
	if r == Passed && (t.claimed(f.proto, f.local, f.remote) || t.keptOut(f) || t.filteringFor(f.remote) == EndpointIndependent && t.reserved(f)) {
		r = Filtered
	}
	if r != Passed {
		s := t.staticFor(f)
		if s == nil {
			return endpoint{}, false, r
		}
		in = s.in
		if i != none && t.maps.at(i).internal() != in {
			i = none
		}
	} else {
		in = t.maps.at(i).internal()
	}
	i, created = t.leadBack(i, in, f)
	if i != none {
		t.keepIn(i, f)
	}
	return in, created, Passed
}

// lookIn finds the mapping of an inbound packet, and whether its filter lets it pass.
func (t *Table) lookIn(f flow) (uint32, Reason) {
	far := endpoint{}
	if t.connectionKeyed(f.proto) {
		far = f.remote
	}
	i := t.findRev(f.proto, f.local, far)
	switch { // the rare ones cost their look-ups only if there is no mapping
	case i == none && (t.findPin(ghostPin, f.proto, f.local, far) != none || t.findPin(holdPin, f.proto, f.local, far) != none):
		return none, Expired
	case i == none && t.findPin(usedPin, f.proto, f.local, endpoint{}) != none:
		return none, Filtered
	case i == none:
		return none, NoMapping
	case !t.passes(t.maps.at(i), f.remote):
		return i, Filtered
	default:
		return i, Passed
	}
}

// claim lets a packet that nothing expects leave its trace: the router itself has this external endpoint now, for this
// remote one (conntrack tracks what comes to the router's own stack). A TCP SYN leaves none, since its RST ends it; nor
// does a hairpin.
func (t *Table) claim(f flow) {
	if t.b.InboundFirstRemap && f.proto == protoUDP {
		t.pin(claimPin, f.proto, f.local, f.remote, t.after(t.times.unreplied))
	}
	t.keepOutEarly(f)
}

// leadBack sees to it that the reply to an inbound packet finds back through the external endpoint that let it in: by
// the mapping itself, or by one that leads there (see Behavior.ReplyByNewMapping). It returns the mapping, or none.
func (t *Table) leadBack(i uint32, in endpoint, f flow) (uint32, bool) {
	wide := t.mappingFor(f.remote)
	if t.connectionKeyed(f.proto) {
		wide = AddressAndPortDependent
	}
	far := f.remote.narrowed(wide)
	owned := i != none
	if owned && (t.maps.at(i).remote() == far || t.maps.at(i).is(perConnection)) {
		return i, false
	}
	if owned && f.proto == protoUDP && t.b.ReplyByNewMapping || t.findFwd(f.proto, in, far) != none {
		return i, false
	}
	if t.aliases >= (t.maxMappings+1)/2 || t.maps.n >= t.maxMappings {
		return i, false
	}
	hi, ok := t.hostOf(in.addr)
	if !ok {
		return i, false
	}
	m := mapping{
		inAddr: in.addr, inPort: in.port, extAddr: f.local.addr, extPort: f.local.port, keyAddr: far.addr, keyPort: far.port,
		proto: f.proto, host: hi, expires: t.after(t.life(f.proto)), born: uint32(t.now / 1e6), flags: alias,
	}
	if !owned { // by a port mapping alone: a mapping like any other, with that port
		m.flags = 0
		if t.connectionKeyed(f.proto) {
			m.flags = perConnection
		}
		if !m.is(perConnection) {
			t.disown(f.proto, f.local)
		}
		t.hosts.at(hi).count++
		return t.enter(m), true
	}
	t.aliases++
	t.enter(m)
	return i, false
}

// keepIn refreshes what an inbound packet may.
func (t *Table) keepIn(i uint32, f flow) {
	m := t.maps.at(i)
	switch {
	case f.proto == protoTCP:
		until, closing := t.connect(i, f)
		if t.passes(m, f.remote) {
			t.open(m, f.remote, until, true)
		}
		if closing {
			t.shut(i, f.remote, until)
		}
		t.prolong(i, until)
	case t.b.Kind == Masquerade && f.proto == protoUDP:
		m.flags |= replied
		t.prolong(i, t.after(t.masqueradeLife(m)))
	case f.proto == protoUDP && t.b.InboundRefresh:
		until := t.after(t.times.udp)
		if t.passes(m, f.remote) {
			t.open(m, f.remote, until, true)
		}
		t.prolong(i, until)
		if far := f.remote.narrowed(t.mappingFor(f.remote)); m.remote() != far {
			if j := t.findFwd(f.proto, m.internal(), far); j != none && t.maps.at(j).is(alias) {
				t.maps.at(j).expires = max(t.maps.at(j).expires, until)
			}
		}
	}
}
