package camera

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/pairing"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

var labelSecret = identity.Secret{1} // newCamera's

// booked is a camera that keeps a book.
func booked(t testing.TB, change func(*Config)) *Camera {
	t.Helper()
	return newCamera(t, func(cfg *Config) {
		cfg.Book = pairing.New(pairing.Config{Camera: cfg.Static.Public(), Secret: cfg.Secret})
		cfg.Secret = identity.Secret{}
		if change != nil {
			change(cfg)
		}
	})
}

// shows has a guest prove a secret.
func (g *guest) shows(s identity.Secret) *guest {
	g.hello.Proof = identity.PairingProof(s, g.key.Public(), g.c.cfg.Static.Public())
	return g
}

// come introduces a guest and finishes the handshake. stamp is that of its initiation, and the introduction's id.
func (g *guest) come(now time.Time, stamp uint64) wire.Role {
	g.t.Helper()
	ps, err := g.introduce(now, g.introduction(stamp, stamp, 0))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, p := range ps {
		if wire.Classify(p.B) != wire.Response {
			continue
		}
		sess, payload, err := g.hs.Finish(p.B)
		if err != nil {
			g.t.Fatal(err)
		}
		m, err := wire.Unmarshal(payload)
		if err != nil {
			g.t.Fatal(err)
		}
		g.sess = sess
		return m.(*wire.Welcome).Role
	}
	g.t.Fatal("no response")
	return 0
}

// told are the messages for a guest among packets.
func (g *guest) told(ps []core.Packet) (ms []wire.Message) {
	g.t.Helper()
	for _, p := range ps {
		if index, ok := session.ReceiverIndex(p.B); wire.Classify(p.B) != wire.Transport || !ok || index != g.sess.LocalIndex() {
			continue
		}
		plain, err := g.sess.Open(nil, p.B)
		if err != nil {
			g.t.Fatal(err)
		}
		m, err := wire.Unmarshal(plain)
		if err != nil {
			g.t.Fatal(err)
		}
		ms = append(ms, m)
	}
	return ms
}

// say sends a message from where the guest is seen and returns the packets and events that follow.
func (g *guest) say(now time.Time, m wire.Message) ([]core.Packet, []any) {
	g.t.Helper()
	b, err := wire.Marshal(m)
	if err != nil {
		g.t.Fatal(err)
	}
	g.c.HandlePacket(now, seen, local, g.sess.Seal(nil, b))
	out := g.c.Ready()
	return append([]core.Packet(nil), out.Packets...), append([]any(nil), out.Events...)
}

// asks sends a Manage and returns the answer.
func (g *guest) asks(now time.Time, m *wire.Manage) (*wire.Managed, []core.Packet, []any) {
	g.t.Helper()
	ps, events := g.say(now, m)
	for _, a := range g.told(ps) {
		if managed, ok := a.(*wire.Managed); ok {
			if managed.Sequence != m.Sequence {
				g.t.Fatalf("answer %d to question %d", managed.Sequence, m.Sequence)
			}
			return managed, ps, events
		}
	}
	g.t.Fatalf("%v was not answered", m.Op)
	return nil, nil, nil
}

// bye is the code of the goodbye to a guest among packets; 0: none.
func (g *guest) bye(ps []core.Packet) wire.Code {
	for _, m := range g.told(ps) {
		if b, ok := m.(*wire.Bye); ok {
			return b.Code
		}
	}
	return 0
}

func changes(events []any) (cs []Change) {
	for _, e := range events {
		if p, ok := e.(PairingsChanged); ok {
			cs = append(cs, p.Change)
		}
	}
	return cs
}

// owned is a booked camera with its owner, who has been heard, and a guest whom he has invited.
func owned(t testing.TB, change func(*Config), seconds uint32) (c *Camera, owner, g *guest) {
	t.Helper()
	c = booked(t, change)
	owner = newGuest(t, c, 10, wire.FlagDirect).shows(labelSecret)
	if role := owner.come(epoch, 1); role != wire.RoleOwner {
		t.Fatalf("the first with the label is %v", role)
	}
	owner.say(epoch, &wire.Consent{Sequence: 1})
	secret := identity.Secret{7}
	a, _, events := owner.asks(epoch, &wire.Manage{
		Sequence: 1, Op: wire.OpInvite, Secret: secret, Role: wire.RoleGuest, Name: []byte("Ann"), Seconds: seconds,
	})
	if cs := changes(events); a.Code != 0 || len(cs) != 1 || cs[0] != Invited {
		t.Fatalf("invitation: %v, %v", a.Code, cs)
	}
	g = newGuest(t, c, 11, wire.FlagDirect).shows(secret)
	if role := g.come(epoch, 2); role != wire.RoleGuest {
		t.Fatalf("the invited is %v", role)
	}
	if _, events := g.say(epoch, &wire.Use{Sequence: 1, Next: 1}); len(changes(events)) != 1 {
		t.Fatalf("events %v", events)
	}
	return c, owner, g
}

// The label makes its first bearer the owner, but only one that is heard: an initiation may be a copy of an old one.
func TestTheFirstHeardIsTheOwner(t *testing.T) {
	c := booked(t, nil)
	first, second := newGuest(t, c, 10, wire.FlagDirect), newGuest(t, c, 11, wire.FlagDirect)
	for i, g := range []*guest{first, second} {
		if role := g.come(epoch, uint64(i)+1); role != wire.RoleOwner {
			t.Errorf("viewer %d is %v", i, role)
		}
	}
	if c.cfg.Book.Claimed() {
		t.Error("the camera has an owner whom nobody has heard")
	}
	ps, events := second.say(epoch, &wire.Consent{Sequence: 1})
	if cs := changes(events); len(cs) != 1 || cs[0] != Paired || second.bye(ps) != 0 {
		t.Errorf("the first heard: %v, %v", cs, second.bye(ps))
	}
	if _, events := second.say(epoch, &wire.Consent{Sequence: 2}); len(changes(events)) != 0 {
		t.Error("paired twice")
	}
	ps, events = first.say(epoch, &wire.Use{Sequence: 1})
	if code := first.bye(ps); code != wire.CodeClaimed || len(changes(events)) != 0 || len(c.viewers) != 1 || len(ps) != 1 {
		t.Errorf("the one heard later is told %v, sent %v, %d viewers", code, kinds(ps), len(c.viewers))
	}
	third := newGuest(t, c, 12, wire.FlagDirect)
	if code := admitted(c, third.introduction(9, 9, 0)); code != wire.CodeClaimed {
		t.Errorf("the label of an owned camera: %v", code)
	}
	second.hello.Proof = identity.Proof{}
	if role := second.come(epoch, 10); role != wire.RoleOwner {
		t.Errorf("the owner without the label is %v", role)
	}
}

func TestManageIsTheOwners(t *testing.T) {
	c, owner, g := owned(t, nil, 0)
	for i, m := range []wire.Manage{
		{Op: wire.OpList}, {Op: wire.OpRevoke, Key: owner.key.Public()}, {Op: wire.OpRelease},
		{Op: wire.OpSetRole, Key: g.key.Public(), Role: wire.RoleOwner},
	} {
		m.Sequence = uint32(i) + 1
		if a, _, events := g.asks(epoch, &m); a.Code != wire.CodeNotAllowed || len(a.Members) != 0 || len(changes(events)) != 0 {
			t.Errorf("a guest's %v: %v, %v", m.Op, a.Code, a.Members)
		}
	}
	a, _, _ := owner.asks(epoch, &wire.Manage{Sequence: 2, Op: wire.OpList})
	want := []struct {
		g    *guest
		role wire.Role
		name string
	}{{owner, wire.RoleOwner, ""}, {g, wire.RoleGuest, "Ann"}}
	if len(a.Members) != 2 || a.Next != 0 {
		t.Fatalf("members %v", a.Members)
	}
	for i, w := range want {
		if m := a.Members[i]; m.Key != w.g.key.Public() || m.Role != w.role || string(m.Name) != w.name {
			t.Errorf("member %d is %v", i, m)
		}
	}
	c.cfg.Book = nil
	if a, _, _ := owner.asks(epoch, &wire.Manage{Sequence: 3, Op: wire.OpList}); a.Code != wire.CodeNotAllowed {
		t.Errorf("without a book: %v", a.Code)
	}
}

func TestManageErrors(t *testing.T) {
	_, owner, g := owned(t, nil, 0)
	for i, x := range []struct {
		m    wire.Manage
		want wire.Code
	}{
		{wire.Manage{Op: wire.OpRevoke, Key: identity.PublicKey{9}}, wire.CodeNotPaired},
		{wire.Manage{Op: wire.OpRevoke, Key: owner.key.Public()}, wire.CodeLastOwner},
		{wire.Manage{Op: wire.OpCancel, Secret: identity.Secret{7}}, wire.CodeNotPaired},
		{wire.Manage{Op: wire.OpInvite, Secret: labelSecret, Role: wire.RoleGuest}, wire.CodeMalformed},
		{wire.Manage{Op: wire.OpSetRole, Key: g.key.Public(), Role: wire.RoleOwner}, 0},
		{wire.Manage{Op: wire.OpInvite, Secret: identity.Secret{8}, Role: wire.RoleGuest}, 0},
		{wire.Manage{Op: wire.OpCancel, Secret: identity.Secret{8}}, 0},
	} {
		x.m.Sequence = uint32(i) + 2
		if a, _, events := owner.asks(epoch, &x.m); a.Code != x.want || (a.Code == 0) != (len(changes(events)) == 1) {
			t.Errorf("%v: %v, want %v; %v", x.m.Op, a.Code, x.want, events)
		}
	}
	if a, _, _ := g.asks(epoch, &wire.Manage{Sequence: 1, Op: wire.OpList}); a.Code != 0 || len(a.Members) != 2 {
		t.Errorf("the new owner's list: %v", a)
	}
}

// Nothing is done twice that was asked for once, whatever was lost or overtaken.
func TestManageIsDoneOnce(t *testing.T) {
	c, owner, g := owned(t, nil, 0)
	revoke := &wire.Manage{Sequence: 2, Op: wire.OpRevoke, Key: g.key.Public()}
	if a, _, _ := owner.asks(epoch, revoke); a.Code != 0 {
		t.Fatal(a.Code)
	}
	if a, _, events := owner.asks(epoch, revoke); a.Code != 0 || len(changes(events)) != 0 {
		t.Errorf("repeated: %v, %v", a.Code, changes(events))
	}
	if ps, _ := owner.say(epoch, &wire.Manage{Sequence: 1, Op: wire.OpRelease}); len(ps) != 0 || !c.cfg.Book.Claimed() {
		t.Error("an older one is answered, or done")
	}
}

func TestRevokeEndsTheStream(t *testing.T) {
	c, owner, g := owned(t, nil, 0)
	now := epoch
	if n := kinds(advance(c, &now, time.Second))[seen][wire.RTP]; n < 25 {
		t.Fatalf("%d packets in a second", n)
	}
	_, ps, events := owner.asks(now, &wire.Manage{Sequence: 2, Op: wire.OpRevoke, Key: g.key.Public()})
	if code := g.bye(ps); code != wire.CodeRevoked {
		t.Errorf("the guest is told %v", code)
	}
	stopped := wire.Code(0)
	for _, e := range events {
		if s, ok := e.(StreamStopped); ok && s.Viewer == g.key.Public().UID() {
			stopped = s.Code
		}
	}
	if stopped != wire.CodeRevoked || len(c.viewers) != 1 {
		t.Errorf("stopped by %v, %d viewers", stopped, len(c.viewers))
	}
	if ps := g.send(now, seen, &wire.Use{Sequence: 2}); len(ps) != 0 {
		t.Errorf("answered after it: %v", kinds(ps))
	}
	if code := admitted(c, g.introduction(3, 3, 0)); code != wire.CodeNotPaired {
		t.Errorf("the guest comes again: %v", code)
	}
}

// An owner that gives the camera away is answered, and again where that was lost, but sees no more.
func TestRelease(t *testing.T) {
	c, owner, g := owned(t, nil, 0)
	now := epoch
	owner.say(now, &wire.Use{Sequence: 1, Next: 1})
	release := &wire.Manage{Sequence: 2, Op: wire.OpRelease}
	_, ps, events := owner.asks(now, release)
	if cs := changes(events); g.bye(ps) != wire.CodeRevoked || len(cs) != 1 || cs[0] != Released || c.cfg.Book.Claimed() {
		t.Fatalf("the guest is told %v, %v", g.bye(ps), cs)
	}
	if n := kinds(advance(c, &now, time.Second))[seen][wire.RTP]; n != 0 {
		t.Errorf("%d packets for who was the owner", n)
	}
	if a, _, events := owner.asks(now, release); a.Code != 0 || len(changes(events)) != 0 {
		t.Errorf("asked again: %v, %v", a.Code, events)
	}
	if a, _, _ := owner.asks(now, &wire.Manage{Sequence: 3, Op: wire.OpList}); a.Code != wire.CodeNotAllowed {
		t.Errorf("manages still: %v", a.Code)
	}
	if ps := advance(c, &now, farewell); owner.bye(ps) != wire.CodeRevoked || len(c.viewers) != 0 {
		t.Errorf("%d viewers, told %v", len(c.viewers), owner.bye(ps))
	}
	next := newGuest(t, c, 12, wire.FlagDirect).shows(labelSecret)
	if role := next.come(now, 20); role != wire.RoleOwner {
		t.Errorf("the label after it makes %v", role)
	}
}

// A guest's time ends while it watches.
func TestTimeEnds(t *testing.T) {
	c, _, g := owned(t, nil, 20)
	now := epoch
	ps := advance(c, &now, 20*time.Second-time.Millisecond)
	if len(c.viewers) != 2 || g.bye(ps) != 0 {
		t.Fatalf("%d viewers", len(c.viewers))
	}
	if ps := advance(c, &now, time.Millisecond); len(c.viewers) != 1 || g.bye(ps) != wire.CodeRevoked {
		t.Errorf("%d viewers, the guest is told %v", len(c.viewers), g.bye(ps))
	}
}

// What the program changes in the book takes effect at once.
func TestHandlePairings(t *testing.T) {
	c, owner, g := owned(t, nil, 0)
	if err := c.cfg.Book.SetRole(epoch, g.key.Public(), pairing.Owner); err != nil {
		t.Fatal(err)
	}
	if err := c.cfg.Book.Revoke(epoch, owner.key.Public()); err != nil {
		t.Fatal(err)
	}
	c.HandlePairings(epoch)
	if ps := packets(c); owner.bye(ps) != wire.CodeRevoked || len(c.viewers) != 1 || c.Serving()[0].Role != wire.RoleOwner {
		t.Errorf("serving %+v", c.Serving())
	}
}

// Who is not in the book because the label suffices, or because nobody has heard him yet, is not sent away for that.
func TestOnlyThePairedAreSentAway(t *testing.T) {
	c := booked(t, func(cfg *Config) {
		cfg.Book = pairing.New(pairing.Config{Camera: cfg.Static.Public(), Secret: labelSecret, Open: true})
	})
	owner, g, unheard := newGuest(t, c, 10, wire.FlagDirect), newGuest(t, c, 11, wire.FlagDirect), newGuest(t, c, 12, wire.FlagDirect)
	for i, x := range []*guest{owner, g, unheard} {
		if role, want := x.come(epoch, uint64(i)+1), wire.RoleGuest; (role == want) == (x == owner) {
			t.Errorf("viewer %d is %v", i, role)
		}
		if x != unheard {
			x.say(epoch, &wire.Consent{Sequence: 1})
		}
		c.HandlePairings(epoch)
		packets(c)
	}
	if len(c.viewers) != 3 || len(c.cfg.Book.Members(epoch)) != 1 {
		t.Errorf("%d viewers, %d in the book", len(c.viewers), len(c.cfg.Book.Members(epoch)))
	}
	invited := identity.Secret{5}
	owner.asks(epoch, &wire.Manage{Sequence: 1, Op: wire.OpInvite, Secret: invited, Role: wire.RoleGuest})
	late := newGuest(t, c, 13, wire.FlagDirect).shows(invited)
	late.come(epoch, 9)
	c.HandlePairings(epoch)
	packets(c)
	if _, events := late.say(epoch, &wire.Consent{Sequence: 1}); len(changes(events)) != 1 || len(c.viewers) != 4 {
		t.Errorf("the invited: %v, %d viewers", changes(events), len(c.viewers))
	}
}

// When all places are taken there is one for an owner, who may want to send somebody away.
func TestAnOwnerFindsAPlace(t *testing.T) {
	c, owner, g := owned(t, func(cfg *Config) { cfg.MaxViewers = 2 }, 0)
	g.hello.Proof = identity.Proof{}
	if code := admitted(c, g.introduction(3, 3, 0)); code != wire.CodeBusy {
		t.Errorf("a guest: %v", code)
	}
	owner.hello.Proof = identity.Proof{}
	if code := admitted(c, owner.introduction(4, 4, 0)); code != 0 {
		t.Errorf("the owner: %v", code)
	}
}

// A list is told in parts that fit a datagram.
func TestLongLists(t *testing.T) {
	c, owner, _ := owned(t, nil, 0)
	want := 2
	for i := range byte(20) {
		s, viewer := identity.Secret{100, i}, key(t, 50+i).Public()
		if err := c.cfg.Book.Invite(epoch, pairing.Invitation{Secret: s, Role: pairing.Guest, Name: "someone with a name of 32 bytes!"}); err != nil {
			t.Fatal(err)
		}
		g, err := c.cfg.Book.Check(epoch, viewer, identity.PairingProof(s, viewer, c.cfg.Static.Public()))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.cfg.Book.Take(epoch, g, ""); err != nil {
			t.Fatal(err)
		}
		want++
	}
	seen := map[identity.PublicKey]bool{}
	from, parts := uint32(0), 0
	for seq := uint32(2); ; seq++ {
		a, _, _ := owner.asks(epoch, &wire.Manage{Sequence: seq, Op: wire.OpList, From: from})
		parts++
		for _, m := range a.Members {
			seen[m.Key] = true
		}
		if from = a.Next; from == 0 {
			break
		}
	}
	if len(seen) != want || parts != 3 {
		t.Errorf("%d members in %d parts, want %d", len(seen), parts, want)
	}
	if a, _, _ := owner.asks(epoch, &wire.Manage{Sequence: 99, Op: wire.OpList, From: 1 << 31}); a.Code != 0 || len(a.Members) != 0 || a.Next != 0 {
		t.Errorf("beyond the end: %+v", a)
	}
}

// What cannot be stored is not done: nobody is paired, invited or revoked, and who wanted it is told why. Once there is room, it is.
func TestNothingIsReliedOnThatIsNotStored(t *testing.T) {
	var kept [][]byte
	full := errors.New("no space left on device")
	var err error
	c, owner, g := owned(t, func(cfg *Config) {
		cfg.Keep = func(b []byte) error {
			if err == nil {
				kept = append(kept, b)
			}
			return err
		}
	}, 0)
	if len(kept) != 3 || !bytes.Equal(kept[2], c.cfg.Book.Marshal()) {
		t.Fatalf("stored %d times", len(kept))
	}
	err = full
	for i, m := range []wire.Manage{
		{Op: wire.OpRevoke, Key: g.key.Public()},
		{Op: wire.OpSetRole, Key: g.key.Public(), Role: wire.RoleOwner},
		{Op: wire.OpInvite, Secret: identity.Secret{8}, Role: wire.RoleGuest},
		{Op: wire.OpRelease},
	} {
		m.Sequence = uint32(i) + 2
		if a, ps, events := owner.asks(epoch, &m); a.Code != wire.CodeNotStored || len(changes(events)) != 0 || g.bye(ps) != 0 {
			t.Errorf("%v: %v, %v", m.Op, a.Code, events)
		}
	}
	if !bytes.Equal(kept[2], c.cfg.Book.Marshal()) || c.Stats().Viewers != 2 {
		t.Errorf("the book is %s", c.cfg.Book.Marshal())
	}
	err = nil
	if a, _, _ := owner.asks(epoch, &wire.Manage{Sequence: 6, Op: wire.OpInvite, Secret: identity.Secret{9}, Role: wire.RoleGuest}); a.Code != 0 {
		t.Fatal(a.Code)
	}
	err = full
	second := newGuest(t, c, 12, wire.FlagDirect).shows(identity.Secret{9})
	second.come(epoch, 3)
	ps, events := second.say(epoch, &wire.Use{Sequence: 1, Next: 1})
	if code := second.bye(ps); code != wire.CodeNotStored || len(changes(events)) != 0 || c.Stats().Viewers != 2 {
		t.Errorf("the invited hears %v; %v", code, events)
	}
	if err = nil; second.come(epoch.Add(time.Second), 4) != wire.RoleGuest {
		t.Fatal("the invitation is used up")
	}
	if _, events := second.say(epoch.Add(time.Second), &wire.Use{Sequence: 1, Next: 1}); len(changes(events)) != 1 {
		t.Errorf("with room again: %v", events)
	}
}

// An owner for a time manages guests. He makes himself no owner for ever, and takes the camera from nobody.
func TestATemporaryOwnerStaysOne(t *testing.T) {
	c, owner, g := owned(t, nil, 0)
	secret := identity.Secret{8}
	if a, _, _ := owner.asks(epoch, &wire.Manage{Sequence: 2, Op: wire.OpInvite, Secret: secret, Role: wire.RoleOwner, Seconds: 60}); a.Code != 0 {
		t.Fatal(a.Code)
	}
	lent := newGuest(t, c, 12, wire.FlagDirect).shows(secret)
	if role := lent.come(epoch, 3); role != wire.RoleOwner {
		t.Fatalf("he is %v", role)
	}
	lent.say(epoch, &wire.Use{Sequence: 1, Next: 1})
	for i, x := range []struct {
		m    wire.Manage
		want wire.Code
	}{
		{wire.Manage{Op: wire.OpList}, 0},
		{wire.Manage{Op: wire.OpSetRole, Key: lent.key.Public(), Role: wire.RoleOwner}, wire.CodeNotAllowed},
		{wire.Manage{Op: wire.OpSetRole, Key: g.key.Public(), Role: wire.RoleOwner}, wire.CodeNotAllowed},
		{wire.Manage{Op: wire.OpRevoke, Key: owner.key.Public()}, wire.CodeNotAllowed},
		{wire.Manage{Op: wire.OpInvite, Secret: identity.Secret{9}, Role: wire.RoleOwner}, wire.CodeNotAllowed},
		{wire.Manage{Op: wire.OpRelease}, wire.CodeNotAllowed},
		{wire.Manage{Op: wire.OpInvite, Secret: identity.Secret{9}, Role: wire.RoleGuest}, 0},
		{wire.Manage{Op: wire.OpCancel, Secret: identity.Secret{9}}, 0},
		{wire.Manage{Op: wire.OpRevoke, Key: g.key.Public()}, 0},
		{wire.Manage{Op: wire.OpRevoke, Key: lent.key.Public()}, 0},
	} {
		x.m.Sequence = uint32(i) + 1
		if a, _, _ := lent.asks(epoch, &x.m); a.Code != x.want {
			t.Errorf("%v: %v, want %v", x.m.Op, a.Code, x.want)
		}
	}
	if ms := c.cfg.Book.Members(epoch); len(ms) != 1 || ms[0].Key != owner.key.Public() {
		t.Errorf("there are %v", ms)
	}
}
