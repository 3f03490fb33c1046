package runner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/record"
)

// Keep says which trials' captures are kept.
type Keep int

// What to keep.
const (
	KeepNone   Keep = iota
	KeepFailed      // of trials that failed, or were relayed although a direct path existed
	KeepAll         // of void trials too
)

// PcapDir is where the captures are, below the run's folder.
const PcapDir = "pcap"

// tape is the capture of one trial; nil records nothing.
type tape struct {
	lab  *lab.Lab
	run  string // the run's folder
	name string // below it
	mode Keep
	file *os.File
}

// tape starts to capture a trial, if the run wants it.
func (r *run) tape(l *lab.Lab, rec record.Trial) (*tape, error) {
	if r.Pcap == KeepNone {
		return nil, nil
	}
	t := &tape{lab: l, run: r.Dir, mode: r.Pcap, name: filepath.Join(PcapDir, captureName(rec))}
	if err := os.MkdirAll(filepath.Join(t.run, PcapDir), 0o755); err != nil {
		return nil, fmt.Errorf("make folder for captures: %w", err)
	}
	f, err := os.Create(t.path())
	if err != nil {
		return nil, fmt.Errorf("create capture: %w", err)
	}
	t.file = f
	if err := l.Capture(f); err != nil {
		t.discard()
		return nil, err
	}
	return t, nil
}

// captureName tells the trial and its attempt.
func captureName(rec record.Trial) string {
	name := fmt.Sprintf("cell%03d-trial%03d", rec.Cell, rec.Trial)
	if rec.Attempt > 0 {
		name += fmt.Sprintf("-attempt%d", rec.Attempt)
	}
	return name + ".pcapng"
}

func (t *tape) path() string { return filepath.Join(t.run, t.name) }

// stop ends the capture. The file stays until keep or discard decides about it.
func (t *tape) stop() error {
	if t == nil {
		return nil
	}
	return errors.Join(t.lab.StopCapture(), t.file.Close())
}

// keep removes the file of a trial that is not wanted, and returns the name of one that is.
func (t *tape) keep(rec record.Trial) string {
	switch {
	case t == nil:
		return ""
	case t.mode == KeepAll, rec.Outcome == record.Failed, rec.Outcome == record.Relayed && rec.Oracle == nat.Direct.String():
		return t.name
	}
	t.discard()
	return ""
}

// discard removes the file. What can't be removed stays as an orphan that no record names.
func (t *tape) discard() {
	if t != nil {
		t.file.Close()
		_ = os.Remove(t.path())
	}
}
