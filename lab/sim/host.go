package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/packet"
)

// Program is something on a host that events may kill, start again and suspend.
type Program interface {
	Kill()
	Start() error
	Sleep()
	Wake()
}

// Host is a host of the topology.
type Host struct {
	Name string

	net      *Net
	port     *lab.Port // where it is plugged in
	sockets  []*Socket
	byPort   map[uint16]*Socket // of those that are bound to no address
	programs []Program
	dead     bool // programs are to be so
	asleep   bool
	stats    Stats
}

// Stats counts what came to a host and reached no socket, and what it could not send.
type Stats struct {
	Deaf    int64 // datagrams for a port or address without a socket, or while it slept
	Broken  int64 // packets that were damaged on the way
	Other   int64 // no UDP, or fragments
	Refused int64 // packets that it had no address for
}

// Socket is a UDP socket.
type Socket struct {
	host   *Host
	local  netip.AddrPort
	handle func(now time.Time, from netip.AddrPort, to netip.AddrPort, b []byte)
	closed bool
}

// ErrPortTaken says that another socket has the address and port.
var ErrPortTaken = errors.New("another socket has it")

// What hosts give sockets that ask for any port (Linux's ip_local_port_range).
const firstPort, lastPort = 32768, 60999

// Run announces a program that runs, for events.
func (h *Host) Run(p Program) {
	h.programs = append(h.programs, p)
	if h.dead {
		p.Kill()
	}
	if h.asleep {
		p.Sleep()
	}
}

// Addrs lists the host's addresses where it is now, IPv4 first.
func (h *Host) Addrs() []netip.Addr { return h.port.Addrs }

// Stats returns the host's counts.
func (h *Host) Stats() Stats { return h.stats }

// Listen opens a socket. Without an address it is bound to all of the host's, of both families, and its own is the unspecified one;
// port 0 is any, drawn. handle is given each datagram, whose bytes are its own until it returns.
func (h *Host) Listen(at netip.AddrPort, handle func(now time.Time, from, to netip.AddrPort, b []byte)) (*Socket, error) {
	addr := at.Addr()
	if !addr.IsValid() {
		addr = unspecified(h.Addrs())
	}
	port := at.Port()
	for port == 0 {
		if p := uint16(firstPort + h.net.ports.IntN(lastPort-firstPort+1)); h.free(addr, p) {
			port = p
		}
	}
	if !h.free(addr, port) {
		return nil, fmt.Errorf("listen on host %s at %v: %w", h.Name, netip.AddrPortFrom(addr, port), ErrPortTaken)
	}
	s := &Socket{host: h, local: netip.AddrPortFrom(addr, port), handle: handle}
	h.sockets = append(h.sockets, s)
	if addr.IsUnspecified() {
		if h.byPort == nil {
			h.byPort = map[uint16]*Socket{}
		}
		h.byPort[port] = s
	}
	return s, nil
}

// unspecified is what a socket is bound to that has both of the host's families, or the one that there is.
func unspecified(own []netip.Addr) netip.Addr {
	if slices.ContainsFunc(own, netip.Addr.Is6) {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// free says whether no socket has an address and port.
func (h *Host) free(addr netip.Addr, port uint16) bool {
	if h.byPort[port] != nil {
		return false
	}
	for _, s := range h.sockets {
		if s.local.Port() == port && (addr.IsUnspecified() || s.local.Addr() == addr) {
			return false
		}
	}
	return true
}

// Local is the socket's address and port.
func (s *Socket) Local() netip.AddrPort { return s.local }

// Reaches says whether the socket has an address of the family.
func (s *Socket) Reaches(to netip.Addr) bool { return s.source(to).IsValid() }

// source is the address that packets to another have.
func (s *Socket) source(to netip.Addr) netip.Addr {
	if a := s.local.Addr(); !a.IsUnspecified() {
		if a.Is4() != to.Is4() {
			return netip.Addr{}
		}
		return a
	}
	for _, a := range s.host.Addrs() {
		if a.Is4() == to.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// Send sends a datagram. ttl is IPv4's time to live or IPv6's hop limit; 0: the host's. What cannot be sent is counted, as to UDP it
// is a lost packet.
func (s *Socket) Send(to netip.AddrPort, ttl uint8, b []byte) {
	h := s.host
	from := s.source(to.Addr())
	if s.closed || !from.IsValid() || h.asleep {
		h.stats.Refused++
		return
	}
	p := h.net.model.Fabric.Get()
	if p == nil {
		h.net.fail("more than %d packets are on their way", fabric.DefaultMaxPackets)
		return
	}
	if len(b)+packet.IPv6HeaderLen+packet.UDPHeaderLen > link.MaxMTU {
		h.net.model.Fabric.Put(p)
		h.net.fail("host %s sends a datagram of %d bytes: engine sim has no fragments; use engine table", h.Name, len(b))
		return
	}
	raw := packet.AppendUDP(p.Buffer(0)[:0], netip.AddrPortFrom(from, s.local.Port()), to, b)
	if ttl != 0 {
		setTTL(raw, ttl)
	}
	p.SetFrame(0, len(raw))
	h.port.Send(h.net.now, p)
}

// setTTL changes a packet's time to live or hop limit.
func setTTL(b []byte, ttl uint8) {
	if packet.Version(b) == 6 {
		b[7] = ttl
		return
	}
	old := binary.BigEndian.Uint16(b[8:])
	b[8] = ttl
	sum := packet.Update16(binary.BigEndian.Uint16(b[10:]), old, binary.BigEndian.Uint16(b[8:]))
	binary.BigEndian.PutUint16(b[10:], sum)
}

// Close gives the socket up. What comes for it reaches nobody.
func (s *Socket) Close() {
	if s.closed {
		return
	}
	s.closed = true
	h := s.host
	if i := slices.Index(h.sockets, s); i >= 0 {
		h.sockets = slices.Delete(h.sockets, i, i+1)
	}
	if h.byPort[s.local.Port()] == s {
		delete(h.byPort, s.local.Port())
	}
}

// Deliver takes a packet from the fabric: it is handled once the fabric is done.
func (h *Host) Deliver(p *fabric.Packet) bool {
	from, to, payload, ok := h.parse(p.Bytes())
	if ok {
		n := h.net
		n.inbox = append(n.inbox, arrival{h, from, to, append(n.buffer(), payload...)})
	}
	return true
}

// parse takes a UDP packet to pieces, as a host's kernel does.
func (h *Host) parse(b []byte) (from, to netip.AddrPort, payload []byte, ok bool) {
	var src, dst netip.Addr
	var segment []byte
	switch packet.Version(b) {
	case 4:
		p, err := packet.ParseIPv4(b)
		if err != nil || packet.Checksum(b[:p.HeaderLen()]) != 0 {
			h.stats.Broken++
			return from, to, nil, false
		}
		if p.Protocol() != packet.ProtocolUDP || p.FragmentOffset() != 0 || p.MoreFragments() {
			h.stats.Other++
			return from, to, nil, false
		}
		src, dst, segment = p.Src(), p.Dst(), p.Payload()
	default:
		p, err := packet.ParseIPv6(b)
		if err != nil {
			h.stats.Broken++
			return from, to, nil, false
		}
		protocol, s, first := p.Transport()
		if protocol != packet.ProtocolUDP || !first {
			h.stats.Other++
			return from, to, nil, false
		}
		src, dst, segment = p.Src(), p.Dst(), s
	}
	u, err := packet.ParseUDP(segment)
	if err != nil || u.Checksum() != 0 && packet.PseudoChecksum(src, dst, packet.ProtocolUDP, u) != 0 {
		h.stats.Broken++
		return from, to, nil, false
	}
	return netip.AddrPortFrom(src, u.SrcPort()), netip.AddrPortFrom(dst, u.DstPort()), u.Payload(), true
}

// receive gives a datagram to its socket.
func (h *Host) receive(a arrival) {
	if s := h.socket(a.to); s != nil && !h.asleep {
		s.handle(h.net.Now(), a.from, s.local, a.b)
		return
	}
	h.stats.Deaf++
}

// socket is whose an address and port are.
func (h *Host) socket(to netip.AddrPort) *Socket {
	if s := h.byPort[to.Port()]; s != nil {
		return s
	}
	for _, s := range h.sockets {
		if s.local == to {
			return s
		}
	}
	return nil
}

// Plug, Kill and Sleep are lab.Resident's.

// Plug is told where the host is.
func (h *Host) Plug(p *lab.Port) { h.port = p }

// Kill ends the host's programs, or starts them again.
func (h *Host) Kill(dead bool) error {
	h.dead = dead
	var errs []error
	for _, p := range h.programs {
		if dead {
			p.Kill()
		} else {
			errs = append(errs, p.Start())
		}
	}
	return errors.Join(errs...)
}

// Sleep suspends the host, or wakes it.
func (h *Host) Sleep(asleep bool) error {
	if h.asleep == asleep {
		return nil
	}
	h.asleep = asleep
	for _, p := range h.programs {
		if asleep {
			p.Sleep()
		} else {
			p.Wake()
		}
	}
	return nil
}
