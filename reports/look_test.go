package reports

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/punchlab/punchlab/lab/record"
)

var look = flag.String("look", "", "write the reports of every synthetic run below this `folder`, to be looked at")

// runs are the shapes of run that a page must be good with.
var runs = map[string]synthetic{
	"matrix": {seed: 1, axes: natMatrix(sixNATs, []string{"direct", "adaptive"}, []string{"broadband"}), trials: 20, media: true, harness: 0.01, common: true, thresholds: []string{
		"direct_rate >= 0.98 where oracle == direct by strategy", "abort: connected_rate >= 0.98 where strategy == adaptive",
		"first_frame_ratio.p95 <= 1.05 where strategy == adaptive", "direct_rate >= 0.9 where camera.nat == open and viewer.nat == open and strategy == direct", "connect_s.p99 <= 0.2"}},
	"four-links":   {seed: 2, axes: natMatrix(sixNATs, []string{"direct", "relay", "adaptive"}, []string{"lan", "broadband", "lte", "satellite"}), trials: 5, media: true},
	"twelve":       {seed: 3, axes: natMatrix(twelveNATs, []string{"direct", "adaptive", "ice"}, []string{"broadband", "lte"}), trials: 50, harness: 0.02, leak: true},
	"one-strategy": {seed: 4, axes: natMatrix(sixNATs[2:], []string{"direct"}, []string{"lte"}), trials: 8},
	"all-failed":   {seed: 5, axes: natMatrix(sixNATs[:3], []string{"direct"}, []string{"broadband"}), trials: 10, failAll: true},
	"one-trial":    {seed: 6, axes: natMatrix(sixNATs[2:3], []string{"adaptive"}, []string{"lan"}), trials: 1, media: true},
	"incomplete":   {seed: 7, axes: natMatrix(sixNATs, []string{"direct", "adaptive"}, []string{"broadband"}), trials: 20, incompleteAfter: 517, harness: 0.03},
	"same-lan":     {seed: 8, axes: []record.Axis{{Key: "strategy", Values: []string{"direct", "adaptive"}}, {Key: "link", Values: []string{"lan", "lte"}}}, trials: 40, media: true},
	"no-verdict":   {seed: 9, axes: natMatrix(sixNATs[:2], []string{"direct"}, []string{"lan"}), trials: 2, harness: 1},
	"unmeasured":   {seed: 10, axes: natMatrix(sixNATs[:2], []string{"direct", "adaptive"}, []string{"lan"}), trials: 30, unmeasured: true, noAxes: true},
	"populations": {seed: 12, axes: natMatrix([]string{"port-restricted-cone", "symmetric-sequential", "symmetric"}, []string{"direct", "adaptive", "ice"}, []string{"broadband"}), trials: 50,
		stranger: true, populations: []record.Population{
			{Name: "ford-2005", Source: "Ford et al., 2005", Size: 380, Weights: map[string]float64{"port-restricted-cone": 0.82, "symmetric": 0.18},
				Peer: map[string]float64{"port-restricted-cone": 1}, Published: record.Published{What: "NATs on which hole punching works", Rate: 0.82, Low: 0.78, High: 0.86}},
			{Name: "unmeasured", Source: "nobody", Note: "Has a NAT that no cell has.", Size: 10, Weights: map[string]float64{"full-cone": 1}, Published: record.Published{What: "all", Rate: 1}},
		}},
	"birthday": {seed: 13, axes: []record.Axis{{Key: "strategy", Values: []string{
		"birthday:256x64", "birthday:256x174", "birthday:256x512", "birthday:256x1024", "birthday:64x174", "birthday:64x1024", "birthday:64x2048"}}}, trials: 100},
	"engines": {seed: 14, trials: 20, media: true, common: true, axes: []record.Axis{
		{Key: "camera.engine", Values: []string{"netfilter", "table"}}, {Key: "viewer.engine", Values: []string{"netfilter", "table"}},
		{Key: "camera.nat", Values: sixNATs[3:]}, {Key: "viewer.nat", Values: sixNATs[3:]}, {Key: "strategy", Values: []string{"direct", "adaptive"}}}},
	"fleet": {seed: 15, trials: 30, media: true, common: true, axes: []record.Axis{
		{Key: "viewer.nat", Values: []string{"full-cone", "symmetric"}}, {Key: "strategy", Values: []string{"adaptive", "relay"}},
		{Key: "trial.fleet", Values: []string{"0", "1000", "10000"}}, {Key: "link", Values: []string{"lte"}}}},
	"no-axes": {seed: 11, trials: 30, media: true},
}

// TestLook writes the reports for eyes: go test ./reports -run Look -look /tmp/look
func TestLook(t *testing.T) {
	if *look == "" {
		t.Skip("no -look folder")
	}
	for name, s := range runs {
		dir := filepath.Join(*look, name)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		s.writeTo(t, dir)
		files, err := Write(dir, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Logf("%s: %d files", dir, len(files))
	}
}

// TestLookInBrowser takes pictures of the reports that TestLook wrote: go test ./reports -run Look -look /tmp/look
func TestLookInBrowser(t *testing.T) {
	if *look == "" {
		t.Skip("no -look folder")
	}
	pages, err := filepath.Glob(filepath.Join(*look, "*", "report.html"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no page below %s: %v", *look, err)
	}
	ctx := browser(t)
	for _, p := range pages {
		for _, view := range []struct {
			name, theme, hash string
			width             int64
		}{{"light", "light", "", 1280}, {"dark", "dark", "", 1280}, {"narrow", "light", "", 400}, {"trial", "light", "#c0.t0", 1280}} {
			do(t, ctx, chromedp.EmulateViewport(view.width, 900), chromedp.Navigate("file://"+p+"?"+view.name+view.hash))
			eval[string](t, ctx, `document.documentElement.dataset.theme = "`+view.theme+`"`)
			shot := chromedp.FullScreenshot(100)
			if view.hash != "" {
				shot = chromedp.CaptureScreenshot()
			}
			if err := os.WriteFile(strings.TrimSuffix(p, ".html")+"."+view.name+".png", ask(t, ctx, shot), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		media(t, ctx, "print")
		do(t, ctx, chromedp.EmulateViewport(794, 1123), chromedp.Navigate("file://"+p+"?print"))
		if err := os.WriteFile(strings.TrimSuffix(p, ".html")+".print.png", ask(t, ctx, chromedp.FullScreenshot(100)), 0o644); err != nil {
			t.Fatal(err)
		}
		media(t, ctx, "")
		if err := os.WriteFile(strings.TrimSuffix(p, ".html")+".pdf", ask(t, ctx, chromedp.PrintToPDF(chromedp.PDFPrintBackground())), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
