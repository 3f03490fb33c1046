package wire

import "github.com/punchlab/punchlab/impl/session"

// Kind is the protocol of a datagram on the shared port.
type Kind int

// The kinds, by first byte (RFC 7983 §7 as RFC 9443 §3 updates it). ZRTP (16–19),
// DTLS (20–63) and QUIC (80–127, 192–255) are not spoken here: Unknown.
const (
	Unknown Kind = iota
	STUN
	Initiation
	Response
	Cookie
	Transport
	PunchPacket
	ChannelData
	RTP
	RTCP
)

var kindNames = [...]string{"unknown", "stun", "initiation", "response", "cookie", "transport", "punch", "channel-data", "rtp", "rtcp"}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		k = Unknown
	}
	return kindNames[k]
}

// TypePunch is the first byte of a punch; session has the others.
const TypePunch byte = 8

// Classify tells the kind by the first byte alone, RTP from RTCP by the second
// (RFC 5761 §4). It checks nothing else.
func Classify(b []byte) Kind {
	if len(b) == 0 {
		return Unknown
	}
	switch first := b[0]; {
	case first <= 3:
		return STUN
	case first == session.TypeInitiation:
		return Initiation
	case first == session.TypeResponse:
		return Response
	case first == session.TypeCookie:
		return Cookie
	case first == session.TypeTransport:
		return Transport
	case first == TypePunch:
		return PunchPacket
	case first >= 64 && first <= 79:
		return ChannelData
	case first >= 128 && first <= 191:
		if len(b) > 1 && b[1] >= 192 && b[1] <= 223 {
			return RTCP
		}
		return RTP
	}
	return Unknown
}
