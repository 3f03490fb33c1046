package web

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
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

// browse opens a page in a headless Chromium.
func browse(t *testing.T, url string) context.Context {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.WindowSize(1280, 800),
		chromedp.Flag("disable-features", "WebRtcHideLocalIpsWithMdns"), chromedp.UserDataDir(t.TempDir()))
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // and waits for the process
		cancel()
	})
	if _, err := chromedp.Run(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// readCounter reads the number that the clip's picture shows as a row of blocks, from the video as the browser draws it; -1:
// there is none. Blocks: white, black, 12 bits of the number, even and odd parity (impl/media/make-clip.sh).
const readCounter = `(() => {
  const v = document.getElementById('video');
  if (!v.videoWidth) return -1;
  const c = document.createElement('canvas');
  c.width = 16; c.height = 9;
  const g = c.getContext('2d');
  g.drawImage(v, 0, 0, 16, 9);
  const row = g.getImageData(0, 8, 16, 1).data;
  const bit = (i) => row[4 * i] > 128 ? 1 : 0;
  let n = 0, ones = 0;
  for (let i = 2; i < 14; i++) { n = 2 * n + bit(i); ones += bit(i); }
  return bit(0) === 1 && bit(1) === 0 && bit(14) === ones % 2 && bit(15) === 1 - ones % 2 ? n : -1;
})()`

// The page shows the camera's picture: its own frame counter is decoded, and goes on; and the camera's state beside it.
func TestBrowserShowsThePicture(t *testing.T) {
	b := newLane()
	latency, loss := 0.042, 0.015
	b.state.Path, b.state.Phase, b.state.Latency, b.state.Loss, b.state.Frames = "direct", "watching", &latency, &loss, 1
	_, h := serve(t, b, Options{Token: "s3cret"})
	ctx := browse(t, h.URL+"/?token=s3cret")
	counter := func() int {
		n, err := chromedp.Run(ctx, chromedp.Evaluate[int](readCounter))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	seen := map[int]bool{}
	eventually(t, "ten different pictures are shown", func() bool {
		if n := counter(); n >= 0 {
			seen[n] = true
		}
		return len(seen) >= 10
	})
	for n := range seen {
		if n >= 100 {
			t.Errorf("picture %d, of a clip of 100", n)
		}
	}
	text := func(selector string) string {
		s, err := chromedp.Run(ctx, chromedp.Text(selector))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, want := range []string{"direct", "42 ms", "1.5 %"} {
		if facts := text("#facts"); !strings.Contains(facts, want) {
			t.Errorf("facts %q, want %q", facts, want)
		}
	}
	if at, err := chromedp.Run(ctx, chromedp.Location()); err != nil || strings.Contains(at, "s3cret") {
		t.Errorf("the address is %s, %v", at, err)
	}
	b.change(func(c *Camera) {
		c.Name, c.Presence, c.Why, c.Failure = "door", "offline", "fell silent", `it <b>burns</b>`
	})
	eventually(t, "the list says that the camera is offline", func() bool { return strings.Contains(text("#cameras"), "it fell silent") })
	if s := text("#cameras"); !strings.Contains(s, "<b>burns</b>") {
		t.Errorf("what is said is taken for HTML: %q", s)
	}
	if to := os.Getenv("PUNCHLAB_SCREENSHOT"); to != "" {
		screenshot(ctx, t, to)
	}
}

func screenshot(ctx context.Context, t *testing.T, file string) {
	b, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(file, b, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}
