package camera

import (
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/pairing"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// farewell is how long an owner that has taken himself out of the book is still answered, without media: the answer may have been
// lost, and he asks again.
const farewell = 5 * time.Second

// managing is what a viewer has asked of the book.
type managing struct {
	sequence uint32 // of the last Manage
	answer   *wire.Managed
	leave    time.Time // when the viewer is sent away; zero: never
}

// manage does what an owner asks of the book, once, and answers where the viewer is known to receive.
func (v *viewer) manage(now time.Time, path punch.Path, cand *punch.Candidate, m *wire.Manage, size int) error {
	to, ok := v.receives(path, cand)
	switch {
	case !ok:
		return v.challenge(now, cand, size) // it asks again
	case m.Sequence < v.managing.sequence:
		return nil // late
	case m.Sequence > v.managing.sequence:
		v.managing.sequence, v.managing.answer = m.Sequence, v.change(now, m)
		v.managing.answer.Sequence = m.Sequence
	}
	v.sealTo(to, v.managing.answer)
	return nil
}

// change does what a Manage asks for.
func (v *viewer) change(now time.Time, m *wire.Manage) *wire.Managed {
	book := v.cam.cfg.Book
	if book == nil {
		return &wire.Managed{Code: wire.CodeNotAllowed}
	}
	if self, ok := book.Member(now, v.key); !ok || !mayAsk(book, now, self, m) {
		return &wire.Managed{Code: wire.CodeNotAllowed}
	}
	change, do := v.wanted(now, m)
	switch {
	case m.Op == wire.OpList:
		return list(book, now, m.From)
	case do == nil:
		return &wire.Managed{Code: wire.CodeMalformed}
	}
	if err := v.cam.amend(do); err != nil {
		return &wire.Managed{Code: codeOf(err)}
	}
	v.changedBook(now, change, m.Key)
	return &wire.Managed{}
}

// mayAsk says whether a member may ask for what it does. An owner for a time has the guests to manage, not the owners: he could make his
// time endless, and take the camera from who has lent it to him.
func mayAsk(book *pairing.Book, now time.Time, self pairing.Member, m *wire.Manage) bool {
	switch {
	case self.Role != pairing.Owner:
		return false
	case self.Until == 0:
		return true
	}
	about, _ := book.Member(now, m.Key)
	switch m.Op {
	case wire.OpInvite:
		return m.Role != wire.RoleOwner
	case wire.OpRevoke:
		return about.Role != pairing.Owner || m.Key == self.Key
	case wire.OpList, wire.OpCancel:
		return true
	}
	return false
}

// wanted is what a Manage has changed in the book, and how; nil: nothing.
func (v *viewer) wanted(now time.Time, m *wire.Manage) (Change, func(*pairing.Book) error) {
	switch m.Op {
	case wire.OpInvite:
		return Invited, func(b *pairing.Book) error {
			return b.Invite(now, pairing.Invitation{
				Secret: m.Secret, Role: pairing.Role(m.Role), Name: string(m.Name), Until: b.Until(now, m.Seconds),
			})
		}
	case wire.OpRevoke:
		return Revoked, func(b *pairing.Book) error { return b.Revoke(now, m.Key) }
	case wire.OpSetRole:
		return Promoted, func(b *pairing.Book) error { return b.SetRole(now, m.Key, pairing.Role(m.Role)) }
	case wire.OpCancel:
		return Canceled, func(b *pairing.Book) error { return b.Cancel(now, m.Secret) }
	case wire.OpRelease:
		return Released, func(b *pairing.Book) error { b.Release(now); return nil }
	}
	return 0, nil
}

// changedBook tells of a change, and sends away whom it concerns; its author is answered first.
func (v *viewer) changedBook(now time.Time, change Change, about identity.PublicKey) {
	e := PairingsChanged{At: now, By: v.key.UID(), Change: change}
	if !about.IsZero() {
		e.Viewer = about.UID()
	}
	v.cam.box.Emit(e)
	v.cam.recheck(now, v)
	if _, ok := v.cam.cfg.Book.Member(now, v.key); !ok {
		v.managing.leave = now.Add(farewell)
		v.stream.mute()
	}
}

// list is a part of the members, from an index on.
func list(book *pairing.Book, now time.Time, from uint32) *wire.Managed {
	all := book.Members(now)
	at := min(int64(from), int64(len(all)))
	end := min(at+wire.MaxMembers, int64(len(all)))
	answer := &wire.Managed{}
	for _, m := range all[at:end] {
		answer.Members = append(answer.Members, wire.Member{
			Key: m.Key, Role: wire.Role(m.Role), Name: []byte(m.Name), Seconds: uint32(min(book.Left(now, m.Until), 1<<32-1)),
		})
	}
	if end < int64(len(all)) {
		answer.Next = uint32(end)
	}
	return answer
}
