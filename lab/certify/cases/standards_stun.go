package cases

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"unicode/utf8"
)

// STUN, as RFC 8489 has it: a reader of its own, that no camera shares.
const (
	stunHeader  = 20
	magicCookie = 0x2112A442

	stunRequest    = 0
	stunIndication = 1
	stunSuccess    = 2
	stunError      = 3

	stunBinding = 1

	attrMapped         = 0x0001
	attrUsername       = 0x0006
	attrIntegrity      = 0x0008
	attrErrorCode      = 0x0009
	attrRealm          = 0x0014
	attrNonce          = 0x0015
	attrIntegrity256   = 0x001C
	attrXorMapped      = 0x0020
	attrPriority       = 0x0024
	attrSoftware       = 0x8022
	attrFingerprint    = 0x8028
	attrIceControlled  = 0x8029
	attrIceControlling = 0x802A
)

// stunText is one that was read.
type stunText struct {
	class  uint8
	method uint16
	id     [12]byte
	attrs  []stunAttr
	raw    []byte
}

// stunAttr is one of its attributes.
type stunAttr struct {
	kind  uint16
	value []byte
	at    int // where its header is
}

// aSTUN tells a STUN message from what else comes to a port, by the first byte and the cookie (RFC 7983 §7, RFC 8489 §5).
func aSTUN(b []byte) bool {
	return len(b) >= stunHeader && b[0] < 4 && binary.BigEndian.Uint32(b[4:]) == magicCookie
}

// readSTUN reads a message. The error says what RFC 8489 does not know of it.
func readSTUN(b []byte) (m stunText, err error) {
	if !aSTUN(b) {
		return m, errors.New("no STUN message")
	}
	kind := binary.BigEndian.Uint16(b)
	m = stunText{
		class: uint8(kind>>4&1 | kind>>7&2), method: kind&0xF | kind>>1&0x70 | kind>>2&0xF80, id: [12]byte(b[8:20]), raw: b,
	}
	if n := int(binary.BigEndian.Uint16(b[2:])); n != len(b)-stunHeader || n%4 != 0 {
		return m, fmt.Errorf("its length says %d bytes behind the header, and there are %d", n, len(b)-stunHeader)
	}
	for at := stunHeader; at < len(b); {
		kind, size := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+2:]))
		end := at + 4 + size
		if end > len(b) {
			return m, fmt.Errorf("attribute %#04x has %d bytes, and %d are left", kind, size, len(b)-at-4)
		}
		m.attrs = append(m.attrs, stunAttr{kind, b[at+4 : end], at})
		at = (end + 3) &^ 3
	}
	return m, nil
}

// find is an attribute; of several the first.
func (m stunText) find(kind uint16) (stunAttr, bool) {
	for _, a := range m.attrs {
		if a.kind == kind {
			return a, true
		}
	}
	return stunAttr{}, false
}

func (m stunText) has(kind uint16) bool {
	_, ok := m.find(kind)
	return ok
}

// until is the message up to an attribute, its length as if it ended size bytes behind that place: what FINGERPRINT and
// MESSAGE-INTEGRITY are of (RFC 8489 §14.5, §14.7).
func (m stunText) until(at, size int) []byte {
	b := append([]byte(nil), m.raw[:at]...)
	binary.BigEndian.PutUint16(b[2:], uint16(at+size-stunHeader))
	return b
}

// sizes are the bytes that attributes have which RFC 5769 has vectors for, at least and at most.
var sizes = map[uint16][2]int{
	attrMapped: {8, 20}, attrXorMapped: {8, 20}, attrUsername: {1, 512}, attrIntegrity: {20, 20}, attrIntegrity256: {16, 32}, attrRealm: {0, 763}, attrNonce: {0, 763},
	attrPriority: {4, 4}, attrSoftware: {0, 763}, attrFingerprint: {4, 4}, attrIceControlled: {8, 8}, attrIceControlling: {8, 8}, attrErrorCode: {4, 767},
}

// verify holds the attributes to what the RFC says of them, as far as that needs no key.
func (m stunText) verify() error {
	for i, a := range m.attrs {
		if size, known := sizes[a.kind]; known && (len(a.value) < size[0] || len(a.value) > size[1]) {
			return fmt.Errorf("attribute %#04x has %d bytes, and %d to %d are known", a.kind, len(a.value), size[0], size[1])
		}
		switch a.kind {
		case attrFingerprint:
			if i != len(m.attrs)-1 {
				return errors.New("FINGERPRINT is not its last attribute")
			}
			if got, want := binary.BigEndian.Uint32(a.value), fingerprint(m.until(a.at, 8)); got != want {
				return fmt.Errorf("FINGERPRINT is %08x, and the message's is %08x", got, want)
			}
		case attrIntegrity, attrIntegrity256:
			for _, b := range m.attrs[i+1:] {
				if b.kind != attrFingerprint && b.kind != attrIntegrity256 {
					return fmt.Errorf("attribute %#04x stands behind MESSAGE-INTEGRITY", b.kind)
				}
			}
		case attrUsername, attrSoftware, attrRealm, attrNonce:
			if !utf8.Valid(a.value) {
				return fmt.Errorf("attribute %#04x is no UTF-8", a.kind)
			}
		case attrMapped, attrXorMapped:
			if _, err := m.address(a); err != nil {
				return err
			}
		}
	}
	return nil
}

// fingerprint is FINGERPRINT of what stands before it.
func fingerprint(b []byte) uint32 { return crc32.ChecksumIEEE(b) ^ 0x5354554e }

// integrity is MESSAGE-INTEGRITY of what stands before it, by a short-term password.
func integrity(b []byte, password string) []byte {
	h := hmac.New(sha1.New, []byte(password))
	h.Write(b)
	return h.Sum(nil)
}

// address is the value of MAPPED-ADDRESS or XOR-MAPPED-ADDRESS.
func (m stunText) address(a stunAttr) (netip.AddrPort, error) {
	size := map[byte]int{1: 8, 2: 20}[a.value[1]]
	if len(a.value) != size {
		return netip.AddrPort{}, fmt.Errorf("attribute %#04x has an address of family %d and %d bytes", a.kind, a.value[1], len(a.value)-4)
	}
	v := append([]byte(nil), a.value[2:]...)
	if a.kind == attrXorMapped {
		for i := range v {
			switch {
			case i < 2:
				v[i] ^= m.raw[4+i] // the port, by the cookie's first half
			default:
				v[i] ^= m.raw[4+i-2] // the address, by cookie and transaction
			}
		}
	}
	addr, _ := netip.AddrFromSlice(v[2:])
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(v)), nil
}

// newSTUN begins a message of method Binding.
func newSTUN(class uint8, id [12]byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, stunBinding|uint16(class&1)<<4|uint16(class&2)<<7)
	b = binary.BigEndian.AppendUint32(append(b, 0, 0), magicCookie)
	return append(b, id[:]...)
}

// withAttr adds an attribute, filled up as the RFC's samples are, with spaces.
func withAttr(b []byte, kind uint16, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, kind)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
	for len(b)%4 != 0 {
		b = append(b, ' ')
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-stunHeader))
	return b
}

// withIntegrity adds MESSAGE-INTEGRITY, and withFingerprint FINGERPRINT.
func withIntegrity(b []byte, password string) []byte {
	at := len(b)
	binary.BigEndian.PutUint16(b[2:], uint16(at+24-stunHeader))
	return withAttr(b, attrIntegrity, integrity(b[:at], password))
}

func withFingerprint(b []byte) []byte {
	at := len(b)
	binary.BigEndian.PutUint16(b[2:], uint16(at+8-stunHeader))
	return withAttr(b, attrFingerprint, binary.BigEndian.AppendUint32(nil, fingerprint(b[:at])))
}

// sampleRequest is RFC 5769 §2.1's, with another transaction.
func sampleRequest(id [12]byte, password string) []byte {
	b := withAttr(newSTUN(stunRequest, id), attrSoftware, []byte("STUN test client"))
	b = withAttr(b, attrPriority, []byte{0x6e, 0x00, 0x01, 0xff})
	b = withAttr(b, attrIceControlled, []byte{0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36})
	b = withAttr(b, attrUsername, []byte("evtj:h6vY"))
	return withFingerprint(withIntegrity(b, password))
}

// samplePassword is that of RFC 5769 §2.
const samplePassword = "VOkJxbRl1RmTxUk/WvJxBt"
