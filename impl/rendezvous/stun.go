package rendezvous

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v3"

	"github.com/punchlab/punchlab/impl/core"
)

// STUN's behaviour discovery (RFC 5780 §3) on the server's own UDP sockets, which form a grid:
//
//	                 request to A1:P1 from a:p
//	A1:P1 ◄─────────────────────────────────────── client     XOR-MAPPED-ADDRESS a:p
//	A1:P2 ◄── CHANGE-REQUEST: port ──┐                        RESPONSE-ORIGIN    the socket that answers
//	A2:P1 ◄── address ───────────────┼── the answer           OTHER-ADDRESS      A2:P2
//	A2:P2 ◄── both ──────────────────┘   comes from there
//
// An answer is never longer than its request, whose source may be forged: what does not fit is left out, and where not even
// XOR-MAPPED-ADDRESS fits there is no answer. So clients fill their requests up, by SOFTWARE for instance.

// CHANGE-REQUEST's flags (RFC 5780 §7.2).
const (
	changePort = 0x2
	changeIP   = 0x4
)

const (
	stunHeader        = 20
	stunAttribute     = 4 // type and length
	stunFingerprint   = stunAttribute + 4
	unknownAttributes = 4 // that an error names at most
)

// Why a STUN message gets no answer.
var (
	errSTUN      = errors.New("malformed STUN message")
	errNoRequest = errors.New("not a STUN binding request")
	errShort     = errors.New("STUN request shorter than its answer")
	errBusy      = errors.New("too many STUN requests")
)

// asked are the attributes that need understanding and get it. Those that authenticate are understood as by a server that
// asks nobody who he is (RFC 8489 §9): they change nothing.
var asked = []stun.AttrType{stun.AttrChangeRequest, stun.AttrUsername, stun.AttrMessageIntegrity, stun.AttrRealm, stun.AttrNonce}

// discovery answers STUN; its messages are used again and again.
type discovery struct {
	request, answer stun.Message
	budget          bucket
}

// place is where a grid has a socket.
type place struct{ addr, port int }

// find returns the place of a socket.
func (g *Grid) find(local netip.AddrPort) (p place, ok bool) {
	p = place{slices.Index(g.Addrs[:], local.Addr()), slices.Index(g.Ports[:], local.Port())}
	return p, p.addr >= 0 && p.port >= 0
}

// opposite is the place whose address and port both differ.
func (p place) opposite() place { return place{1 - p.addr, 1 - p.port} }

func (g *Grid) local(p place) netip.AddrPort {
	return netip.AddrPortFrom(g.Addrs[p.addr], g.Ports[p.port])
}

// public is a socket as others see it.
func (g *Grid) public(p place) netip.AddrPort {
	if a := g.Public[p.addr]; a.IsValid() {
		return netip.AddrPortFrom(a, g.Ports[p.port])
	}
	return g.local(p)
}

// grid returns the grid that has a socket; nil: none.
func (s *Server) grid(local netip.AddrPort) (*Grid, place) {
	for i := range s.cfg.Grids {
		if p, ok := s.cfg.Grids[i].find(local); ok {
			return &s.cfg.Grids[i], p
		}
	}
	return nil, place{}
}

// alternate is the socket where samples for one are welcome; zero: there is none.
func (s *Server) alternate(local netip.AddrPort) netip.AddrPort {
	if g, p := s.grid(local); g != nil {
		return g.public(p.opposite())
	}
	return netip.AddrPort{}
}

// own says whether an address is one of the server's.
func (s *Server) own(a netip.Addr) bool {
	for i := range s.cfg.Grids {
		if g := &s.cfg.Grids[i]; slices.Contains(g.Addrs[:], a) || slices.Contains(g.Public[:], a) {
			return true
		}
	}
	return false
}

// stun answers a binding request.
func (s *Server) stun(now time.Time, from, to netip.AddrPort, b []byte) error {
	d := &s.discovery
	if n := float64(s.cfg.STUNPerSecond); !d.budget.take(now, n, n, 1) {
		return errBusy
	}
	m := &d.request
	m.Raw = append(m.Raw[:0], b...)
	switch {
	case len(b) < stunHeader || int(binary.BigEndian.Uint16(b[2:])) != len(b)-stunHeader || m.Decode() != nil:
		return errSTUN
	case m.Type != stun.BindingRequest:
		return errNoRequest
	case m.Contains(stun.AttrFingerprint) && stun.Fingerprint.Check(m) != nil:
		return errSTUN
	}
	by, err := s.respond(from, to)
	if err != nil {
		return err
	}
	s.stats.Bindings++
	s.box.Send(by, from, core.Signal, s.box.Copy(d.answer.Raw))
	return nil
}

// respond writes the answer to the request and says which socket sends it.
func (s *Server) respond(from, to netip.AddrPort) (by netip.AddrPort, err error) {
	d := &s.discovery
	_, client := core.ProtoOf(from)
	g, at := s.grid(to)
	if unknown := notUnderstood(&d.request, g != nil); len(unknown) > 0 {
		return to, d.refuse(unknown)
	}
	if g == nil {
		return to, d.success(client)
	}
	answering := changed(&d.request, at)
	origin, other := g.public(answering), g.public(at.opposite())
	return g.local(answering), d.success(client,
		&stun.OtherAddress{IP: other.Addr().AsSlice(), Port: int(other.Port())},
		&stun.ResponseOrigin{IP: origin.Addr().AsSlice(), Port: int(origin.Port())})
}

// notUnderstood lists a request's attributes that must be understood and are not (RFC 8489 §6.3.1). Without a grid
// CHANGE-REQUEST is one of them (RFC 5780 §6.1).
func notUnderstood(m *stun.Message, grid bool) (unknown stun.UnknownAttributes) {
	for _, a := range m.Attributes {
		known := slices.Contains(asked, a.Type) && (grid || a.Type != stun.AttrChangeRequest)
		if a.Type.Required() && !known && len(unknown) < unknownAttributes && !slices.Contains(unknown, a.Type) {
			unknown = append(unknown, a.Type)
		}
	}
	return unknown
}

// changed is the place that is to answer.
func changed(m *stun.Message, at place) place {
	v, err := m.Get(stun.AttrChangeRequest)
	if err != nil || len(v) != 4 {
		return at
	}
	if v[3]&changeIP != 0 {
		at.addr = 1 - at.addr
	}
	if v[3]&changePort != 0 {
		at.port = 1 - at.port
	}
	return at
}

// begin starts an answer.
func (d *discovery) begin(class stun.MessageClass) *stun.Message {
	m := &d.answer
	m.Reset()
	m.Type = stun.NewType(stun.MethodBinding, class)
	m.TransactionID = d.request.TransactionID
	m.WriteHeader()
	return m
}

// add adds an attribute where the request's length allows it.
func (d *discovery) add(a stun.Setter) error {
	m := &d.answer
	n, length := len(m.Raw), m.Length
	if err := a.AddTo(m); err != nil {
		return err
	}
	room := len(d.request.Raw)
	if d.request.Contains(stun.AttrFingerprint) {
		room -= stunFingerprint
	}
	if len(m.Raw) <= room {
		return nil
	}
	m.Raw, m.Length = m.Raw[:n], length
	m.WriteLength()
	return errShort
}

// finish adds what a request that had it wants back.
func (d *discovery) finish() error {
	if d.request.Contains(stun.AttrFingerprint) {
		return stun.Fingerprint.AddTo(&d.answer)
	}
	return nil
}

// success tells a client where it appears from, and as much more as there is room for.
func (d *discovery) success(client netip.AddrPort, more ...stun.Setter) error {
	d.begin(stun.ClassSuccessResponse)
	if err := d.add(&stun.XORMappedAddress{IP: client.Addr().AsSlice(), Port: int(client.Port())}); err != nil {
		return err
	}
	for _, a := range more {
		if err := d.add(a); err != nil && !errors.Is(err, errShort) {
			return err
		}
	}
	return d.finish()
}

// refuse names the attributes that were not understood.
func (d *discovery) refuse(unknown stun.UnknownAttributes) error {
	d.begin(stun.ClassErrorResponse)
	if err := d.add(stun.CodeUnknownAttribute); err != nil {
		return err
	}
	if err := d.add(unknown); err != nil {
		return err
	}
	return d.finish()
}
