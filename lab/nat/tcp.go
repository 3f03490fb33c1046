package nat

import "github.com/punchlab/punchlab/lab/packet"

// A connection's state, as RFC 5382 REQ-5 tells timeouts apart:
//
//	SYN ──► opening ── a packet without SYN, FIN, RST ──► established ── FIN or RST ──► closing
//	           │                                                                        │
//	           └──── FIN or RST ──► closing ◄───────────────────── SYN: opening again ──┘
//
// A connection that is picked up in its middle, after a reboot, counts as established, as Linux has it.
const (
	opening = iota
	established
	closing
)

const begins, ends = packet.SYN, packet.FIN | packet.RST

// nextState is a connection's state after a segment.
func nextState(state, flags uint8) uint8 {
	switch {
	case flags&ends != 0:
		return closing
	case state == closing && flags&(begins|packet.ACK) == begins:
		return opening
	case state == opening && flags&begins == 0:
		return established
	default:
		return state
	}
}

// mayBegin tells whether a segment may make a mapping: a SYN, or one that picks a connection up in its middle.
func mayBegin(flags uint8) bool {
	return flags&ends == 0 && (flags&begins == 0 || flags&packet.ACK == 0)
}

// connect follows a mapping's connection through a segment. It returns when that connection ends if nothing comes any
// more, and whether it is closing.
func (t *Table) connect(i uint32, f flow) (until int64, isClosing bool) {
	if m := t.maps.at(i); m.is(alias) {
		if i = t.target(m); i == none {
			return t.after(t.times.syn), false
		}
	}
	j := t.findSession(i, f.remote)
	if j == none {
		if t.sessions.n >= 2*t.maxMappings {
			return t.after(t.times.syn), false
		}
		j = t.sessions.alloc()
		s := t.sessions.at(j)
		state := nextState(opening, f.flags)
		*s = session{expires: t.after(t.connectionLife(state)), mapping: i, remote: f.remote.addr, rport: f.remote.port, gen: s.gen + 1, state: state}
		t.maps.at(i).sessions++
		t.talking.insert(t.sessionHash(i, f.remote), j)
		t.timers.push(due{s.expires, dueSession | j, s.gen})
		return s.expires, state == closing
	}
	s := t.sessions.at(j)
	s.state = nextState(s.state, f.flags)
	until = t.after(t.connectionLife(s.state))
	if until < s.expires {
		s.gen++
		t.timers.push(due{until, dueSession | j, s.gen})
	}
	s.expires = until
	return until, s.state == closing
}

func (t *Table) connectionLife(state uint8) int64 {
	switch state {
	case opening:
		return t.times.syn
	case established:
		return t.times.established
	default:
		return t.times.transitory
	}
}

// shut lets the filter forget a closing connection's remote endpoint as soon as the connection itself ends, where no
// other connection shares the entry.
func (t *Table) shut(i uint32, remote endpoint, until int64) {
	m := t.maps.at(i)
	if m.is(perConnection) || t.filteringFor(remote) != AddressAndPortDependent {
		return
	}
	if t.ownFilter && m.filter == remote.addr && m.filterPort == remote.port {
		m.filterUntil = until
		return
	}
	if j := t.findPin(filterPin, protoTCP, t.owner(m), remote); j != none {
		t.shortenPin(j, until)
	}
}

// endSession forgets a connection, and the mapping after its last one.
func (t *Table) endSession(j uint32) {
	s := t.sessions.at(j)
	i := s.mapping
	t.dropSession(j)
	if m := t.maps.at(i); m.sessions == 0 {
		t.endMapping(i)
	}
}

func (t *Table) dropSession(j uint32) {
	s := t.sessions.at(j)
	t.talking.remove(t.sessionHash(s.mapping, s.far()), j)
	t.maps.at(s.mapping).sessions--
	s.gen++
	s.mapping = none
	t.sessions.release(j)
}

// dropSessions forgets all connections of a mapping, whose port was asked for or taken back. It looks at every
// connection of the table.
func (t *Table) dropSessions(i uint32) {
	for j := range uint32(t.sessions.n + len(t.sessions.free)) {
		if t.maps.at(i).sessions == 0 {
			return
		}
		if s := t.sessions.at(j); s.mapping == i && s.expires != 0 {
			t.dropSession(j)
		}
	}
}
