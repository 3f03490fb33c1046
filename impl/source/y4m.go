package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// y4mReader reads uncompressed pictures, 4:2:0 of 8 bits, as ffmpeg writes them (yuv4mpegpipe):
//
//	YUV4MPEG2 W1280 H720 F25:1 Ip A1:1 C420jpeg\n │ FRAME\n  Y U V │ FRAME\n …
type y4mReader struct {
	r      *bufio.Reader
	format rawFormat
	pool   *sync.Pool // of *rawFrame
}

// rawFormat is what uncompressed pictures have in common.
type rawFormat struct {
	width, height int
	num, den      int // frames a second
}

func (f rawFormat) size() int {
	return f.width*f.height + 2*((f.width+1)/2*((f.height+1)/2))
}

// rawFrame is a picture that several encoders may hold.
type rawFrame struct {
	data []byte
	held atomic.Int32
	pool *sync.Pool
}

// hold says that one more has it.
func (f *rawFrame) hold() { f.held.Add(1) }

// release says that one fewer has it. The last one gives it back.
func (f *rawFrame) release() {
	if f.held.Add(-1) == 0 {
		f.pool.Put(f)
	}
}

const maxHeaderLine = 256

var errNotY4M = errors.New("ffmpeg writes something else than uncompressed pictures")

// newY4MReader reads the header.
func newY4MReader(r io.Reader) (*y4mReader, error) {
	y := &y4mReader{r: bufio.NewReaderSize(r, 64<<10), pool: &sync.Pool{}}
	line, err := y.line()
	if err != nil {
		return nil, err
	}
	y.format, err = parseY4M(line)
	return y, err
}

func (y *y4mReader) line() (string, error) {
	b, err := y.r.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		return "", err
	}
	if err != nil || len(b) > maxHeaderLine {
		return "", errNotY4M
	}
	return string(bytes.TrimSuffix(b, []byte("\n"))), nil
}

func parseY4M(line string) (f rawFormat, err error) {
	fields := strings.Fields(line)
	if len(fields) == 0 || fields[0] != "YUV4MPEG2" {
		return f, errNotY4M
	}
	color := "420"
	for _, p := range fields[1:] {
		value := p[1:]
		switch p[0] {
		case 'W':
			f.width, err = strconv.Atoi(value)
		case 'H':
			f.height, err = strconv.Atoi(value)
		case 'F':
			f.num, f.den, err = ratio(value)
		case 'C':
			color = value
		}
		if err != nil {
			return f, fmt.Errorf("%w: %q", errNotY4M, line)
		}
	}
	if f.width <= 0 || f.height <= 0 || f.width > maxSide || f.height > maxSide || f.num <= 0 || f.den <= 0 || !strings.HasPrefix(color, "420") ||
		strings.HasPrefix(color, "420p1") {
		return f, fmt.Errorf("%w: %q", errNotY4M, line)
	}
	return f, nil
}

func ratio(s string) (num, den int, err error) {
	a, b, ok := strings.Cut(s, ":")
	if !ok {
		return 0, 0, errNotY4M
	}
	if num, err = strconv.Atoi(a); err == nil {
		den, err = strconv.Atoi(b)
	}
	return num, den, err
}

// next reads the next picture. The caller holds it.
func (y *y4mReader) next() (*rawFrame, error) {
	line, err := y.line()
	if err != nil {
		return nil, err
	}
	if line != "FRAME" && !strings.HasPrefix(line, "FRAME ") {
		return nil, errNotY4M
	}
	f, ok := y.pool.Get().(*rawFrame)
	if !ok {
		f = &rawFrame{data: make([]byte, y.format.size()), pool: y.pool}
	}
	f.held.Store(1)
	if _, err := io.ReadFull(y.r, f.data); err != nil {
		return nil, unexpected(err)
	}
	return f, nil
}
