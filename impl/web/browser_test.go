package web

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/web/webtest"
)

// chromium finds the browser, or skips the test where it need not be there.
func chromium(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if slices.Contains(strings.Split(os.Getenv("PUNCHLAB_REQUIRE"), ","), "chromium") {
			t.Fatal("PUNCHLAB_REQUIRE names chromium, which is not installed (Debian: apt-get install chromium)")
		}
		t.Skip("no chromium here (Debian: apt-get install chromium)")
	}
	return path
}

// The page shows the camera's picture: its own frame counter is decoded, and goes on; and the camera's state beside it.
func TestBrowserShowsThePicture(t *testing.T) {
	b := newLane()
	latency, loss := 0.042, 0.015
	b.state.Path, b.state.Phase, b.state.Latency, b.state.Loss, b.state.Frames = "direct", "watching", &latency, &loss, 1
	_, h := serve(t, b, Options{Token: "s3cret"})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	page, err := webtest.Open(ctx, chromium(t), h.URL+"/?token=s3cret")
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	seen, err := page.Pictures(ctx, 10)
	if err != nil {
		t.Fatal(err)
	}
	back := 0
	for i, n := range seen {
		if n >= 100 {
			t.Errorf("pictures %v, of a clip of 100", seen)
		}
		if i > 0 && (n-seen[i-1]+100)%100 > 50 {
			back++
		}
	}
	if back > 2 { // two seconds in which a busy machine shows none look like a step back
		t.Errorf("pictures %v: they do not go on", seen)
	}
	text := func(selector string) string {
		s, err := page.Text(selector)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, want := range []string{"direct", "42 ms", "1.5 %"} {
		eventually(t, "the facts have "+want, func() bool { return strings.Contains(text("#facts"), want) })
	}
	if at, err := page.Location(); err != nil || strings.Contains(at, "s3cret") {
		t.Errorf("the address is %s, %v", at, err)
	}
	b.change(func(c *Camera) { c.Presence, c.Why, c.Failure = "offline", "fell silent", `it <b>burns</b>` })
	eventually(t, "the list says that the camera is offline", func() bool { return strings.Contains(text("#cameras"), "it fell silent") })
	if s := text("#cameras"); !strings.Contains(s, "<b>burns</b>") {
		t.Errorf("what is said is taken for HTML: %q", s)
	}
	if to := os.Getenv("PUNCHLAB_SCREENSHOT"); to != "" {
		if err := page.Screenshot(to); err != nil {
			t.Error(err)
		}
	}
}
