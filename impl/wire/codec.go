package wire

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/punchlab/punchlab/impl/session"
)

// MaxMessage is the longest control message: it fits one transport datagram, also
// inside a relay frame.
const MaxMessage = session.MaxPayload - ChannelOverhead

// Why a message was refused.
var (
	ErrTooLong      = errors.New("message too long")
	ErrNotMessage   = errors.New("not a map that starts with a message type")
	ErrUnknownType  = errors.New("unknown message type")
	ErrNotCanonical = errors.New("not the one encoding of a message")
	ErrInvalid      = errors.New("message with an impossible value")
)

var encoder, decoder = modes()

func modes() (cbor.EncMode, cbor.DecMode) {
	e, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err) // constant options
	}
	d, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   4,
		MaxArrayElements:  MaxWatched,
		MaxMapPairs:       16,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	}.DecMode()
	if err != nil {
		panic(err) // constant options
	}
	return e, d
}

// newMessage returns an empty message of a type, nil if there is none.
func newMessage(t Type) Message {
	switch t {
	case TypeRegister:
		return new(Register)
	case TypeRegistered:
		return new(Registered)
	case TypeLogin:
		return new(Login)
	case TypeLoggedIn:
		return new(LoggedIn)
	case TypePing:
		return new(Ping)
	case TypePong:
		return new(Pong)
	case TypeGoodbye:
		return new(Goodbye)
	case TypeConnect:
		return new(Connect)
	case TypePeer:
		return new(Peer)
	case TypeIntroduce:
		return new(Introduce)
	case TypeIntroduceAck:
		return new(IntroduceAck)
	case TypeRefused:
		return new(Refused)
	case TypeHello:
		return new(Hello)
	case TypeWelcome:
		return new(Welcome)
	case TypePathChallenge:
		return new(PathChallenge)
	case TypePathResponse:
		return new(PathResponse)
	case TypeUse:
		return new(Use)
	case TypeConsent:
		return new(Consent)
	case TypeConsentAck:
		return new(ConsentAck)
	case TypeBye:
		return new(Bye)
	case TypeReport:
		return new(Report)
	case TypeReported:
		return new(Reported)
	case TypeSample:
		return new(Sample)
	case TypeSampled:
		return new(Sampled)
	case TypeAgain:
		return new(Again)
	case TypeLocated:
		return new(Located)
	case TypeLocatedAck:
		return new(LocatedAck)
	case TypeDenied:
		return new(Denied)
	case TypeWatch:
		return new(Watch)
	case TypePresence:
		return new(Presence)
	case TypePresenceAck:
		return new(PresenceAck)
	case TypeManage:
		return new(Manage)
	case TypeManaged:
		return new(Managed)
	}
	return nil
}

// Marshal encodes a message. It refuses what Unmarshal would refuse.
func Marshal(m Message) ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("encode %v: %w", m.Type(), err)
	}
	body, err := encoder.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %v: %w", m.Type(), err)
	}
	// The struct has no key 0: put it first, where deterministic order wants it.
	out := append(head(body[0]+1, m.Type()), body[1:]...)
	if len(out) > MaxMessage {
		return nil, fmt.Errorf("encode %v: %w: %d bytes", m.Type(), ErrTooLong, len(out))
	}
	return out, nil
}

// head is what a message starts with: the map's initial byte, key 0, the type.
func head(initial byte, t Type) []byte {
	if t >= oneByte {
		return []byte{initial, 0, 0x18, byte(t)}
	}
	return []byte{initial, 0, byte(t)}
}

// oneByte is the first integer that CBOR does not write as one byte (RFC 8949 §3.1).
const oneByte = 24

// cut splits a message into its type and the map without key 0.
func cut(b []byte) (t Type, body []byte, err error) {
	if len(b) < 3 || b[0] < 0xa1 || b[0] > 0xb7 || b[1] != 0 {
		return 0, nil, ErrNotMessage
	}
	t, rest := Type(b[2]), b[3:]
	if b[2] == 0x18 && len(b) > 3 && b[3] >= oneByte {
		t, rest = Type(b[3]), b[4:]
	} else if b[2] >= oneByte {
		return 0, nil, ErrUnknownType
	}
	return t, append([]byte{b[0] - 1}, rest...), nil
}

// Unmarshal decodes exactly one message.
func Unmarshal(b []byte) (Message, error) {
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("decode message: %w: %d bytes", ErrTooLong, len(b))
	}
	t, body, err := cut(b)
	if err != nil {
		return nil, fmt.Errorf("decode message: %w", err)
	}
	m := newMessage(t)
	if m == nil {
		return nil, fmt.Errorf("decode message: %w: %d", ErrUnknownType, t)
	}
	if err := decoder.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("decode %v: %w: %w", m.Type(), ErrNotCanonical, err)
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("decode %v: %w", m.Type(), err)
	}
	if again, err := encoder.Marshal(m); err != nil || !bytes.Equal(again, body) {
		return nil, fmt.Errorf("decode %v: %w", m.Type(), ErrNotCanonical)
	}
	return m, nil
}

// Types returns every message type, ascending.
func Types() []Type {
	var out []Type
	for t := Type(0); t < 255; t++ {
		if newMessage(t) != nil {
			out = append(out, t)
		}
	}
	return out
}
