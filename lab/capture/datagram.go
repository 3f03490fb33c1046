package capture

import (
	"encoding/binary"
	"strconv"
)

// datagram classifies a UDP payload by its first bytes.
func (i *Info) datagram(b []byte) {
	const channel = 4 // bytes of a relay frame's header
	if !i.Relayed && len(b) > channel && b[0]>>4 == 4 && int(binary.BigEndian.Uint16(b[2:])) == len(b)-channel {
		i.Relayed = true
		i.datagram(b[channel:])
		return
	}
	if len(b) < 2 {
		return
	}
	ours := b[1] == 1 // the version of everything from initiation to punch
	switch first := b[0]; {
	case isSTUN(b):
		i.Kind, i.Detail = STUN, stunDetail(b)
	case first == 4 && ours && len(b) >= 256:
		i.Kind = Initiation
	case first == 5 && ours && len(b) >= 60:
		i.Kind = Response
	case first == 6 && ours && len(b) == 64:
		i.Kind = Cookie
	case first == 7 && ours && len(b) >= 32:
		i.Kind = Sealed
	case first == 8 && ours && len(b) >= 32 && len(b) <= 256:
		i.Kind, i.Detail = Punch, strconv.FormatUint(uint64(binary.LittleEndian.Uint32(b[4:])), 10)
	case first >= 20 && first <= 63 && len(b) >= 13:
		i.Kind = DTLS
	case first >= 128 && first <= 191 && b[1] >= 192 && b[1] <= 223:
		i.Kind = RTCP
	case first >= 128 && first <= 191 && len(b) >= 12:
		i.Kind = Media
	}
}

// stunCookie is in every STUN message (RFC 8489 §5).
const stunCookie = 0x2112a442

func isSTUN(b []byte) bool {
	return b[0] < 4 && len(b) >= 20 && binary.BigEndian.Uint32(b[4:]) == stunCookie
}

func stunDetail(b []byte) string {
	switch binary.BigEndian.Uint16(b) & 0x0110 {
	case 0x0100:
		return "response"
	case 0x0110:
		return "error"
	case 0x0010:
		return "indication"
	}
	return "request"
}
