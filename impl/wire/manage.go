package wire

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/punchlab/punchlab/impl/identity"
)

// Lengths in bytes of what others made or chose, at most, and how many members one answer has.
const (
	MaxCertificate = 256
	MaxToken       = 256
	MaxName        = 32
	MaxMembers     = 8
)

// Role is what a viewer may do at a camera.
type Role uint8

// The roles; 0 is none. An owner may watch and manage, a guest may watch.
const (
	RoleOwner Role = 1
	RoleGuest Role = 2
)

// String names the role.
func (r Role) String() string {
	switch r {
	case 0:
		return "none"
	case RoleOwner:
		return "owner"
	case RoleGuest:
		return "guest"
	}
	return fmt.Sprintf("role-%d", uint8(r))
}

// Op is what a Manage wants done.
type Op uint8

// The operations, and which fields of Manage each has beside Sequence and Op.
const (
	OpList    Op = 1 // From: tell who is paired
	OpInvite  Op = 2 // Secret, Role; Seconds, Name: who proves this secret gets this role, once
	OpRevoke  Op = 3 // Key: it may no longer watch
	OpSetRole Op = 4 // Key, Role
	OpRelease Op = 5 // nothing: forget all pairings and invitations; the label works again
	OpCancel  Op = 6 // Secret: of an invitation
)

var opNames = map[Op]string{OpList: "list", OpInvite: "invite", OpRevoke: "revoke", OpSetRole: "set-role", OpRelease: "release",
	OpCancel: "cancel"}

// String names the operation.
func (o Op) String() string {
	if s, ok := opNames[o]; ok {
		return s
	}
	return fmt.Sprintf("op-%d", uint8(o))
}

// Manage asks the camera about, or to change, who may watch it. The viewer repeats it until Managed; the camera answers a
// repeated sequence alike and does nothing twice.
type Manage struct {
	Sequence uint32             `cbor:"1,keyasint"` // from 1 in each session, grows
	Op       Op                 `cbor:"2,keyasint"`
	Key      identity.PublicKey `cbor:"3,keyasint,omitzero"`
	Role     Role               `cbor:"4,keyasint,omitempty"`
	Seconds  uint32             `cbor:"5,keyasint,omitempty"` // how long what an invitation gives holds; 0: without end
	Secret   identity.Secret    `cbor:"6,keyasint,omitzero"`
	Name     []byte             `cbor:"7,keyasint,omitempty"` // see ValidName
	From     uint32             `cbor:"8,keyasint,omitempty"` // index of the first member to tell
}

// Managed is the camera's answer.
type Managed struct {
	Sequence uint32   `cbor:"1,keyasint"`           // the Manage's
	Code     Code     `cbor:"2,keyasint,omitempty"` // why it was refused, if it was
	Members  []Member `cbor:"3,keyasint,omitempty"` // of OpList, at most MaxMembers
	Next     uint32   `cbor:"4,keyasint,omitempty"` // From of the OpList that goes on; 0: these are all
}

// Member is a viewer that is paired with a camera.
type Member struct {
	Key     identity.PublicKey `cbor:"1,keyasint"`
	Role    Role               `cbor:"2,keyasint"`
	Name    []byte             `cbor:"3,keyasint,omitempty"`
	Seconds uint32             `cbor:"4,keyasint,omitempty"` // until it may no longer watch; 0: without end
}

// ValidName says whether s can be a viewer's name: 1 to MaxName bytes of UTF-8 without control characters, those that turn the direction
// of writing or break lines among them (Unicode UAX #9): a list of names must not show one as part of another.
func ValidName(s string) bool { return s != "" && name([]byte(s)) == nil }

// name accepts one that is absent.
func name(b []byte) error {
	ok := len(b) <= MaxName && utf8.Valid(b)
	for _, r := range string(b) {
		ok = ok && !unicode.IsControl(r) && !unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
	}
	return check(ok, "name")
}

func isRole(r Role) bool { return r == RoleOwner || r == RoleGuest }

// needs has the fields that an operation must have; of these three it may have no other.
type needs struct{ secret, key, role bool }

var opNeeds = map[Op]needs{OpList: {}, OpInvite: {secret: true, role: true}, OpRevoke: {key: true}, OpSetRole: {key: true, role: true},
	OpRelease: {}, OpCancel: {secret: true}}

func (m *Manage) validate() error {
	want, known := opNeeds[m.Op]
	has := needs{secret: m.Secret != identity.Secret{}, key: !m.Key.IsZero(), role: m.Role != 0}
	return first(check(known, "operation"), sequence(m.Sequence), name(m.Name), check(m.Role == 0 || isRole(m.Role), "role"),
		check(has == want, "fields of "+m.Op.String()),
		check(m.Op == OpInvite || m.Seconds == 0 && len(m.Name) == 0, "seconds or name"),
		check(m.Op == OpList || m.From == 0, "from"))
}

func (m *Managed) validate() error {
	if len(m.Members) > MaxMembers {
		return fmt.Errorf("%w: %d members", ErrInvalid, len(m.Members))
	}
	for _, x := range m.Members {
		if err := first(check(!x.Key.IsZero(), "key 0"), check(isRole(x.Role), "role"), name(x.Name)); err != nil {
			return err
		}
	}
	return first(sequence(m.Sequence), code(m.Code, true))
}
