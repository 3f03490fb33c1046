package probe

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"github.com/pion/stun/v3"
)

// A request's CHANGE-REQUEST flags (RFC 5780 §7.2).
const (
	changePort = 0x2
	changeIP   = 0x4
)

// Reasons to drop a datagram.
var (
	errMalformed   = errors.New("malformed STUN message")
	errNotForUs    = errors.New("not a STUN binding message of the expected class")
	errUnknownAttr = errors.New("unknown comprehension-required attribute")
)

const (
	headerSize  = 20
	magicCookie = 0x2112A442
)

// request is a binding request as the server sees it.
type request struct {
	id      [stun.TransactionIDSize]byte
	cookie  [4]byte // the magic cookie, or the first part of an RFC 3489 client's longer transaction ID
	classic bool    // no magic cookie
	change  uint32
	unknown []stun.AttrType
}

// parseRequest reads a binding request. With errUnknownAttr the request is good for an error response.
func parseRequest(b []byte) (r request, err error) {
	m, classic, err := decode(b)
	if err != nil {
		return r, err
	}
	if m.Type != stun.BindingRequest {
		return r, errNotForUs
	}
	r.id, r.classic = m.TransactionID, classic
	copy(r.cookie[:], b[4:8])
	for _, a := range m.Attributes {
		switch {
		case a.Type == stun.AttrChangeRequest:
			if len(a.Value) != 4 {
				return r, errMalformed
			}
			r.change = binary.BigEndian.Uint32(a.Value) & (changeIP | changePort)
		case a.Type < 0x8000 && !classic: // RFC 8489 §14: it must be understood
			r.unknown = append(r.unknown, a.Type)
		}
	}
	if r.unknown != nil {
		return r, errUnknownAttr
	}
	return r, nil
}

// decode reads a STUN message, also one of RFC 3489, whose transaction ID begins where later there is the cookie.
func decode(b []byte) (m *stun.Message, classic bool, err error) {
	if len(b) < headerSize || b[0]&0xc0 != 0 {
		return nil, false, errMalformed
	}
	m = &stun.Message{Raw: append([]byte(nil), b...)}
	classic = binary.BigEndian.Uint32(b[4:]) != magicCookie
	binary.BigEndian.PutUint32(m.Raw[4:], magicCookie)
	if int(binary.BigEndian.Uint16(b[2:])) != len(b)-headerSize || m.Decode() != nil {
		return nil, classic, errMalformed
	}
	return m, classic, nil
}

// response builds the answer to r: client is whom it goes to, origin the socket it leaves from, other the one with
// both address and port changed.
func (r request) response(client, origin, other netip.AddrPort) ([]byte, error) {
	setters := []stun.Setter{stun.NewTransactionIDSetter(r.id)}
	switch {
	case r.unknown != nil:
		setters = append(setters, stun.NewType(stun.MethodBinding, stun.ClassErrorResponse), stun.CodeUnknownAttribute, stun.UnknownAttributes(r.unknown))
	case r.classic: // RFC 3489 §11.2
		setters = append(setters, stun.BindingSuccess, address{stun.AttrMappedAddress, client},
			address{stun.AttrSourceAddress, origin}, address{stun.AttrChangedAddress, other})
	default: // RFC 5780 §7
		setters = append(setters, stun.BindingSuccess,
			&stun.XORMappedAddress{IP: client.Addr().AsSlice(), Port: int(client.Port())}, address{stun.AttrMappedAddress, client},
			address{stun.AttrResponseOrigin, origin}, address{stun.AttrOtherAddress, other})
	}
	m, err := stun.Build(setters...)
	if err != nil {
		return nil, err
	}
	copy(m.Raw[4:8], r.cookie[:])
	return m.Raw, nil
}

// address is an attribute in MAPPED-ADDRESS form.
type address struct {
	typ stun.AttrType
	netip.AddrPort
}

func (a address) AddTo(m *stun.Message) error {
	return (&stun.MappedAddress{IP: a.Addr().AsSlice(), Port: int(a.Port())}).AddToAs(m, a.typ)
}

// ask builds a binding request.
func ask(id [stun.TransactionIDSize]byte, change uint32) []byte {
	m := new(stun.Message)
	m.TransactionID = id
	m.Type = stun.BindingRequest
	m.WriteHeader()
	if change != 0 {
		m.Add(stun.AttrChangeRequest, binary.BigEndian.AppendUint32(nil, change))
	}
	return m.Raw
}

// answer is a message that came to one of the client's sockets.
type answer struct {
	id      [stun.TransactionIDSize]byte
	request bool // one of our own, that came back by a hairpin
	mapped  netip.AddrPort
	other   netip.AddrPort // invalid if the server did not say
}

func parseAnswer(b []byte) (a answer, err error) {
	m, classic, err := decode(b)
	if err != nil || classic {
		return a, errMalformed
	}
	a.id = m.TransactionID
	switch m.Type {
	case stun.BindingRequest:
		a.request = true
		return a, nil
	case stun.BindingSuccess:
	default:
		return a, errNotForUs
	}
	var xor stun.XORMappedAddress
	var plain stun.MappedAddress
	switch {
	case xor.GetFrom(m) == nil:
		a.mapped = endpoint(xor.IP, xor.Port)
	case plain.GetFrom(m) == nil:
		a.mapped = endpoint(plain.IP, plain.Port)
	}
	if !a.mapped.IsValid() {
		return a, errMalformed
	}
	var other stun.OtherAddress
	if other.GetFrom(m) == nil {
		a.other = endpoint(other.IP, other.Port)
	}
	return a, nil
}

func endpoint(ip net.IP, port int) netip.AddrPort {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(port))
}

// newIDs returns a source of transaction IDs.
func newIDs() func() (id [stun.TransactionIDSize]byte) {
	return func() (id [stun.TransactionIDSize]byte) {
		rand.Read(id[:])
		return id
	}
}
