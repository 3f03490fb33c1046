package reports

import (
	"bytes"
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/punchlab/punchlab/lab/certify"
)

func certificateHTML(t *testing.T, c Certification) string {
	t.Helper()
	var b bytes.Buffer
	if err := CertificatePage(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func certificateText(t *testing.T, c Certification, color bool) string {
	t.Helper()
	var b bytes.Buffer
	if err := CertificateText(&b, c, color); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func parseHTML(t *testing.T, text string) *html.Node {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// withoutStyle is a page without its style sheet, for a golden file that lives longer.
func withoutStyle(page string) string {
	before, rest, _ := strings.Cut(page, "<style>")
	_, after, _ := strings.Cut(rest, "</style>")
	return before + after
}

// TestCertificateGolden holds text and JUnit of every kind of run, and one page, to what was looked at.
func TestCertificateGolden(t *testing.T) {
	for name, c := range certifications() {
		got := map[string]string{"text": certificateText(t, c, false), "junit.xml": string(junitOf(t, c))}
		if name == "failed" {
			got["html"] = withoutStyle(certificateHTML(t, c))
		}
		for format, text := range got {
			path := filepath.Join("testdata", "certificate", name+"."+format+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), text); diff != "" {
				t.Errorf("%s: %s", path, diff)
			}
		}
	}
}

// checkCertificate: links and ids, tables that can be read aloud, nothing fetched and no script.
func checkCertificate(t *testing.T, doc *html.Node) {
	t.Helper()
	ids, links := map[string]int{}, map[string]bool{}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if id := attr(n, "id"); id != "" {
			ids[id]++
		}
		if src := attr(n, "src"); src != "" && !strings.HasPrefix(src, "data:image/svg+xml;base64,") {
			t.Errorf("the page fetches %q", src)
		}
		href := attr(n, "href")
		if strings.HasPrefix(href, "#") {
			links[href[1:]] = true
		} else if strings.HasPrefix(href, "/") || strings.Contains(strings.Split(href, "/")[0], ":") || strings.HasPrefix(href, "..") {
			t.Errorf("link to %q leaves the page's folder", href)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") {
				t.Errorf("an attribute %s=%q", a.Key, a.Val)
			}
		}
		switch {
		case n.DataAtom == atom.Script || n.DataAtom == atom.Link || n.DataAtom == atom.Iframe || n.DataAtom == atom.Object || n.Data == "svg":
			t.Errorf("the page has a %s", n.Data)
		case n.DataAtom == atom.Th && attr(n, "scope") == "":
			t.Errorf("a table header without scope: %v", n.FirstChild)
		case n.DataAtom == atom.Img && attr(n, "alt") == "":
			t.Error("an image without words")
		}
	}
	for id, n := range ids {
		if n > 1 {
			t.Errorf("id %s is used %d times", id, n)
		}
	}
	for l := range links {
		if ids[l] == 0 {
			t.Errorf("link to #%s leads nowhere", l)
		}
	}
}

// TestCertificatePages checks each kind of run for what every page must have.
func TestCertificatePages(t *testing.T) {
	for name, c := range certifications() {
		t.Run(name, func(t *testing.T) {
			page := certificateHTML(t, c)
			checkCertificate(t, parseHTML(t, page))
			for _, bad := range []string{"NaN", "%!", "ZgotmplZ", "<no value>", "http://", "https://", "<nil>", "0001-01-01"} {
				if i := strings.Index(page, bad); i >= 0 {
					t.Errorf("%q on the page: …%s…", bad, page[max(0, i-60):min(len(page), i+60)])
				}
			}
			if again := certificateHTML(t, certifications()[name]); again != page {
				t.Error("the same certification gave another page")
			}
			for _, j := range c.Suite.Cases {
				if !strings.Contains(page, `id="case-`+j.Case.ID+`"`) {
					t.Errorf("%s is not on the page", j.Case.ID)
				}
			}
		})
	}
}

// TestCertificateShowsEachCase: clauses with their words, what was seen against what had to be, seed, command, evidence.
func TestCertificateShowsEachCase(t *testing.T) {
	c := certifications()["failed"]
	words := strings.Join(strings.Fields(textOf(parseHTML(t, certificateHTML(t, c)))), " ")
	words = strings.ReplaceAll(words, "\u00a0", " ")
	for _, want := range []string{
		"RFC 8085 §3.5 keepalives are not sent more often than every 15 seconds, and longer intervals are better (not verified)",
		"RFC 8445 §11 Agents MAY use a bigger value but MUST NOT use a value smaller than 15 seconds.",
		"connects that a viewer asked for 59 59 enough", "tries of the attack 299 120 too little", "relayed – 59",
		"3 of 59 tries failed. Success ≥ 87 % at 95 % confidence (n = 59, failed 3); failures ≤ 13 % at 95 % confidence (3 of 59).",
		"too little was observed: tries of the attack: 120 of at least 299",
		"--case NAT-2 --seed", "declared relay-frame 4 s", "capture.pcapng 48.2 kB", "The vendor’s program: crashed: segmentation fault",
		"password people or machines prove themselves to the camera by a password or PIN ID-3",
		"asked as camera for the made-up case QXZ-17, the program answered 127, unsupported, as it must",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for name, want := range map[string]string{"stopped": "7 ✓ pass 49 · not run", "failed": "1 ? inconclusive"} {
		if text := strings.Join(strings.Fields(textOf(parseHTML(t, certificateHTML(t, certifications()[name])))), " "); !strings.Contains(text, want) {
			t.Errorf("%s lacks the counts %q", name, want)
		}
	}
}

func textOf(doc *html.Node) string {
	var b strings.Builder
	for n := range doc.Descendants() {
		if n.Type == html.TextNode && n.Parent.DataAtom != atom.Style {
			b.WriteString(n.Data + " ")
		}
	}
	return b.String()
}

// TestOnlyAWholeRunCertifies: whatever is lacking stands in the headline and in a band, on page and terminal.
func TestOnlyAWholeRunCertifies(t *testing.T) {
	if s, h := certifications()["certified"].headline(); s != good || !strings.HasPrefix(h, "Certified: ACME") {
		t.Fatalf("a whole run is %s: %s", s, h)
	}
	for name, spoil := range map[string]func(*Certification){
		"Brief":              func(c *Certification) { c.Brief = true },
		"Single cases":       func(c *Certification) { c.Only = []string{"NAT-1"} },
		"Incomplete":         func(c *Certification) { c.Complete = false },
		"No declaration":     func(c *Certification) { c.Declaration = nil },
		"Honesty not probed": func(c *Certification) { c.Probe = nil },
		"Dishonest answer":   func(c *Certification) { c.Probe.Exit = 0 },
		"Unsigned":           func(c *Certification) { c.Signers = []Signer{{Key: "00", Witness: true}} },
	} {
		c := certifications()["certified"]
		spoil(&c)
		s, h := c.headline()
		if s == good || !strings.HasPrefix(h, "Not certified") {
			t.Errorf("%s: the headline is %s: %s", name, s, h)
		}
		if page := certificateHTML(t, c); !strings.Contains(page, "<b>"+name+"</b>") {
			t.Errorf("%s: no band on the page", name)
		}
		if text := certificateText(t, c, false); !strings.Contains(text, "!! "+strings.ToUpper(name)+":") {
			t.Errorf("%s: no band in the text", name)
		}
	}
	if s, h := certifications()["box"].headline(); s != good {
		t.Errorf("a box with no program to ask is %s: %s", s, h)
	}
	probe := Probe{Case: "QXZ-17", Exit: 127, Note: "killed after 30 s"}
	if probe.Passed() {
		t.Error("a probe that was killed is passed")
	}
}

const wicked = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;{{.}}\x1b[31m\x00\u202e\xff]]>\n</style></details>"

// hostileCertification has a hostile string wherever another wrote one.
func hostileCertification() Certification {
	d := acme(certify.FeatureICE)
	d.Device = certify.Device{Vendor: wicked, Model: wicked, Firmware: certify.Firmware{Name: wicked, Version: wicked, SHA256: wicked}}
	d.Digest, d.Servers = wicked, []certify.Server{{Name: wicked, Role: wicked}}
	d.Bounds.Ports = []certify.Port{{Protocol: wicked, Number: 1}}
	c := certification(d, few, differently)
	c.Way, c.Command, c.Verify = wicked, wicked, wicked
	c.Only = []string{wicked}
	c.Versions, c.Machine = []Fact{{wicked, wicked}}, []Fact{{wicked, wicked}}
	c.Probe = &Probe{Case: wicked, Role: certify.Role(wicked), Exit: 3, Note: wicked}
	c.Roles = []Part{{certify.Role(wicked), wicked, wicked}}
	c.Signers = []Signer{{wicked, wicked, false}}
	c.Suite.Version = wicked
	c.Suite.Reasons, c.Suite.Warnings = append(c.Suite.Reasons, wicked), []string{wicked}
	for i := range c.Suite.Cases {
		j := &c.Suite.Cases[i]
		j.Result.Reason, j.Result.Device, j.Why = wicked, wicked, wicked
		j.Result.Observed = map[string]int{wicked: 7}
		j.Result.Claim = &certify.Claim{Tries: 3, Failures: 8}
		j.Case.Title, j.Case.Procedure, j.Case.Criterion, j.Case.Nonstrict = wicked, wicked, wicked, wicked
		j.Case.Origin = []certify.Clause{{Document: wicked, Clause: wicked, Quote: wicked, Verified: i%2 == 0}}
		j.Case.Observed = []certify.Need{{Name: "n", What: wicked}}
		c.Runs[j.Case.ID] = CaseRun{Replay: wicked, Timeline: []byte(wicked), Files: []EvidenceFile{
			{wicked, wicked, 1, wicked}, {"a", "javascript:alert(1)", 1, ""}, {"b", "//evil.example/x", 1, ""}, {"c", "../../etc/passwd", 1, ""},
			{"d", "https://evil.example", 1, ""}, {"e", "data:text/html,x", 1, ""}, {"f", "/etc/passwd", 1, ""}}}
	}
	return c
}

// TestHostileStringsStayText: on the page, on the terminal, in JUnit.
func TestHostileStringsStayText(t *testing.T) {
	c := hostileCertification()
	page := certificateHTML(t, c)
	doc := parseHTML(t, page)
	checkCertificate(t, doc)
	for n := range doc.Descendants() {
		if n.DataAtom == atom.Img {
			svg, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(attr(n, "src"), "data:image/svg+xml;base64,"))
			if err != nil || string(svg) != wicked {
				t.Errorf("an image %.80q", attr(n, "src"))
			}
		}
	}
	if strings.Contains(page, "ZgotmplZ") {
		t.Error("the template refused something")
	}
	for name, text := range map[string]string{"page": page, "text": certificateText(t, c, false), "junit": string(junitOf(t, c))} {
		for _, r := range text {
			if r < ' ' && r != '\n' && r != '\t' || r == '\u202e' || r == '\x7f' {
				t.Errorf("%s has the control character %q", name, r)
				break
			}
		}
	}
	if text := certificateText(t, c, true); strings.Contains(text, "\x1b[31m") {
		t.Error("another's escape sequence reached the terminal")
	}
}

// TestLinksStayInTheFolder: what leads elsewhere is shown and not linked.
func TestLinksStayInTheFolder(t *testing.T) {
	for path, want := range map[string]string{
		"cases/NAT-1/capture.pcapng": "cases/NAT-1/capture.pcapng", "a b/c%d?e#f": "a%20b/c%25d%3Fe%23f", "a:b": "./a:b",
		"": "", ".": "", "/x": "", "../x": "", "a/../b": "", "a//b": "", "\xff": "", "javascript:alert(1)": "./javascript:alert%281%29",
	} {
		if got := string(link(path)); got != want {
			t.Errorf("%q is linked as %q, want %q", path, got, want)
		}
	}
}

// TestTimelinesHaveALimit: one that is too large is not on the page, and the page says nothing of it.
func TestTimelinesHaveALimit(t *testing.T) {
	c := certifications()["failed"]
	run := c.Runs["NAT-2"]
	for _, n := range []int{mostTimeline, mostTimeline + 1} {
		run.Timeline = bytes.Repeat([]byte("x"), n)
		c.Runs["NAT-2"] = run
		if got := strings.Contains(certificateHTML(t, c), `alt="Timeline of NAT-2`); got != (n == mostTimeline) {
			t.Errorf("a timeline of %d bytes is shown: %v", n, got)
		}
	}
	c = certifications()["certified"]
	for id, run := range c.Runs {
		run.Timeline = bytes.Repeat([]byte("x"), mostTimeline)
		c.Runs[id] = run
	}
	if n := strings.Count(certificateHTML(t, c), "<img "); n != mostTimelines/mostTimeline {
		t.Errorf("%d large timelines are shown", n)
	}
}

// TestCertificateText: color marks verdicts and changes nothing else; times and reasons stand with their case.
func TestCertificateText(t *testing.T) {
	c := certifications()["failed"]
	plain, color := certificateText(t, c, false), certificateText(t, c, true)
	for _, escape := range slices.Concat(slices.Collect(maps.Values(toneANSI)), []string{ansiOff}) {
		color = strings.ReplaceAll(color, escape, "")
	}
	if color != plain {
		t.Error("color changes the text")
	}
	if !strings.HasPrefix(plain, "✗ Not certified: NAT-2, NAT-6, MED-3 and SEC-3 fail\n") {
		t.Errorf("the text begins %.80q", plain)
	}
}

// TestLookAtCertificates writes the pages for eyes: go test ./reports -run LookAtCertificates -look /tmp/look
func TestLookAtCertificates(t *testing.T) {
	if *look == "" {
		t.Skip("no -look folder")
	}
	for name, c := range certifications() {
		if err := os.WriteFile(filepath.Join(*look, "certificate-"+name+".html"), []byte(certificateHTML(t, c)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTook: from seconds to hours.
func TestTook(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "", -time.Second: "", 1370 * time.Millisecond: "1.37 s", 119 * time.Minute: "119 min 0 s",
		8*time.Hour + 5*time.Minute: "8 h 5 min"} {
		if got := took(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
