package viewer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/wire"
)

// From a label to the picture, and a book that the next start reads.
func TestAddAndWatch(t *testing.T) {
	s := newScene(t)
	c := s.camera()
	o := s.options()
	v := s.viewer(o)
	got, err := v.Add(within(t), c.label, AddOptions{Name: "Door", Wait: 25 * time.Second})
	if err != nil || got.Name != "Door" || got.UID != c.label.UID() || got.LastPath == "" {
		t.Fatalf("added %+v, %v", got, err)
	}
	await(t, v, "Door", func(c Camera) bool { return c.Phase == Idle })
	one, err := v.Feed("door", WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var frames []Frame
	for len(frames) < 30 {
		f, err := one.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
	}
	checkFrames(t, frames)
	two, err := v.Feed(c.label.UID().String()[:6], WatchOptions{}) // it has the group of pictures from its beginning
	if err != nil {
		t.Fatal(err)
	}
	f, err := two.Next(within(t))
	if err != nil || !f.Key || f.Stream != frames[0].Stream || f.Index < frames[25].Index/25*25 {
		t.Errorf("second feed begins with %d, key %v, %v", f.Index, f.Key, err)
	}
	await(t, v, "Door", func(c Camera) bool { return c.Phase == Watching && c.Feeds == 2 && c.Bitrate > 1e5 && c.Frames > 0 })
	one.Close()
	two.Close()
	if _, err := two.Next(within(t)); err == nil {
		for err == nil {
			_, err = two.Next(within(t))
		}
		if err != io.EOF {
			t.Errorf("after Close: %v", err)
		}
	}
	await(t, v, "Door", func(c Camera) bool { return c.Phase == Idle && c.Feeds == 0 })
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	again := s.viewer(o)
	if c, err := again.Camera("door"); err != nil || c.LastPath == "" || c.LastSeen.IsZero() {
		t.Errorf("the book has %+v, %v", c, err)
	}
	info, err := os.Stat(o.Book)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the book: %v, %v", info, err)
	}
}

// checkFrames demands the clip's frames, one after the other.
func checkFrames(t *testing.T, frames []Frame) {
	t.Helper()
	for i, f := range frames {
		if au := media.EmbeddedClip().At(f.Index); f.Index != frames[0].Index+i || au.Hash != f.Hash() || f.Path == "" {
			t.Fatalf("frame %d is %d, by %q, or differs", i, f.Index, f.Path)
		}
	}
	if !frames[0].Key {
		t.Error("begins in the middle")
	}
}

// Several cameras at once, by one session with the rendezvous.
func TestSeveralCameras(t *testing.T) {
	s := newScene(t)
	v := s.viewer(s.options())
	var feeds []*Feed
	for range 3 {
		c := s.camera()
		x, err := v.Add(within(t), c.label, AddOptions{Wait: 25 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		f, err := v.Feed(x.Name, WatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		feeds = append(feeds, f)
	}
	for _, f := range feeds {
		var frames []Frame
		for range 20 {
			x, err := f.Next(within(t))
			if err != nil {
				t.Fatal(err)
			}
			frames = append(frames, x)
		}
		checkFrames(t, frames)
	}
	var names []string
	for _, c := range v.Cameras() {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "camera camera-2 camera-3" {
		t.Errorf("called %s", got)
	}
	if all := v.Servers(); len(all) != 1 || !all[0].LoggedIn {
		t.Errorf("servers %+v", all)
	}
}

// A camera that is away is not added; a feed waits for it, unless it wants no more than one attempt.
func TestOffline(t *testing.T) {
	s := newScene(t)
	c := s.camera()
	v := s.viewer(s.options())
	if _, err := v.Add(within(t), c.label, AddOptions{Name: "door", Wait: 25 * time.Second}); err != nil {
		t.Fatal(err)
	}
	await(t, v, "door", func(c Camera) bool { return c.Phase == Idle }) // or its goodbye may be what ends the feed
	c.away()
	f, err := v.Feed("door", WatchOptions{Once: true})
	if err != nil {
		t.Fatal(err)
	}
	var r *Refusal
	if _, err := f.Next(within(t)); !errors.As(err, &r) || r.Code != wire.CodeUnavailable {
		t.Fatalf("next: %v", err)
	}
	other := must(identity.NewKey(v.opt.Rand))
	label := c.label
	label.Key = other.Public()
	if _, err := v.Add(within(t), label, AddOptions{}); err == nil || !strings.Contains(err.Error(), "nothing was added") || len(v.Cameras()) != 1 {
		t.Errorf("added what is not there: %v", err)
	}
	f, err = v.Feed("door", WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, v, "door", func(c Camera) bool { return c.Phase == Waiting && c.Failure != "" })
	v.mu.Lock()
	v.find(c.label.UID()).retryAt = time.Now().Add(time.Hour) // the rendezvous says when
	v.mu.Unlock()
	s.run(c)
	if x, err := f.Next(within(t)); err != nil || !x.Key {
		t.Errorf("after its return: key %v, %v", x.Key, err)
	}
}

// A rendezvous whose name stands for another address than before is found there.
func TestRendezvousMoves(t *testing.T) {
	s := newScene(t)
	c := s.camera()
	o := s.options()
	o.renew = 300 * time.Millisecond
	dead := bind(t, loopback)
	defer dead.Close()
	asked := 0
	o.Resolve = func(context.Context, string) ([]netip.AddrPort, error) {
		if asked++; asked <= 2 {
			return []netip.AddrPort{dead.LocalAddr().(*net.UDPAddr).AddrPort()}, nil
		}
		return []netip.AddrPort{s.addr}, nil
	}
	v := s.viewer(o)
	label := c.label
	label.Rendezvous = []string{"rendezvous.example:4479"}
	if _, err := v.Enter(label, "door"); err != nil {
		t.Fatal(err)
	}
	f, err := v.Feed("door", WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if x, err := f.Next(within(t)); err != nil || !x.Key {
		t.Errorf("key %v, %v", x.Key, err)
	}
	if all := v.Servers(); len(all) != 1 || !all[0].LoggedIn || all[0].Hosts[0] != label.Rendezvous[0] {
		t.Errorf("servers %+v", all)
	}
}

// Close ends everything, whatever is going on, and leaves no goroutine.
func TestCloseLeavesNothing(t *testing.T) {
	s := newScene(t)
	c := s.camera()
	before := runtime.NumGoroutine()
	o := s.options()
	v := s.viewer(o)
	if _, err := v.Add(within(t), c.label, AddOptions{Name: "door", Wait: 25 * time.Second}); err != nil {
		t.Fatal(err)
	}
	other, err := Use(o)
	if err != nil {
		t.Fatal(err)
	}
	changed, cancel := other.Changed()
	defer cancel()
	<-changed
	feed, err := v.Feed("door", WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := feed.Next(within(t)); err != nil {
		t.Fatal(err)
	}
	stream, err := other.Watch("door", WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Next(within(t)); err != nil {
		t.Fatal(err)
	}
	for _, x := range []Session{other, v, v} { // twice does no harm
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	for err = nil; err == nil; {
		_, err = feed.Next(within(t))
	}
	if err != io.EOF {
		t.Errorf("the feed ends with %v", err)
	}
	if _, err := v.Watch("door", WatchOptions{}); err == nil {
		t.Error("watched after Close")
	}
	for ctx := within(t); runtime.NumGoroutine() > before; runtime.Gosched() {
		if ctx.Err() != nil {
			var all [1 << 16]byte
			t.Fatalf("%d goroutines, were %d:\n%s", runtime.NumGoroutine(), before, all[:runtime.Stack(all[:], true)])
		}
	}
}

// A camera is looked for on the local network once it knows this viewer, and not before.
func TestLooksNearby(t *testing.T) {
	s := newScene(t)
	c := s.camera()
	o := s.options()
	group := bind(t, loopback)
	defer group.Close()
	o.NoLAN, o.Groups = false, []netip.AddrPort{group.LocalAddr().(*net.UDPAddr).AddrPort()}
	v := s.viewer(o)
	if _, err := v.Add(within(t), c.label, AddOptions{Name: "door", Wait: 25 * time.Second}); err != nil {
		t.Fatal(err)
	}
	var b [2048]byte
	_ = group.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // what was sent is there
	if n, err := group.Read(b[:]); err == nil {
		t.Errorf("%d bytes to a network whose cameras are strangers", n)
	}
	c.node.Do(c.Camera.Close)
	if _, err := v.Feed("door", WatchOptions{}); err != nil {
		t.Fatal(err)
	}
	_ = group.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := group.Read(b[:]); err != nil || n < 256 {
		t.Errorf("%d bytes to the local network, %v", n, err)
	}
}

// Names are told apart, given and taken.
func TestNames(t *testing.T) {
	s := newScene(t)
	v := s.viewer(s.options())
	label := func() identity.Label { // its UID begins with a digit, as no name does
		k := must(identity.NewKey(v.opt.Rand)).Public()
		for k.UID().String()[0] > '9' {
			k = must(identity.NewKey(v.opt.Rand)).Public()
		}
		return identity.Label{Key: k, RendezvousKey: s.key.Public(), Rendezvous: []string{s.addr.String()}}
	}
	var uid identity.UID
	for _, name := range []string{"door", "garden", ""} {
		c, err := v.Enter(label(), name)
		if err != nil {
			t.Fatal(err)
		}
		uid = c.UID
	}
	for _, tt := range []struct {
		what string
		err  error
		want string
	}{
		{"rename to a name that is taken", v.Rename("door", "Garden"), "already"},
		{"rename to a path", v.Rename("door", "a/b"), "slashes"},
		{"rename nothing", v.Rename("cellar", "attic"), "the book has camera, door, garden"},
		{"remove nothing", v.Remove("x"), "no camera is called"},
		{"remove by the first character of a UID", v.Remove(uid.String()[:1]), "no camera is called"},
		{"rename by a UID's beginning", v.Rename(uid.String()[:4], "shed"), ""},
		{"rename", v.Rename("door", "DOOR"), ""},
		{"remove", v.Remove("gard"), ""},
	} {
		if tt.want == "" && tt.err != nil || tt.want != "" && (tt.err == nil || !strings.Contains(tt.err.Error(), tt.want)) {
			t.Errorf("%s: %v", tt.what, tt.err)
		}
	}
	if _, err := v.Enter(label(), "door"); err == nil {
		t.Error("two cameras have one name")
	}
	if all := v.Cameras(); len(all) != 2 || all[0].Name != "DOOR" || all[1].Name != "shed" {
		t.Errorf("there are %+v", all)
	}
}

// A book that cannot be read is said to be so, with what to do.
func TestBadBooks(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"{", "mend it"},
		{`{"schema":"punchlab/viewer-book/9"}`, "update this program"},
		{`{"schema":"punchlab/viewer-book/1","cameras":[null]}`, "camera 1 is empty"},
		{`{"schema":"punchlab/viewer-book/1","cameras":[{"name":"door","label":"PL1/SECRET"}]}`, "door"},
	} {
		path := t.TempDir() + "/book.json"
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Options{Key: must(identity.NewKey(fixed{})), Book: path})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", tt.text, err)
		}
	}
	path := t.TempDir() + "/book.json"
	if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Key: must(identity.NewKey(fixed{})), Book: path}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a book that others read: %v", err)
	}
}

// fixed is a source of keys that need not be secret.
type fixed struct{}

func (fixed) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(i + 1)
	}
	return len(b), nil
}

// A slow consumer skips to a key frame, and holds nobody up.
func TestSlowFeed(t *testing.T) {
	v := &Viewer{}
	f := &Feed{v: v, opt: WatchOptions{Queue: 3}, news: make(chan struct{}, 1)}
	f.begin(nil)
	push := func(i int, key bool) { f.push(Frame{Frame: media.Frame{Index: i, Key: key}}) }
	push(0, false)
	for i := 1; i < 8; i++ {
		push(i, i%5 == 1)
	}
	if len(f.queue) != 2 || f.queue[0].Index != 6 || f.queue[1].Index != 7 || f.skipped != 6 {
		t.Errorf("%d wait, first %+v, %d skipped", len(f.queue), f.queue, f.skipped)
	}
}
