package attack

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// Kind is a sort of datagram that anybody can make who knows the receiver's public key and nothing else.
type Kind struct {
	Name string
	Make func() ([]byte, error) // another one each time
}

// The receivers of Kinds: who answers differs, and so does a handshake's prologue.
const (
	ToRendezvous = core.PrologueRendezvous
	ToCamera     = core.PrologueCamera
)

// Kinds lists every sort of datagram that the bundled protocol knows, as an attacker without any secret makes it for a
// receiver: one of each first byte of impl/PROTOCOL.md §4, well-formed as far as he can, and some that are not.
func Kinds(to string, receiver identity.PublicKey, random io.Reader) []Kind {
	noise := func(head []byte, size int) func() ([]byte, error) {
		return func() ([]byte, error) {
			b := make([]byte, size)
			if _, err := io.ReadFull(random, b); err != nil {
				return nil, err
			}
			copy(b, head)
			return b, nil
		}
	}
	version := session.Version
	return []Kind{
		{"STUN binding request, 20 bytes", func() ([]byte, error) { return binding(random) }},
		{"STUN binding request, 120 bytes", func() ([]byte, error) { return binding(random, attribute(0x8022, make([]byte, 96))) }},
		{"STUN binding request, change address and port", func() ([]byte, error) {
			return binding(random, attribute(0x0003, []byte{0, 0, 0, 6}), attribute(0x8022, make([]byte, 88)))
		}},
		{"STUN binding request, unknown attribute", func() ([]byte, error) { return binding(random, attribute(0x0027, make([]byte, 4))) }},
		{"TURN allocate request", func() ([]byte, error) {
			b, err := binding(random, attribute(0x0019, []byte{17, 0, 0, 0}))
			if err == nil {
				b[1] = 3
			}
			return b, err
		}},
		{"initiation, valid, by a new key", func() ([]byte, error) { return initiation(to, receiver, random) }},
		{"initiation, mac1 right, sealed part forged", func() ([]byte, error) {
			b, err := initiation(to, receiver, random)
			if err == nil {
				b[60] ^= 1
				Sign(receiver, b)
			}
			return b, err
		}},
		{"initiation, mac1 wrong", noise([]byte{session.TypeInitiation, version, 0, 0}, session.MinInitiation)},
		{"response", noise([]byte{session.TypeResponse, version, 0, 0}, session.ResponseOverhead+20)},
		{"cookie reply", noise([]byte{session.TypeCookie, version, 0, 0}, session.CookieSize)},
		{"transport datagram", noise([]byte{session.TypeTransport, version, 0, 0}, 64)},
		{"punch", noise([]byte{wire.TypePunch, wire.PunchVersion, 0, 0}, wire.DefaultPunch)},
		{"datagram between nodes", noise([]byte{9, 1, 0, 0}, 64)},
		{"relay frame", noise([]byte{0x40, 0, 0, 60}, 64)},
		{"RTP", noise([]byte{0x80, 96}, 200)},
		{"RTCP", noise([]byte{0x81, 201, 0, 7}, 32)},
		{"nothing that anybody knows", noise([]byte{0xff}, 300)},
	}
}

// initiation is a whole handshake's first message by a key that nobody has seen. To a camera its proof is false.
func initiation(to string, receiver identity.PublicKey, random io.Reader) ([]byte, error) {
	key, err := identity.NewKey(random)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	var hello wire.Message = &wire.Login{Version: wire.ProtocolVersion}
	if to == ToCamera {
		hello = &wire.Hello{
			Version: wire.ProtocolVersion, ID: 1, Proof: identity.PairingProof(identity.Secret{1}, key.Public(), receiver),
			PunchKey: wire.PunchKey{1}, Flags: wire.FlagStart | wire.FlagDirect, Profile: wire.ProfileAES128GCM,
		}
	}
	payload, err := wire.Marshal(hello)
	if err != nil {
		return nil, fmt.Errorf("make initiation: %w", err)
	}
	i, err := session.NewInitiator(session.Config{Static: key, Rand: random, Prologue: []byte(to)}, receiver, uint64(time.Hour), payload)
	if err != nil {
		return nil, fmt.Errorf("make initiation: %w", err)
	}
	return append([]byte(nil), i.Message()...), nil
}

// binding is a STUN binding request (RFC 8489 §5).
func binding(random io.Reader, attributes ...[]byte) ([]byte, error) {
	b := make([]byte, 20)
	if _, err := io.ReadFull(random, b[8:]); err != nil {
		return nil, err
	}
	for _, a := range attributes {
		b = append(b, a...)
	}
	binary.BigEndian.PutUint16(b, 1)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20))
	binary.BigEndian.PutUint32(b[4:], 0x2112A442)
	return b, nil
}

// attribute is one of STUN's; the value's length must be a multiple of 4.
func attribute(typ uint16, value []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, typ)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}
