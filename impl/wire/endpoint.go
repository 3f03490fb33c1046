package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/punchlab/punchlab/impl/core"
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

// At returns the endpoint of an address and port, or of a stream.
func At(a netip.AddrPort) Endpoint {
	return Endpoint{core.Over(core.ProtoOf(a))}
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

// valid says whether a datagram can be sent to e.
func (e Endpoint) valid() error {
	over, bare := core.ProtoOf(e.AddrPort)
	a := bare.Addr()
	if !a.IsValid() || bare.Port() == 0 || a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) ||
		core.Over(over, bare) != e.AddrPort { // a zone of a host's, or an IPv4-mapped address
		return fmt.Errorf("%w: %v", ErrEndpoint, e.AddrPort)
	}
	return nil
}

// MarshalCBOR writes the byte string.
func (e Endpoint) MarshalCBOR() ([]byte, error) {
	if err := e.valid(); err != nil {
		return nil, err
	}
	over, bare := core.ProtoOf(e.AddrPort)
	b := make([]byte, 1, 20) // the longest fits the initial byte
	switch over {
	case core.TCP:
		b = append(b, streamTCP)
	case core.TLS:
		b = append(b, streamTLS)
	}
	b = binary.BigEndian.AppendUint16(append(b, bare.Addr().AsSlice()...), bare.Port())
	b[0] = 0x40 | byte(len(b)-1)
	return b, nil
}

// UnmarshalCBOR reads the byte string.
func (e *Endpoint) UnmarshalCBOR(b []byte) error {
	if len(b) == 0 || b[0]>>5 != 2 || len(b) != 1+int(b[0]&0x1f) {
		return ErrEndpoint
	}
	b = b[1:]
	over := core.UDP
	switch {
	case len(b) == 6 || len(b) == 18:
	case (len(b) == 7 || len(b) == 19) && b[0] == streamTCP:
		over, b = core.TCP, b[1:]
	case (len(b) == 7 || len(b) == 19) && b[0] == streamTLS:
		over, b = core.TLS, b[1:]
	default:
		return ErrEndpoint
	}
	a, _ := netip.AddrFromSlice(b[:len(b)-2])
	if a.Is4In6() { // IPv4 is written as such
		return ErrEndpoint
	}
	*e = Endpoint{core.Over(over, netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[len(b)-2:])))}
	return e.valid()
}
