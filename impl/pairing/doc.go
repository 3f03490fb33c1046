// Package pairing keeps a camera's book of who may watch it: its owners, their guests, and the invitations that are open.
//
//	label's secret, first proof                   label's secret again: claimed
//	nobody ─────────────────────────► owner ──┬── invites: secret, role, how long ──► invitation
//	   ▲                               │  ▲   │                                          │ proof of its secret, once
//	   └────────── Release ────────────┘  │   ├── sets roles ◄─────────────────────── guest, or owner
//	        (or the camera's reset)       └───┴── revokes: may no longer watch           │ its time is over: unknown again
//
// A viewer that comes is asked for in two steps, since the first message of its handshake may be a copy that somebody made
// of an older one: Check says what it would be granted and changes nothing, Take writes it down once the viewer was heard.
//
//	g, err := book.Check(now, viewer, proof)    the handshake's first message
//	m, changed, err := book.Take(now, g, name)  the first sealed datagram; changed: save Marshal's bytes
//
// Time is the camera's clock, or the latest time that the book has seen, whichever is later: a clock that starts again at 1970
// brings nobody's time back.
//
// A Book is pure: no clock, file or lock of its own. It is not safe for concurrent use; who keeps it in a file keeps that for
// himself (mode 0600), because open invitations are secrets.
package pairing

import "errors"

// Why a viewer is not admitted, or a change not made. Their texts say what to do.
var (
	ErrNotPaired  = errors.New("the viewer is not paired: add the camera by its label, or ask its owner for an invitation")
	ErrClaimed    = errors.New("the camera has an owner: ask him for an invitation, or reset the camera")
	ErrUnknown    = errors.New("nobody with this key is paired: list who is")
	ErrInvitation = errors.New("no such invitation is open: it was used, cancelled or has lapsed")
	ErrSecret     = errors.New("an invitation needs a random secret of its own")
	ErrLastOwner  = errors.New("a camera keeps one owner at least: make another one owner first, or release the camera")
	ErrFull       = errors.New("the book is full: revoke who need not watch any more, or cancel invitations")
	ErrRole       = errors.New("the role is neither owner nor guest")
	ErrName       = errors.New("a name is 1 to 32 bytes of UTF-8 without control characters")
)

// Limits of a Book.
const (
	MaxMembers     = 64
	MaxInvitations = 16
	MaxName        = 32 // bytes
)
