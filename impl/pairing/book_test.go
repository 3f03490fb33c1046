package pairing

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
)

var (
	noon   = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	camera = key("camera")
	label  = secret("label")
)

func key(seed string) (k identity.PublicKey) { copy(k[:], seed+strings.Repeat("k", 32)); return k }
func secret(seed string) (s identity.Secret) { copy(s[:], seed+strings.Repeat("s", 16)); return s }
func proof(s, viewer string) identity.Proof {
	return identity.PairingProof(secret(s), key(viewer), camera)
}
func later(seconds int) time.Time              { return noon.Add(time.Duration(seconds) * time.Second) }
func book() *Book                              { return New(Config{Camera: camera, Secret: label}) }
func (b *Book) has(viewer string) (Role, bool) { return b.at(noon, viewer) }

func (b *Book) at(now time.Time, viewer string) (Role, bool) {
	m, ok := b.Member(now, key(viewer))
	return m.Role, ok
}

// pair has a viewer come with a proof of a secret and be heard.
func (b *Book) pair(t *testing.T, now time.Time, viewer, by string) (Member, error) {
	t.Helper()
	g, err := b.Check(now, key(viewer), proof(by, viewer))
	if err != nil {
		return Member{}, err
	}
	m, changed, err := b.Take(now, g, viewer)
	if err == nil && changed == g.Paired && g.by == byBook {
		t.Errorf("%s was paired before: %v, and the book changed: %v", viewer, g.Paired, changed)
	}
	return m, err
}

// owned is a book with an owner.
func owned(t *testing.T) *Book {
	t.Helper()
	b := book()
	if m, err := b.pair(t, noon, "owner", "label"); err != nil || m.Role != Owner || m.Name != "owner" {
		t.Fatalf("the first with the label is %+v, %v", m, err)
	}
	return b
}

func TestTheLabelMakesOneOwner(t *testing.T) {
	b := owned(t)
	if _, err := b.Check(noon, key("thief"), proof("label", "thief")); !errors.Is(err, ErrClaimed) {
		t.Errorf("the second with the label: %v, want %v", err, ErrClaimed)
	}
	for name, p := range map[string]identity.Proof{
		"no proof": {}, "a wrong secret": proof("guess", "thief"), "the owner's proof": proof("label", "owner"),
	} {
		if _, err := b.Check(noon, key("thief"), p); !errors.Is(err, ErrNotPaired) {
			t.Errorf("%s: %v, want %v", name, err, ErrNotPaired)
		}
	}
	if g, err := b.Check(noon, key("owner"), identity.Proof{}); err != nil || !g.Paired || g.Role != Owner {
		t.Errorf("the owner without a proof: %+v, %v", g, err)
	}
	if len(b.Members(noon)) != 1 {
		t.Errorf("members: %v", b.Members(noon))
	}
}

// A copied first message of a handshake leaves no trace: nothing is written before the viewer was heard. Of two that came with the
// label, the first one that is heard is the owner.
func TestCheckChangesNothing(t *testing.T) {
	b := book()
	before := b.Marshal()
	first, err1 := b.Check(noon, key("first"), proof("label", "first"))
	second, err2 := b.Check(noon, key("second"), proof("label", "second"))
	if err1 != nil || err2 != nil || first.Role != Owner || second.Role != Owner || !bytes.Equal(before, b.Marshal()) {
		t.Fatalf("%v, %v; the book is\n%s", err1, err2, b.Marshal())
	}
	if m, changed, err := b.Take(noon, second, "x"); err != nil || !changed || m.Role != Owner {
		t.Errorf("the first heard: %+v, %v, %v", m, changed, err)
	}
	if _, changed, err := b.Take(noon, first, "x"); !errors.Is(err, ErrClaimed) || changed {
		t.Errorf("the one heard later: changed %v, %v", changed, err)
	}
	if _, changed, err := b.Take(noon, Grant{Viewer: key("nobody")}, "x"); !errors.Is(err, ErrNotPaired) || changed {
		t.Errorf("a grant of an entry that is gone: changed %v, %v", changed, err)
	}
}

func TestAnOpenBookLetsTheLabelIn(t *testing.T) {
	b := New(Config{Camera: camera, Secret: label, Open: true})
	for i, want := range []Role{Owner, Guest, Guest} {
		if m, err := b.pair(t, noon, string(rune('a'+i)), "label"); err != nil || m.Role != want {
			t.Errorf("viewer %d with the label: %+v, %v, want %v", i, m, err, want)
		}
	}
	if len(b.Members(noon)) != 1 {
		t.Errorf("guests of the label are written down: %v", b.Members(noon))
	}
	if b := New(Config{Camera: camera, Open: true}); !errorsIs(b, "", ErrNotPaired) {
		t.Error("a book without a label's secret takes a proof of the empty one")
	}
}

func errorsIs(b *Book, by string, want error) bool {
	var zero identity.Secret
	p := identity.PairingProof(zero, key("v"), camera)
	if by != "" {
		p = proof(by, "v")
	}
	_, err := b.Check(noon, key("v"), p)
	return errors.Is(err, want)
}

func TestInvitationsServeOnce(t *testing.T) {
	b := owned(t)
	if err := b.Invite(noon, Invitation{Secret: secret("one"), Role: Guest, Name: "Ann"}); err != nil {
		t.Fatal(err)
	}
	g, err := b.Check(noon, key("ann"), proof("one", "ann"))
	rival, err2 := b.Check(noon, key("bob"), proof("one", "bob"))
	if err != nil || err2 != nil || g.Paired || g.Role != Guest {
		t.Fatalf("the invited: %+v, %v, %v", g, err, err2)
	}
	if m, changed, err := b.Take(noon, g, "me"); err != nil || !changed || m.Name != "Ann" || m.Role != Guest || m.Until != 0 {
		t.Errorf("the guest is %+v, %v, %v", m, changed, err)
	}
	if _, changed, err := b.Take(noon, rival, "me"); !errors.Is(err, ErrNotPaired) || changed {
		t.Errorf("a second one takes the invitation: %v", err)
	}
	if _, err := b.pair(t, noon, "bob", "one"); !errors.Is(err, ErrNotPaired) {
		t.Errorf("the invitation serves again: %v", err)
	}
	if role, ok := b.has("ann"); !ok || role != Guest {
		t.Errorf("the guest is %v, %v", role, ok)
	}
	if err := b.Cancel(noon, secret("one")); !errors.Is(err, ErrInvitation) {
		t.Errorf("cancel a used one: %v", err)
	}
}

func TestInvitationsEnd(t *testing.T) {
	b := owned(t)
	until := b.Until(noon, 60)
	for _, s := range []string{"used", "unused", "cancelled"} {
		if err := b.Invite(noon, Invitation{Secret: secret(s), Role: Guest, Until: until}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Cancel(noon, secret("cancelled")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.pair(t, later(59), "ann", "cancelled"); !errors.Is(err, ErrNotPaired) {
		t.Errorf("a cancelled one: %v", err)
	}
	if _, err := b.pair(t, later(59), "ann", "used"); err != nil {
		t.Fatal(err)
	}
	if left := b.Left(later(59), until); left != 1 || b.Left(noon, 0) != 0 {
		t.Errorf("%d s are left", left)
	}
	if _, ok := b.at(later(60), "ann"); ok || len(b.Members(later(60))) != 1 || len(b.Invitations(later(60))) != 0 {
		t.Error("the guest outlives her time")
	}
	if _, err := b.pair(t, later(60), "bob", "unused"); !errors.Is(err, ErrNotPaired) {
		t.Errorf("a lapsed one: %v", err)
	}
	if _, err := b.pair(t, later(60), "ann", "label"); !errors.Is(err, ErrClaimed) {
		t.Errorf("the label of an owned camera: %v", err)
	}
	if err := b.Invite(later(60), Invitation{Secret: secret("more"), Role: Guest}); err != nil {
		t.Fatal(err)
	}
	if m, err := b.pair(t, later(61), "ann", "more"); err != nil || m.Until != 0 {
		t.Errorf("invited again: %+v, %v", m, err)
	}
}

// A member that takes another invitation has what that one gives, and stays the same member.
func TestInvitationsRenew(t *testing.T) {
	b := owned(t)
	for i, in := range []Invitation{{Role: Guest, Until: b.Until(noon, 60)}, {Role: Guest, Until: b.Until(noon, 600)}, {Role: Owner}} {
		in.Secret = secret(string(rune('a' + i)))
		if err := b.Invite(noon, in); err != nil {
			t.Fatal(err)
		}
		m, err := b.pair(t, later(i), "ann", string(rune('a'+i)))
		if err != nil || m.Role != in.Role || m.Until != in.Until || m.Name != "ann" || m.Since != noon.Unix() {
			t.Errorf("invitation %d makes %+v, %v", i, m, err)
		}
	}
	if err := b.Invite(noon, Invitation{Secret: secret("less"), Role: Guest}); err != nil {
		t.Fatal(err)
	}
	if m, err := b.pair(t, noon, "ann", "less"); err != nil || m.Role != Owner || len(b.Invitations(noon)) != 1 {
		t.Errorf("an owner that shows a guest's invitation is %+v, %v", m, err)
	}
}

// A clock that starts again at 1970 gives nobody more time.
func TestClocksThatGoBack(t *testing.T) {
	b := owned(t)
	if err := b.Invite(noon, Invitation{Secret: secret("one"), Role: Guest, Until: b.Until(noon, 60)}); err != nil {
		t.Fatal(err)
	}
	if err := b.Invite(later(61), Invitation{Secret: secret("two"), Role: Guest}); err != nil { // the book has seen that time
		t.Fatal(err)
	}
	b, err := Load(Config{Camera: camera, Secret: label}, b.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	dawn := time.Unix(100, 0)
	if _, err := b.pair(t, dawn, "ann", "one"); !errors.Is(err, ErrNotPaired) {
		t.Errorf("a lapsed invitation in 1970: %v", err)
	}
	if until := b.Until(dawn, 60); until != later(121).Unix() {
		t.Errorf("a minute from 1970 ends at %v, want %v", time.Unix(until, 0).UTC(), later(121))
	}
	if m, err := b.pair(t, dawn, "ann", "two"); err != nil || m.Since != later(61).Unix() {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestRevokeAndRoles(t *testing.T) {
	b := owned(t)
	for _, v := range []string{"ann", "bob"} {
		if err := errors.Join(b.Invite(noon, Invitation{Secret: secret(v), Role: Guest, Until: b.Until(noon, 60)})); err != nil {
			t.Fatal(err)
		}
		if _, err := b.pair(t, noon, v, v); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct{ got, want error }{
		"revoke the last owner":   {b.Revoke(noon, key("owner")), ErrLastOwner},
		"demote the last owner":   {b.SetRole(noon, key("owner"), Guest), ErrLastOwner},
		"revoke a stranger":       {b.Revoke(noon, key("eve")), ErrUnknown},
		"promote a stranger":      {b.SetRole(noon, key("eve"), Owner), ErrUnknown},
		"give no role":            {b.SetRole(noon, key("ann"), 3), ErrRole},
		"revoke":                  {b.Revoke(noon, key("bob")), nil},
		"revoke whose time is up": {b.Revoke(later(60), key("ann")), ErrUnknown},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	if _, ok := b.has("bob"); ok || !errors.Is(pairErr(b.Check(noon, key("bob"), proof("bob", "bob"))), ErrNotPaired) {
		t.Error("a revoked guest comes back by his old invitation")
	}
	if err := b.SetRole(noon, key("ann"), Owner); err != nil {
		t.Fatal(err)
	}
	if role, ok := b.at(later(61), "ann"); !ok || role != Owner {
		t.Error("an owner's time ends")
	}
	if err := b.Revoke(noon, key("owner")); err != nil {
		t.Errorf("transfer: %v", err)
	}
	b.Release(noon)
	if _, ok := b.has("ann"); ok || b.Claimed() {
		t.Error("a released camera keeps its owner")
	}
	if m, err := b.pair(t, noon, "next", "label"); err != nil || m.Role != Owner {
		t.Errorf("the label after release makes %+v, %v", m, err)
	}
}

func pairErr(_ Grant, err error) error { return err }

// An owner that is one for a time only does not keep the last real one from being needed.
func TestATemporaryOwnerIsNotTheLast(t *testing.T) {
	b := owned(t)
	if err := b.Invite(noon, Invitation{Secret: secret("ann"), Role: Owner, Until: b.Until(noon, 60)}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.pair(t, noon, "ann", "ann"); err != nil {
		t.Fatal(err)
	}
	if err := b.Revoke(noon, key("owner")); !errors.Is(err, ErrLastOwner) {
		t.Errorf("the only owner without end is revoked: %v", err)
	}
}

func TestBadInvitations(t *testing.T) {
	b := owned(t)
	for name, c := range map[string]struct {
		in   Invitation
		want error
	}{
		"no secret":       {Invitation{Role: Guest}, ErrSecret},
		"the label's":     {Invitation{Role: Guest, Secret: label}, ErrSecret},
		"no role":         {Invitation{Secret: secret("x")}, ErrRole},
		"control in name": {Invitation{Secret: secret("x"), Role: Guest, Name: "a\x1b[2J"}, ErrName},
		"long name":       {Invitation{Secret: secret("x"), Role: Guest, Name: strings.Repeat("x", 33)}, ErrName},
		"not UTF-8":       {Invitation{Secret: secret("x"), Role: Guest, Name: "\xff"}, ErrName},
	} {
		if err := b.Invite(noon, c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for i := range MaxInvitations {
		if err := b.Invite(noon, Invitation{Secret: secret(string(rune('A' + i))), Role: Guest}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Invite(noon, Invitation{Secret: secret("A"), Role: Owner}); err != nil || b.Invitations(noon)[0].Role != Owner {
		t.Errorf("the same secret again: %v", err)
	}
	if err := b.Invite(noon, Invitation{Secret: secret("more"), Role: Guest}); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	if g, err := b.Check(noon, key("v"), proof("A", "v")); err != nil {
		t.Fatal(err)
	} else if m, _, err := b.Take(noon, g, "bad\nname"); err != nil || m.Name != "" {
		t.Errorf("a name with a control character is kept: %+v, %v", m, err)
	}
}

func TestAFullBook(t *testing.T) {
	b := owned(t)
	for i := range MaxMembers {
		by := "s" + string(rune('0'+i))
		if err := b.Invite(noon, Invitation{Secret: secret(by), Role: Guest}); err != nil {
			t.Fatal(err)
		}
		_, err := b.pair(t, noon, by, by)
		if want := i == MaxMembers-1; want != errors.Is(err, ErrFull) || !want && err != nil {
			t.Fatalf("guest %d: %v", i, err)
		}
	}
	if len(b.Invitations(noon)) != 1 {
		t.Error("who does not fit uses his invitation up")
	}
}

func TestMarshalKeepsAll(t *testing.T) {
	b := owned(t)
	for i, in := range []Invitation{{Role: Guest, Name: "Ann", Until: b.Until(noon, 60)}, {Role: Owner}} {
		in.Secret = secret(string(rune('a' + i)))
		if err := b.Invite(noon, in); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.pair(t, noon, "bob", "b"); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Camera: camera, Secret: label}
	again, err := Load(cfg, b.Marshal())
	if err != nil || !bytes.Equal(b.Marshal(), again.Marshal()) {
		t.Fatalf("%v:\n%s\n%s", err, b.Marshal(), again.Marshal())
	}
	if g, err := again.Check(noon, key("ann"), proof("a", "ann")); err != nil || g.Until != later(60).Unix() {
		t.Errorf("%+v, %v", g, err)
	}
	if empty, err := Load(cfg, book().Marshal()); err != nil || empty.Claimed() {
		t.Errorf("an empty book: %v", err)
	}
	if strings.Contains(string(b.Marshal()), hex.EncodeToString(label[:])) {
		t.Error("the label's secret is in the file")
	}
}

func TestLoadRefuses(t *testing.T) {
	b := owned(t)
	if err := b.Invite(noon, Invitation{Secret: secret("one"), Role: Guest, Name: "Ann"}); err != nil {
		t.Fatal(err)
	}
	good := string(b.Marshal())
	owner := key("owner").String()
	open := hex.EncodeToString([]byte("onesssssssssssss"))
	for name, c := range map[string]struct{ old, new, want string }{
		"nothing":          {good, "", "reset the camera"},
		"cut":              {good, good[:len(good)/2], "reset the camera"},
		"something more":   {good, good + "{}", "reset the camera"},
		"newer":            {`"version": 1`, `"version": 2`, "version 2"},
		"unknown field":    {`"version": 1`, `"version": 1, "x": 1`, "unknown field"},
		"another camera's": {camera.UID().String(), key("other").UID().String(), "its own camera's folder"},
		"a key's symbol":   {owner, "U" + owner[1:], "member 0"},
		"role":             {`"owner"`, `"root"`, ErrRole.Error()},
		"name":             {`"Ann"`, `"A\u0007"`, ErrName.Error()},
		"time":             {`"since"`, `"until": -1, "since"`, "before 1970"},
		"secret":           {open, "zz" + open[2:], ErrSecret.Error()},
		"short secret":     {open, open[2:], ErrSecret.Error()},
		"no secret":        {open, strings.Repeat("0", 32), ErrSecret.Error()},
	} {
		bad := strings.Replace(good, c.old, c.new, 1)
		if bad == good {
			t.Fatalf("%s: nothing was changed", name)
		}
		_, err := Load(Config{Camera: camera, Secret: label}, []byte(bad))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), open[:8]) {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	b := New(Config{Camera: camera, Secret: label})
	f.Add(b.Marshal())
	b.members = []Member{{key("owner"), Owner, "me", 1, 0}}
	b.invitations = []Invitation{{secret("one"), Guest, "you", 5}}
	f.Add(b.Marshal())
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := Load(Config{Camera: camera, Secret: label}, data)
		if err != nil {
			return
		}
		again, err := Load(Config{Camera: camera, Secret: label}, b.Marshal())
		if err != nil || !bytes.Equal(b.Marshal(), again.Marshal()) {
			t.Errorf("%v:\n%s", err, b.Marshal())
		}
	})
}

// Who has become an owner between the handshake and its confirmation is not made a guest by the invitation that he came with: the label
// could make an owner again.
func TestAnInvitationDemotesNobody(t *testing.T) {
	b := owned(t)
	for _, s := range []string{"first", "second"} {
		if err := b.Invite(noon, Invitation{Secret: secret(s), Role: Guest}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.pair(t, noon, "guest", "first"); err != nil {
		t.Fatal(err)
	}
	g, err := b.Check(noon, key("guest"), proof("second", "guest"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.SetRole(noon, key("guest"), Owner), b.Revoke(noon, key("owner"))); err != nil {
		t.Fatal(err)
	}
	if m, changed, err := b.Take(noon, g, ""); err != nil || changed || m.Role != Owner || !b.Claimed() {
		t.Errorf("he is %+v (changed %v, %v); claimed %v", m, changed, err, b.Claimed())
	}
}

func TestCopies(t *testing.T) {
	b := owned(t)
	if err := b.Invite(noon, Invitation{Secret: secret("first"), Role: Guest}); err != nil {
		t.Fatal(err)
	}
	c, was := b.Copy(), b.Marshal()
	if !b.Equal(c) {
		t.Error("a copy is another")
	}
	if err := b.Cancel(noon, secret("first")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Check(noon, key("owner"), proof("", "")); err != nil || b.Equal(c) || !bytes.Equal(c.Marshal(), was) {
		t.Errorf("the copy has changed: %s", c.Marshal())
	}
	b.Release(noon)
	if *b = *c; !b.Claimed() || !bytes.Equal(b.Marshal(), was) {
		t.Errorf("put back: %s", b.Marshal())
	}
}

func TestNamesThatMislead(t *testing.T) {
	for name, want := range map[string]bool{"Ann": true, "日本 👩‍🚒": true, "nnA\u202e": false, "a\u2066b": false, "Ann\u2028owner": false, "\x1b[2J": false} {
		if got := validName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
