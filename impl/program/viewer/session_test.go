package viewer

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// A second process with the same book asks the first one: what it adds, lists, watches and manages goes by that one's session.
func TestSecondProcess(t *testing.T) {
	s := newScene(t)
	c := s.camera()
	o := s.options()
	first := s.viewer(o)
	if _, err := Open(o); !errors.Is(err, ErrInUse) {
		t.Fatalf("opened twice: %v", err)
	}
	second, err := Use(o)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	ctx := within(t)
	got, err := second.Add(ctx, c.label, AddOptions{Name: "door", Wait: 25 * time.Second})
	if err != nil || got.Role != wire.RoleOwner || len(first.Cameras()) != 1 || len(second.Cameras()) != 1 {
		t.Fatalf("added %+v, %v", got, err)
	}
	if _, err := second.Add(ctx, c.label, AddOptions{}); err == nil || !strings.Contains(err.Error(), `in the book as "door"`) {
		t.Errorf("added again: %v", err)
	}
	one, err := first.Feed("door", WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Next(ctx); err != nil {
		t.Fatal(err)
	}
	two, err := second.Watch("door", WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var frames []Frame
	for range 30 {
		f, err := two.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
	}
	checkFrames(t, frames)
	two.RequestKeyFrame()
	if all, err := second.Members(ctx, "door"); err != nil || len(all) != 1 {
		t.Errorf("members %+v, %v", all, err)
	}
	if err := second.SetRole(ctx, "door", identity.PublicKey{1}, wire.RoleGuest); codeOf(err) == 0 {
		t.Errorf("a refusal comes as %v", err)
	}
	if l, err := second.Invite(ctx, "door", Invitation{For: time.Hour}); err != nil || !l.Invited {
		t.Errorf("invited: %v", err)
	} else if err := second.Cancel(ctx, "door", l); err != nil {
		t.Errorf("canceled: %v", err)
	}
	if x, err := second.Camera("door"); err != nil || x.Feeds != 2 || x.Phase != Watching {
		t.Errorf("the camera is %+v, %v", x, err)
	}
	changed, cancel := second.Changed()
	defer cancel()
	<-changed // the beginning
	two.Close()
	for err = nil; err == nil; {
		_, err = two.Next(ctx)
	}
	if err != io.EOF {
		t.Errorf("after Close: %v", err)
	}
	await(t, first, "door", func(c Camera) bool { return c.Feeds == 1 })
	if err := second.Rename("door", "gate"); err != nil {
		t.Fatal(err)
	}
	for second.Cameras()[0].Name != "gate" {
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("not told of the new name")
		}
	}
	if err := second.Remove("gate"); err != nil || len(first.Cameras()) != 0 {
		t.Errorf("removed: %v", err)
	}
}

// Where the first process ends, one of the others takes its place, and who watches goes on watching.
func TestHandover(t *testing.T) {
	s := newScene(t)
	c := s.camera()
	o := s.options()
	ctx := within(t)
	first := s.viewer(o)
	if _, err := first.Add(ctx, c.label, AddOptions{Name: "door", Wait: 25 * time.Second}); err != nil {
		t.Fatal(err)
	}
	var others []Session
	var feeds []Stream
	for range 2 {
		x, err := Use(o)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		f, err := x.Watch("door", WatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		others, feeds = append(others, x), append(feeds, f)
	}
	streams := make([]uint64, 2)
	take := func(i, n int) {
		t.Helper()
		for range n {
			f, err := feeds[i].Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if f.Stream != streams[i] && !f.Key {
				t.Error("a stream begins in the middle")
			}
			streams[i] = f.Stream
		}
	}
	take(0, 5)
	take(1, 5)
	changed, cancel := others[1].Changed()
	defer cancel()
	<-changed
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range feeds {
		for streams[i] == 1 { // what was on its way, then another stream
			take(i, 1)
		}
		take(i, 30)
	}
	for _, x := range others {
		if all := x.Cameras(); len(all) != 1 || all[0].Phase != Watching || all[0].Feeds != 2 {
			t.Errorf("after the handover: %+v", all)
		}
	}
	if err := others[1].Rename("door", "gate"); err != nil || others[0].Cameras()[0].Name != "gate" {
		t.Errorf("renamed: %v", err)
	}
	select {
	case <-changed:
	case <-ctx.Done():
		t.Error("changes are no longer told")
	}
}

// The file is locked and read again for each change, also by processes that do not see each other's socket.
func TestBookIsShared(t *testing.T) {
	s := newScene(t)
	path := s.options().Book
	a, b := &book{path: path}, &book{path: path}
	add := func(k *book, n byte) {
		label := identity.Label{Key: identity.PublicKey{n}, RendezvousKey: s.key.Public(), Rendezvous: []string{s.addr.String()}}
		if _, err := k.change(func(c *content) error {
			c.Cameras = append(c.Cameras, &entry{Name: c.free(), Label: label.String(), label: label, uid: label.UID()})
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	done := make(chan bool)
	for i, k := range []*book{a, b} {
		go func() {
			for n := range byte(5) {
				add(k, 1+n+byte(10*i))
			}
			done <- true
		}()
	}
	<-done
	<-done
	all, err := a.read()
	if err != nil || len(all) != 10 {
		t.Errorf("the book has %d cameras, %v", len(all), err)
	}
}

// Streams of two processes are two, also where both count alike.
func TestStreamsAreCounted(t *testing.T) {
	f := &remoteFeed{frames: make(chan Frame, 5)}
	give := func(stream uint64) uint64 {
		f.give(t.Context(), Frame{Stream: stream}, 0)
		return (<-f.frames).Stream
	}
	f.from(nil)
	got := []uint64{give(4), give(4), give(5)}
	f.from(nil)
	got = append(got, give(5), give(5))
	if want := []uint64{1, 1, 2, 3, 3}; !slices.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}
