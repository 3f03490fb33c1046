package adapter

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
)

// A viewer gets what the camera sent, frame by frame, and both number them alike. Everybody ends within a second.
func TestEndToEnd(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	server := s.rendezvous()
	cam := s.camera(t.TempDir())
	var known public
	if err := json.Unmarshal(cam.file("identity.json"), &known); err != nil {
		t.Fatal(err)
	}
	label, err := identity.ParseLabel(string(cam.file("ticket")))
	if err != nil || label.UID().String() != known.UID || label.RendezvousKey != RendezvousKey().Public() {
		t.Errorf("ticket %v, identity %v: %v", label.UID(), known, err)
	}
	v := s.view(t.TempDir(), cam.file("ticket"), "PUNCHLAB_MEDIA=3")
	if !s.watched(v) {
		t.Fatal("no frame")
	}
	got := v.frames()
	if got[0].N != 1 || len(got) < 60 || len(got) > 120 { // a busy machine may show the first ones, and the last ones, a second late
		t.Errorf("%d frames from %d on in three seconds", len(got), got[0].N)
	}
	if d := got[len(got)-1].T - got[0].T; d < 2 || d > 4 {
		t.Errorf("watched for %.1f s", d)
	}
	if took, code := cam.end(); took > ends || code != Done {
		t.Errorf("the camera ends after %v with %d", took, code)
	}
	sent := cam.frames()
	if err := s.intact(sent); err != nil || len(sent) < len(got) {
		t.Errorf("%d frames sent, %d received: %v", len(sent), len(got), err)
	}
	for i := range got {
		if sent[i].N != got[i].N || sent[i].SHA256 != got[i].SHA256 || sent[i].T > got[i].T+0.05 {
			t.Fatalf("sent %+v, received %+v", sent[i], got[i])
		}
	}
	if took, code := server.end(); took > ends || code != Done {
		t.Errorf("the rendezvous ends after %v with %d", took, code)
	}
}

// A viewer that is told to end does, in mid-stream and while it asks.
func TestViewerEnds(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	v := s.view(t.TempDir(), []byte("PL1/no label"))
	if code := v.code(); code != Failed || !strings.Contains(v.said(), "ticket") {
		t.Errorf("a ticket that is none: %d, %s", code, v.said())
	}
	server := s.rendezvous()
	cam := s.camera(t.TempDir())
	v = s.view(t.TempDir(), cam.file("ticket"), "PUNCHLAB_MEDIA=60")
	for end := time.Now().Add(comes); len(v.frames()) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no frame")
		}
	}
	if took, code := v.end(); took > ends || code != Done {
		t.Errorf("the viewer ends after %v with %d", took, code)
	}
	ticket := cam.file("ticket")
	cam.end()
	begun := time.Now()
	v = s.view(t.TempDir(), ticket, "PUNCHLAB_TIMEOUT=40")
	if code := v.code(); code != Failed || time.Since(begun) > 30*time.Second || !strings.Contains(v.said(), "unavailable") {
		t.Errorf("an offline camera: %d after %v, %s", code, time.Since(begun), v.said())
	}
	server.cut()
	v = s.view(t.TempDir(), ticket, "PUNCHLAB_TIMEOUT=2")
	if code := v.code(); code != Failed {
		t.Errorf("no rendezvous: %d, %s", code, v.said())
	}
}

// The first owner keeps his access through a power cut, and loses it by a reset and by a transfer: with his pairing, and with the
// ticket. The camera's name stays. The new ticket lets the next owner in.
func TestOwners(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.rendezvous()
	state, first := t.TempDir(), t.TempDir()
	cam := s.camera(state)
	ticket, uid := cam.file("ticket"), cam.file("identity.json")
	if !s.watched(s.view(first, ticket)) {
		t.Fatal("the first owner sees nothing")
	}
	cam.cut()
	cam = s.camera(state)
	if again := cam.file("ticket"); !bytes.Equal(again, ticket) || !bytes.Equal(uid, cam.file("identity.json")) {
		t.Errorf("another camera after a power cut: %s", again)
	}
	if s.watched(s.view(t.TempDir(), ticket)) {
		t.Error("somebody else sees the picture by the ticket that has been used")
	}
	if !s.watched(s.view(first, ticket)) {
		t.Error("the owner is forgotten by a power cut")
	}
	for _, action := range []string{"reset", "transfer"} {
		open := s.view(first, ticket, "PUNCHLAB_MEDIA=30")
		for end := time.Now().Add(comes); len(open.frames()) == 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no frame")
			}
		}
		asked := time.Now()
		a := s.act(state, action)
		if code := a.code(); code != Done {
			t.Fatalf("%s: %d, %s", action, code, a.said())
		}
		next := a.file("ticket")
		if bytes.Equal(next, ticket) || !bytes.Equal(next, cam.file("ticket")) || !bytes.Equal(uid, cam.file("identity.json")) {
			t.Errorf("%s: ticket %s, the camera's %s", action, next, cam.file("ticket"))
		}
		if code := open.code(); code != Failed || time.Since(asked) > 25*time.Second { // of the 30 that it was to watch
			t.Errorf("%s: the old owner's session ends after %v with %d", action, time.Since(asked), code)
		}
		tries := map[string]*program{"pairing": s.view(first, ticket), "ticket": s.view(t.TempDir(), ticket)}
		for name, old := range tries {
			if s.watched(old) {
				t.Errorf("%s: the old owner sees the picture by his %s", action, name)
			}
		}
		second := t.TempDir()
		if !s.watched(s.view(second, next)) {
			t.Errorf("%s: the new owner sees nothing", action)
		}
		first, ticket = second, next
	}
}

// Privacy mode outlives a power cut.
func TestPrivacy(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.rendezvous()
	state, who := t.TempDir(), t.TempDir()
	cam := s.camera(state)
	if !s.watched(s.view(who, cam.file("ticket"))) {
		t.Fatal("no frame")
	}
	if code := s.act(state, "privacy-on").code(); code != Done {
		t.Fatal(code)
	}
	sent := cam.written()
	short := "PUNCHLAB_TIMEOUT=1"
	if s.watched(s.view(who, cam.file("ticket"), short)) || len(cam.frames()) != sent {
		t.Error("a picture while private")
	}
	cam.cut()
	cam = s.camera(state)
	if s.watched(s.view(who, cam.file("ticket"), short)) || len(cam.frames()) != 0 {
		t.Error("a picture after a power cut")
	}
	if code := s.act(state, "privacy-off").code(); code != Done {
		t.Fatal(code)
	}
	if !s.watched(s.view(who, cam.file("ticket"))) {
		t.Error("no picture afterwards")
	}
}

// Whoever asks for what there is not is told so.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for _, more := range [][]string{
		{"PUNCHLAB_CASE=QXZ-17"}, {"PUNCHLAB_CASE="}, {"PUNCHLAB_CASE=MED-9"}, {"PUNCHLAB_CASE=MED-0"}, {"PUNCHLAB_CASE=med-1"},
		{"PUNCHLAB_ROLE=doorbell"}, {"PUNCHLAB_ROLE=camera", "PUNCHLAB_ACTION=update"}, {"PUNCHLAB_ROLE=camera", "PUNCHLAB_ACTION=power"},
		{"PUNCHLAB_ACTION=reset"}, {"PUNCHLAB_ACTION="}, {"PUNCHLAB_CONTRACT=2"},
	} {
		if p := s.start("viewer", t.TempDir(), more...); p.code() != Unsupported {
			t.Errorf("%v: %d, %s", more, p.code(), p.said())
		}
	}
	for _, more := range [][]string{
		{"PUNCHLAB_STATE="}, {"PUNCHLAB_RESULT=/nowhere"}, {"PUNCHLAB_RENDEZVOUS=here"}, {"PUNCHLAB_RENDEZVOUS="}, {"PUNCHLAB_SOURCE="},
		{"PUNCHLAB_MEDIA=-1"}, {"PUNCHLAB_TIMEOUT=soon"}, {"PUNCHLAB_SOURCE=/nowhere"}, {"PUNCHLAB_ACTION=reset"},
	} {
		if p := s.start("camera", t.TempDir(), more...); p.code() != Failed || p.said() == "" {
			t.Errorf("%v: %d, %s", more, p.code(), p.said())
		}
	}
}

// The relay is ready at once, and there until it is told to end.
func TestRelay(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := s.start("relay", t.TempDir()).ready()
	if took, code := p.end(); took > ends || code != Done {
		t.Errorf("%v, %d", took, code)
	}
}

// The socket for actions works in a folder with a long name, and where a power cut has left one.
func TestLongState(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.rendezvous()
	state := filepath.Join(t.TempDir(), strings.Repeat("state", 40))
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	s.camera(state).cut()
	cam := s.camera(state)
	if a := s.act(state, "privacy-on"); a.code() != Done {
		t.Errorf("%d, %s", a.code(), a.said())
	}
	cam.end()
	if a := s.act(state, "privacy-off"); a.code() != Failed {
		t.Errorf("without a camera: %d, %s", a.code(), a.said())
	}
}

// Power cuts at any moment of the first starts leave one camera: whatever has been published stays.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.rendezvous()
	state := t.TempDir()
	seen := map[string]int{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		cam := s.start("camera", state)
		time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
		cam.cut()
		if b, err := os.ReadFile(filepath.Join(cam.result, "ticket")); err == nil {
			seen[string(b)]++
		}
	}
	seen[string(s.camera(state).file("ticket"))]++
	if len(seen) != 1 {
		t.Errorf("%d cameras: %v", len(seen), seen)
	}
}

// A flood of lines is left out, and counted.
func TestQuiet(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	var b strings.Builder
	q := newQuiet(&b, func() time.Time { return now })
	for range 10_000 {
		if n, err := q.Write([]byte("line\n")); n != 5 || err != nil {
			t.Fatal(n, err)
		}
	}
	now = now.Add(time.Second)
	_, _ = q.Write([]byte("last\n"))
	if lines := strings.Split(strings.TrimSpace(b.String()), "\n"); len(lines) != logBurst+2 || lines[logBurst] != "(9800 lines left out)" ||
		lines[logBurst+1] != "last" {
		t.Errorf("%d lines, at the end %v", len(lines), lines[len(lines)-2:])
	}
}
