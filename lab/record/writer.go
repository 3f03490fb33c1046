package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Names of the files in a run's folder.
const (
	ManifestFile = "run.json"
	TrialsFile   = "trials.jsonl"
	SummaryFile  = "summary.json"
)

// Writer appends to a run. It is safe for concurrent use.
type Writer struct {
	dir string

	mu       sync.Mutex
	manifest Manifest
	trials   *os.File
	size     int64 // bytes of whole lines
	broken   error // set once: the file could not be brought back to whole lines
}

// Create begins a run in dir, which it makes if need be. It refuses a folder that is not empty and one it cannot
// write to. The manifest is on disk before it returns, marked incomplete.
func Create(dir string, m Manifest) (*Writer, error) {
	m.Schema, m.Complete, m.End = ManifestSchema, false, nil
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("create run: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create run: %w: choose a folder you can write to", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("create run: %w", err)
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("create run: folder %s is not empty (it holds %s): choose another folder, or resume the run in it", dir, entries[0].Name())
	}
	f, err := os.OpenFile(filepath.Join(dir, TrialsFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create run: %w: choose a folder you can write to", err)
	}
	w := &Writer{dir: dir, manifest: m, trials: f}
	if err := errors.Join(lock(f), writeJSON(filepath.Join(dir, ManifestFile), m)); err != nil {
		f.Close()
		return nil, fmt.Errorf("create run: %w", err)
	}
	return w, nil
}

// Open resumes the run in dir and returns what it holds so far. A torn last line is cut off the file, and nothing
// else; the returned run's Truncated tells the caller to say so. The manifest is marked incomplete again.
func Open(dir string) (*Writer, *Run, error) {
	var trials []Trial
	w, run, err := Reopen(dir, func(t Trial) error {
		trials = append(trials, t)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	run.Trials = trials
	return w, run, nil
}

// Reopen is Open for a run of any size: it gives each trial to f, as Scan does, and returns a Run without Trials.
func Reopen(dir string, f func(Trial) error) (*Writer, *Run, error) {
	file, err := os.OpenFile(filepath.Join(dir, TrialsFile), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("resume run: %w", err)
	}
	w, run, err := open(dir, file, f)
	if err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("resume run: %w", err)
	}
	return w, run, nil
}

func open(dir string, f *os.File, each func(Trial) error) (*Writer, *Run, error) {
	if err := lock(f); err != nil {
		return nil, nil, err
	}
	run, err := Scan(dir, each)
	if err != nil {
		return nil, nil, err
	}
	if run.Truncated > 0 {
		if err := f.Truncate(run.whole); err != nil {
			return nil, nil, fmt.Errorf("cut torn line: %w", err)
		}
	}
	run.Manifest.Complete, run.Manifest.End = false, nil
	w := &Writer{dir: dir, manifest: run.Manifest, trials: f, size: run.whole}
	if err := writeJSON(filepath.Join(dir, ManifestFile), w.manifest); err != nil {
		return nil, nil, err
	}
	return w, run, nil
}

// lock keeps a second writer out for as long as f is open. The kernel drops it with the process.
func lock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("another process is writing this run: wait for it or stop it")
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}

// unlock lets the next writer in. Closing f alone would not do: a program that another goroutine is just starting has the
// descriptor too until it runs.
func unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// Dir returns the run's folder.
func (w *Writer) Dir() string { return w.dir }

// Add appends one trial in a single write, without waiting for the disk. Schema and a missing Params are filled in; a
// trial that Validate refuses is not written. After a failed write the file is cut back to its whole lines.
func (w *Writer) Add(t Trial) error {
	t.Schema = TrialSchema
	if t.Params == nil {
		t.Params = map[string]string{}
	}
	if err := t.Validate(); err != nil {
		return fmt.Errorf("add trial %d of cell %d: %w", t.Trial, t.Cell, err)
	}
	line, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("add trial %d of cell %d: %w", t.Trial, t.Cell, err)
	}
	line = append(line, '\n')

	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		return w.broken
	}
	if w.trials == nil {
		return errors.New("add trial: the run is finished")
	}
	if _, err := w.trials.Write(line); err != nil {
		if terr := w.trials.Truncate(w.size); terr != nil {
			w.broken = fmt.Errorf("add trial: %w; cut torn line: %w", err, terr)
		}
		return fmt.Errorf("add trial %d of cell %d: %w", t.Trial, t.Cell, err)
	}
	w.size += int64(len(line))
	return nil
}

// Amend changes what the manifest says, which Finish writes: who worked on the run is known at its end.
func (w *Writer) Amend(f func(*Manifest)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.manifest)
}

// Finish syncs the trials to disk, writes the manifest with its end and whether every trial was run, and closes the
// run. A second call does nothing.
func (w *Writer) Finish(complete bool, end time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.trials == nil {
		return nil
	}
	w.manifest.Complete, w.manifest.End = complete, &end
	err := errors.Join(w.trials.Sync(), writeJSON(filepath.Join(w.dir, ManifestFile), w.manifest),
		unlock(w.trials), w.trials.Close())
	w.trials = nil
	if err != nil {
		return fmt.Errorf("finish run: %w", err)
	}
	return nil
}

// WriteSummary replaces dir's summary.json in one step.
func WriteSummary(dir string, s Summary) error {
	if err := writeJSON(filepath.Join(dir, SummaryFile), s); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

// writeJSON replaces a file in one step: whoever reads it, even after a crash, sees the old or the new, whole.
func writeJSON(path string, v any) (err error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if rerr := os.Remove(f.Name()); err == nil && rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			err = rerr
		}
	}()
	_, werr := f.Write(append(b, '\n'))
	if err := errors.Join(werr, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
