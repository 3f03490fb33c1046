package camera

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/program/viewer"
	"github.com/punchlab/punchlab/impl/source"
	"github.com/punchlab/punchlab/impl/wire"
)

// The first viewer becomes the owner, also for the camera's next lives, until it is reset.
func TestOwnerOutlivesTheCamera(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	dir := s.folder()
	h := s.camera(Options{Dir: dir})
	label := h.Label()
	owner, other := s.viewer(), s.viewer()
	c, err := owner.Add(within(t), label, viewer.AddOptions{Name: "door", Wait: 25 * time.Second})
	if err != nil || c.Role != wire.RoleOwner {
		t.Fatalf("added as %v, %v", c.Role, err)
	}
	paired(t, h)
	info, err := os.Stat(filepath.Join(dir, PairingsFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("pairings: %v, %v", info, err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir, Network: network()}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second program with the folder: %v", err)
	}
	if err := Reset(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("a reset while the camera runs: %v", err)
	}

	at := h.Addrs()
	h.Kill()
	h = s.camera(Options{Dir: dir})
	if again := h.Addrs(); again[0] != at[0] {
		t.Errorf("the camera's next life is at %v, not at %v", again, at)
	}
	watch(t, owner, "door", 3)
	if _, err := other.Add(within(t), label, viewer.AddOptions{Name: "mine", Wait: 25 * time.Second}); !errors.As(err, new(*viewer.Refusal)) ||
		!strings.Contains(err.Error(), wire.CodeClaimed.Sentence()) {
		t.Errorf("another viewer with the label: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	await(t, owner, "door", func(c viewer.Camera) bool { return c.Presence == viewer.Offline && strings.Contains(c.Why, "goodbye") })

	if err := Reset(dir); err != nil {
		t.Fatal(err)
	}
	s.camera(Options{Dir: dir})
	if c, err := other.Add(within(t), label, viewer.AddOptions{Name: "mine", Wait: 25 * time.Second}); err != nil || c.Role != wire.RoleOwner {
		t.Errorf("after the reset: %v, %v", c.Role, err)
	}
}

// Without a folder, and with an open label, everybody who has it may watch.
func TestOpenLabel(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	with := s.folder()
	st, err := openState(Options{Dir: s.folder()})
	if err != nil {
		t.Fatal(err)
	}
	st.close()
	for name, o := range map[string]Options{"open": {Dir: with, OpenLabel: true}, "no folder": {Key: st.key, Label: st.label}} {
		h := s.camera(o)
		for range 2 {
			if _, err := s.viewer().Add(within(t), h.Label(), viewer.AddOptions{Name: "door", Wait: 25 * time.Second}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// Live video runs for two viewers while they watch, and not after. Not beside other tests: a program that is being started has, until it
// runs, the sockets that they close, and a camera's next life would not find its port free.
func TestLiveVideo(t *testing.T) {
	require(t, "ffmpeg")
	s := newScene(t)
	var stopped atomic.Int64
	h := s.camera(Options{
		Dir: s.folder(), OpenLabel: true, Input: "lavfi:testsrc2=size=320x180:rate=25",
		Source: source.Config{Bitrate: 300_000, Floor: 50_000, Linger: 100 * time.Millisecond},
		Observe: func(e any) {
			if _, ok := e.(source.Stopped); ok {
				stopped.Add(1)
			}
		},
	})
	first := s.viewer()
	if _, err := first.Add(within(t), h.Label(), viewer.AddOptions{Name: "door", Wait: 25 * time.Second}); err != nil {
		t.Fatal(err)
	}
	paired(t, h)
	second := s.viewer()
	if _, err := second.Enter(h.Label(), "door"); err != nil {
		t.Fatal(err)
	}
	feeds := []*viewer.Feed{feed(t, first, "door"), feed(t, second, "door")} // the first goes on while the second still has to log in
	for _, f := range feeds {
		frames := take(t, f, 40)
		for i, f := range frames {
			if i > 0 && f.PTS <= frames[i-1].PTS {
				t.Errorf("frame %d is at %v after %v", i, f.PTS, frames[i-1].PTS)
			}
		}
	}
	for _, f := range feeds {
		f.Close()
	}
	for ctx := within(t); ; time.Sleep(10 * time.Millisecond) {
		st := h.Stats()
		if st.Source.Readers == 0 && stopped.Load() == st.Source.Captures && st.Core.FramesSent >= 80 && st.Source.Frames < st.Core.FramesSent {
			break // one capture's pictures for two
		}
		if ctx.Err() != nil {
			t.Fatalf("nobody watches, and the capture goes on: %+v", st)
		}
	}
}

// recorder is a Recorder that counts.
type recorder struct {
	mu     sync.Mutex
	units  []media.AccessUnit
	motion int
	closed bool
	more   chan struct{}
}

func (r *recorder) Write(au media.AccessUnit) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.units = append(r.units, au)
	if len(r.units) == 30 {
		close(r.more)
	}
	return nil
}

func (r *recorder) Motion(time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.motion++
}

func (r *recorder) Close(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}

// A recorder gets the video as it comes, motions, and its end.
func TestRecording(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	rec := &recorder{more: make(chan struct{})}
	dir := s.folder()
	ctx, cancel := context.WithCancel(t.Context())
	motion := make(chan os.Signal)
	ran := make(chan error)
	var label identity.Label
	ready := make(chan struct{})
	begun := time.Now()
	go func() {
		ran <- Run(ctx, Options{
			Dir: dir, Network: network(), NoLAN: true, Motion: motion,
			Record: func(camera identity.UID, spool string) (Recorder, error) {
				if spool != filepath.Join(dir, SpoolDir) {
					t.Errorf("the spool is %s", spool)
				}
				return rec, nil
			},
			Ready: func(h *Handle) { label = h.Label(); close(ready) },
		})
	}()
	<-ready
	motion <- nil
	<-rec.more
	if d := time.Since(begun); d < 29*40*time.Millisecond {
		t.Errorf("30 pictures were recorded in %v", d)
	}
	motion <- nil
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if rec.motion == 0 || !rec.closed || label.Key.IsZero() {
		t.Errorf("%d motions, closed %v", rec.motion, rec.closed)
	}
	for i, au := range rec.units {
		if au.Index != i || au.Captured.IsZero() || i > 0 && !au.Captured.After(rec.units[i-1].Captured) {
			t.Fatalf("picture %d is number %d of %v", i, au.Index, au.Captured)
		}
	}
}

// The disk may be full when somebody wants to be paired: he is told, and so is the log. Once there is room he is the owner, and stays it.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	dir := s.folder()
	var log bytes.Buffer
	h := s.camera(Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	blocked := filepath.Join(dir, PairingsFile)
	if err := os.MkdirAll(filepath.Join(blocked, "x"), 0o700); err != nil { // a file cannot take its place
		t.Fatal(err)
	}
	v := s.viewer()
	registered(t, h)
	if _, err := v.Add(within(t), h.Label(), viewer.AddOptions{Name: "door"}); err == nil || !strings.Contains(err.Error(), "free some room") {
		t.Errorf("the viewer hears: %v", err)
	}
	h.Do(func(time.Time, *camera.Camera) {
		if h.state.book.Claimed() {
			t.Error("there is an owner that no restart would know")
		}
	})
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Add(within(t), h.Label(), viewer.AddOptions{Name: "door", Wait: 25 * time.Second}); err != nil {
		t.Fatal(err)
	}
	paired(t, h)
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if text := log.String(); !strings.Contains(text, "free some room") || strings.Contains(text, h.Label().String()) {
		t.Errorf("the log: %s", text)
	}
	h = s.camera(Options{Dir: dir})
	if !h.state.book.Claimed() {
		t.Error("the owner is lost")
	}
}

// A name that cannot be found does not keep a camera from starting that has been somewhere before; another address is gone to when the
// rendezvous stays silent.
func TestRendezvousMoves(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	dir := filepath.Join(t.TempDir(), "camera")
	_, port, _ := strings.Cut(s.addr.String(), ":")
	if err := New(dir, s.key.Public(), []string{"rv.example:" + port}, strings.NewReader(strings.Repeat("randomness ", 20))); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var at []netip.Addr
	resolve := func(_ context.Context, host string) ([]netip.Addr, error) {
		mu.Lock()
		defer mu.Unlock()
		if host != "rv.example" || at == nil {
			return nil, errors.New("no such host " + host)
		}
		return at, nil
	}
	lead := func(to ...netip.Addr) {
		mu.Lock()
		defer mu.Unlock()
		at = to
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	never := Options{Dir: dir, Network: network(), NoLAN: true, Resolve: resolve}
	if h, err := Start(ctx, never); err == nil || !strings.Contains(err.Error(), "rv.example") {
		h.Close()
		t.Errorf("a name that was never found: %v", err)
	}
	lead(netip.MustParseAddr("127.0.0.9")) // nobody
	s.camera(Options{Dir: dir, Resolve: resolve}).Close()
	lead()
	h := s.camera(Options{Dir: dir, Resolve: resolve, elsewhere: 100 * time.Millisecond})
	if got := h.known(); len(got) != 1 || got[0].Addr() != netip.MustParseAddr("127.0.0.9") {
		t.Errorf("it went to %v", got)
	}
	lead(netip.MustParseAddr("127.0.0.1"))
	deadline := time.Now().Add(30 * time.Second)
	for !h.Stats().Core.Registered {
		if time.Now().After(deadline) {
			t.Fatal("it does not find the rendezvous where it is now")
		}
		time.Sleep(20 * time.Millisecond)
	}
}
