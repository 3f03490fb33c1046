package reports

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/punchlab/punchlab/lab/record"
)

// visible is a script that counts what a selector finds and a reader sees.
func visible(selector string) string {
	return `Array.from(document.querySelectorAll("` + selector + `")).filter(e => e.getClientRects().length > 0).length`
}

// openPage writes the page of a run with thresholds, captures and events, and opens it.
func openPage(t *testing.T, ctx context.Context) (address string) {
	t.Helper()
	s := small
	s.common, s.thresholds = true, []string{"direct_rate >= 0.5 where oracle == direct by strategy", "first_frame_s.p95 <= 0.000001"}
	dir := filepath.Join(t.TempDir(), "it's a run")
	s.writeTo(t, dir)
	w, _, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	at := 0.0612
	if err := w.Add(record.Trial{Cell: 0, Trial: 6, Params: s.params(0), Seed: 77, Outcome: record.Direct, Oracle: "direct", ConnectS: &at, FirstPacketS: &at, FirstFrameS: &at, PathChanges: 2,
		Pcap: "pcap/cell000-trial006.pcapng", Events: []record.Event{{AtS: 1.5, What: "camera <reboots>"}}, EndedAt: time.Date(2026, 3, 14, 9, 30, 0, 0, time.UTC)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Finish(true, time.Date(2026, 3, 14, 9, 30, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, []string{"html"}); err != nil {
		t.Fatal(err)
	}
	address = (&url.URL{Scheme: "file", Path: filepath.Join(dir, "report.html")}).String()
	do(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(address))
	return address
}

// TestBrowser goes through the page as a reader does.
func TestBrowser(t *testing.T) {
	ctx := browser(t)
	address := openPage(t, ctx)
	t.Run("filter", func(t *testing.T) { testFilter(t, ctx, address) })
	t.Run("drill-down", func(t *testing.T) { testDrillDown(t, ctx, address) })
	t.Run("keyboard", func(t *testing.T) { testKeyboard(t, ctx, address) })
	t.Run("contrast", func(t *testing.T) { testContrast(t, ctx, address) })
	t.Run("narrow", func(t *testing.T) { testNarrow(t, ctx, address) })
	t.Run("print", func(t *testing.T) { testPrint(t, ctx, address) })
}

// testFilter: ticking a value leaves its cells in matrices, table and lists, and the address brings them back.
func testFilter(t *testing.T, ctx context.Context, address string) {
	count := func(selector string) int { return eval[int](t, ctx, visible(selector)) }
	check := func(when string, tiles, rows, lists int) {
		t.Helper()
		const tile, row, list = "#matrix td[data-cell]", "#cells-table tbody tr", "details.cell"
		if !becomes(t, ctx, fmt.Sprintf("%s === %d && %s === %d && %s === %d", visible(tile), tiles, visible(row), rows, visible(list), lists)) {
			t.Errorf("%s: %d tiles, %d rows and %d lists, want %d, %d and %d", when, count(tile), count(row), count(list), tiles, rows, lists)
		}
	}
	check("unfiltered", 18, 18, 18)
	do(t, ctx, chromedp.Click(`#filter-form input[name="camera.nat"][value="firewall"]`), chromedp.Click(`#filter-form input[name="strategy"][value="adaptive"]`))
	check("firewall, adaptive", 2, 2, 2)
	if n := count("#matrix figure.matrix"); n != 1 {
		t.Errorf("%d matrices for one strategy", n)
	}
	says := ask(t, ctx, chromedp.Text("#filter-says"))
	if !strings.HasPrefix(says, "2 of 18 cells: 12 trials with a verdict, ") || !strings.Contains(says, "95 % interval") || !strings.Contains(says, "The curves and the tables of strategies are of all cells.") {
		t.Errorf("the filter says %q", says)
	}
	if !becomes(t, ctx, located("#camera.nat=firewall&strategy=adaptive")) {
		t.Errorf("the address is %s", ask(t, ctx, chromedp.Location()))
	}
	do(t, ctx, chromedp.Navigate(address+"?again#camera.nat=firewall,full-cone&strategy=nonsense&%&c1"))
	check("by address", 12, 12, 12)
	if !becomes(t, ctx, `document.getElementById("c1").closest("details").open`) {
		t.Error("the address did not open its cell")
	}
	do(t, ctx, chromedp.Click(`#cells-table tbody tr:not([hidden]) a`))
	if !becomes(t, ctx, located("#camera.nat=firewall,full-cone&c0")) {
		t.Errorf("a link lost the filter: %s", ask(t, ctx, chromedp.Location()))
	}
	do(t, ctx, chromedp.Focus("#filter-all"), chromedp.KeyEvent(kb.Enter))
	check("all again", 18, 18, 18)
	do(t, ctx, chromedp.Focus("#words"), chromedp.KeyEvent("symmetric ice"))
	check("words", 18, 4, 18)
}

// testDrillDown: from a tile to its trials, from a trial to its drawing with the commands to replay it.
func testDrillDown(t *testing.T, ctx context.Context, address string) {
	do(t, ctx, chromedp.Navigate(address+"?drill"), chromedp.Click(`#matrix td[data-cell="0"] a`))
	if rows := visible(`details.cell[data-cell='0'] table.trials tbody tr`); !becomes(t, ctx, rows+" >= 7") {
		t.Fatalf("%d trials", eval[int](t, ctx, rows))
	}
	do(t, ctx, chromedp.Click(`//tr[@id="c0.t6"]//button`, chromedp.NodeVisible))
	drawn := ask(t, ctx, chromedp.Text(`.timeline figcaption`))
	for _, want := range []string{"Trial 6 of cell 0, direct", "connected after 61.2 ms", "2 path changes", "camera <reboots> at 1.5 s of the trial"} {
		if !strings.Contains(drawn, want) {
			t.Errorf("the drawing does not say %q: %s", want, drawn)
		}
	}
	commands := ask(t, ctx, chromedp.Text(`.timeline .commands`))
	for _, want := range []string{"pcap/cell000-trial006.pcapng", "punchlab replay '", `it'\''s a run' 0/6`, "punchlab run nat-matrix --seed 42 --engine netfilter --set camera.nat=firewall", "--trials 7 --pcap all"} {
		if !strings.Contains(commands, want) {
			t.Errorf("the commands lack %q: %s", want, commands)
		}
	}
	if label := eval[string](t, ctx, `(() => { const s = document.querySelector(".timeline svg"); return s.getAttribute("role") + s.getAttribute("aria-labelledby").split(" ").map(i => document.getElementById(i).textContent).join(" ") })()`); !strings.HasPrefix(label, "imgTimeline of trial 6") || !strings.Contains(label, "first whole frame after 61.2 ms") {
		t.Errorf("who cannot see the drawing hears %q", label)
	}
	if href := eval[string](t, ctx, `document.querySelector(".timeline .commands a").getAttribute("href")`); href != "pcap/cell000-trial006.pcapng" {
		t.Errorf("the capture's link is %s", href)
	}
	do(t, ctx, chromedp.Navigate(address+"?direct#c0.t6"))
	if !becomes(t, ctx, visible(".timeline svg")+" === 1") {
		t.Errorf("an address of a trial draws %d", eval[int](t, ctx, visible(".timeline svg")))
	}
}

// testKeyboard: whatever can be clicked can be reached and pressed.
func testKeyboard(t *testing.T, ctx context.Context, address string) {
	do(t, ctx, chromedp.Navigate(address+"?keys"), chromedp.KeyEvent(kb.Tab))
	if !becomes(t, ctx, `document.activeElement.textContent === "Skip to the matrix"`) {
		t.Errorf("Tab first reaches %q", eval[string](t, ctx, `document.activeElement.textContent`))
	}
	if n := eval[int](t, ctx, `Array.from(document.querySelectorAll("[onclick], summary, a, button, input, select")).filter(e => e.tabIndex < 0).length`); n != 0 {
		t.Errorf("%d controls are out of the keyboard's reach", n)
	}
	if n := eval[int](t, ctx, `Array.from(document.querySelectorAll("*")).filter(e => e.scrollWidth > e.clientWidth + 1 && /auto|scroll/.test(getComputedStyle(e).overflowX) && e.tabIndex < 0).length`); n != 0 {
		t.Errorf("%d boxes scroll, but not by keyboard", n)
	}
	do(t, ctx, chromedp.Focus(`#filter-form input[value="firewall"]`), chromedp.KeyEvent(" "))
	if !becomes(t, ctx, located("#camera.nat=firewall")) {
		t.Error("Space does not filter")
	}
	do(t, ctx, chromedp.Focus(`details.cell[data-cell="0"] summary`), chromedp.KeyEvent(kb.Enter))
	do(t, ctx, chromedp.Query(`table.trials button`, chromedp.NodeVisible), chromedp.Focus(`table.trials button`), chromedp.KeyEvent(kb.Enter))
	if !becomes(t, ctx, visible(".timeline svg")+` === 1 && document.activeElement.getAttribute("aria-expanded") === "true"`) {
		t.Errorf("Enter draws %d trials", eval[int](t, ctx, visible(".timeline svg")))
	}
	do(t, ctx, chromedp.Focus(`#cells-table th button`), chromedp.KeyEvent(kb.Enter))
	if !becomes(t, ctx, `document.querySelector("#cells-table th").getAttribute("aria-sort") === "ascending"`) {
		t.Error("Enter does not sort")
	}
}

// contrasts finds texts that stand out less than WCAG 2.2 asks at level AA: 4.5 to 1, or 3 to 1 for large ones.
const contrasts = `(() => {
  const rgba = s => { const m = s.match(/[\d.]+/g); return m ? m.map(Number).concat(m.length < 4 ? [1] : []) : [0, 0, 0, 0]; };
  const lum = c => { const f = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]); };
  const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3]));
  const back = e => { const layers = []; for (; e; e = e.parentElement) layers.unshift(rgba(getComputedStyle(e).backgroundColor)); return layers.reduce((b, a) => over(a, b), [255, 255, 255]); };
  const bad = new Set(); let n = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, st = getComputedStyle(e);
    if (!walk.currentNode.textContent.trim() || !e.getClientRects().length || st.visibility === "hidden" || ["SCRIPT", "STYLE", "TITLE", "title", "desc"].includes(e.tagName)) continue;
    const bg = back(e);
    const fg = over(rgba(e instanceof SVGElement ? st.fill : st.color), bg);
    const a = lum(fg), b = lum(bg), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), size = parseFloat(st.fontSize);
    n++;
    if (ratio < (size >= 24 || size >= 18.66 && st.fontWeight >= 700 ? 3 : 4.5)) bad.add(ratio.toFixed(2) + " " + e.tagName + "." + e.getAttribute("class") + " " + walk.currentNode.textContent.trim().slice(0, 40));
  }
  return n + "\n" + Array.from(bad).slice(0, 12).join("\n");
})()`

// testContrast: every text, in both themes, with a cell, a trial and all boxes open.
func testContrast(t *testing.T, ctx context.Context, address string) {
	for _, theme := range []string{"light", "dark"} {
		do(t, ctx, chromedp.Navigate(address+"?"+theme+"#c0.t6"))
		eval[int](t, ctx, `(document.documentElement.dataset.theme = "`+theme+`", document.querySelectorAll("details:not(.cell)").forEach(d => d.open = true), 1)`)
		n, bad, _ := strings.Cut(eval[string](t, ctx, contrasts), "\n")
		if bad != "" || len(n) < 4 {
			t.Errorf("%s theme, of %s texts:\n%s", theme, n, bad)
		}
	}
}

// testNarrow: a telephone's window has no need to scroll sideways, but within tables.
func testNarrow(t *testing.T, ctx context.Context, address string) {
	do(t, ctx, chromedp.EmulateViewport(400, 800), chromedp.Navigate(address+"?narrow#c0.t6"))
	if w := eval[int](t, ctx, `document.documentElement.scrollWidth`); w > 400 {
		t.Errorf("the page is %d pixels wide in a window of 400", w)
	}
	do(t, ctx, chromedp.EmulateViewport(1280, 900))
}

// testPrint: light, without what paper cannot do, and not a page for each hundred trials.
func testPrint(t *testing.T, ctx context.Context, address string) {
	do(t, ctx, chromedp.Navigate(address+"?print"))
	eval[string](t, ctx, `document.documentElement.dataset.theme = "dark"`)
	media(t, ctx, "print")
	defer media(t, ctx, "")
	for _, selector := range []string{"nav", "#theme", "#filter-form", "#words-box", "details.cell", ".skip"} {
		if n := eval[int](t, ctx, visible(selector)); n != 0 {
			t.Errorf("%d × %s is printed", n, selector)
		}
	}
	if bg := eval[string](t, ctx, `getComputedStyle(document.body).backgroundColor`); bg != "rgb(255, 255, 255)" {
		t.Errorf("paper is %s", bg)
	}
	if n := eval[int](t, ctx, visible("#matrix td[data-cell]")); n != 18 {
		t.Errorf("%d tiles are printed", n)
	}
	pdf := ask(t, ctx, chromedp.PrintToPDF(chromedp.PDFPrintBackground()))
	if n := bytes.Count(pdf, []byte("/Type /Page\n")); n < 2 || n > 12 {
		t.Errorf("%d pages are printed", n)
	}
	if *look != "" {
		_ = os.WriteFile(filepath.Join(*look, "print.pdf"), pdf, 0o644)
	}
}
