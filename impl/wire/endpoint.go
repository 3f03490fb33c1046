package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// ErrEndpoint says that bytes are not an endpoint that datagrams can go to.
var ErrEndpoint = errors.New("not a unicast endpoint")

// Endpoint is an address and port, encoded as a byte string: the address (4 or 16
// bytes), then the port (big-endian). IPv4-mapped addresses are written as IPv4. A
// stream's endpoint (core.Over) has a byte before that names the protocol.
type Endpoint struct{ netip.AddrPort }

// What the byte before a stream's endpoint is: TCP's number at IANA, and for TLS
// over TCP one of those for experimentation (RFC 3692).
const (
	streamTCP byte = 6
	streamTLS byte = 253
)

// zones are those by which core.Over tells a stream's address from a datagram's.
var zones = map[string]byte{"tcp": streamTCP, "tls": streamTLS}

// At returns the endpoint of an address and port, or of a stream.
func At(a netip.AddrPort) Endpoint {
	if zones[a.Addr().Zone()] != 0 {
		return Endpoint{a}
	}
	return Endpoint{netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())}
}

// Ats returns the endpoints of addresses and ports.
func Ats(as []netip.AddrPort) []Endpoint {
	out := make([]Endpoint, len(as))
	for i, a := range as {
		out[i] = At(a)
	}
	return out
}

// IsZero says whether e is absent.
func (e Endpoint) IsZero() bool { return e.AddrPort == netip.AddrPort{} }

// bare splits an endpoint into the stream's protocol, 0 for a datagram's, and the
// address that packets carry.
func (e Endpoint) bare() (stream byte, a netip.Addr) {
	if stream = zones[e.Addr().Zone()]; stream != 0 {
		return stream, e.Addr().Unmap().WithZone("")
	}
	return 0, e.Addr()
}

// valid says whether a datagram can be sent to e.
func (e Endpoint) valid() error {
	stream, a := e.bare()
	impossible := !a.IsValid() || e.Port() == 0 || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || a.Zone() != "" ||
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if impossible || stream != 0 && !e.Addr().Is6() {
		return fmt.Errorf("%w: %v", ErrEndpoint, e.AddrPort)
	}
	return nil
}

// MarshalCBOR writes the byte string.
func (e Endpoint) MarshalCBOR() ([]byte, error) {
	if err := e.valid(); err != nil {
		return nil, err
	}
	stream, a := e.bare()
	b := make([]byte, 1, 20) // the longest fits the initial byte
	if stream != 0 {
		b = append(b, stream)
	}
	b = binary.BigEndian.AppendUint16(append(b, a.AsSlice()...), e.Port())
	b[0] = 0x40 | byte(len(b)-1)
	return b, nil
}

// UnmarshalCBOR reads the byte string.
func (e *Endpoint) UnmarshalCBOR(b []byte) error {
	if len(b) == 0 || b[0]>>5 != 2 || len(b) != 1+int(b[0]&0x1f) {
		return ErrEndpoint
	}
	b = b[1:]
	var zone string
	switch len(b) {
	case 6, 18:
	case 7, 19:
		for name, stream := range zones {
			if stream == b[0] {
				zone = name
			}
		}
		if zone == "" {
			return ErrEndpoint
		}
		b = b[1:]
	default:
		return ErrEndpoint
	}
	a, _ := netip.AddrFromSlice(b[:len(b)-2])
	if zone != "" {
		if a.Is4In6() { // written as IPv4
			return ErrEndpoint
		}
		a = netip.AddrFrom16(a.As16()).WithZone(zone)
	}
	*e = Endpoint{netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[len(b)-2:]))}
	return e.valid()
}
