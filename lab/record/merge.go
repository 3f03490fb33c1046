package record

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Merged says what Merge made.
type Merged struct {
	Trials   int       // records in the merged run
	Added    int       // of them, those that this call wrote
	Complete bool      // every trial has a verdict, or its cell was ended by the run's stop rule
	Missing  []Missing // trials without a verdict, by cell
}

// Missing are trials of one cell that no part has a verdict of.
type Missing struct {
	Cell   int
	Trials []int // in order
	Shard  Shard // that should have had them; the zero value where the parts are no shards of one number
}

func (m Missing) String() string {
	s := fmt.Sprintf("cell %d: %s", m.Cell, ranges(m.Trials))
	if !m.Shard.Whole() {
		s += fmt.Sprintf(" (shard %v)", m.Shard)
	}
	return s
}

// Merge makes one run of its parts in out: of shards that ran on different machines, or of runs that were each cut short. The
// parts must be of one experiment and one build: another digest, seed, engine, number of trials or commit is refused, before
// anything is written. A trial that two parts have is taken once where they agree on it (but for its times) and refused where
// not. Trials that none has are named in Missing, and the run then reads as incomplete. Machines may differ: Manifest.Workers
// names each.
//
// What out already holds of the same experiment is kept: a merge that was interrupted goes on, and one can be given the parts
// that came later.
func Merge(out string, parts []string) (Merged, error) {
	m := &merger{out: out, all: newEvidence()}
	if err := m.check(parts); err != nil {
		return Merged{}, fmt.Errorf("merge runs: %w", err)
	}
	if err := m.write(); err != nil {
		return Merged{}, fmt.Errorf("merge runs: %w", err)
	}
	return m.done, nil
}

type merger struct {
	out   string
	sets  []part    // what is there of the experiment: out first, where it holds a run
	begun bool      // it does
	all   *evidence // of sets
	done  Merged
}

// part is one folder of a merge.
type part struct {
	dir      string
	manifest Manifest
	trials   int // records
}

// check reads everything once, and writes nothing.
func (m *merger) check(parts []string) error {
	if len(parts) == 0 {
		return errors.New("no parts: name the folders of the runs to merge")
	}
	for _, dir := range parts {
		if sameFolder(dir, m.out) {
			return fmt.Errorf("%s is both a part and the folder to merge into: give the merged run a folder of its own", dir)
		}
	}
	dirs := parts
	if _, err := os.Stat(filepath.Join(m.out, ManifestFile)); err == nil {
		m.begun, dirs = true, append([]string{m.out}, parts...)
	}
	for _, dir := range dirs {
		if err := m.take(dir); err != nil {
			return err
		}
	}
	return nil
}

// take reads one folder and holds it against those before it.
func (m *merger) take(dir string) error {
	p := part{dir: dir}
	var err error
	if p.manifest, err = ReadManifest(dir); err != nil {
		return err
	}
	if m.begun && len(m.sets) == 0 && p.manifest.Shard != "" {
		return fmt.Errorf("%s is shard %s itself: choose another folder for the merged run", dir, p.manifest.Shard)
	}
	if len(m.sets) > 0 {
		first := m.sets[0]
		if name, was, this := first.manifest.differs(p.manifest); name != "" {
			return fmt.Errorf("the %s of %s is %v, that of %s %v: they are no parts of one run", name, first.dir, was, dir, this)
		}
	}
	run, err := Scan(dir, func(t Trial) error {
		p.trials++
		if before, ok := m.all.add(len(m.sets), t); !ok {
			return fmt.Errorf("trial %d of cell %d is another than in %s: leave one of the two folders out", t.Trial, t.Cell, m.sets[before].dir)
		}
		return m.all.checkParams(t)
	})
	if err != nil {
		return err
	}
	p.manifest = run.Manifest // incomplete where its last line is torn
	m.sets = append(m.sets, p)
	return nil
}

// write adds to out what it has not.
func (m *merger) write() (err error) {
	has := newEvidence()
	w, err := m.open(has)
	if err != nil {
		return err
	}
	end := m.manifest()
	defer func() { // what was written stays, and the merge can go on
		w.Amend(func(n *Manifest) { n.Start, n.Workers = end.Start, end.Workers })
		err = errors.Join(err, w.Finish(err == nil && m.done.Complete, *end.End))
	}()
	parts := m.sets
	if m.begun {
		parts = m.sets[1:]
	}
	for _, p := range parts {
		_, err := Scan(p.dir, func(t Trial) error {
			if has.knows(t) {
				return nil
			}
			has.add(0, t)
			if t.Pcap, err = bring(t.Pcap, p.dir, m.out); err != nil {
				return err
			}
			m.done.Trials++
			m.done.Added++
			return w.Add(t)
		})
		if err != nil {
			return err
		}
	}
	m.finish(has)
	return nil
}

// open begins out, or goes on with it and notes what it has.
func (m *merger) open(has *evidence) (*Writer, error) {
	if !m.begun {
		return Create(m.out, m.manifest())
	}
	w, _, err := Reopen(m.out, func(t Trial) error {
		has.add(0, t)
		m.done.Trials++
		return nil
	})
	return w, err
}

// finish says what is missing.
func (m *merger) finish(has *evidence) {
	first, shards := m.sets[0].manifest, m.shards()
	ended := !slices.ContainsFunc(m.manifest().Workers, func(w Worker) bool { return w.Incomplete })
	for cell := range first.Cells {
		var missing []int
		last := first.TrialsPerCell
		if first.Stop != "" {
			last = has.prefix(cell)
		}
		for n := range last {
			if !has.verdict(cell, n) {
				missing = append(missing, n)
			}
		}
		m.done.Missing = append(m.done.Missing, byShard(cell, missing, shards, first)...)
	}
	m.done.Complete = len(m.done.Missing) == 0 && (ended || first.Cells > 0 && first.Stop == "")
}

// skip returns how many of sets are no parts.
func (m *merger) skip() int {
	if m.begun {
		return 1
	}
	return 0
}

// shards returns into how many the run was cut, 0 where its parts do not say the same.
func (m *merger) shards() int {
	n := 0
	for i, p := range m.sets[m.skip():] {
		s, err := ParseShard(p.manifest.Shard)
		if err != nil || i > 0 && s.N != n {
			return 0
		}
		n = s.N
	}
	return n
}

// byShard splits the missing trials of a cell by the shard that should have had them.
func byShard(cell int, trials []int, n int, m Manifest) (all []Missing) {
	if len(trials) == 0 {
		return nil
	}
	if n <= 1 {
		return []Missing{{Cell: cell, Trials: trials}}
	}
	for i := range n {
		s := Shard{I: i + 1, N: n}
		var its []int
		for _, t := range trials {
			if s.Has(cell, t, m.TrialsPerCell, m.Stop != "") {
				its = append(its, t)
			}
		}
		if len(its) > 0 {
			all = append(all, Missing{Cell: cell, Trials: its, Shard: s})
		}
	}
	return all
}

// manifest is that of the whole: the parts' own, and each machine by name.
func (m *merger) manifest() Manifest {
	all := m.sets[0].manifest
	all.Shard, all.Command = "", []string{"punchlab", "merge", m.out}
	all.Sysctls = maps.Clone(all.Sysctls)
	end := all.Start
	var kernels, models, workers = []string{}, []string{}, map[string]Worker{}
	for i, p := range m.sets {
		one := p.manifest
		if i >= m.skip() {
			all.Command = append(all.Command, p.dir)
		}
		if one.Start.Before(all.Start) {
			all.Start = one.Start
		}
		if one.End != nil && one.End.After(end) {
			end = *one.End
		}
		kernels, models = append(kernels, one.Kernel), append(models, one.CPU.Model)
		all.CPU.Cores = max(all.CPU.Cores, one.CPU.Cores)
		maps.DeleteFunc(all.Sysctls, func(k, v string) bool { return one.Sysctls[k] != v })
		for _, w := range p.workers() {
			w.Incomplete = w.Incomplete || i >= m.skip() && !one.Complete
			workers[w.Name] = w
		}
	}
	all.Kernel, all.CPU.Model, all.End = distinct(kernels), distinct(models), &end
	all.Workers = nil
	for _, name := range slices.Sorted(maps.Keys(workers)) {
		all.Workers = append(all.Workers, workers[name])
	}
	return all
}

// workers returns who made a part.
func (p part) workers() []Worker {
	if len(p.manifest.Workers) > 0 {
		return p.manifest.Workers
	}
	name := filepath.Base(p.dir)
	if p.manifest.Shard != "" {
		name = "shard " + p.manifest.Shard
	}
	return []Worker{{Name: name, Kernel: p.manifest.Kernel, CPU: p.manifest.CPU, Trials: p.trials}}
}

// bring links or copies a capture into the merged run and returns its name there; empty where the part has lost it.
func bring(name, from, to string) (string, error) {
	if name == "" || !filepath.IsLocal(name) {
		return "", nil
	}
	src, dst := filepath.Join(from, name), filepath.Join(to, name)
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return "", err
	}
	err := os.Link(src, dst)
	switch {
	case err == nil, errors.Is(err, os.ErrExist):
		return name, nil
	case errors.Is(err, os.ErrNotExist):
		return "", nil
	}
	return name, copyFile(src, dst)
}

func copyFile(src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
