package reports

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
)

// rewritten makes another run of a run's trials, as change leaves them.
func rewritten(t testing.TB, dir string, manifest func(*record.Manifest), change func(*record.Trial)) string {
	t.Helper()
	run, err := record.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := run.Manifest
	end := m.End
	m.End, m.Complete, m.Seed, m.Versions.Commit = nil, false, m.Seed+1, "00f7394d0c1f2a3b4c5d6e7f8091a2b3c4d5e6f7"
	if manifest != nil {
		manifest(&m)
	}
	out := filepath.Join(t.TempDir(), "candidate")
	w, err := record.Create(out, m)
	if err != nil {
		t.Fatal(err)
	}
	for _, tr := range run.Trials {
		change(&tr)
		if err := w.Add(tr); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Finish(true, *end); err != nil {
		t.Fatal(err)
	}
	return out
}

// spoiled relays what adaptive found directly behind a camera's symmetric or restricted NAT, and is slower everywhere.
func spoiled(tr *record.Trial) {
	scale := func(v *float64) *float64 {
		if v == nil {
			return nil
		}
		s := *v * 1.15
		return &s
	}
	tr.ConnectS, tr.FirstPacketS, tr.FirstFrameS = scale(tr.ConnectS), scale(tr.FirstPacketS), scale(tr.FirstFrameS)
	if tr.Params["strategy"] == "adaptive" && strings.HasSuffix(tr.Params["camera.nat"], "restricted-cone") && tr.Outcome == record.Direct &&
		tr.Trial%2 == 0 {
		tr.Outcome, tr.Cause = record.Relayed, "no punch came back within 3 s; media stayed on the relay"
	}
}

// compared makes the page of two runs and reads it.
func compared(t *testing.T, a, b string) (*html.Node, string) {
	t.Helper()
	c, err := newComparison(a, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	page, err := c.html(nil)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	checkPage(t, doc)
	for _, bad := range []string{"NaN", "%!", "ZgotmplZ", "<no value>", "http://", "https://", "Inf", "<nil>", "0xc0"} {
		if i := bytes.Index(page, []byte(bad)); i >= 0 {
			t.Errorf("%q on the page: …%s…", bad, page[max(0, i-60):min(len(page), i+60)])
		}
	}
	return doc, string(page)
}

var comparable = synthetic{seed: 21, axes: natMatrix(sixNATs[2:], []string{"direct", "adaptive"}, []string{"broadband"}), trials: 30}

// words is the text of the first element with an id or tag.
func words(doc *html.Node, is func(*html.Node) bool) string {
	for n := range doc.Descendants() {
		if is(n) {
			var b strings.Builder
			for d := range n.Descendants() {
				if d.Type == html.TextNode {
					b.WriteString(d.Data + " ")
				}
			}
			return strings.Join(strings.Fields(b.String()), " ")
		}
	}
	return ""
}

func headline(doc *html.Node) string {
	return words(doc, func(n *html.Node) bool { return n.DataAtom == atom.H1 })
}

func section(id string) func(*html.Node) bool {
	return func(n *html.Node) bool { return attr(n, "id") == id }
}

// TestCompareTellsARegression: verdict, matrix, curves and table agree on where and what it is.
func TestCompareTellsARegression(t *testing.T) {
	a := comparable.write(t)
	doc, page := compared(t, a, rewritten(t, a, nil, spoiled))
	if got := headline(doc); !strings.HasPrefix(got, "✗ ") {
		t.Errorf("headline: %s", got)
	}
	if got := words(doc, section("cells")); !regexp.MustCompile(`✗ worse direct_rate 30 of 30 \(100 %\) 15 of 30 \(50 %\) −50 points`).MatchString(got) {
		t.Errorf("cells: %.600s", got)
	}
	if got := words(doc, section("matrix")); !strings.Contains(got, "✗ −50") || !strings.Contains(got, "surely worse") {
		t.Errorf("matrix: %.600s", got)
	}
	if got := words(doc, section("runs")); !strings.Contains(got, "engine netfilter") || strings.Contains(got, "≠") ||
		!strings.Contains(got, "seed 21 22 differs") {
		t.Errorf("runs: %s", got)
	}
	if !strings.Contains(page, "Cumulative distributions of time to connect of both runs. baseline: median") {
		t.Error("no overlay of connect times")
	}
}

// TestSignOf: the sign follows the metric's better direction, and only an interval without 0 is a difference.
func TestSignOf(t *testing.T) {
	for _, c := range []struct {
		better    string
		low, high float64
		decision  gate.Decision
		sign      string
	}{
		{"higher", -0.3, -0.1, gate.Undecided, "▼"}, {"higher", 0.1, 0.3, gate.Pass, "▲"}, {"lower", 0.1, 0.3, gate.Undecided, "▼"},
		{"lower", -0.3, -0.1, gate.Pass, "▲"}, {"lower", -0.1, 0.1, gate.Undecided, "?"}, {"lower", -0.01, 0.01, gate.Pass, "="},
		{"", 0.1, 0.3, gate.Undecided, "?"}, {"lower", 0.1, 0.3, gate.Fail, "✗"}, {"higher", 0, 0.3, gate.Pass, "="},
	} {
		f := gate.Finding{Better: c.better, Decision: c.decision, Effect: f64((c.low + c.high) / 2), Range: &gate.Interval{Low: &c.low, High: &c.high}}
		if got := signOf(f).Sign; got != c.sign {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if got := signOf(gate.Finding{Decision: gate.Undecided}).Sign; got != "·" {
		t.Errorf("without data: %s", got)
	}
}

// TestCompareWrites a page that links the plots beside it.
func TestCompareWrites(t *testing.T) {
	a := synthetic{seed: 21, axes: natMatrix(sixNATs[2:4], []string{"weird/../name"}, []string{"lan"}), trials: 30}.write(t)
	out := filepath.Join(t.TempDir(), "deep", "out")
	files, err := Compare(a, a, out)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(out, ComparePage))
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(files[0]) != ComparePage {
		t.Errorf("the first file is %s", files[0])
	}
	plots := 0
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", f, err)
		}
		if filepath.Base(f) != ComparePage {
			plots++
			if rel, err := filepath.Rel(out, f); err != nil || !bytes.Contains(page, []byte(`href="`+rel+`"`)) ||
				strings.Contains(rel, "..") && !strings.Contains(rel, "-..-") {
				t.Errorf("the page does not link %s", rel)
			}
		}
	}
	if plots == 0 || plots%2 != 0 {
		t.Errorf("files: %v", files)
	}
}

// TestCompareOfStrategies: with the verdict of a paired comparison, the page tells that one, over the cells that they met both.
func TestCompareOfStrategies(t *testing.T) {
	run := comparable.write(t)
	v, err := gate.CompareStrategies(sampleOf(t, run), "adaptive", "direct", gate.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, strategy := range []string{"adaptive", "direct"} {
		s := comparable
		s.axes = natMatrix(sixNATs[2:], []string{strategy}, []string{"broadband"})
		dirs = append(dirs, s.write(t))
	}
	c, err := newComparison(dirs[0], dirs[1], v)
	if err != nil {
		t.Fatal(err)
	}
	page, err := c.html(nil)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	if got := headline(doc); got != v.Decision.Mark()+" "+strings.Join(strings.Fields(v.Why), " ") {
		t.Errorf("headline: %s, want %s", got, v.Why)
	}
	if got := words(doc, section("curves")); !strings.Contains(got, "Time to connect") || !strings.Contains(got, "of 480") {
		t.Errorf("curves: %.300s", got)
	}
}

// TestCompareOfOneRunWithItself finds nothing.
func TestCompareOfOneRunWithItself(t *testing.T) {
	a := comparable.write(t)
	doc, page := compared(t, a, a)
	if got := headline(doc); strings.HasPrefix(got, "✗") {
		t.Errorf("headline: %s", got)
	}
	if got := words(doc, section("cells")); !strings.Contains(got, "In none of 32 cells can a difference be seen") {
		t.Errorf("cells: %s", got)
	}
	for _, class := range []string{`<td class="fails"`, `<td class="worse"`, `<td class="better"`} {
		if strings.Contains(page, class) {
			t.Errorf("the page has %s", class)
		}
	}
}

// TestCompareOfUnlikeRuns shows them, says in what they are unlike, and judges nothing.
func TestCompareOfUnlikeRuns(t *testing.T) {
	a := comparable.write(t)
	b := rewritten(t, a, func(m *record.Manifest) { m.Kernel, m.CPU.Cores = "Linux 6.13.1 aarch64", 64 }, spoiled)
	doc, _ := compared(t, a, b)
	if got := headline(doc); got != "? Not judged: the runs differ in kernel and cpu.cores, and the candidate would be blamed for it." {
		t.Errorf("headline: %s", got)
	}
	want := "baseline candidate of weight kernel Linux 6.12.8 x86_64 Linux 6.13.1 aarch64 ≠ unlike cores 2 64 ≠ unlike source"
	if got := words(doc, section("runs")); !strings.Contains(got, want) || !strings.Contains(got, "unlike in 2 fields") {
		t.Errorf("runs: %s", got)
	}
}

// TestCompareShapes: runs of any shape make a page.
func TestCompareShapes(t *testing.T) {
	for name, s := range runs {
		if name == "twelve" || name == "four-links" {
			continue // for eyes: they are like matrix, and larger
		}
		if s.trials*len(s.axes) > 80 {
			s.trials = 3
		}
		t.Run(name, func(t *testing.T) {
			a := s.write(t)
			other := s
			other.seed += 100
			compared(t, a, other.write(t))
		})
	}
	t.Run("other axes", func(t *testing.T) {
		a := synthetic{seed: 1, axes: natMatrix(sixNATs[:3], []string{"direct"}, []string{"lan"}), trials: 5}.write(t)
		b := synthetic{seed: 2, axes: natMatrix(sixNATs[2:4], []string{"direct", "adaptive"}, []string{"lan"}), trials: 5}.write(t)
		doc, _ := compared(t, a, b)
		if got := headline(doc); !strings.HasPrefix(got, "? Not judged: the runs differ in axes") {
			t.Errorf("headline: %s", got)
		}
		// One cell of strategy direct is in both: full-cone on both sides.
		if got := words(doc, section("curves")); !strings.Contains(got, "n = 5.") || strings.Contains(got, "n = 10") || strings.Contains(got, "adaptive") {
			t.Errorf("curves: %.400s", got)
		}
	})
}

// TestCompareEscapesNames: an axis may be called anything.
func TestCompareEscapesNames(t *testing.T) {
	s := synthetic{seed: 3, axes: []record.Axis{{Key: "camera.nat", Values: hostile[:4]}, {Key: "<b>&|", Values: hostile[4:8]},
		{Key: "strategy", Values: []string{"adaptive", "<i>x</i>"}}}, trials: 12}
	a := s.write(t)
	_, page := compared(t, a, rewritten(t, a, nil, func(tr *record.Trial) {
		if tr.Outcome == record.Direct {
			tr.Outcome = record.Failed
		}
	}))
	for _, bad := range []string{"<script", "<i>x", "<b>&", "\x1b", "\u202e"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}

// TestCompareRefuses says which folder is none.
func TestCompareRefuses(t *testing.T) {
	a := comparable.write(t)
	none := filepath.Join(t.TempDir(), "none")
	for _, c := range [][2]string{{a, none}, {none, a}} {
		if _, err := Compare(c[0], c[1], t.TempDir()); err == nil || !strings.Contains(err.Error(), none) {
			t.Errorf("%v", err)
		}
	}
	if _, err := Compare(a, a, filepath.Join(a, record.ManifestFile)); err == nil {
		t.Error("a page below a file")
	}
}

// TestCompareLook writes pages for eyes: go test ./reports -run CompareLook -look /tmp/look
func TestCompareLook(t *testing.T) {
	if *look == "" {
		t.Skip("no -look folder")
	}
	for name, s := range map[string]synthetic{"matrix": runs["matrix"], "four-links": runs["four-links"],
		"twelve": {seed: 3, axes: natMatrix(twelveNATs, []string{"adaptive"}, []string{"lte"}), trials: 20}, "no-axes": runs["no-axes"]} {
		a := s.write(t)
		for kind, b := range map[string]string{
			"worse": rewritten(t, a, nil, spoiled), "unlike": rewritten(t, a, func(m *record.Manifest) { m.Kernel = "Linux 6.13.1 x86_64" },
				func(*record.Trial) {}),
		} {
			if _, err := Compare(a, b, filepath.Join(*look, "compare-"+name+"-"+kind)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
