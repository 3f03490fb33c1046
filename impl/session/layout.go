package session

import (
	"encoding/binary"
	"errors"
	"time"
)

// Datagram types: the first byte. RFC 7983 and RFC 9443 leave 4–15 unassigned,
// so that STUN, ChannelData, SRTP and QUIC share the port.
const (
	TypeInitiation byte = 4
	TypeResponse   byte = 5
	TypeCookie     byte = 6
	TypeTransport  byte = 7
)

// Version is the second byte of each datagram. Bytes 2 and 3 are 0.
const Version byte = 1

// The layouts, offsets in bytes, numbers little-endian:
//
//	initiation  0 type=4 │ 1 version │ 2 zero(2) │ 4 sender index │ 8 Noise-1 … │ n−32 mac1(16) │ n−16 mac2(16)
//	            Noise-1 = e(32) ‖ s(48) ‖ sealed{timestamp(8) ‖ length(2) ‖ payload ‖ zeros}
//	response    0 type=5 │ 1 version │ 2 zero(2) │ 4 receiver index │ 8 Noise-2 …
//	            Noise-2 = e(32) ‖ sealed{sender index(4) ‖ payload}
//	cookie      0 type=6 │ 1 version │ 2 zero(2) │ 4 receiver index │ 8 nonce(24) │ 32 sealed cookie(32)
//	transport   0 type=7 │ 1 version │ 2 zero(2) │ 4 receiver index │ 8 counter(8) │ 16 sealed payload …
const (
	headerSize     = 8
	macSize        = 16
	tagSize        = 16
	keySize        = 32
	nonceSize      = 24
	sealedHeader   = 16 // transport: header and counter, authenticated as they are
	stampSize      = 8 + 2
	noise1Overhead = keySize + keySize + tagSize + stampSize + tagSize

	// InitiationOverhead is what an initiation adds to its payload before padding.
	InitiationOverhead = headerSize + noise1Overhead + 2*macSize
	// ResponseOverhead is what a response adds to its payload.
	ResponseOverhead = headerSize + keySize + 4 + tagSize
	// CookieSize is the size of a cookie reply.
	CookieSize = headerSize + nonceSize + macSize + tagSize
	// TransportOverhead is what Seal adds to a payload.
	TransportOverhead = sealedHeader + tagSize

	// MinInitiation is the size that shorter initiations are padded to. No answer
	// is longer than its initiation, so nobody can be flooded by way of a
	// responder.
	MinInitiation = 256
	// MaxInitiation lets an initiation ride inside a sealed control message.
	MaxInitiation = 1024
	// MaxDatagram is the largest datagram of this package: within IPv6's minimum
	// MTU with room for tunnels, as RFC 9000 §14.1 chose.
	MaxDatagram = 1200
	// MaxPayload is the largest payload of a transport datagram.
	MaxPayload = MaxDatagram - TransportOverhead
)

const (
	// ReplayWindow is how many counters below the greatest are still accepted once.
	ReplayWindow = 2048
	// RekeyAfterMessages datagrams sent, the initiator starts a new handshake.
	RekeyAfterMessages uint64 = 1 << 48
	// RejectAfterMessages datagrams sent, Seal returns nil; greater counters are refused.
	RejectAfterMessages uint64 = 1 << 60
	// RekeyAfterTime after its handshake, the initiator replaces a session.
	RekeyAfterTime = 12 * time.Hour
	// RejectAfterTime after its handshake, both sides forget a session.
	RejectAfterTime = 24 * time.Hour
	// CookieLifetime is how often the responder's cookie secret changes; the
	// previous one is still honoured, so a cookie serves one to two lifetimes.
	CookieLifetime = 120 * time.Second
)

// Why a datagram was refused: one counter each.
var (
	ErrShort     = errors.New("too short")
	ErrLong      = errors.New("too long")
	ErrType      = errors.New("not this type of datagram")
	ErrVersion   = errors.New("unknown version")
	ErrReserved  = errors.New("reserved bytes are not zero")
	ErrIndex     = errors.New("receiver index is another session's")
	ErrMAC1      = errors.New("mac1 does not match: made for another key")
	ErrAuth      = errors.New("authentication failed")
	ErrReplay    = errors.New("counter already seen or below the window")
	ErrExhausted = errors.New("counter beyond the session's last message")
	ErrExpired   = errors.New("session has lasted as long as one may")
	ErrPayload   = errors.New("payload length does not fit or padding is not zero")
)

// checkHeader verifies what all layouts share.
func checkHeader(b []byte, typ byte, minimum, maximum int) error {
	switch {
	case len(b) < headerSize:
		return ErrShort
	case b[0] != typ:
		return ErrType
	case b[1] != Version:
		return ErrVersion
	case b[2] != 0 || b[3] != 0:
		return ErrReserved
	case len(b) < minimum:
		return ErrShort
	case len(b) > maximum:
		return ErrLong
	}
	return nil
}

func appendHeader(dst []byte, typ byte, index uint32) []byte {
	dst = append(dst, typ, Version, 0, 0)
	return binary.LittleEndian.AppendUint32(dst, index)
}

// ReceiverIndex returns the index under which the receiver of a response, cookie
// or transport datagram knows its session; false for anything else.
func ReceiverIndex(b []byte) (uint32, bool) {
	if len(b) < headerSize || b[0] < TypeResponse || b[0] > TypeTransport || b[1] != Version {
		return 0, false
	}
	return binary.LittleEndian.Uint32(b[4:]), true
}

// InitiationID identifies an initiation before it is opened: retransmissions, with
// or without mac2, have the same one. It is mac1.
func InitiationID(b []byte) ([16]byte, bool) {
	if checkHeader(b, TypeInitiation, MinInitiation, MaxInitiation) != nil {
		return [16]byte{}, false
	}
	return [16]byte(b[len(b)-2*macSize:]), true
}
