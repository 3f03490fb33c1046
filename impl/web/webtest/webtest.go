// Package webtest looks at a page of package web as a person does: in a browser, by the picture.
//
//	Open(ctx, "chromium", url) ── Chromium, headless ── page ── <video>
//	Counter ◄── the number that the embedded clip's picture shows, as the browser draws it
//
// It is for tests, and for programs that tests run.
package webtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/chromedp/chromedp"
)

// Page is a page in a browser of its own.
type Page struct {
	ctx    context.Context
	cancel []func()
}

// Open runs a Chromium and loads a page, for as long as the context lasts.
func Open(ctx context.Context, program, url string) (*Page, error) {
	dir, err := os.MkdirTemp("", "punchlab-browser-")
	if err != nil {
		return nil, err
	}
	p := &Page{cancel: []func(){func() { os.RemoveAll(dir) }}}
	// Without a sandbox, since tests run as root; with addresses as they are, since nobody resolves mDNS names in a lab; with patience, since
	// a busy machine takes its time to begin a browser.
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.UserDataDir(dir),
		chromedp.WindowSize(1280, 800), chromedp.Flag("disable-features", "WebRtcHideLocalIpsWithMdns"), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.WSURLReadTimeout(time.Minute))
	var cancel context.CancelFunc
	p.ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	p.cancel = append(p.cancel, cancel)
	p.ctx, cancel = chromedp.NewContext(p.ctx)
	p.cancel = append(p.cancel, cancel, func() { _ = chromedp.Cancel(p.ctx) }) // which waits for the process
	if _, err := chromedp.Run(p.ctx, chromedp.Navigate(url)); err != nil {
		p.Close()
		return nil, fmt.Errorf("open %s: %w", url, err)
	}
	return p, nil
}

// Close ends the browser.
func (p *Page) Close() {
	for i := len(p.cancel) - 1; i >= 0; i-- {
		p.cancel[i]()
	}
	p.cancel = nil
}

// readCounter reads the clip's row of blocks: white, black, 12 bits of the number, even and odd parity (impl/media/make-clip.sh).
const readCounter = `(() => {
  const v = document.getElementById('video');
  if (!v || !v.videoWidth) return -1;
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

// Counter is the number that the picture shows now; −1: it shows none.
func (p *Page) Counter() (int, error) {
	return chromedp.Run(p.ctx, chromedp.Evaluate[int](readCounter))
}

// Pictures waits until so many different numbers were shown, and returns them in the order in which they came.
func (p *Page) Pictures(ctx context.Context, want int) (seen []int, err error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	known := map[int]bool{-1: true}
	for len(seen) < want {
		n, err := p.Counter()
		if err != nil {
			return seen, err
		}
		if !known[n] {
			known[n] = true
			seen = append(seen, n)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			said, _ := p.Text("#message")
			return seen, fmt.Errorf("%d of %d pictures were shown; the page says %q: %w", len(seen), want, said, context.Cause(ctx))
		}
	}
	return seen, nil
}

// Text is what an element shows.
func (p *Page) Text(selector string) (string, error) {
	return chromedp.Run(p.ctx, chromedp.Text(selector))
}

// Location is the page's address.
func (p *Page) Location() (string, error) { return chromedp.Run(p.ctx, chromedp.Location()) }

// Screenshot writes what the window shows to a file.
func (p *Page) Screenshot(file string) error {
	b, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	return errors.Join(err, os.WriteFile(file, b, 0o644))
}
