package record

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
	"strings"
	"time"
)

// maxLine bounds a line of trials.jsonl: an hour of frame latencies fits a hundred times.
const maxLine = 64 << 20

// Run is what a run's folder holds.
type Run struct {
	Dir       string
	Manifest  Manifest
	Trials    []Trial // in the file's order
	Truncated int     // bytes of a torn last line, usually 0; the manifest then reads as incomplete

	whole int64 // bytes of trials.jsonl up to the end of its last whole line
}

// Wall returns how long the run took by its manifest, or up to its last trial where it did not end.
func (r *Run) Wall() time.Duration {
	end := r.Manifest.Start
	if r.Manifest.End != nil {
		return max(0, r.Manifest.End.Sub(end))
	}
	for _, t := range r.Trials {
		if t.EndedAt.After(end) {
			end = t.EndedAt
		}
	}
	return end.Sub(r.Manifest.Start)
}

// Read loads and checks the run in dir. A last line without its newline is torn: it is left out and counted.
// Errors name file and line.
func Read(dir string) (*Run, error) {
	r := &Run{Dir: dir}
	path := filepath.Join(dir, ManifestFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read run: %w: %s is not the folder of a run", err, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	if err := json.Unmarshal(b, &r.Manifest); err != nil {
		return nil, fmt.Errorf("read run: %s:%d: %w", path, lineOf(b, err), err)
	}
	if err := r.Manifest.Validate(); err != nil {
		return nil, fmt.Errorf("read run: %s: %w", path, err)
	}
	path = filepath.Join(dir, TrialsFile)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	defer f.Close()
	if err := r.readTrials(path, f); err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	if r.Truncated > 0 {
		r.Manifest.Complete = false
	}
	return r, nil
}

// readTrials fills Trials, Truncated and whole.
func (r *Run) readTrials(path string, f io.Reader) error {
	in := bufio.NewReaderSize(f, 1<<20)
	seen := newLedger()
	for n := 1; ; n++ {
		line, err := readLine(in)
		if err == io.EOF {
			if len(line) > 0 {
				r.Truncated = len(line)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
		t, err := parseTrial(line)
		if err == nil {
			err = seen.check(n, t)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
		r.Trials = append(r.Trials, t)
		r.whole += int64(len(line))
	}
}

// readLine returns a line with its newline, or io.EOF with what is left after the last one.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("line is longer than %d bytes", maxLine)
		}
		if err != bufio.ErrBufferFull {
			return line, err
		}
	}
}

// trialLine finds out which of the fields that every trial must have are there: its own shadow those of Trial.
type trialLine struct {
	Schema  *string            `json:"schema"`
	Cell    *int               `json:"cell"`
	Trial   *int               `json:"trial"`
	Seed    *uint64            `json:"seed"`
	Params  *map[string]string `json:"params"`
	Outcome *Outcome           `json:"outcome"`
	Oracle  *string            `json:"oracle"`
	trialRest
}

type trialRest Trial

func parseTrial(line []byte) (Trial, error) {
	var l trialLine
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			return Trial{}, fmt.Errorf("%w: written by another version of punchlab", err)
		}
		return Trial{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return Trial{}, errors.New("more than one value on the line")
	}
	switch {
	case l.Schema == nil:
		return Trial{}, errors.New("field schema is missing")
	case l.Cell == nil:
		return Trial{}, errors.New("field cell is missing")
	case l.Trial == nil:
		return Trial{}, errors.New("field trial is missing")
	case l.Seed == nil:
		return Trial{}, errors.New("field seed is missing")
	case l.Params == nil:
		return Trial{}, errors.New("field params is missing")
	case l.Outcome == nil:
		return Trial{}, errors.New("field outcome is missing")
	case l.Oracle == nil:
		return Trial{}, errors.New("field oracle is missing")
	}
	t := Trial(l.trialRest)
	t.Schema, t.Cell, t.Trial, t.Seed = *l.Schema, *l.Cell, *l.Trial, *l.Seed
	t.Params, t.Outcome, t.Oracle = *l.Params, *l.Outcome, *l.Oracle
	return t, t.Validate()
}

// ledger refuses records that contradict each other.
type ledger struct {
	params  map[int]map[string]string
	verdict map[[2]int]int // line of the verdict of a cell's trial
}

func newLedger() *ledger {
	return &ledger{params: map[int]map[string]string{}, verdict: map[[2]int]int{}}
}

func (l *ledger) check(line int, t Trial) error {
	if p, ok := l.params[t.Cell]; !ok {
		l.params[t.Cell] = t.Params
	} else if !maps.Equal(p, t.Params) {
		return fmt.Errorf("cell %d has params %v here and %v before", t.Cell, t.Params, p)
	}
	if !t.Outcome.HasVerdict() {
		return nil
	}
	key := [2]int{t.Cell, t.Trial}
	if before, ok := l.verdict[key]; ok {
		return fmt.Errorf("trial %d of cell %d has a verdict already on line %d: only harness errors are run again", t.Trial, t.Cell, before)
	}
	l.verdict[key] = line
	return nil
}

// lineOf finds the line of a JSON error.
func lineOf(b []byte, err error) int {
	var offset int64
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	if errors.As(err, &syntax) {
		offset = syntax.Offset
	} else if errors.As(err, &typ) {
		offset = typ.Offset
	}
	return 1 + bytes.Count(b[:min(int(offset), len(b))], []byte("\n"))
}
