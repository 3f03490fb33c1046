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
// bytes), then the port (big-endian). IPv4-mapped addresses are written as IPv4.
type Endpoint struct{ netip.AddrPort }

// At returns the endpoint of an address and port.
func At(a netip.AddrPort) Endpoint {
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

// valid says whether a datagram can be sent to e.
func (e Endpoint) valid() error {
	a := e.Addr()
	if !a.IsValid() || e.Port() == 0 || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || a.Zone() != "" || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return fmt.Errorf("%w: %v", ErrEndpoint, e.AddrPort)
	}
	return nil
}

// MarshalCBOR writes the byte string.
func (e Endpoint) MarshalCBOR() ([]byte, error) {
	if err := e.valid(); err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint16(e.Addr().AsSlice(), e.Port())
	return append([]byte{0x40 | byte(len(b))}, b...), nil // lengths 6 and 18 fit the initial byte
}

// UnmarshalCBOR reads the byte string.
func (e *Endpoint) UnmarshalCBOR(b []byte) error {
	if len(b) == 0 || (b[0] != 0x46 && b[0] != 0x52) || len(b) != 1+int(b[0]&0x1f) {
		return ErrEndpoint
	}
	a, _ := netip.AddrFromSlice(b[1 : len(b)-2])
	*e = Endpoint{netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[len(b)-2:]))}
	return e.valid()
}
