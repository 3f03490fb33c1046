package source

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/media"
	"golang.org/x/sys/unix"
)

// debian's own Python: gst-rtsp-server's bindings are its packages.
const debianPython = "/usr/bin/python3"

// requireRTSP skips the test where gst-rtsp-server is missing (python3-gi, gir1.2-gst-rtsp-server-1.0),
// or fails it if PUNCHLAB_REQUIRE names it.
func requireRTSP(t *testing.T) {
	t.Helper()
	require(t, "ffmpeg")
	err := exec.Command(debianPython, "-c", "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer").Run()
	missing(t, "gst-rtsp-server", err)
}

// server is a network camera that plays the clip.
type server struct {
	port  string
	units string // its file
	args  []string
	cmd   *exec.Cmd
	stdin io.Closer
}

func newServer(t *testing.T, args ...string) *server {
	t.Helper()
	requireRTSP(t)
	s := &server{port: keepPort(t), units: filepath.Join(t.TempDir(), "clip.units"), args: args}
	var b []byte
	for _, u := range media.EmbeddedClip().AccessUnits {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(u.Data))), u.Data...)
	}
	if err := os.WriteFile(s.units, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(t)
	t.Cleanup(s.kill)
	return s
}

// keepPort has a port of 127.0.0.1 that nobody else is given before the test ends: a socket is bound to it, and does not listen. The server may
// bind it too, since both say SO_REUSEADDR.
func keepPort(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	at, e := unix.Getsockname(fd)
	if err = errors.Join(err, e); err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(at.(*unix.SockaddrInet4).Port)
}

// start starts the server, and waits until it listens.
func (s *server) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.Command(debianPython, append([]string{"testdata/rtsp_server.py", s.units, s.port}, s.args...)...)
	s.cmd.Stderr = os.Stderr
	s.stdin, _ = s.cmd.StdinPipe()
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the RTSP server says %q, %v", line, err)
	}
}

func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

func (s *server) input(t *testing.T, user string) Input {
	t.Helper()
	in, err := ParseInput("rtsp://" + user + "127.0.0.1:" + s.port + "/door")
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// A network camera's H.264 arrives as it is, byte for byte.
func TestRTSPIsCopied(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h, l := open(t, Config{Input: s.input(t, "")})
	r := h.Open()
	got := read(t, r, 40)
	if e := await[Started](t, l, nil); !e.Copy {
		t.Errorf("it was encoded: %+v", e)
	}
	clip := media.EmbeddedClip().AccessUnits
	first := slices.IndexFunc(clip, func(u media.AccessUnit) bool { return bytes.Equal(u.Data, got[0].Data) })
	if first < 0 || !got[0].Key { // the newest key frame there is, which is the camera's first unless ffmpeg has handed over several at once
		t.Fatalf("it begins with %d bytes, key %v", len(got[0].Data), got[0].Key)
	}
	for i, au := range got {
		if want := clip[(first+i)%len(clip)]; au.Key != want.Key || !bytes.Equal(au.Data, want.Data) {
			t.Fatalf("access unit %d has %d bytes, key %v; the camera's has %d, key %v", i, len(au.Data), au.Key, len(want.Data), want.Key)
		}
		if au.Index != i || au.Captured.IsZero() || i > 0 && au.PTS <= got[i-1].PTS {
			t.Fatalf("access unit %d is number %d at %v, captured %v", i, au.Index, au.PTS, au.Captured)
		}
	}
	if d := got[39].PTS - got[14].PTS; d < 900*time.Millisecond || d > 1100*time.Millisecond {
		t.Errorf("25 pictures last %v", d)
	}
}

// A camera that is gone and comes back is found again, and the readers go on.
func TestRTSPServerDiesAndComesBack(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h, l := open(t, Config{Input: s.input(t, "")})
	r := h.Open()
	before := read(t, r, 5)[4]
	s.kill()
	e := await(t, l, func(e Failed) bool { return strings.Contains(e.Err.Error(), "nothing listens there") })
	if e.Retry <= 0 || e.Retry > backoffMost {
		t.Errorf("it is tried again after %v", e.Retry)
	}
	dead := time.Now()
	s.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		au, err := r.Read(ctx)
		if err != nil {
			t.Fatalf("after the camera is back: %v", err)
		}
		if au.Captured.After(dead) {
			if !au.Key || au.PTS <= before.PTS || au.Index <= before.Index {
				t.Errorf("it goes on with number %d at %v, key %v, after number %d at %v", au.Index, au.PTS, au.Key, before.Index, before.PTS)
			}
			return
		}
	}
}

// A wrong password is told, but not which.
func TestRTSPPassword(t *testing.T) {
	t.Parallel()
	s := newServer(t, "user", "opensesame")
	h, l := open(t, Config{Input: s.input(t, "user:wr0ng-secret@")})
	h.Open()
	e := await[Failed](t, l, nil)
	if text := e.Err.Error(); !strings.Contains(text, "name and password") || strings.Contains(text, "wr0ng-secret") {
		t.Errorf("the error says: %v", text)
	}
	if text := e.Input.String(); strings.Contains(text, "wr0ng-secret") {
		t.Errorf("the input is called %s", text)
	}
	h.Close()

	h, _ = open(t, Config{Input: s.input(t, "user:opensesame@")})
	read(t, h.Open(), 3)
}
