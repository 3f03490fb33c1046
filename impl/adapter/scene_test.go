package adapter

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// asAdapter has the test's program be the adapter.
const asAdapter = "PUNCHLAB_TEST_AS_ADAPTER"

func TestMain(m *testing.M) {
	if os.Getenv(asAdapter) != "" {
		Main()
	}
	os.Exit(m.Run())
}

// scene is a lab of one host: all programs are on the loopback interface, the rendezvous at an address of its own.
type scene struct {
	t      *testing.T
	addr   string
	source string
}

// scenes counts them, for their addresses.
var scenes atomic.Int64

func newScene(t *testing.T) *scene {
	t.Helper()
	n := scenes.Add(1)
	pid := os.Getpid()
	s := &scene{t: t, addr: fmt.Sprintf("127.%d.%d.%d", 1+pid/250%250, pid%250, n), source: filepath.Join(t.TempDir(), "source.h264")}
	var clip bytes.Buffer
	for _, au := range media.EmbeddedClip().AccessUnits {
		clip.Write(au.Data)
	}
	if err := os.WriteFile(s.source, clip.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// program is one that was started.
type program struct {
	s      *scene
	cmd    *exec.Cmd
	result string
	done   chan struct{}

	mu  sync.Mutex
	log bytes.Buffer
}

// Write collects what the program prints.
func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *program) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// start starts a role with a state folder and further variables.
func (s *scene) start(role, state string, more ...string) *program {
	s.t.Helper()
	p := &program{s: s, result: s.t.TempDir(), done: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append([]string{
		asAdapter + "=1", "PATH=" + os.Getenv("PATH"), "PUNCHLAB_CONTRACT=1", "PUNCHLAB_CASE=MED-1", "PUNCHLAB_ROLE=" + role,
		"PUNCHLAB_ACTION=run", "PUNCHLAB_UNIT=1", "PUNCHLAB_RESULT=" + p.result, "PUNCHLAB_STATE=" + state, "PUNCHLAB_SOURCE=" + s.source,
		"PUNCHLAB_ADDR=" + s.addr, "PUNCHLAB_RENDEZVOUS=" + s.addr, "PUNCHLAB_MEDIA=0.3", "PUNCHLAB_TIMEOUT=15", "PUNCHLAB_SEED=7",
	}, more...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	s.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if s.t.Failed() {
			s.t.Logf("%s %s:\n%s", role, strings.Join(more, " "), p.said())
		}
	})
	return p
}

const (
	comes = 30 * time.Second         // what must come may take so long on a busy machine
	ends  = patience + 3*time.Second // and a program that is told to end, or ends itself after patience
)

// code waits for the program's end.
func (p *program) code() int {
	p.s.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(2 * comes):
		p.s.t.Fatalf("the program goes on: %s", p.said())
		return 0
	}
}

// ready waits until the program is set up.
func (p *program) ready() *program {
	p.s.t.Helper()
	for end := time.Now().Add(comes); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(p.result, "ready")); err == nil {
			return p
		}
		select {
		case <-p.done:
			p.s.t.Fatalf("the program ended with %d: %s", p.cmd.ProcessState.ExitCode(), p.said())
		default:
		}
		if time.Now().After(end) {
			p.s.t.Fatalf("the program is not ready: %s", p.said())
		}
	}
}

// end ends the program as the lab does, and returns how long that took and its exit code.
func (p *program) end() (time.Duration, int) {
	p.s.t.Helper()
	at := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.s.t.Fatal(err)
	}
	code := p.code()
	return time.Since(at), code
}

// cut is a power cut.
func (p *program) cut() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// file reads a result.
func (p *program) file(name string) []byte {
	p.s.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.result, name))
	if err != nil {
		p.s.t.Fatal(err)
	}
	return b
}

// frames reads frames.jsonl.
func (p *program) frames() (all []frame) {
	p.s.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.result, "frames.jsonl"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.s.t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		var f frame
		if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			p.s.t.Fatalf("%v: %s", err, lines.Text())
		}
		all = append(all, f)
	}
	return all
}

// rendezvous starts one, with a state of its own unless one is named.
func (s *scene) rendezvous() *program { return s.start("rendezvous", s.t.TempDir()).ready() }

// camera starts one.
func (s *scene) camera(state string) *program { return s.start("camera", state).ready() }

// view starts a viewer for a camera's ticket.
func (s *scene) view(state string, ticket []byte, more ...string) *program {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "ticket")
	if err := os.WriteFile(file, ticket, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return s.start("viewer", state, append([]string{"PUNCHLAB_TICKET=" + file}, more...)...)
}

// act asks the camera with a state for an action.
func (s *scene) act(state, action string) *program {
	return s.start("camera", state, "PUNCHLAB_ACTION="+action)
}

// written is how many frames are in frames.jsonl once no more come: what was sent is written a moment later.
func (p *program) written() (n int) {
	p.s.t.Helper()
	for n = -1; n != len(p.frames()); time.Sleep(200 * time.Millisecond) {
		n = len(p.frames())
	}
	return n
}

// intact says what is wrong with frames: each is the source's at its number, in order.
func (s *scene) intact(all []frame) error {
	clip := media.EmbeddedClip().AccessUnits
	for i, f := range all {
		au := clip[(f.N-1)%len(clip)]
		sum := sha256.Sum256(au.Data)
		switch {
		case f.N < 1, i > 0 && f.N != all[i-1].N+1:
			return fmt.Errorf("frame %d follows %d", f.N, all[max(0, i-1)].N)
		case f.SHA256 != hex.EncodeToString(sum[:]) || f.Size != len(au.Data):
			return fmt.Errorf("frame %d is %d bytes, %s", f.N, f.Size, f.SHA256)
		case i > 0 && f.T < all[i-1].T || f.T < float64(time.Now().Add(-time.Minute).Unix()):
			return errors.New("frame " + strconv.Itoa(f.N) + " is of another time")
		}
	}
	return nil
}

// watched says whether a viewer got media, and ended well.
func (s *scene) watched(p *program) bool {
	s.t.Helper()
	code := p.code()
	all := p.frames()
	if (code == Done) != (len(all) > 0) || !slices.Contains([]int{Done, Failed}, code) {
		s.t.Errorf("exit code %d with %d frames", code, len(all))
	}
	if err := s.intact(all); err != nil {
		s.t.Error(err)
	}
	return len(all) > 0
}
