package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/punchlab/punchlab/lab/gate"
	"github.com/punchlab/punchlab/lab/record"
	"github.com/punchlab/punchlab/reports"
)

// An A/B run compares two commands on the same trials, interleaved in time so that what the machine does meanwhile befalls
// both:
//
//	trials 1/4      2/4      3/4      4/4
//	       A B      B A      B A      A B      in an order drawn from the seed
//
// Each part is a shard, run by a process of its own. The shards of a side become one run, OUT/a or OUT/b, and the gate compares
// the two trial by trial: the seeds are the same. A, the baseline, is the program that was called; B, the candidate, the other.

// abSide is one of the two.
type abSide struct {
	name    string   // "a" or "b"
	command []string // program and its first arguments
}

// words splits a command line as a shell does, without expanding anything.
func words(line string) (list []string, err error) {
	var word strings.Builder
	var quote rune
	some, escaped := false, false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, some = true, true
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, some = r, true
		case unicode.IsSpace(r):
			if some {
				list = append(list, word.String())
			}
			word.Reset()
			some = false
		default:
			word.WriteRune(r)
			some = true
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("a quotation or escape is not closed in %q", line)
	}
	if some {
		list = append(list, word.String())
	}
	return list, nil
}

// ab runs both sides of one scenario and prints the gate's verdict.
func (f *runFlags) ab(ctx context.Context, name string) error {
	other, err := words(f.other)
	switch {
	case err != nil:
		return usagef("--ab: %w", err)
	case len(other) == 0:
		return usagef("--ab: name the command that may be worse than this one, as --ab ../new/bin/punchlab or --ab 'bin/punchlab --set strategy=direct'")
	case f.shard != "" || f.resume || f.spread.on() || f.sequential:
		return usagef("--ab goes without --shard, --resume, --nats and --sequential: it makes shards of its own")
	case len(f.thresholds) > 0 || f.pcap != "none":
		return usagef("--ab goes without --threshold and --pcap: both sides are held against one another, and keep no captures")
	case f.blocks < 1:
		return usagef("--ab-blocks %d: give at least 1", f.blocks)
	}
	if err := noCommon(other[1:]); err != nil {
		return err
	}
	if _, err := exec.LookPath(other[0]); err != nil {
		return usagef("--ab: %w", err)
	}
	j, err := f.prepare(name, false)
	if err != nil {
		return err
	}
	if err := emptyFolder(j.dir); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return labError(err)
	}
	common := f.common(name, j)
	sides := [2]abSide{{"a", append([]string{self, "run"}, common...)}, {"b", append(append([]string{other[0], "run"}, common...), other[1:]...)}}
	blocks := min(f.blocks, j.Scenario.Trials*len(j.Plan.Cells))
	if err := interleave(ctx, sides, blocks, j); err != nil {
		return err
	}
	return f.judgePair(j.dir, sides, blocks)
}

// noCommon refuses arguments of the other command that take from both sides what they must have in common, or are A/B's own.
func noCommon(args []string) error {
	for _, a := range args {
		name, ok := strings.CutPrefix(a, "--")
		name, _, _ = strings.Cut(name, "=")
		if ok && slices.Contains([]string{"seed", "trials", "shard", "out", "resume", "ab", "again", "nats", "json", "format"}, name) {
			return usagef("--ab: leave out --%s of the other command: both sides run the same trials, where this command says", name)
		}
	}
	return nil
}

// emptyFolder makes sure that nothing is overwritten.
func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return usagef("--out: folder %s is not empty (it holds %s): choose another", dir, entries[0].Name())
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return usagef("--out: %w: choose a folder you can write to", err)
	}
	return nil
}

// common are the arguments of both sides.
func (f *runFlags) common(name string, j *job) []string {
	args := []string{name, "--engine", f.engine, "--trials", fmt.Sprint(j.Scenario.Trials), "--seed", fmt.Sprint(j.Scenario.Seed),
		"--late", f.late.String(), "--format", "csv"}
	if f.jobs > 0 {
		args = append(args, "--jobs", fmt.Sprint(f.jobs))
	}
	if f.precise {
		args = append(args, "--precise")
	}
	for _, set := range f.set {
		args = append(args, "--set", set)
	}
	return args
}

// interleave runs the shards, both sides' of one block in a random order.
func interleave(ctx context.Context, sides [2]abSide, blocks int, j *job) error {
	rng := rand.New(rand.NewPCG(j.Scenario.Seed, uint64(blocks)))
	for k := range blocks {
		first := rng.IntN(2)
		for i := range 2 {
			s := sides[(first+i)%2]
			fmt.Fprintf(os.Stderr, "%s: side %s, part %d of %d\n", j.Scenario.Name, s.name, k+1, blocks)
			if err := s.run(ctx, shardDir(j.dir, s, k), k+1, blocks); err != nil {
				return err
			}
		}
	}
	return nil
}

func shardDir(dir string, s abSide, k int) string {
	return filepath.Join(dir, "parts", fmt.Sprintf("%s-%d", s.name, k+1))
}

// run runs one shard of a side. A threshold that the part misses is no matter here.
func (s abSide) run(ctx context.Context, dir string, k, n int) error {
	args := append(append([]string{}, s.command[1:]...), "--shard", fmt.Sprintf("%d/%d", k, n), "--out", dir)
	c := exec.CommandContext(ctx, s.command[0], args...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.Stderr = os.Stderr
	err := c.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return &exitError{exitUndecided, errors.New("interrupted: the parts that ended are kept, but there is no verdict")}
	case errors.As(err, &exit) && (exit.ExitCode() == exitFail || exit.ExitCode() == exitUndecided):
		err = nil
	case errors.As(err, &exit) && exit.ExitCode() == exitUsage:
		return usagef("side %s: %s: it refused what it was asked for", s.name, shellWords(s.command))
	}
	if err == nil {
		if _, err = record.ReadManifest(dir); err != nil {
			err = fmt.Errorf("it left no run: is it a punchlab? %w", err)
		}
	}
	if err != nil {
		return labError(fmt.Errorf("side %s: %s: %w", s.name, shellWords(s.command), err))
	}
	return nil
}

// judgePair makes one run of each side's shards, and compares them.
func (f *runFlags) judgePair(dir string, sides [2]abSide, blocks int) error {
	var samples [2]gate.Sample
	for i, s := range sides {
		var parts []string
		for k := range blocks {
			parts = append(parts, shardDir(dir, s, k))
		}
		whole := filepath.Join(dir, s.name)
		if _, err := record.Merge(whole, parts); err != nil {
			return labError(err)
		}
		if _, err := summarize(whole); err != nil {
			return labError(err)
		}
		if _, err := reports.Write(whole, f.formats); err != nil {
			return labError(err)
		}
		var err error
		if samples[i], err = readSample(whole); err != nil {
			return err
		}
	}
	v, err := comparePair(samples[0], samples[1])
	if err != nil {
		return usage(err)
	}
	return f.tell(dir, v)
}

// comparePair compares two sides trial by trial. Where each ran one strategy, and another one, the strategies are what is compared.
// Whatever else the second command was given is compared too, and named in the verdict; but for the seeds, which make the pairs.
func comparePair(a, b gate.Sample) (*gate.Verdict, error) {
	o := gate.Options{Paired: true}
	differences := gate.Differences(a.Manifest, b.Manifest, true)
	for _, d := range differences {
		if d.Field != "seed" {
			o.Allow = append(o.Allow, d.Field)
		}
	}
	one, other := a.Groups(), b.Groups()
	if len(one) != 1 || len(other) != 1 || one[0] == other[0] {
		return gate.Compare(a, b, o)
	}
	both := a
	both.Cells = slices.Concat(a.Cells, b.Cells)
	both.Manifest.Complete = a.Manifest.Complete && b.Manifest.Complete
	both.Truncated = max(a.Truncated, b.Truncated)
	v, err := gate.CompareStrategies(both, one[0], other[0], o)
	if err != nil {
		return nil, err
	}
	m := b.Manifest
	v.Engine = m.Engine
	v.B.Source, v.B.Commit, v.B.Dirty, v.B.Start, v.B.Complete = b.Source, m.Versions.Commit, m.Versions.Dirty, m.Start, m.Complete && b.Truncated == 0
	v.A.Complete = a.Manifest.Complete && a.Truncated == 0
	for _, d := range differences {
		if d.Field != "axes" { // the strategies, which the sides name
			v.Allowed = append(v.Allowed, d)
		}
	}
	return v, nil
}

// tell keeps the verdict beside the runs, and prints it.
func (f *runFlags) tell(dir string, v *gate.Verdict) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return labError(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "gate.json"), append(b, '\n'), 0o644); err != nil {
		return labError(err)
	}
	files, err := reports.CompareAs(filepath.Join(dir, "a"), filepath.Join(dir, "b"), dir, v)
	if err != nil {
		return labError(err)
	}
	format := "text"
	if f.json {
		format = "json"
	}
	if err := reports.RenderGate(os.Stdout, v, format, colorful()); err != nil {
		return labError(err)
	}
	if !f.json && len(files) > 0 {
		fmt.Printf("\nside by side: %s\n", files[0])
	}
	return decided(v.Decision)
}
