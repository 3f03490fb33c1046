package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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

	whole int64     // bytes of trials.jsonl up to the end of its last whole line
	last  time.Time // when the last trial ended
}

// Wall returns how long the run took by its manifest, or up to its last trial where it did not end.
func (r *Run) Wall() time.Duration {
	end := r.Manifest.Start
	if r.Manifest.End != nil {
		return max(0, r.Manifest.End.Sub(end))
	}
	if r.last.After(end) {
		end = r.last
	}
	for _, t := range r.Trials {
		if t.EndedAt.After(end) {
			end = t.EndedAt
		}
	}
	return end.Sub(r.Manifest.Start)
}

// Read loads and checks the run in dir. A last line without its newline is torn: it is left out and counted.
// Errors name file and line. Trials share what is equal, as their Params: it is not to be written to.
func Read(dir string) (*Run, error) {
	var trials []Trial
	r, err := Scan(dir, func(t Trial) error {
		trials = append(trials, t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.Trials = trials
	return r, nil
}

// Scan reads and checks the run in dir as Read does, and gives each trial to f as it comes, in the file's order: it keeps none,
// so that a run of a million trials takes no more memory than one of a thousand. The Run it returns is without Trials. What f
// has been given before an error is of a run that is refused. An error of f's ends the scan, and is returned with file and line.
func Scan(dir string, f func(Trial) error) (*Run, error) {
	m, err := ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	r := &Run{Dir: dir, Manifest: m}
	path := filepath.Join(dir, TrialsFile)
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	defer file.Close()
	if err := r.scan(path, file, f); err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	if r.Truncated > 0 {
		r.Manifest.Complete = false
	}
	return r, nil
}

// ReadManifest loads and checks what was run in dir.
func ReadManifest(dir string) (m Manifest, err error) {
	path := filepath.Join(dir, ManifestFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("read run: %w: %s is not the folder of a run", err, dir)
	}
	if err != nil {
		return m, fmt.Errorf("read run: %w", err)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("read run: %s:%d: %w", path, lineOf(b, err), err)
	}
	if err := m.Validate(); err != nil {
		return m, fmt.Errorf("read run: %s: %w", path, err)
	}
	return m, nil
}

// scan gives the trials to f, and fills Truncated, whole and last.
func (r *Run) scan(path string, file io.Reader, f func(Trial) error) error {
	in := bufio.NewReaderSize(file, 1<<20)
	seen, p := newLedger(), newParser()
	var line []byte
	for n := 1; ; n++ {
		var err error
		line, err = readLine(in, line[:0])
		if err == io.EOF {
			r.Truncated = len(line)
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
		t, err := p.parse(line)
		if err == nil {
			err = seen.check(n, t)
		}
		if err == nil {
			err = f(t)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
		r.whole += int64(len(line))
		if t.EndedAt.After(r.last) {
			r.last = t.EndedAt
		}
	}
}

// readLine appends a line with its newline, or what is left after the last one with io.EOF.
func readLine(in *bufio.Reader, line []byte) ([]byte, error) {
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
