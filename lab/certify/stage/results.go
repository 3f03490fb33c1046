package stage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Names and limits of what programs write.
const (
	readyFile    = "ready"
	ticketFile   = "ticket"
	identityFile = "identity.json"
	framesFile   = "frames.jsonl"

	maxTicket   = 4 << 10
	maxIdentity = 64 << 10
	maxLine     = 1 << 10
	maxFrames   = 1 << 22 // a day of them at 30 a second is more
)

// results is a program's result folder, read while it is written. The folder is the program's: only regular files in it are
// opened, and no more is read than may be there. It is safe for concurrent use.
type results struct {
	root *os.Root // of the program's folder
	name string   // of the result folder in it

	mu     sync.Mutex
	frames []Frame // of all lives
	offset int64   // in frames.jsonl, of what was not read
	rest   []byte  // a line's beginning
	line   int
	err    error // what is wrong with frames.jsonl; it is read no further
}

// open opens a regular file, a link to one in the program's folder too; fs.ErrNotExist: there is none.
func (r *results) open(name string) (*os.File, error) {
	f, err := r.root.OpenFile(r.name+"/"+name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	return f, nil
}

// whole reads a file of at most so many bytes; nil: there is none.
func (r *results) whole(name string, most int64) ([]byte, error) {
	f, err := r.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", name, most)
	}
	return b, err
}

// ready reports whether the program has said that it is set up.
func (r *results) ready() bool {
	f, err := r.open(readyFile)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// read reads what frames.jsonl has by now, and returns the frames of all lives; over: the program is, and a last line need not end.
func (r *results) read(over bool) ([]Frame, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = r.tail(over)
	}
	return r.frames[:len(r.frames):len(r.frames)], r.err
}

func (r *results) tail(over bool) error {
	f, err := r.open(framesFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var b [64 << 10]byte
	for {
		n, err := f.ReadAt(b[:], r.offset)
		r.offset += int64(n)
		r.rest = append(r.rest, b[:n]...)
		if err := r.lines(over && err != nil); err != nil {
			return err
		}
		if err != nil {
			return nil
		}
	}
}

// lines takes the whole lines that were read.
func (r *results) lines(last bool) error {
	for {
		line, rest, whole := bytes.Cut(r.rest, []byte("\n"))
		if !whole && !last || len(r.rest) == 0 {
			if len(r.rest) > maxLine {
				return fmt.Errorf("%s line %d has more than %d bytes", framesFile, r.line+1, maxLine)
			}
			return nil
		}
		r.rest = rest
		r.line++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		frame, err := parseFrame(line)
		if err != nil {
			return fmt.Errorf("%s line %d: %w", framesFile, r.line, err)
		}
		if len(r.frames) == maxFrames {
			return fmt.Errorf("%s has more than %d frames", framesFile, maxFrames)
		}
		r.frames = append(r.frames, frame)
	}
}

func parseFrame(line []byte) (Frame, error) {
	var v struct {
		N      int
		T      float64
		Size   int
		SHA256 string
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return Frame{}, err
	}
	switch {
	case v.N < 1:
		return Frame{}, fmt.Errorf("n is %d: frames count from 1", v.N)
	case v.Size < 1:
		return Frame{}, fmt.Errorf("size is %d", v.Size)
	case len(v.SHA256) != 64:
		return Frame{}, errors.New("sha256 has not 64 digits")
	case !(v.T > 0 && v.T < 1e11):
		return Frame{}, fmt.Errorf("t is %v: Unix time in seconds is asked for", v.T)
	}
	seconds, part := math.Modf(v.T)
	// A double has microseconds of such times.
	return Frame{v.N, time.Unix(int64(seconds), int64(math.Round(part*1e6))*1000), v.Size, string(bytes.ToLower([]byte(v.SHA256)))}, nil
}

// anew empties the folder for another life. What frames.jsonl had is kept.
func (r *results) anew() error {
	_, _ = r.read(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.offset, r.rest, r.line = 0, nil, 0
	if err := r.root.RemoveAll(r.name); err != nil {
		return err
	}
	return r.root.Mkdir(r.name, 0o755)
}
