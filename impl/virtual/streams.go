package virtual

import (
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// kind is what is in a flight: a datagram, or a segment of a stream. Segments come in order, and later by resend for each
// time they were lost; what a NAT filters is lost for good.
type kind uint8

const (
	datagram kind = iota
	syn           // also sent by both sides: then both stand by the other's
	synAck
	hello // of TLS, which takes a round trip more
	helloBack
	data
	fin
	reset
)

// stream is a host's side of one.
//
//	dialling ──synAck or syn──► greeting (TLS, who dialled) ──helloBack──► standing
//	listener ──syn──► standing
type stream struct {
	local, remote netip.AddrPort // as TCP sees them: Over(TCP, …)
	proto         core.Proto
	stands        bool
	waiting       [][]byte
	last          time.Time // when what was sent last arrives
}

const (
	resend      = 200 * time.Millisecond // the least retransmission timeout of most hosts
	maxWaiting  = 64                     // packets while dialling, as impl/node has it
	dialTimeout = 10 * time.Second
)

// synTimes is when a SYN that was not answered is sent again (RFC 6298: 1 s, doubled).
var synTimes = []time.Duration{time.Second, 3 * time.Second, 7 * time.Second}

func protoOf(a netip.AddrPort) core.Proto {
	p, _ := core.ProtoOf(a)
	return p
}

// tcp is a stream's endpoint as NATs see it: TLS is TCP to them.
func tcp(a netip.AddrPort) netip.AddrPort { return core.Over(core.TCP, a) }

// streamFrom is where the host's streams leave from.
func (h *Host) streamFrom(proto core.Proto, to netip.Addr) netip.AddrPort {
	for _, a := range h.Accept {
		if p, at := core.ProtoOf(a); p == core.TCP && at.Addr().Is4() == to.Is4() {
			return core.Over(proto, at)
		}
	}
	return core.Over(proto, h.addrFor(to))
}

// stream sends a packet by its stream, and begins one where there is none.
func (n *Net) stream(h *Host, p core.Packet) {
	s := h.streams[p.To]
	if s == nil {
		s = n.dial(h, p)
	}
	switch {
	case s.stands:
		n.segment(h, s, data, p.B)
	case len(s.waiting) < maxWaiting:
		s.waiting = append(s.waiting, slices.Clone(p.B))
	default:
		h.StreamDrops++
	}
}

func (n *Net) dial(h *Host, p core.Packet) *stream {
	s := &stream{local: tcp(p.From), remote: tcp(p.To), proto: protoOf(p.To)}
	h.streams[p.To] = s
	try := func() {
		if h.streams[p.To] == s && !s.stands && !h.down {
			n.segment(h, s, syn, nil)
		}
	}
	try()
	for _, d := range synTimes {
		n.push(&flight{at: n.Now.Add(d), timer: try})
	}
	n.push(&flight{at: n.Now.Add(dialTimeout), timer: func() {
		if h.streams[p.To] == s && !s.stands {
			h.lose(p.To)
		}
	}})
	return s
}

// lose forgets a stream and what waits in it.
func (h *Host) lose(key netip.AddrPort) {
	h.StreamDrops += len(h.streams[key].waiting)
	delete(h.streams, key)
}

// segment sends one.
func (n *Net) segment(h *Host, s *stream, k kind, b []byte) {
	n.send(h, &flight{from: s.local, to: s.remote, b: slices.Clone(b), kind: k, proto: s.proto, after: &s.last})
}

// ordered has a segment arrive after the one before.
func (f *flight) ordered() {
	if f.after == nil {
		return
	}
	if f.at.Before(*f.after) {
		f.at = *f.after
	}
	*f.after = f.at
}

// arrived takes a segment at its host.
func (n *Net) arrived(h *Host, f *flight, to netip.AddrPort) {
	key := core.Over(f.proto, f.from)
	s := h.streams[key]
	if f.kind == syn && (s == nil || s.stands) && slices.Contains(h.Accept, core.Over(f.proto, to)) {
		s = &stream{local: to, remote: f.from, proto: f.proto, stands: true}
		h.streams[key] = s
		n.segment(h, s, synAck, nil)
		return
	}
	switch {
	case s != nil && s.local == to:
		n.advance(h, s, key, f)
	case f.kind != reset && f.kind != fin:
		n.segment(h, &stream{local: to, remote: f.from, proto: f.proto}, reset, nil)
	}
}

// advance is what a segment does to its stream.
func (n *Net) advance(h *Host, s *stream, key netip.AddrPort, f *flight) {
	switch f.kind {
	case syn:
		n.segment(h, s, synAck, nil)
		n.stand(h, s)
	case synAck:
		switch {
		case s.stands:
		case s.proto == core.TLS:
			n.segment(h, s, hello, nil)
		default:
			n.stand(h, s)
		}
	case hello:
		n.segment(h, s, helloBack, nil)
	case helloBack:
		n.stand(h, s)
	case data:
		n.trace(key, core.Over(s.proto, f.to), f.b, "delivered")
		n.deliver(h, key, core.Over(s.proto, s.local), f.b)
	case fin, reset:
		h.lose(key)
	}
}

// stand sends what waited.
func (n *Net) stand(h *Host, s *stream) {
	s.stands = true
	for _, b := range s.waiting {
		n.segment(h, s, data, b)
	}
	s.waiting = nil
}
