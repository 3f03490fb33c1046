package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/contain"
)

// paper is what a case writes to its evidence folder. It is safe for concurrent use.
type paper struct {
	folder string
	began  time.Time

	mu       sync.Mutex
	files    map[string]*os.File
	err      error // the first
	captures int
	closed   bool
}

// Files of the evidence folder.
const (
	timelineFile = "timeline.txt"
	recordsFile  = "records.jsonl"
	countsFile   = "counts.json"
	outputFile   = "program.log"
)

func newPaper(folder string, began time.Time) (*paper, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, fmt.Errorf("make the evidence folder: %w", err)
	}
	return &paper{folder: folder, began: began, files: map[string]*os.File{}}, nil
}

// write appends to a file. An error is kept for close: no procedure would know what to do with it.
func (p *paper) write(name, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	f := p.files[name]
	if f == nil {
		var err error
		if f, err = os.Create(filepath.Join(p.folder, name)); err != nil {
			p.fail(err)
			return
		}
		p.files[name] = f
	}
	if _, err := f.WriteString(text); err != nil {
		p.fail(err)
	}
}

// fail keeps the first error. The caller holds mu.
func (p *paper) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// capture makes the next capture's file.
func (p *paper) capture() (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.captures++
	name := "capture.pcapng"
	if p.captures > 1 {
		name = fmt.Sprintf("capture-%d.pcapng", p.captures)
	}
	return os.Create(filepath.Join(p.folder, name))
}

// close completes the evidence.
func (p *paper) close(counts any) error {
	b, err := json.MarshalIndent(counts, "", "  ")
	if err == nil {
		p.write(countsFile, string(b)+"\n")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	errs := []error{err, p.err}
	for _, f := range p.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Note writes a line to timeline.txt, with the time since the case began, and tells it as progress.
func (s *Stage) Note(format string, args ...any) {
	now := time.Now()
	line := strings.ReplaceAll(strings.TrimRight(fmt.Sprintf(format, args...), "\n"), "\n", "\n\t")
	s.paper.write(timelineFile, fmt.Sprintf("%s  %9.3fs  %s\n", now.UTC().Format("15:04:05.000000"), now.Sub(s.began).Seconds(), line))
	s.say(line)
}

// Record writes v as a line of records.jsonl: of each try what decides it. It panics if v has no JSON.
func (s *Stage) Record(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("stage: record: " + err.Error())
	}
	s.paper.write(recordsFile, string(b)+"\n")
}

// counts is counts.json. The caller holds mu.
func (s *Stage) counts() any {
	return struct {
		Case     string         `json:"case"`
		Seed     uint64         `json:"seed"`
		Brief    bool           `json:"brief"`
		Way      Way            `json:"way"`
		Observed map[string]int `json:"observed"`
		Claim    *certify.Claim `json:"claim,omitempty"`
		Sets     int            `json:"labs"`
	}{s.o.Case.ID, s.o.Seed, s.o.Brief, s.o.Device.Way, s.observed, s.claim, s.sets}
}

// wants reports whether the case's evidence has a file.
func (s *Stage) wants(name string) bool { return slices.Contains(s.o.Case.Evidence, name) }

// log keeps what became of a program.
func (s *Stage) log(heading string, r *contain.Report, err error) {
	var b strings.Builder
	fmt.Fprintf(&b, "=== %s\n", heading)
	if err != nil {
		fmt.Fprintf(&b, "the lab: %v\n", err)
	}
	if r != nil {
		b.WriteString(r.String())
		for i, o := range r.Outside {
			if i == 20 {
				fmt.Fprintf(&b, "  … and %d more\n", len(r.Outside)-i+r.More)
				break
			}
			fmt.Fprintf(&b, "  %s: %s, %d bytes\n", o.Path, o.What, o.Size)
		}
		b.WriteString("--- output\n")
		b.Write(r.Output.Head)
		if gap := r.Output.Bytes - int64(len(r.Output.Head)+len(r.Output.Tail)); gap > 0 {
			fmt.Fprintf(&b, "\n… %d bytes …\n", gap)
		}
		b.Write(r.Output.Tail)
	}
	s.paper.write(outputFile, strings.TrimRight(b.String(), "\n")+"\n\n")
}
