package packet

import "encoding/binary"

// UDP is a datagram from its header to its length (RFC 768).
type UDP []byte

// ParseUDP returns the datagram that b, an IP payload, begins with.
func ParseUDP(b []byte) (UDP, error) {
	if len(b) < UDPHeaderLen {
		return nil, ErrShort
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n < UDPHeaderLen || n > len(b) {
		return nil, ErrLength
	}
	return UDP(b[:n]), nil
}

// SrcPort is the source port.
func (u UDP) SrcPort() uint16 { return binary.BigEndian.Uint16(u) }

// DstPort is the destination port.
func (u UDP) DstPort() uint16 { return binary.BigEndian.Uint16(u[2:]) }

// Checksum is the checksum field; 0 means that the sender computed none.
func (u UDP) Checksum() uint16 { return binary.BigEndian.Uint16(u[6:]) }

// Payload is what follows the header.
func (u UDP) Payload() []byte { return u[UDPHeaderLen:] }

// SetSrcPort changes the source port and the checksum.
func (u UDP) SetSrcPort(port uint16) { u.setPort(0, port) }

// SetDstPort changes the destination port and the checksum.
func (u UDP) SetDstPort(port uint16) { u.setPort(2, port) }

func (u UDP) setPort(at int, port uint16) {
	old := binary.BigEndian.Uint16(u[at:])
	binary.BigEndian.PutUint16(u[at:], port)
	if c := u.Checksum(); c != 0 {
		binary.BigEndian.PutUint16(u[6:], nonZero(Update16(c, old, port)))
	}
}

// nonZero is how UDP writes a checksum that is 0: as its other representation (RFC 768).
func nonZero(c uint16) uint16 {
	if c == 0 {
		return 0xffff
	}
	return c
}

// TCP is a segment (RFC 9293 §3.1).
type TCP []byte

// ParseTCP returns the segment that b, an IP payload, is.
func ParseTCP(b []byte) (TCP, error) {
	if len(b) < TCPHeaderLen {
		return nil, ErrShort
	}
	if n := int(b[12]>>4) * 4; n < TCPHeaderLen || n > len(b) {
		return nil, ErrLength
	}
	return TCP(b), nil
}

// The control bits of a segment.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// SrcPort is the source port.
func (t TCP) SrcPort() uint16 { return binary.BigEndian.Uint16(t) }

// DstPort is the destination port.
func (t TCP) DstPort() uint16 { return binary.BigEndian.Uint16(t[2:]) }

// Seq is the sequence number.
func (t TCP) Seq() uint32 { return binary.BigEndian.Uint32(t[4:]) }

// Ack is the acknowledgment number.
func (t TCP) Ack() uint32 { return binary.BigEndian.Uint32(t[8:]) }

// Flags are the control bits.
func (t TCP) Flags() uint8 { return t[13] }

// HeaderLen is the length of the header with its options, in bytes.
func (t TCP) HeaderLen() int { return int(t[12]>>4) * 4 }

// Checksum is the checksum field.
func (t TCP) Checksum() uint16 { return binary.BigEndian.Uint16(t[16:]) }

// Payload is what follows the header.
func (t TCP) Payload() []byte { return t[t.HeaderLen():] }

// SetSrcPort changes the source port and the checksum.
func (t TCP) SetSrcPort(port uint16) { t.setPort(0, port) }

// SetDstPort changes the destination port and the checksum.
func (t TCP) SetDstPort(port uint16) { t.setPort(2, port) }

func (t TCP) setPort(at int, port uint16) {
	old := binary.BigEndian.Uint16(t[at:])
	binary.BigEndian.PutUint16(t[at:], port)
	binary.BigEndian.PutUint16(t[16:], Update16(t.Checksum(), old, port))
}

// ICMP is a message of ICMP (RFC 792) or ICMPv6 (RFC 4443).
type ICMP []byte

// ParseICMP returns the message that b, an IP payload, is.
func ParseICMP(b []byte) (ICMP, error) {
	if len(b) < ICMPHeaderLen {
		return nil, ErrShort
	}
	return ICMP(b), nil
}

// Type is the message's type.
func (m ICMP) Type() uint8 { return m[0] }

// Code refines the type.
func (m ICMP) Code() uint8 { return m[1] }

// Checksum is the checksum field.
func (m ICMP) Checksum() uint16 { return binary.BigEndian.Uint16(m[2:]) }

// ID is the identifier of an echo or its reply.
func (m ICMP) ID() uint16 { return binary.BigEndian.Uint16(m[4:]) }

// SetID changes the identifier and the checksum.
func (m ICMP) SetID(id uint16) {
	old := m.ID()
	binary.BigEndian.PutUint16(m[4:], id)
	binary.BigEndian.PutUint16(m[2:], Update16(m.Checksum(), old, id))
}

// Body is what follows the first eight bytes: in an error, the packet that caused it, possibly cut off.
func (m ICMP) Body() []byte { return m[ICMPHeaderLen:] }

// updateTransport lets a segment's checksum follow a change in its pseudo-header. ICMP for IPv4 has none.
func updateTransport(protocol uint8, segment, old, new []byte) {
	at := 0
	switch {
	case protocol == ProtocolUDP && len(segment) >= UDPHeaderLen:
		at = 6
	case protocol == ProtocolTCP && len(segment) >= TCPHeaderLen:
		at = 16
	case protocol == ProtocolICMPv6 && len(segment) >= ICMPHeaderLen:
		at = 2
	default:
		return
	}
	c := binary.BigEndian.Uint16(segment[at:])
	if protocol == ProtocolUDP && c == 0 {
		return
	}
	c = Update(c, old, new)
	if protocol == ProtocolUDP {
		c = nonZero(c)
	}
	binary.BigEndian.PutUint16(segment[at:], c)
}
