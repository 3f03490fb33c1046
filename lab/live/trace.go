package live

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/punchlab/punchlab/lab/link"
	"golang.org/x/sys/unix"
)

// A trace may be larger than a message, and the same for many links: it goes to the fabric process once, in a file in
// memory, and links name it by a number.

// impairments returns what encodes a profile's two directions, after the fabric process has got their traces.
func (f *Fabric) impairments(p link.Profile) (func(*encoder), error) {
	up, err := f.traceNumber(p.Up.Trace)
	if err != nil {
		return nil, err
	}
	down, err := f.traceNumber(p.Down.Trace)
	if err != nil {
		return nil, err
	}
	return func(e *encoder) {
		e.impairment(p.Up, up)
		e.impairment(p.Down, down)
	}, nil
}

// traceNumber is the trace's in the fabric process; zero stands for no trace.
func (f *Fabric) traceNumber(t *link.Trace) (uint32, error) {
	if t == nil {
		return 0, nil
	}
	key := t.Digest() + strconv.FormatBool(t.Anywhere) + t.Name
	f.traceMu.Lock()
	defer f.traceMu.Unlock()
	if id, ok := f.traces[key]; ok {
		return id, nil
	}
	packed, err := t.MarshalBinary()
	if err != nil {
		return 0, fmt.Errorf("pack trace %s: %w", t.Name, err)
	}
	file, err := memoryFile("trace", packed)
	if err != nil {
		return 0, fmt.Errorf("hand over trace %s: %w", t.Name, err)
	}
	defer file.Close()
	id := f.ids.Add(1)
	if _, err := f.client.call(opTrace, 0, id, nil, int(file.Fd())); err != nil {
		return 0, fmt.Errorf("hand over trace %s: %w", t.Name, err)
	}
	f.traces[key] = id
	return id, nil
}

// memoryFile makes a file that has no name and no disk.
func memoryFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make file in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), name)
	if _, err := file.Write(content); err != nil {
		file.Close()
		return nil, fmt.Errorf("write file in memory: %w", err)
	}
	return file, nil
}

// takeTrace reads a trace that the parent hands over.
func (l *loop) takeTrace(r *request) error {
	if r.fd < 0 {
		return errMessage
	}
	file := os.NewFile(uintptr(r.fd), "trace")
	r.fd = -1
	defer file.Close()
	b, err := io.ReadAll(io.NewSectionReader(file, 0, 1<<30))
	if err != nil {
		return fmt.Errorf("read trace: %w", err)
	}
	var t link.Trace
	if err := t.UnmarshalBinary(b); err != nil {
		return err
	}
	l.traces[r.member] = &t
	return nil
}

// profile decodes both directions of a link.
func (l *loop) profile(d *decoder) (p link.Profile, err error) {
	for _, dir := range []*link.Impairment{&p.Up, &p.Down} {
		var trace uint32
		if *dir, trace = d.impairment(); trace == 0 {
			continue
		}
		if dir.Trace = l.traces[trace]; dir.Trace == nil {
			return p, errors.New("no such trace")
		}
	}
	return p, d.err
}
