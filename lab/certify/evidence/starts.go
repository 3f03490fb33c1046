package evidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// StartsFile is where every start of every case is written down before it begins, and how each ended: a line of JSON each, and each line
// with the digest of all before it. Nothing is taken away from it, so that who cuts a run short where a case goes badly is seen to have.
const StartsFile = "starts.jsonl"

// Start is one time that a case was begun.
type Start struct {
	Case  string
	N     int // of the case's starts, from 1
	Began time.Time
	Ended string // the verdict that it came to, or "interrupted"; "" if nobody was there any more to write it
	Why   string // the verdict's reason
}

// startLine is a line of the file.
type startLine struct {
	Case   string    `json:"case"`
	Start  int       `json:"start"`
	At     time.Time `json:"at"`
	Ended  string    `json:"ended,omitempty"` // "": it begins
	Why    string    `json:"why,omitempty"`
	Before string    `json:"before"` // SHA-256 of all lines before
}

// Starts is the file, open to be added to. It is not safe for concurrent use.
type Starts struct {
	file *os.File
	text []byte
	all  []Start
}

// OpenStarts opens a run's file, or makes one. A last line that was not written whole is dropped: nothing had been begun by it. The error
// names the line that is not as it was written.
func OpenStarts(name string) (*Starts, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the list of starts: %w", err)
	}
	s := &Starts{file: f}
	if s.text, err = os.ReadFile(name); err == nil {
		s.text = s.text[:bytes.LastIndexByte(s.text, '\n')+1]
		s.all, err = ReadStarts(s.text)
	}
	if err == nil {
		err = f.Truncate(int64(len(s.text)))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return s, nil
}

// Begin writes down that a case is begun, on the disk, and returns how often it has been now.
func (s *Starts) Begin(id string, at time.Time) (n int, err error) {
	n = len(s.Of(id)) + 1
	if err := s.add(startLine{Case: id, Start: n, At: at}); err != nil {
		return 0, err
	}
	s.all = append(s.all, Start{Case: id, N: n, Began: at})
	return n, nil
}

// End writes down how a case's newest start ended.
func (s *Starts) End(id string, at time.Time, ended, why string) error {
	for i := range slices.Backward(s.all) {
		if one := &s.all[i]; one.Case == id {
			one.Ended, one.Why = ended, why
			return s.add(startLine{Case: id, Start: one.N, At: at, Ended: ended, Why: why})
		}
	}
	return fmt.Errorf("list of starts: %s ended, and was never begun", id)
}

func (s *Starts) add(l startLine) error {
	l.At, l.Before = l.At.Round(0).UTC(), digest(s.text)
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("list of starts: %w", err)
	}
	b = append(b, '\n')
	if _, err := s.file.WriteAt(b, int64(len(s.text))); err != nil {
		return fmt.Errorf("list of starts: %w", err)
	}
	s.text = append(s.text, b...)
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("list of starts: %w", err)
	}
	return nil
}

// Of are a case's starts.
func (s *Starts) Of(id string) []Start { return startsOf(s.all, id) }

func startsOf(all []Start, id string) (of []Start) {
	for _, one := range all {
		if one.Case == id {
			of = append(of, one)
		}
	}
	return of
}

// Close closes the file.
func (s *Starts) Close() error { return s.file.Close() }

// ReadStarts reads what a list of starts says. The error names the first line that cannot be: one that was changed, taken away or put in
// between.
func ReadStarts(text []byte) (all []Start, err error) {
	rest, line := text, 0
	for len(rest) > 0 {
		line++
		before := text[:len(text)-len(rest)]
		var one []byte
		var whole bool
		if one, rest, whole = bytes.Cut(rest, []byte("\n")); !whole {
			return nil, fmt.Errorf("line %d does not end", line)
		}
		var l startLine
		d := json.NewDecoder(bytes.NewReader(one))
		d.DisallowUnknownFields()
		if err := d.Decode(&l); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if l.Before != digest(before) {
			return nil, fmt.Errorf("line %d does not follow the lines before it: one of them was changed, taken away or put in", line)
		}
		n := len(startsOf(all, l.Case))
		switch {
		case l.Ended == "" && l.Start == n+1:
			all = append(all, Start{Case: l.Case, N: l.Start, Began: l.At})
		case l.Ended != "" && l.Start == n && n > 0:
			for i := range slices.Backward(all) {
				if all[i].Case == l.Case {
					all[i].Ended, all[i].Why = l.Ended, l.Why
					break
				}
			}
		default:
			return nil, fmt.Errorf("line %d: start %d of %s, which was begun %d times", line, l.Start, l.Case, n)
		}
	}
	return all, nil
}

// checkStarts holds the manifest's counts to the list in the folder.
func (f *folder) checkStarts(ctx context.Context, m *Manifest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, there := m.file(StartsFile); !there {
		return nil
	}
	b, err := f.document(StartsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return f.mismatch(Missing, StartsFile, "it went away while the folder was read")
	}
	if err != nil {
		return err
	}
	all, err := ReadStarts(b)
	if err != nil {
		return f.mismatch(Disagreement, StartsFile, "%v", err)
	}
	for _, c := range m.Cases {
		if n := len(startsOf(all, c.ID)); n != c.Starts {
			return f.mismatch(Disagreement, StartsFile, "%s was started %d times by it; certified is %d", c.ID, n, c.Starts)
		}
	}
	return nil
}
