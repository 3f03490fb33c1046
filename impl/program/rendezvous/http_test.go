package rendezvous

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/rendezvous"
)

func get(t *testing.T, h *Handle, path string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.HTTP().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// Metrics and health say what is: a camera, a database, the cluster, and that the server drains.
func TestMetricsAndHealth(t *testing.T) {
	said := newEvents(t)
	h := start(t, func(o *Options) {
		o.HTTP, o.NATS, o.Database = "127.0.0.1:0", Embedded, filepath.Join(t.TempDir(), "db")
		o.Observe = func(e any) { said.c <- e }
	})
	if err := h.Joined(t.Context()); err != nil {
		t.Fatal(err)
	}
	device := register(t, h, newKey(t), nil)
	await[rendezvous.Online](said)

	status, text := get(t, h, "/metrics")
	for _, line := range []string{
		`punchlab_rendezvous_cameras_online 1`, `punchlab_rendezvous_handshakes_total 1`, `punchlab_rendezvous_cluster_connected 1`,
		`punchlab_rendezvous_database_failing 0`, `punchlab_rendezvous_records \d+`, `go_goroutines \d+`, `process_open_fds \d+`,
	} {
		if status != http.StatusOK || !regexp.MustCompile(`(?m)^`+line+`$`).MatchString(text) {
			t.Errorf("%d, without %s", status, line)
		}
	}
	if n := strings.Count(text, "\n# HELP punchlab_rendezvous_"); n < 30 {
		t.Errorf("%d metrics", n)
	}
	health := func(path string, wantStatus int, want string) {
		t.Helper()
		var got Health
		status, body := get(t, h, path)
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != wantStatus || got.Status != want {
			t.Errorf("%s: %d, %s, %v; want %d, %s", path, status, body, err, wantStatus, want)
		}
	}
	health("/healthz", http.StatusOK, "ok")
	health("/readyz", http.StatusOK, "ok")
	why := "no space left on device"
	h.failing.Store(&why)
	health("/readyz", http.StatusOK, "failing")
	h.failing.Store(nil)

	if err := h.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := await[rendezvous.Offline](said); e.Cause != rendezvous.CauseDraining {
		t.Errorf("the camera went since %s", e.Cause)
	}
	health("/healthz", http.StatusOK, "draining")
	health("/readyz", http.StatusServiceUnavailable, "draining")
	await[camera.Denied](device)
}

// What the database holds outlives the server: the greatest stamps of handshakes.
func TestDatabase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	key, device := newKey(t), newKey(t)
	for range 2 {
		h := start(t, func(o *Options) { o.Key, o.Database = key, file })
		await[camera.Registered](register(t, h, device, nil))
		for end := time.Now().Add(30 * time.Second); h.Stats().Records != 1; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d records", h.Stats().Records)
			}
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
