package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/punchlab/punchlab/impl/identity"
)

// Denied is the rendezvous' payload in a response, in place of Registered or LoggedIn: no session comes of it.
type Denied struct {
	Code  Code   `cbor:"1,keyasint"`
	Retry uint16 `cbor:"2,keyasint,omitempty"` // seconds after which to try again here; 0: as the device likes
}

// What Watch and Presence carry at most.
const (
	MaxWatched  = 32
	MaxStatuses = 24
)

// Watch asks the rendezvous to tell the viewer whether cameras are online, now and at each change. The viewer repeats it
// until a Presence answers it.
type Watch struct {
	Sequence uint32         `cbor:"1,keyasint"` // from 1 in each session, grows
	Cameras  []identity.UID `cbor:"2,keyasint"` // 1 to MaxWatched
	End      bool           `cbor:"3,keyasint,omitempty"`
	// End says that these are no longer watched.
}

// Presence says how cameras are that the viewer watches. The rendezvous repeats it until a PresenceAck.
type Presence struct {
	Sequence uint32   `cbor:"1,keyasint"`           // from 1 in each session, grows; the latest status of a camera counts
	Answers  uint32   `cbor:"2,keyasint,omitempty"` // the Watch's sequence; 0: unasked
	Cameras  []Status `cbor:"3,keyasint,omitempty"` // at most MaxStatuses
}

// PresenceAck ends the repetition of Presence.
type PresenceAck struct {
	Sequence uint32 `cbor:"1,keyasint"` // the Presence's
}

// State says whether a camera can be reached.
type State uint8

// The states. What is told first is one of the first two: a camera that is offline and one that never was look alike.
const (
	StateUnavailable State = 0
	StateOnline      State = 1
	StateLeft        State = 2 // it said goodbye while it was watched
	StateSilent      State = 3 // it fell silent while it was watched
)

var stateNames = [...]string{"unavailable", "online", "left", "silent"}

// String names the state.
func (s State) String() string {
	if int(s) >= len(stateNames) {
		return fmt.Sprintf("state-%d", uint8(s))
	}
	return stateNames[s]
}

// Status is how a camera is. On the wire it is a byte string of StatusSize bytes:
//
//	0 UID(28) │ 28 state(1) │ 29 age(4, big-endian)
type Status struct {
	UID   identity.UID
	State State
	Age   uint32 // seconds since the state began; 0 where the camera is unavailable
}

// StatusSize is a Status' length on the wire, in bytes.
const StatusSize = 33

// ErrStatus says that bytes are no status.
var ErrStatus = errors.New("not a camera's status")

func (s Status) valid() error {
	if !s.UID.Valid() || s.State > StateSilent || s.State == StateUnavailable && s.Age != 0 {
		return fmt.Errorf("%w: state %d, age %d s", ErrStatus, s.State, s.Age)
	}
	return nil
}

// MarshalCBOR writes the byte string.
func (s Status) MarshalCBOR() ([]byte, error) {
	if err := s.valid(); err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, 2+StatusSize), 0x58, byte(StatusSize))
	b = append(append(b, s.UID[:]...), byte(s.State))
	return binary.BigEndian.AppendUint32(b, s.Age), nil
}

// UnmarshalCBOR reads the byte string.
func (s *Status) UnmarshalCBOR(b []byte) error {
	if len(b) != 2+StatusSize || b[0] != 0x58 || b[1] != byte(StatusSize) {
		return ErrStatus
	}
	n := 2 + copy(s.UID[:], b[2:])
	s.State, s.Age = State(b[n]), binary.BigEndian.Uint32(b[n+1:])
	return s.valid()
}

func (m *Denied) validate() error { return code(m.Code, false) }

func (m *Watch) validate() error {
	if len(m.Cameras) == 0 || len(m.Cameras) > MaxWatched {
		return fmt.Errorf("%w: %d cameras", ErrInvalid, len(m.Cameras))
	}
	for _, u := range m.Cameras {
		if !u.Valid() {
			return check(false, "camera's UID")
		}
	}
	return sequence(m.Sequence)
}

func (m *Presence) validate() error {
	if len(m.Cameras) > MaxStatuses || len(m.Cameras) == 0 && m.Answers == 0 {
		return fmt.Errorf("%w: %d cameras", ErrInvalid, len(m.Cameras))
	}
	for _, s := range m.Cameras {
		if err := s.valid(); err != nil {
			return err
		}
	}
	return sequence(m.Sequence)
}

func (m *PresenceAck) validate() error { return sequence(m.Sequence) }
