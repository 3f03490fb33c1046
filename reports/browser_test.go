package reports

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// browser runs a headless Chromium for a test, or skips it where it need not be there.
func browser(t *testing.T) context.Context {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		if strings.Contains(","+os.Getenv("PUNCHLAB_REQUIRE")+",", ",chromium,") {
			t.Fatal("PUNCHLAB_REQUIRE names chromium, which is not installed")
		}
		t.Skip("chromium is not installed")
	}
	dir, err := os.MkdirTemp("", "punchlab-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	t.Cleanup(cancel)
	// Chromium drops keys and clicks that come before a page is painted (allow-pre-commit-input), and is given up on after 20 s unless told
	// otherwise.
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.UserDataDir(dir),
		chromedp.WindowSize(1280, 900), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("allow-file-access-from-files", true),
		chromedp.Flag("allow-pre-commit-input", true), chromedp.WSURLReadTimeout(time.Minute))
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx); cancel() })
	return ctx
}

// do runs steps that return nothing of interest.
func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	for _, s := range steps {
		ask(t, ctx, s)
	}
}

// ask runs a step for what it returns.
func ask[T any](t *testing.T, ctx context.Context, step chromedp.Action[T]) T {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[int]("1")); err != nil { // the first run begins the browser, with no limit
		t.Fatal(err)
	}
	settle(t, ctx)
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, step)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// settle waits until the page has drawn what the step before has set off: it scrolls to where an address leads as it draws, and a click is at
// the place that its aim had before.
func settle(t *testing.T, ctx context.Context) {
	t.Helper()
	const drawn = `new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(true))))`
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](drawn, chromedp.EvalAwaitPromise)); err != nil {
		t.Fatal(err)
	}
}

// eval runs a script in the page.
func eval[T any](t *testing.T, ctx context.Context, script string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return v
}

// becomes reports whether a script that is true or false comes out true: what a click, a key or an address sets off in a page is
// done by a task of the page's own, later.
func becomes(t *testing.T, ctx context.Context, script string) bool {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !eval[bool](t, ctx, script); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// located is a script that is true at an address that ends so.
func located(end string) string { return fmt.Sprintf("document.location.href.endsWith(%q)", end) }

// media shows the page as for print, or again as for a screen.
func media(t *testing.T, ctx context.Context, kind string) {
	t.Helper()
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: kind}); err != nil {
		t.Fatal(err)
	}
}
