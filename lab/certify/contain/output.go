package contain

import (
	"io"
	"sync"
)

// output counts what a program prints, and keeps the beginning and the end. It is safe for concurrent use.
type output struct {
	limit int64
	full  func() // called once, when there is more than the limit

	mu    sync.Mutex
	bytes int64
	head  []byte
	tail  []byte // a ring: the oldest byte is at next
	next  int
	half  int
	told  bool
}

func newOutput(l Limits) *output {
	return &output{limit: l.Output, half: l.Keep / 2}
}

// Write never fails.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	o.bytes += int64(len(b))
	o.keep(b)
	tell := o.bytes > o.limit && !o.told
	o.told = o.told || tell
	o.mu.Unlock()
	if tell && o.full != nil {
		o.full()
	}
	return len(b), nil
}

func (o *output) keep(b []byte) {
	n := min(o.half-len(o.head), len(b))
	o.head = append(o.head, b[:n]...)
	b = b[n:]
	if o.half == 0 {
		return
	}
	b = b[max(len(b)-o.half, 0):]
	n = min(o.half-len(o.tail), len(b))
	o.tail = append(o.tail, b[:n]...)
	for b = b[n:]; len(b) > 0; b = b[n:] {
		n = copy(o.tail[o.next:], b)
		o.next = (o.next + n) % o.half
	}
}

// exceeded reports whether there is more than the limit.
func (o *output) exceeded() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.told
}

// kept is what has been kept so far.
func (o *output) kept() Output {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := Output{Bytes: o.bytes, Head: append([]byte{}, o.head...)}
	k.Tail = append(append(k.Tail, o.tail[o.next:]...), o.tail[:o.next]...)
	return k
}

// drain reads until nobody holds the other end.
func (o *output) drain(r io.ReadCloser) {
	_, _ = io.Copy(o, r)
	r.Close()
}
