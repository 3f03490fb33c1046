package fabric

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
)

// Where is what kind of thing a Tap saw a packet at.
type Where uint8

// The kinds. A router that is attached to the core has an uplink of its own name.
const (
	AtUplink Where = iota
	AtStation
	AtRouter
)

func (w Where) String() string {
	return [...]string{"uplink", "station", "router"}[min(w, AtRouter)]
}

// Point is the place on a packet's way at which a Tap sees it.
type Point uint8

// The points, in the order of the way. A packet on its way from a station behind a router to another one passes
//
//	station Sent, router Outbound, uplink Sent, uplink Arrived, router Inbound, station Delivered
//
// and is seen with a Cause or a Reason at the point where it died.
const (
	Sent      Point = iota // uplink: enters the way up, from the site or the site's router; station: its host sent it
	Outbound               // router: leaves on its WAN, or was to
	InCore                 // uplink that it came from: died between the uplinks
	Arrived                // uplink: enters the way down
	Inbound                // router: goes on to its LAN, or was to
	Hairpin                // router: came from its LAN and goes back there
	Delivered              // uplink, station, and router with a device for WAN: handed to the device
)

func (p Point) String() string {
	return [...]string{"sent", "outbound", "core", "arrived", "inbound", "hairpin", "delivered"}[min(p, Delivered)]
}

// Endpoints are a packet's source and destination. The port of an echo is its identifier on both sides; what has no
// ports, a later fragment among it, has 0.
type Endpoints struct{ Src, Dst netip.AddrPort }

// TapEvent is one packet at one point.
type TapEvent struct {
	T     time.Duration // when it reached the point: the due time, not when the engine came round to it
	Late  time.Duration // Delivered: by how much later than T that happened; Packet.Held, which was before T, is not in it
	Where Where
	Name  string // of uplink, station or router
	Point Point

	Cause  link.Cause // why it went no further, or Passed
	Reason nat.Reason // why the router's table let it go no further, or Passed

	// Routers: the endpoints as they came and as they left; equal when nothing was translated. New is zero when the
	// packet died there.
	Old, New Endpoints

	Packet []byte // as it was at the point; not the tap's to keep or to change
	// ID is the packet's number in its net since the Reset, the same at all points and for duplicates. What a packet
	// gave rise to has a number of its own and the packet's as Parent: fragments, segments, ICMP errors about it,
	// what a router's table emits because of it. Parent is 0 for what a site or a station sent.
	ID, Parent uint64
}

// Tap observes the packets of a net.
type Tap func(e TapEvent)

// SetTap lets t observe the net from now on, or nobody if it is nil. While there is a tap, GSO packets are split
// where they enter and every checksum is complete, so that what is seen is what a wire would carry.
func (n *Net) SetTap(t Tap) { n.tap = t }

// see tells the tap about a packet. Callers test n.tap first, so that a net without one pays for that test only.
func (n *Net) see(t time.Duration, w Where, name string, at Point, c link.Cause, p *Packet) {
	n.tap(TapEvent{T: t, Where: w, Name: name, Point: at, Cause: c, Packet: p.Bytes(), ID: p.id, Parent: p.parent})
}

// endpointsOf reads the addresses and ports of a packet that check has passed.
func endpointsOf(b []byte) Endpoints {
	var src, dst netip.Addr
	var protocol uint8
	var segment []byte
	if packet.Version(b) == 4 {
		h := packet.IPv4(b)
		src, dst, protocol = h.Src(), h.Dst(), h.Protocol()
		if h.FragmentOffset() == 0 {
			segment = h.Payload()
		}
	} else {
		h := packet.IPv6(b)
		src, dst = h.Src(), h.Dst()
		first := false
		if protocol, segment, first = h.Transport(); !first {
			segment = nil
		}
	}
	s, d := portsOf(protocol, segment)
	return Endpoints{netip.AddrPortFrom(src, s), netip.AddrPortFrom(dst, d)}
}

func portsOf(protocol uint8, segment []byte) (src, dst uint16) {
	if len(segment) < 8 {
		return 0, 0
	}
	switch protocol {
	case packet.ProtocolUDP, packet.ProtocolTCP:
		return packet.UDP(segment).SrcPort(), packet.UDP(segment).DstPort()
	case packet.ProtocolICMP, packet.ProtocolICMPv6:
		if m := packet.ICMP(segment); isEcho(protocol, m.Type()) {
			return m.ID(), m.ID()
		}
	}
	return 0, 0
}

// The types of echo messages (RFC 792, RFC 4443 §4).
const (
	echo4, echoReply4 = 8, 0
	echo6, echoReply6 = 128, 129
)

func isEcho(protocol, typ uint8) bool {
	if protocol == packet.ProtocolICMP {
		return typ == echo4 || typ == echoReply4
	}
	return typ == echo6 || typ == echoReply6
}
