package classify

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/pion/stun/v3"
)

// CHANGE-REQUEST's flags (RFC 5780 §7.2).
const (
	changePort = 0x2
	changeIP   = 0x4
)

// requestSize is the least size of our requests. A server should answer an address it has not validated with no more
// bytes than that: a success response with XOR-MAPPED-ADDRESS, MAPPED-ADDRESS, RESPONSE-ORIGIN and OTHER-ADDRESS takes 68 bytes
// with IPv4 addresses and 116 with IPv6 ones.
const requestSize = 120

// SOFTWARE's text (RFC 8489 §14.14) fills the request up. PADDING (RFC 5780 §7.6) would not do: servers that do not know
// it have to refuse the request, and those that do have to fill up their answer as well.
const (
	headerSize    = 20
	attributeSize = 4 // type and length
	software      = "punchlab"
)

type txID = [stun.TransactionIDSize]byte

var errNotForUs = errors.New("neither a binding request nor a success response")

// request builds a binding request.
func request(id txID, change uint32) []byte {
	m := &stun.Message{TransactionID: id, Type: stun.BindingRequest}
	m.WriteHeader()
	if change != 0 {
		m.Add(stun.AttrChangeRequest, binary.BigEndian.AppendUint32(nil, change))
	}
	text := make([]byte, requestSize-len(m.Raw)-attributeSize)
	for i := copy(text, software); i < len(text); i++ {
		text[i] = ' '
	}
	m.Add(stun.AttrSoftware, text)
	return m.Raw
}

// answer is a STUN message that came to one of the sockets.
type answer struct {
	id      txID
	request bool // one of our own, by hairpin
	mapped  netip.AddrPort
	other   netip.AddrPort // invalid where the server did not say
}

// parse reads a success response, or a request's transaction ID.
func parse(b []byte) (a answer, err error) {
	if len(b) < headerSize || !stun.IsMessage(b) || int(binary.BigEndian.Uint16(b[2:])) != len(b)-headerSize {
		return a, errNotForUs
	}
	m := &stun.Message{Raw: b}
	if err := m.Decode(); err != nil {
		return a, errNotForUs
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
	if xor.GetFrom(m) != nil {
		return a, errNotForUs
	}
	if a.mapped = endpoint(xor.IP, xor.Port); !a.mapped.IsValid() || a.mapped.Port() == 0 {
		return a, errNotForUs
	}
	var other stun.OtherAddress
	if other.GetFrom(m) == nil {
		a.other = endpoint(other.IP, other.Port)
	}
	return a, nil
}

func endpoint(ip []byte, port int) netip.AddrPort {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(port))
}
