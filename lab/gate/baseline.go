package gate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/record"
)

// BaselineSchema names the JSON form of a line of a baseline file.
const BaselineSchema = "punchlab/baseline/1"

// Entry is one line of a baseline file: a sample with its values rounded to millionths. Files only grow, so that a line's
// history is its file's; the last entry of an environment is the one in force.
type Entry struct {
	Schema string `json:"schema"`
	Note   string `json:"note,omitempty"` // why it was added
	Sample
}

// maxEntry bounds a line of a baseline file.
const maxEntry = 256 << 20

// Read loads a sample: of a run's folder, or of a baseline file its last entry.
func Read(path string) (Sample, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Sample{}, fmt.Errorf("read sample: %w: give a run's folder or a baseline file", err)
	}
	if info.IsDir() {
		return readRun(path)
	}
	entries, err := ReadBaselines(path)
	if err != nil {
		return Sample{}, err
	}
	return entries[len(entries)-1].Sample, nil
}

// readRun makes a sample of a run's folder, trial by trial.
func readRun(dir string) (Sample, error) {
	b := NewBuilder(record.Manifest{})
	run, err := record.Scan(dir, b.Add)
	if err != nil {
		return Sample{}, fmt.Errorf("read sample: %w", err)
	}
	b.manifest = essence(run.Manifest)
	s := b.Sample()
	s.Source, s.Truncated = dir, run.Truncated
	return s, nil
}

// ReadBaselines loads every entry of a baseline file, oldest first. There is at least one. Errors name file and line.
func ReadBaselines(path string) ([]Entry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read baselines: %w", err)
	}
	defer f.Close()
	var entries []Entry
	in := bufio.NewReaderSize(f, 1<<20)
	for n := 1; ; n++ {
		line, err := in.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			break
		}
		at := fmt.Sprintf("%s:%d", path, n)
		if err == io.EOF {
			return nil, fmt.Errorf("read baselines: %s: the last line is torn after %d bytes: cut it off and add the baseline again", at, len(line))
		}
		if err != nil {
			return nil, fmt.Errorf("read baselines: %s: %w", at, err)
		}
		e, err := parseEntry(line)
		if err != nil {
			return nil, fmt.Errorf("read baselines: %s: %w", at, err)
		}
		e.Source = at
		if err := e.validate(); err != nil {
			return nil, fmt.Errorf("read baselines: %w", err)
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("read baselines: %s is empty: add a run to it first", path)
	}
	return entries, nil
}

// parseEntry reads a line. The schema is looked at first: another one is refused by its name and not by what it holds.
func parseEntry(line []byte) (Entry, error) {
	var head struct {
		Schema *string `json:"schema"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return Entry{}, fmt.Errorf("%w: this is no baseline file", err)
	}
	if head.Schema == nil {
		return Entry{}, fmt.Errorf("field schema is missing: a baseline's is %q", BaselineSchema)
	}
	if *head.Schema != BaselineSchema {
		return Entry{}, fmt.Errorf("schema is %q, want %q: read it with the version that wrote it, or begin a new file", *head.Schema, BaselineSchema)
	}
	var e Entry
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return Entry{}, fmt.Errorf("%w: this baseline is of another version", err)
	}
	return e, errors.Join(e.Manifest.Validate(), e.whole())
}

// whole says which field a line lacks.
func (e *Entry) whole() error {
	if e.Cells == nil {
		return errors.New("field cells is missing")
	}
	for i, c := range e.Cells {
		for _, f := range []struct {
			name string
			gone bool
		}{{"params", c.Params == nil}, {"numbers", c.Numbers == nil}, {"outcomes", c.Outcomes == nil}, {"values", c.Values == nil}} {
			if f.gone {
				return fmt.Errorf("cells[%d]: field %s is missing", i, f.name)
			}
		}
	}
	return nil
}

// PickBaseline returns the newest entry whose environment is like the candidate's, or *Unlike about the newest of all. The candidate
// itself, which may have been added already, is passed over.
func PickBaseline(entries []Entry, candidate Sample, allow []string) (Sample, error) {
	if len(entries) == 0 {
		return Sample{}, errors.New("pick baseline: there is none: add a run first")
	}
	var first error
	for _, e := range slices.Backward(entries) {
		if e.same(&candidate) {
			continue
		}
		_, err := checkLike(e.Sample, candidate, Options{Allow: allow})
		if err == nil {
			return e.Sample, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		return Sample{}, fmt.Errorf("pick baseline: %s is %s itself, and there is no other: compare a run with an older one",
			entries[0].Source, candidate.Source)
	}
	return Sample{}, first
}

// AppendBaseline adds a line to a baseline file, which it makes if need be. It refuses a run that did not end or has no trial, and
// a file whose entries cannot be read. A failed write is cut off again.
func AppendBaseline(path string, s Sample, note string) error {
	if err := s.baseline(); err != nil {
		return fmt.Errorf("append baseline: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		if _, err := ReadBaselines(path); err != nil {
			return fmt.Errorf("append baseline: %w", err)
		}
	}
	line, err := json.Marshal(Entry{Schema: BaselineSchema, Note: note, Sample: s.trimmed()})
	if err != nil {
		return fmt.Errorf("append baseline: %w", err)
	}
	if len(line) > maxEntry {
		return fmt.Errorf("append baseline: %s takes %d MB, more than %d: run fewer trials a cell", s.Source, len(line)>>20, maxEntry>>20)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("append baseline: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("append baseline: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		if _, err = f.Write(append(line, '\n')); err != nil {
			err = errors.Join(err, f.Truncate(info.Size()))
		}
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("append baseline: %w", err)
	}
	return nil
}

// baseline says why a sample cannot be one.
func (s *Sample) baseline() error {
	switch {
	case s.Truncated > 0 || !s.Manifest.Complete:
		return fmt.Errorf("%s did not end: resume it first", s.Source)
	case s.Trials() == 0:
		return fmt.Errorf("%s has no trial with a verdict: nothing was executed", s.Source)
	case len(s.Cells) < s.Manifest.Cells:
		return fmt.Errorf("%s has records of %d of its %d cells: merge its shards first", s.Source, len(s.Cells), s.Manifest.Cells)
	}
	return errors.Join(s.Manifest.Validate(), s.validate())
}

// trimmed leaves out what no default metric is made of: probes, and the column of a value that no trial has.
func (s *Sample) trimmed() Sample {
	out := *s
	out.Cells = slices.Clone(s.Cells)
	for i := range out.Cells {
		c := &out.Cells[i]
		c.Values = maps.Clone(c.Values)
		maps.DeleteFunc(c.Values, func(name string, _ Column) bool { return strings.HasPrefix(name, probesPrefix) })
	}
	return out
}
