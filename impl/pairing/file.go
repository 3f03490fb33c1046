package pairing

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/punchlab/punchlab/impl/identity"
)

// version of the bytes that Marshal makes.
const version = 1

// The bytes are JSON, so that a person can read who may watch.
type stored struct {
	Version     int                `json:"version"`
	Camera      string             `json:"camera"` // UID
	Clock       int64              `json:"clock"`  // unix seconds
	Members     []storedMember     `json:"members"`
	Invitations []storedInvitation `json:"invitations,omitempty"`
}

type storedMember struct {
	Key   string `json:"key"`
	Role  string `json:"role"`
	Name  string `json:"name,omitempty"`
	Since int64  `json:"since"`
	Until int64  `json:"until,omitempty"`
}

type storedInvitation struct {
	Secret string `json:"secret"` // hexadecimal
	Role   string `json:"role"`
	Name   string `json:"name,omitempty"`
	Until  int64  `json:"until,omitempty"`
}

// Marshal returns the book for a file, secrets included.
func (b *Book) Marshal() []byte {
	s := stored{Version: version, Camera: b.cfg.Camera.UID().String(), Clock: b.clock, Members: []storedMember{}}
	for _, m := range b.members {
		s.Members = append(s.Members, storedMember{m.Key.String(), m.Role.String(), m.Name, m.Since, m.Until})
	}
	for _, in := range b.invitations {
		s.Invitations = append(s.Invitations, storedInvitation{hex.EncodeToString(in.Secret[:]), in.Role.String(), in.Name, in.Until})
	}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // strings and numbers alone
	}
	return append(out, '\n')
}

// Load reads what Marshal made. An error says what is wrong with it, and holds no secret.
func Load(cfg Config, data []byte) (*Book, error) {
	s, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("read pairings: %w: put a copy of the file back, or reset the camera and pair anew", err)
	}
	switch {
	case s.Version != version:
		return nil, fmt.Errorf("read pairings: version %d, this program reads %d: use the program that wrote them", s.Version, version)
	case s.Camera != cfg.Camera.UID().String():
		return nil, fmt.Errorf("read pairings: they are those of camera %s, this one is %s: put each file into its own camera's folder",
			s.Camera, cfg.Camera.UID())
	case len(s.Members) > MaxMembers || len(s.Invitations) > MaxInvitations:
		return nil, fmt.Errorf("read pairings: %d members and %d invitations, at most %d and %d fit", len(s.Members), len(s.Invitations),
			MaxMembers, MaxInvitations)
	}
	b := &Book{cfg: cfg, clock: s.Clock}
	for i, m := range s.Members {
		if err := b.restore(m); err != nil {
			return nil, fmt.Errorf("read pairings: member %d: %w", i, err)
		}
	}
	for i, in := range s.Invitations {
		if err := b.reopen(in); err != nil {
			return nil, fmt.Errorf("read pairings: invitation %d: %w", i, err)
		}
	}
	return b, nil
}

func decode(data []byte) (s stored, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, err
	}
	if _, err := d.Token(); err != io.EOF {
		return s, errors.New("something follows the end")
	}
	return s, nil
}

func (b *Book) restore(m storedMember) error {
	key, err := identity.ParsePublicKey(m.Key)
	if err != nil {
		return err
	}
	role, err := attributes(m.Role, m.Name, m.Until)
	switch {
	case err != nil:
		return err
	case b.index(key) >= 0:
		return fmt.Errorf("%s is in the list twice", key.UID())
	}
	b.members = append(b.members, Member{key, role, m.Name, m.Since, m.Until})
	return nil
}

func (b *Book) reopen(in storedInvitation) error {
	raw, err := hex.DecodeString(in.Secret)
	if err != nil || len(raw) != len(identity.Secret{}) {
		return ErrSecret // err would quote it
	}
	role, err := attributes(in.Role, in.Name, in.Until)
	if err != nil {
		return err
	}
	secret := identity.Secret(raw)
	if slices.ContainsFunc(b.invitations, func(o Invitation) bool { return o.Secret == secret }) || secret == (identity.Secret{}) {
		return ErrSecret
	}
	b.invitations = append(b.invitations, Invitation{secret, role, in.Name, in.Until})
	return nil
}

func attributes(role, name string, until int64) (Role, error) {
	switch {
	case name != "" && !validName(name):
		return 0, ErrName
	case until < 0:
		return 0, fmt.Errorf("it ended %d s before 1970", -until)
	case role == Owner.String():
		return Owner, nil
	case role == Guest.String():
		return Guest, nil
	}
	return 0, ErrRole
}
