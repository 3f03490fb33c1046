package viewer

import (
	"errors"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// codeOf is why something was refused; 0: it was not.
func codeOf(err error) wire.Code {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return 0
}

// An owner invites a guest, who watches, invites nobody, and is sent away; then the camera is given away.
func TestShare(t *testing.T) {
	s := newScene(t)
	c := s.camera()
	ctx := within(t)
	owner, guest := s.viewer(s.options()), s.viewer(s.options())
	if got, err := owner.Add(ctx, c.label, AddOptions{Name: "door", Wait: 25 * time.Second}); err != nil || got.Role != wire.RoleOwner {
		t.Fatalf("the first: %+v, %v", got, err)
	}
	if _, err := guest.Add(ctx, c.label, AddOptions{}); codeOf(err) != wire.CodeClaimed || len(guest.Cameras()) != 0 {
		t.Fatalf("the second, by the label: %v", err)
	}
	invitation, err := owner.Invite(ctx, "door", Invitation{For: time.Hour, Name: "Ann"})
	if err != nil || !invitation.Invited || invitation.Secret == c.label.Secret {
		t.Fatalf("invitation: %v", err)
	}
	if got, err := guest.Add(ctx, invitation, AddOptions{}); err != nil || got.Role != wire.RoleGuest {
		t.Fatalf("the guest: %+v, %v", got, err)
	}
	if _, err := guest.Members(ctx, "camera"); codeOf(err) != wire.CodeNotAllowed {
		t.Errorf("the guest lists: %v", err)
	}
	all, err := owner.Members(ctx, "door")
	if err != nil || len(all) != 2 || all[0].Role != wire.RoleOwner ||
		string(all[0].Name) != "phone" || string(all[1].Name) != "Ann" || all[1].Seconds == 0 {
		t.Errorf("members %+v, %v", all, err)
	}
	feed, err := guest.Feed("camera", WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := feed.Next(ctx); err != nil {
		t.Fatal(err)
	}
	if err := owner.Revoke(ctx, "door", guest.opt.Key.Public()); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		_, err = feed.Next(ctx)
	}
	if codeOf(err) != wire.CodeRevoked {
		t.Errorf("the guest's video ends with %v", err)
	}
	await(t, guest, "camera", func(c Camera) bool { return c.Phase != Watching && c.Feeds == 0 })
	second, err := owner.Invite(ctx, "door", Invitation{Role: wire.RoleOwner})
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Cancel(ctx, "door", second); err != nil {
		t.Fatal(err)
	}
	if err := guest.Remove("camera"); err != nil {
		t.Fatal(err)
	}
	if _, err := guest.Add(ctx, second, AddOptions{}); codeOf(err) == 0 {
		t.Errorf("by an invitation that was taken back: %v", err)
	}
	if err := owner.Release(ctx, "door"); err != nil || len(owner.Cameras()) != 0 {
		t.Fatalf("released: %v", err)
	}
	if got, err := guest.Add(ctx, c.label, AddOptions{Wait: 25 * time.Second}); err != nil || got.Role != wire.RoleOwner {
		t.Errorf("the next one: %+v, %v", got, err)
	}
}

// An owner manages while he watches: the video goes on.
func TestManageWhileWatching(t *testing.T) {
	s := newScene(t)
	c := s.camera()
	ctx := within(t)
	v := s.viewer(s.options())
	if _, err := v.Add(ctx, c.label, AddOptions{Name: "door", Wait: 25 * time.Second}); err != nil {
		t.Fatal(err)
	}
	feed, err := v.Feed("door", WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := feed.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := v.Members(ctx, "door"); err != nil || len(all) != 1 {
		t.Errorf("members %+v, %v", all, err)
	}
	for range 10 {
		f, err := feed.Next(ctx)
		if err != nil || f.Stream != first.Stream {
			t.Fatalf("another stream, or %v", err)
		}
	}
	if err := v.SetRole(ctx, "door", identity.PublicKey{1}, wire.RoleGuest); codeOf(err) == 0 {
		t.Errorf("a role for nobody: %v", err)
	}
}

// Who begins to watch while a session without video asks something gets his video, and the question its answer.
func TestWatchWhileManaging(t *testing.T) {
	s := newScene(t)
	c := s.camera()
	ctx := within(t)
	v := s.viewer(s.options())
	if _, err := v.Add(ctx, c.label, AddOptions{Name: "door", Wait: 25 * time.Second}); err != nil {
		t.Fatal(err)
	}
	await(t, v, "door", func(c Camera) bool { return c.Phase == Idle })
	v.mu.Lock()
	x := v.find(c.label.UID())
	release := v.use(x)
	v.mu.Unlock()
	defer release()
	await(t, v, "door", func(c Camera) bool { return c.Phase == Watching })
	c.node.Suspend() // it does not answer
	answered := make(chan error, 1)
	go func() {
		all, err := v.Members(ctx, "door")
		if err == nil && len(all) != 1 {
			err = errors.New("members are missing")
		}
		answered <- err
	}()
	asked := func() int {
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(x.pending)
	}
	for asked() == 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond) // a core tells nobody that it has asked
	}
	f, err := v.Feed("door", WatchOptions{Once: true})
	if err != nil {
		t.Fatal(err)
	}
	await(t, v, "door", func(c Camera) bool { return c.Phase == Connecting })
	c.node.Resume()
	if got, err := f.Next(ctx); err != nil || !got.Key {
		t.Errorf("video: key %v, %v", got.Key, err)
	}
	if err := <-answered; err != nil {
		t.Errorf("members: %v", err)
	}
}
