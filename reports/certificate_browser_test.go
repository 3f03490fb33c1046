package reports

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestCertificateInBrowser: nothing runs over the page's side, a link unfolds its case, and print unfolds all of them.
func TestCertificateInBrowser(t *testing.T) {
	ctx, dir := browser(t), t.TempDir()
	for name, c := range map[string]Certification{"failed": certifications()["failed"], "hostile": hostileCertification()} {
		file := filepath.Join(dir, name+".html")
		if err := os.WriteFile(file, []byte(certificateHTML(t, c)), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, width := range []int64{400, 1280} {
			do(t, ctx, chromedp.EmulateViewport(width, 900), chromedp.Navigate("file://"+file))
			eval[bool](t, ctx, `document.querySelectorAll("details").forEach(d => d.open = true), true`)
			if got := eval[int](t, ctx, "document.documentElement.scrollWidth"); int64(got) > width {
				t.Errorf("%s at %d pixels is %d wide", name, width, got)
			}
		}
	}
	do(t, ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate("file://"+filepath.Join(dir, "failed.html")))
	const seen = `document.getElementById("case-REG-5").checkVisibility()`
	if eval[bool](t, ctx, seen) {
		t.Error("a folded case is seen")
	}
	media(t, ctx, "print")
	if !becomes(t, ctx, seen) {
		t.Error("a folded case is not printed")
	}
	media(t, ctx, "")
	eval[bool](t, ctx, `document.querySelector('#reasons a[href="#case-NAT-2"]').click(), true`)
	do(t, ctx, chromedp.WaitVisible("#case-NAT-2"))
}
