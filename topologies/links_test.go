package topologies_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/topologies"
)

// Every figure of the example arrives where it belongs.
func TestOwnLinks(t *testing.T) {
	topo, _, err := topologies.Load("testdata/own-links/own-links.yaml")
	if err != nil {
		t.Fatal(err)
	}
	lte, _ := link.Lookup("lte")
	up, down := lte.Up, lte.Down
	up.Rate, up.Jitter, up.Loss = 9_500_000, 8*time.Millisecond, 0.001
	down.Rate, down.QueueBytes, down.AQM, down.Target = 0, 500_000, link.CoDel, 10*time.Millisecond
	got := topo.Links[0].Down.Trace
	if got == nil || got.Name != "drive.down" || !got.Anywhere || len(got.Times) != 1982 || got.Period() != 3*time.Second {
		t.Errorf("the trace is %.200v", got)
	}
	down.Trace = got
	want := []link.Profile{
		{Name: "my-lte", Source: "an example, all made up: say here who measured your figures, when and where", Up: up, Down: down},
		{Name: "tunnel", Source: "an example, all made up", Down: link.Impairment{
			Delay: 12500 * time.Microsecond, Jitter: 500 * time.Microsecond, KeepOrder: true, Rate: 500_000, QueueBytes: 65536,
			AQM: link.CoDel, Target: 5 * time.Millisecond, Interval: 100 * time.Millisecond, Loss: 0.005,
			Burst:   &link.GilbertElliott{GoodToBad: 0.01, BadToGood: 0.3, LossBad: 0.5},
			Reorder: 0.01, ReorderBy: 2 * time.Millisecond, Duplicate: 0.001, Corrupt: 0.0001, MTU: 1400, MTUBlackhole: true,
		}},
	}
	if diff := gocmp.Diff(want, topo.Links); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(want[0], topo.Site("camera").Profile); diff != "" {
		t.Errorf("the camera's link:\n%s", diff)
	}
}

// A rate replaces the base's trace, and anywhere can change how that is entered; the presets stay as they are.
func TestOwnLinksOfTraces(t *testing.T) {
	topo, err := topologies.Parse("nowhere/x.yaml", []byte(`name: a
links:
  rated: {source: me, base: lte-drive, up: {anywhere: false}, down: {rate: 1Gbit}}
  shipped: {source: me, base: lte, up: {trace: lte-drive-up}, down: {rate: unlimited}}
sites:
  - {name: camera, nat: open, link: rated}
`))
	if err != nil {
		t.Fatal(err)
	}
	drive, _ := link.Lookup("lte-drive")
	rated, shipped := topo.Links[0], topo.Links[1]
	if tr := rated.Up.Trace; tr.Anywhere || tr.Digest() != drive.Up.Trace.Digest() || !drive.Up.Trace.Anywhere {
		t.Errorf("the base's trace is %v anywhere, the preset's %v", tr.Anywhere, drive.Up.Trace.Anywhere)
	}
	if d := rated.Down; d.Trace != nil || d.Rate != 1e9 {
		t.Errorf("rate %d beside trace %v", d.Rate, d.Trace)
	}
	if u := shipped.Up; u.Rate != 0 || u.Trace == nil || !u.Trace.Anywhere {
		t.Errorf("a shipped trace: rate %d, %v", u.Rate, u.Trace)
	}
	if d := shipped.Down; d.Rate != 0 || d.QueueBytes != 0 {
		t.Errorf("unlimited is %d bit/s with a queue of %d bytes", d.Rate, d.QueueBytes)
	}
}

// The digest is that of what is in the files, wherever they are.
func TestOwnLinksDigest(t *testing.T) {
	digest := func(name, trace string) string {
		t.Helper()
		dir := t.TempDir()
		text := "name: a\nlinks: {mine: {source: me, base: lte, up: {trace: " + name + "}}}\nsites: [{name: camera, nat: open, link: lan}]\n"
		for file, text := range map[string]string{"x.yaml": text, name: trace} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		topo, _, err := topologies.Load(filepath.Join(dir, "x.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return topo.Digest()
	}
	first := digest("a.up", "1\n2\n3\n")
	if digest("a.up", "1\r\n2\r\n3") != first {
		t.Error("the folder or the ends of lines change the digest")
	}
	for what, other := range map[string]string{
		"another time": digest("a.up", "1\n1\n3\n"), "a line more": digest("a.up", "1\n2\n3\n3\n"), "another name": digest("b.up", "1\n2\n3\n"),
	} {
		if other == first {
			t.Errorf("%s has the same digest", what)
		}
	}
}

// A trace is read from the folder of the document's file; a topology that comes with the program has none beside it.
func TestOwnLinksFiles(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{
		"bad": "1\n2 ms\n", "x.yaml": "name: a\nlinks: {mine: {source: me, base: lte, up: {trace: bad}}}\nsites: [{name: camera, nat: open, link: mine}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := topologies.Load(filepath.Join(dir, "x.yaml"))
	var es topologies.Errors
	if !errors.As(err, &es) || len(es) != 1 {
		t.Fatalf("error %v, want one of topologies.Errors", err)
	}
	if msg := es[0].Msg; es[0].Line != 2 || es[0].Path != "links.mine.up.trace" || !strings.Contains(msg, filepath.Join(dir, "bad")+": line 2: ") {
		t.Errorf("%v, want the document's place and the trace's file and line", es[0])
	}
	_, err = topologies.Parse(filepath.Join(dir, "none", "x.yaml"), []byte("name: a\nlinks: {mine: {source: me, base: lte, up: {trace: bad}}}\nsites: [{name: c, nat: open, link: mine}]\n"))
	if err == nil || !strings.Contains(err.Error(), `unknown trace "bad": it is none of lte-drive-up`) {
		t.Errorf("beside no file: %v", err)
	}
	for _, name := range topologies.Names() {
		topo, _, err := topologies.Load(name)
		// Shipped ones have no files beside them, and only one has links of its own.
		if err != nil || slices.ContainsFunc(topo.Links, func(p link.Profile) bool { return name != "lossy" || p.Up.Trace != nil }) {
			t.Errorf("%s: %v, links %v", name, err, topo.Links)
		}
	}
}
