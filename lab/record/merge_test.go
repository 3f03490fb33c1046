package record

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const mergeCells, mergeTrials = 3, 10

// trialOf is a trial that every machine makes the same, but for its times.
func trialOf(cell, n int) Trial {
	return Trial{
		Schema: TrialSchema, Cell: cell, Trial: n, Seed: uint64(100*cell + n), Params: map[string]string{"camera.nat": fmt.Sprint(cell)},
		Outcome: Direct, Oracle: "direct", ConnectS: f(0.01 * float64(n+1)), EndedAt: time.Now().UTC(),
	}
}

func shardManifest(s Shard) Manifest {
	m := manifest()
	m.Cells, m.TrialsPerCell, m.Shard = mergeCells, mergeTrials, s.String()
	m.Start = m.Start.Add(time.Duration(s.I) * time.Second)
	m.CPU.Model = fmt.Sprintf("CPU %d", s.I)
	return m
}

// writeRun writes the trials that has names into a new folder.
func writeRun(t *testing.T, m Manifest, complete bool, has func(cell, n int) bool, change ...func(*Trial)) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	w, err := Create(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	for cell := range mergeCells {
		for n := range mergeTrials {
			if !has(cell, n) {
				continue
			}
			tr := trialOf(cell, n)
			for _, c := range change {
				c(&tr)
			}
			if err := w.Add(tr); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Finish(complete, m.Start.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func shards(t *testing.T, n int) (dirs []string) {
	t.Helper()
	for i := range n {
		s := Shard{I: i + 1, N: n}
		dirs = append(dirs, writeRun(t, shardManifest(s), true, func(cell, trial int) bool { return s.Has(cell, trial, mergeTrials, false) }))
	}
	return dirs
}

func all(int, int) bool { return true }

// TestMergedShardsAreTheRun: any cut of a run, put together in any order, gives the summary of the whole to the byte.
func TestMergedShardsAreTheRun(t *testing.T) {
	want := summaryOf(t, writeRun(t, shardManifest(Shard{}), true, all))
	for _, n := range []int{1, 3, 7} {
		dirs := shards(t, n)
		dirs[0], dirs[n-1] = dirs[n-1], dirs[0]
		out := filepath.Join(t.TempDir(), "out")
		got, err := Merge(out, dirs)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Complete || got.Trials != mergeCells*mergeTrials || got.Added != got.Trials || len(got.Missing) > 0 {
			t.Errorf("%d shards: %+v", n, got)
		}
		if diff := cmp.Diff(want, summaryOf(t, out)); diff != "" {
			t.Errorf("%d shards: %s", n, diff)
		}
		m, err := ReadManifest(out)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Workers) != n || m.Shard != "" || !m.Complete || m.End.Sub(m.Start) < time.Minute || n > 1 && m.CPU.Model == "CPU 1" {
			t.Errorf("%d shards: manifest %+v", n, m)
		}
	}
}

func summaryOf(t *testing.T, dir string) string {
	t.Helper()
	run, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(Summarize(run.Manifest, run.Trials, 0), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMergeGoesOn: one part after another, one of them twice, and one that was torn and came again whole.
func TestMergeGoesOn(t *testing.T) {
	dirs := shards(t, 3)
	out := filepath.Join(t.TempDir(), "out")
	got, err := Merge(out, dirs[:1])
	if err != nil || got.Complete || len(got.Missing) != 2*mergeCells {
		t.Fatalf("%v, %+v", err, got)
	}
	const want = "cell 0: 1, 4, 7 (shard 2/3)"
	if s := got.Missing[0].String(); s != "cell 0: 0–9" && s != want {
		t.Errorf("missing %q, want %q", s, want)
	}
	path := filepath.Join(dirs[1], TrialsFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)-20], 0o644); err != nil {
		t.Fatal(err)
	}
	got, err = Merge(out, dirs)
	if err != nil || got.Complete || len(got.Missing) != 1 || got.Missing[0].String() != "cell 2: 8 (shard 2/3)" {
		t.Fatalf("with a torn part: %v, %+v", err, got)
	}
	if m, err := ReadManifest(out); err != nil || m.Complete || !m.Workers[1].Incomplete {
		t.Errorf("with a torn part: %v, manifest complete %v, workers %+v", err, m.Complete, m.Workers)
	}
	if err := os.WriteFile(path, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err = Merge(out, dirs)
	if err != nil || !got.Complete || got.Added != 1 || got.Trials != mergeCells*mergeTrials {
		t.Fatalf("whole again: %v, %+v", err, got)
	}
	if diff := cmp.Diff(summaryOf(t, writeRun(t, shardManifest(Shard{}), true, all)), summaryOf(t, out)); diff != "" {
		t.Error(diff)
	}
}

// TestMergedRunGoesOn: what the parts lack is run in the merged folder, as the rest of an interrupted run.
func TestMergedRunGoesOn(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	if _, err := Merge(out, shards(t, 3)[:2]); err != nil {
		t.Fatal(err)
	}
	w, run, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Manifest.CheckResume(func() Manifest { m := shardManifest(Shard{}); m.Kernel = run.Manifest.Kernel; return m }()); err != nil {
		t.Error(err)
	}
	if err := w.Finish(false, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestMergeRefuses(t *testing.T) {
	whole := writeRun(t, shardManifest(Shard{}), true, all)
	for want, change := range map[string]func(*Manifest){
		"the scenario of ":                      func(m *Manifest) { m.Scenario.Digest = "sha256:0" },
		"the topology of ":                      func(m *Manifest) { m.Topology.Digest = "sha256:0" },
		"the seed of ":                          func(m *Manifest) { m.Seed = 2 },
		"the engine of ":                        func(m *Manifest) { m.Engine = "sim" },
		"the trials per cell of ":               func(m *Manifest) { m.TrialsPerCell = 11 },
		"the cells of ":                         func(m *Manifest) { m.Cells = 4 },
		"the stop rule of ":                     func(m *Manifest) { m.Stop = "sprt" },
		"the late limit of ":                    func(m *Manifest) { m.LateLimitS = 1 },
		"the thresholds of ":                    func(m *Manifest) { m.Thresholds = []string{"direct_rate >= 1"} },
		"the commit of ":                        func(m *Manifest) { m.Versions.Dirty = true },
		"the axes set of ":                      func(m *Manifest) { m.Set = map[string][]string{"link": {"lte"}} },
		"is another than in " + whole:           nil,
		"cell 0 has params map[a:b] here and m": nil,
	} {
		m := shardManifest(Shard{})
		spoil := func(*Trial) {}
		switch {
		case change != nil:
			change(&m)
		case strings.HasPrefix(want, "cell"):
			spoil = func(t *Trial) { t.Params, t.Trial = map[string]string{"a": "b"}, t.Trial+mergeTrials }
		default:
			spoil = func(t *Trial) { t.ConnectS = f(*t.ConnectS + 1e-9) }
		}
		out := filepath.Join(t.TempDir(), "out")
		other := writeRun(t, m, true, func(cell, n int) bool { return n == 7 }, spoil)
		_, err := Merge(out, []string{whole, other})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: a refused merge left its folder", want)
		}
	}
	shard := shards(t, 2)[0]
	for want, c := range map[string]struct {
		out   string
		parts []string
	}{
		"no parts":                       {t.TempDir(), nil},
		"both a part and the folder":     {whole, []string{whole}},
		"is shard 1/2 itself":            {shard, []string{whole}},
		"is not the folder of a run":     {t.TempDir(), []string{t.TempDir()}},
		"choose another folder, or resu": {filepath.Dir(whole), []string{shard}},
	} {
		if _, err := Merge(c.out, c.parts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// TestMergeBringsCaptures: a record keeps its capture, wherever the merged run goes.
func TestMergeBringsCaptures(t *testing.T) {
	name, lost := filepath.Join("pcap", "cell000-trial003.pcapng"), filepath.Join("pcap", "lost.pcapng")
	dir := writeRun(t, shardManifest(Shard{}), true, all, func(t *Trial) {
		switch t.Cell*mergeTrials + t.Trial {
		case 3:
			t.Pcap = name
		case 4:
			t.Pcap = lost
		case 5:
			t.Pcap = "../../escape"
		}
	})
	if err := os.Mkdir(filepath.Join(dir, "pcap"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("packets"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	for range 2 { // the second finds everything there
		if _, err := Merge(out, []string{dir}); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(b) != "packets" {
		t.Errorf("%q, %v", b, err)
	}
	run, err := Read(out)
	if err != nil {
		t.Fatal(err)
	}
	if a, b, c := run.Trials[3].Pcap, run.Trials[4].Pcap, run.Trials[5].Pcap; a != name || b != "" || c != "" {
		t.Errorf("captures %q, %q, %q: want the one that is there", a, b, c)
	}
}

// TestMergeUnderAStopRule: a cell that its rule ended is complete, one whose shard was cut short is not.
func TestMergeUnderAStopRule(t *testing.T) {
	for _, complete := range []bool{true, false} {
		var dirs []string
		for i := range 2 {
			s := Shard{I: i + 1, N: 2}
			m := shardManifest(s)
			m.Stop = "sprt"
			dirs = append(dirs, writeRun(t, m, complete || i == 0, func(cell, n int) bool { return s.Has(cell, n, mergeTrials, true) && n < 4 }))
		}
		out := filepath.Join(t.TempDir(), "out")
		if _, err := Merge(out, dirs[1:]); err != nil {
			t.Fatal(err)
		}
		got, err := Merge(out, dirs[:1]) // one after the other: what the first merge found is not forgotten
		if err != nil || got.Complete != complete || len(got.Missing) != 0 {
			t.Errorf("parts complete %v: %v, %+v", complete, err, got)
		}
	}
}

func TestShards(t *testing.T) {
	for _, bad := range []string{"0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3"} {
		if _, err := ParseShard(bad); err == nil || !strings.Contains(err.Error(), "i/n") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if s, err := ParseShard("2/4"); err != nil || s != (Shard{2, 4}) || s.String() != "2/4" || s.Whole() {
		t.Errorf("%v, %v", s, err)
	}
	if s, err := ParseShard(""); err != nil || !s.Whole() || s.String() != "" || !s.Has(3, 4, 5, false) {
		t.Errorf("%v, %v", s, err)
	}
	for _, stop := range []bool{false, true} {
		for cell := range 7 {
			owners := map[int]bool{}
			for n := range 20 {
				has := 0
				for i := range 3 {
					if (Shard{i + 1, 3}).Has(cell, n, 20, stop) {
						has++
						owners[i] = true
					}
				}
				if has != 1 {
					t.Fatalf("trial %d of cell %d is in %d shards", n, cell, has)
				}
			}
			if (len(owners) == 1) != stop {
				t.Errorf("stop rule %v: cell %d is in %d shards", stop, cell, len(owners))
			}
		}
	}
}

func TestRanges(t *testing.T) {
	if got := ranges([]int{0, 1, 2, 5, 7, 8}); got != "0–2, 5, 7–8" {
		t.Error(got)
	}
}
