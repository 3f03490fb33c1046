package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/web/webtest"
)

// What 'viewer' refuses, it refuses before it logs in, and says what to do.
func TestViewerBadInput(t *testing.T) {
	label := identity.Label{Key: identity.PublicKey{1}, RendezvousKey: identity.PublicKey{2}, Rendezvous: []string{"192.0.2.1:4479"}}.String()
	for _, tt := range []struct {
		name   string
		args   []string
		code   int
		stderr string
	}{
		{"no label", nil, 64, `arg`},
		{"cut label", []string{"add", label[:40]}, 64, `cut short`},
		{"wrong character", []string{"add", strings.Replace(label, "192", "193", 1)}, 64, `check characters`},
		{"no file", []string{"add", "none.jpg"}, 64, `none\.jpg.*give a photo`},
		{"no picture", []string{"add", "text.txt"}, 64, `text\.txt: .*picture`},
		{"bad name", []string{"add", label, "--name", "a/b"}, 64, `slashes`},
		{"no camera", []string{"watch", "door"}, 64, `no camera is called "door".*add one`},
		{"no camera to remove", []string{"remove", "door"}, 64, `no camera is called`},
		{"bad role", []string{"share", "door", "--role", "king"}, 64, `owner or guest`},
		{"release unasked", []string{"release", "door"}, 64, `--yes`},
		{"bad token", []string{"list", "--token", "text.txt"}, 64, `--token`},
		{"damaged book", []string{"list", "--book", "text.txt"}, 64, `text\.txt`},
		{"no camera and no page", []string{"watch"}, 64, `--http`},
		{"page at no address", []string{"watch", "--http", "nowhere"}, 64, `--http`},
		{"bad strategy", []string{"list", "--strategy", "port-forward"}, 64, `port-forward`},
		{"unwritable video", []string{"watch", "door", "--save", "/proc/none/x"}, 64, `/proc/none/x`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "text.txt"), []byte("no label"), 0o600); err != nil {
				t.Fatal(err)
			}
			code, _, stderr := punchlab(t, dir, append([]string{"viewer"}, tt.args...)...)
			if code != tt.code || !regexp.MustCompile(tt.stderr).MatchString(stderr) {
				t.Errorf("exit code %d, want %d; stderr, which should match %q:\n%s", code, tt.code, tt.stderr, stderr)
			}
			if strings.Contains(stderr, label[60:90]) {
				t.Error("a label's secret is told")
			}
		})
	}
}

// background is a command that runs until the test ends.
func background(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	c := command(t, dir, args...)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	t.Cleanup(func() {
		if c.Process != nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
	return c
}

// The way of a camera's owner, by the programs themselves: add, list, watch, lose, and forget.
func TestViewerCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const at = "127.0.0.1:24480"
	_, key, _ := punchlab(t, dir, "rendezvous", "--print-key")
	server := background(t, dir, "rendezvous", "--listen", at, "--tls", "0", "--stun=false")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	common := []string{"camera", "--rendezvous", at, "--rendezvous-key", strings.TrimSpace(key)}
	_, label, _ := punchlab(t, dir, append(common, "--print-label")...)
	if err := os.WriteFile(filepath.Join(dir, "label.txt"), []byte(label), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := punchlab(t, dir, "qr", "label.txt", "--png", "label.png"); code != 0 {
		t.Fatalf("qr: %s", stderr)
	}
	camera := background(t, dir, common...)
	if err := camera.Start(); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := punchlab(t, dir, "viewer", "add", "label.png", "--name", "door", "--wait", "60s", "--json")
	var added map[string]any
	if err := json.Unmarshal([]byte(out), &added); err != nil || code != 0 || added["name"] != "door" || added["last_path"] == "" {
		t.Fatalf("add: exit code %d, %s%s", code, out, stderr)
	}
	online := regexp.MustCompile(`door +online +for .*` + added["uid"].(string))
	if code, out, _ := punchlab(t, dir, "viewer", "list", "--wait", "20s"); code != 0 || !online.MatchString(out) {
		t.Errorf("list: exit code %d, %s", code, out)
	}
	code, _, stderr = punchlab(t, dir, "viewer", "watch", "door", "--for", "1s", "--save", "door.h264")
	if code != 0 || !strings.Contains(stderr, "25 frames") {
		t.Errorf("watch: exit code %d, %s", code, stderr)
	}
	if video, err := os.ReadFile(filepath.Join(dir, "door.h264")); err != nil || !bytes.HasPrefix(video, []byte{0, 0, 0, 1}) {
		t.Errorf("the video: %d bytes, %v", len(video), err)
	}
	beside := background(t, dir, "viewer", "watch", "door", "--for", "2s")
	var said bytes.Buffer
	beside.Stderr = &said
	if err := beside.Start(); err != nil {
		t.Fatal(err)
	}
	for range 5 { // they share one session, so that nobody is put out
		if code, out, stderr := punchlab(t, dir, "viewer", "list", "--wait", "20s"); code != 0 || !strings.Contains(out, "online") {
			t.Errorf("list beside watch: exit code %d, %s%s", code, out, stderr)
		}
	}
	if err := beside.Wait(); err != nil || !strings.Contains(said.String(), "50 frames") || strings.Contains(said.String(), "reconnecting") {
		t.Errorf("watch beside list: %v, %s", err, &said)
	}
	paged(t, dir)
	followed(t, dir, func() { _ = camera.Process.Signal(syscall.SIGTERM) })
	if code, _, stderr := punchlab(t, dir, "viewer", "watch", "door"); code != 1 || !strings.Contains(stderr, "offline") {
		t.Errorf("watch what is offline: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := punchlab(t, dir, "viewer", "remove", "door"); code != 0 {
		t.Errorf("remove: exit code %d, %s", code, stderr)
	}
	if code, out, _ := punchlab(t, dir, "viewer", "list", "--wait", "20s"); code != 0 || out != "" {
		t.Errorf("list of nothing: exit code %d, %s", code, out)
	}
}

// paged looks at the page of 'viewer watch --http'.
func paged(t *testing.T, dir string) {
	t.Helper()
	c := background(t, dir, "viewer", "watch", "door", "--http", "127.0.0.1:0", "--http-token", "s3cret")
	errs, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	at := ""
	for lines := bufio.NewScanner(errs); at == "" && lines.Scan(); {
		if u, ok := strings.CutPrefix(lines.Text(), "page: "); ok {
			at = u
		}
	}
	base, rest, ok := strings.Cut(at, "/?token=s3cret")
	if !ok || rest != "#door" {
		t.Fatalf("the page is said to be at %q", at)
	}
	for _, tt := range []struct {
		token, want string
		status      int
	}{{"", "", 401}, {"s3cret", `"name":"door"`, 200}} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", base+"/api/cameras", nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.token != "" {
			r.Header.Set("Authorization", "Bearer "+tt.token)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != tt.status || !strings.Contains(string(body), tt.want) {
			t.Errorf("with token %q: status %d, %s", tt.token, answer.StatusCode, body)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, errs) }()
	pictured(t, at)
	_ = c.Process.Signal(syscall.SIGTERM)
	if err := c.Wait(); err != nil {
		t.Errorf("ended by SIGTERM: %v", err)
	}
}

// pictured has a browser show the camera: what counts is the frame number in the decoded picture.
func pictured(t *testing.T, at string) {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		if slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), "chromium") {
			t.Error("PUNCHLAB_REQUIRE names chromium, which is not installed (Debian: apt-get install chromium)")
		}
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	page, err := webtest.Open(ctx, chromium, at)
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	seen, err := page.Pictures(ctx, 5)
	if err != nil {
		t.Fatalf("pictures %v: %v", seen, err)
	}
	back := 0
	for i := range seen[1:] {
		if step := (seen[i+1] - seen[i] + 100) % 100; step == 0 || step > 50 { // of a clip of 100
			back++
		}
	}
	if back > 1 { // two seconds in which a busy machine shows none look like a step back
		t.Errorf("pictures %v: they do not go on", seen)
	}
}

// followed has 'viewer list --follow' tell that a camera leaves.
func followed(t *testing.T, dir string, leave func()) {
	t.Helper()
	c := background(t, dir, "viewer", "list", "--follow", "--wait", "20s", "--json")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
	defer stop.Stop()
	var was []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var x map[string]any
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		was = append(was, x["presence"].(string))
		if len(was) == 1 {
			leave()
			continue
		}
		if x["why"] != "said goodbye" || x["presence"] != "offline" || was[0] != "online" {
			t.Errorf("told %s after %v", lines.Text(), was)
		}
		return
	}
	t.Errorf("told %v only", was)
}
