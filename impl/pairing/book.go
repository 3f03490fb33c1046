package pairing

import (
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/punchlab/punchlab/impl/identity"
)

// Role is what a member may do. The numbers are the protocol's.
type Role uint8

// The roles: a guest may watch, an owner may change the book too.
const (
	Owner Role = 1
	Guest Role = 2
)

// String names the role.
func (r Role) String() string {
	switch r {
	case Owner:
		return "owner"
	case Guest:
		return "guest"
	}
	return fmt.Sprintf("role-%d", uint8(r))
}

func (r Role) valid() bool { return r == Owner || r == Guest }

// Member is a viewer that may watch.
type Member struct {
	Key   identity.PublicKey
	Role  Role
	Name  string // for people; "": none
	Since int64  // unix seconds
	Until int64  // unix seconds after which it may no longer watch; 0: without end
}

// Invitation is an offer that one viewer may take, by proving its secret.
type Invitation struct {
	Secret identity.Secret
	Role   Role
	Name   string // of who takes it; "": as he calls himself
	Until  int64  // unix seconds: of the offer, and of what it gives; 0: without end
}

// Config is what a Book does not keep itself.
type Config struct {
	Camera identity.PublicKey
	Secret identity.Secret // the label's; zero: the label pairs nobody
	// Open lets everybody with the label watch, as a guest that is not written down, when there is an owner already.
	Open bool
}

// Book is who may watch one camera.
type Book struct {
	cfg         Config
	clock       int64 // the latest time seen at a change, unix seconds
	members     []Member
	invitations []Invitation
}

// New returns an empty Book: who first proves the label's secret becomes the owner.
func New(cfg Config) *Book { return &Book{cfg: cfg} }

// Copy returns a book that is as this one is now, and stays so.
func (b *Book) Copy() *Book {
	c := *b
	c.members, c.invitations = slices.Clone(b.members), slices.Clone(b.invitations)
	return &c
}

// Equal says whether Marshal returns the same of both.
func (b *Book) Equal(o *Book) bool {
	return b.clock == o.clock && slices.Equal(b.members, o.members) && slices.Equal(b.invitations, o.invitations)
}

// Grant is what Check found that a viewer may do.
type Grant struct {
	Viewer identity.PublicKey
	Role   Role
	Until  int64 // unix seconds; 0: without end
	// Paired says that the viewer is in the book already. Who has the label of an open book alone never is.
	Paired bool

	name   string
	secret identity.Secret // of the invitation
	by     basis
}

// Unlisted says that the viewer may watch without being in the book: it has the label of an open one.
func (g Grant) Unlisted() bool { return g.by == byOpenLabel }

type basis uint8

const (
	byBook basis = iota
	byLabel
	byInvitation
	byOpenLabel
)

// Check says what a viewer may do that shows a proof (zero: none). It changes nothing. Errors: ErrNotPaired, ErrClaimed.
func (b *Book) Check(now time.Time, viewer identity.PublicKey, proof identity.Proof) (Grant, error) {
	g := Grant{Viewer: viewer}
	at := b.member(now, viewer)
	if at >= 0 {
		m := b.members[at]
		g.Paired, g.Role, g.Until = true, m.Role, m.Until
		if m.Role == Owner || proof.IsZero() {
			return g, nil
		}
	}
	if in, ok := b.proved(now, viewer, proof); ok {
		g.by, g.secret, g.Role, g.Until, g.name = byInvitation, in.Secret, in.Role, in.Until, in.Name
		return g, nil
	}
	switch {
	case at >= 0:
		return g, nil
	case b.cfg.Secret == identity.Secret{} || !b.shows(b.cfg.Secret, viewer, proof):
		return Grant{}, ErrNotPaired
	case !b.Claimed():
		g.by, g.Role = byLabel, Owner
	case b.cfg.Open:
		g.by, g.Role = byOpenLabel, Guest
	default:
		return Grant{}, ErrClaimed
	}
	return g, nil
}

// Take writes down what Check found, under the name that the viewer gives itself where it has no other. changed says that the book is
// another now. What was on offer may have gone to somebody else meanwhile: then the error is Check's.
func (b *Book) Take(now time.Time, g Grant, name string) (m Member, changed bool, err error) {
	switch at := b.member(now, g.Viewer); {
	case g.by == byOpenLabel:
		return Member{Key: g.Viewer, Role: Guest}, false, nil
	case g.by == byBook && at < 0:
		return Member{}, false, ErrNotPaired
	case g.by == byBook:
		return b.members[at], false, nil
	case at >= 0 && b.members[at].Role == Owner: // he has become one since Check
		return b.members[at], false, nil
	case g.by == byLabel && b.Claimed():
		return Member{}, false, ErrClaimed
	case g.by == byInvitation && b.invitation(now, g.secret) < 0:
		return Member{}, false, ErrNotPaired
	}
	if g.name == "" && validName(name) {
		g.name = name
	}
	b.tick(now)
	m = Member{Key: g.Viewer, Role: g.Role, Name: g.name, Since: b.clock, Until: g.Until}
	if at := b.index(g.Viewer); at >= 0 {
		if m.Name == "" {
			m.Name = b.members[at].Name
		}
		m.Since = b.members[at].Since
		b.members[at] = m
	} else if len(b.members) >= MaxMembers {
		return Member{}, false, ErrFull
	} else {
		b.members = append(b.members, m)
	}
	b.invitations = slices.DeleteFunc(b.invitations, func(in Invitation) bool { return g.by == byInvitation && in.Secret == g.secret })
	return m, true, nil
}

// Member is a viewer's entry; false: it is not in the book, or its time is over.
func (b *Book) Member(now time.Time, viewer identity.PublicKey) (Member, bool) {
	at := b.member(now, viewer)
	if at < 0 {
		return Member{}, false
	}
	return b.members[at], true
}

// Claimed says whether the camera has an owner.
func (b *Book) Claimed() bool {
	return slices.ContainsFunc(b.members, func(m Member) bool { return m.Role == Owner })
}

// Members lists who may watch at now, in the order in which they came.
func (b *Book) Members(now time.Time) []Member {
	var ms []Member
	for _, m := range b.members {
		if !b.over(now, m.Until) {
			ms = append(ms, m)
		}
	}
	return ms
}

// Left is how many seconds, rounded up, remain until; 0: without end.
func (b *Book) Left(now time.Time, until int64) int64 {
	if until == 0 {
		return 0
	}
	return max(until-b.time(now), 1)
}

// time is the clock's, or the latest that was seen.
func (b *Book) time(now time.Time) int64 { return max(now.Unix(), b.clock) }

// tick notes the time of a change and forgets what has lapsed.
func (b *Book) tick(now time.Time) {
	b.clock = b.time(now)
	b.members = slices.DeleteFunc(b.members, func(m Member) bool { return b.over(now, m.Until) })
	b.invitations = slices.DeleteFunc(b.invitations, func(in Invitation) bool { return b.over(now, in.Until) })
}

func (b *Book) over(now time.Time, until int64) bool { return until != 0 && b.time(now) >= until }

// index is where a key is in members, whether its time is over or not; -1: nowhere.
func (b *Book) index(key identity.PublicKey) int {
	return slices.IndexFunc(b.members, func(m Member) bool { return m.Key == key })
}

// member is where a key that may watch is in members; -1: nowhere.
func (b *Book) member(now time.Time, key identity.PublicKey) int {
	at := b.index(key)
	if at >= 0 && b.over(now, b.members[at].Until) {
		return -1
	}
	return at
}

func (b *Book) invitation(now time.Time, secret identity.Secret) int {
	return slices.IndexFunc(b.invitations, func(in Invitation) bool { return in.Secret == secret && !b.over(now, in.Until) })
}

// proved finds the invitation whose secret the viewer knows.
func (b *Book) proved(now time.Time, viewer identity.PublicKey, proof identity.Proof) (Invitation, bool) {
	for _, in := range b.invitations {
		if !b.over(now, in.Until) && b.shows(in.Secret, viewer, proof) {
			return in, true
		}
	}
	return Invitation{}, false
}

func (b *Book) shows(secret identity.Secret, viewer identity.PublicKey, proof identity.Proof) bool {
	return !proof.IsZero() && identity.PairingProof(secret, viewer, b.cfg.Camera).Equal(proof)
}

// validName says whether a name can be shown to people as it is.
func validName(s string) bool {
	ok := s != "" && len(s) <= MaxName && utf8.ValidString(s)
	for _, r := range s {
		ok = ok && !unicode.IsControl(r) && !unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
	}
	return ok
}
