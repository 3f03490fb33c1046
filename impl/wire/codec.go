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
		MaxArrayElements:  16,
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
	if len(body)+2 > MaxMessage {
		return nil, fmt.Errorf("encode %v: %w: %d bytes", m.Type(), ErrTooLong, len(body)+2)
	}
	// The struct has no key 0: put it first, where deterministic order wants it.
	return append([]byte{body[0] + 1, 0, byte(m.Type())}, body[1:]...), nil
}

// Unmarshal decodes exactly one message.
func Unmarshal(b []byte) (Message, error) {
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("decode message: %w: %d bytes", ErrTooLong, len(b))
	}
	if len(b) < 3 || b[0] < 0xa1 || b[0] > 0xb7 || b[1] != 0 {
		return nil, fmt.Errorf("decode message: %w", ErrNotMessage)
	}
	m := newMessage(Type(b[2]))
	if m == nil {
		return nil, fmt.Errorf("decode message: %w: %d", ErrUnknownType, b[2])
	}
	body := append([]byte{b[0] - 1}, b[3:]...)
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
	for t := Type(0); t < 24; t++ {
		if newMessage(t) != nil {
			out = append(out, t)
		}
	}
	return out
}
