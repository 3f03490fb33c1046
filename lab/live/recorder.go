package live

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab/capture/tap"
	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/internal/sniff"
	"golang.org/x/sys/unix"
)

// A capture's way to its file. The loop's thread formats blocks in memory; another goroutine writes them, so that no
// disk delays a packet:
//
//	loop ──► chunk ──full──► writes ──► writer ──► file
//	  ▲                                  │
//	  └── chunks (spare) ◄───────────────┘
//
// If the writer does not keep up there is no spare chunk at last: what passes then is counted and left out.
const (
	chunkSize = 256 << 10
	maxChunks = 256 // of all captures
	chunkRoom = 4 << 10
)

// writer owns the goroutine that writes.
type writer struct {
	writes chan write
	spare  chan []byte
	made   int // chunks, by the loop's thread only
	ended  chan struct{}

	mu       sync.Mutex
	finished []finish // captures whose files are whole
	wake     int      // eventfd: finished has grown
}

// write is a chunk for a file, or what comes after the last one.
type write struct {
	c    *recorder
	b    []byte
	last bool
}

// finish is the end of a capture that somebody waits for.
type finish struct {
	c       *recorder
	request uint32 // zero: nobody waits
}

// recorder is a capture of one net.
type recorder struct {
	w       *writer
	log     tap.Log
	cur     []byte // the chunk that is being filled; nil: there was none to be had
	packets uint64
	lost    uint64
	request uint32 // that waits for the end

	file *os.File // the writer's from here on
	err  error
}

func newWriter() (*writer, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make eventfd: %w", err)
	}
	w := &writer{writes: make(chan write, 2*maxChunks), spare: make(chan []byte, maxChunks), ended: make(chan struct{}), wake: fd}
	go w.run()
	return w, nil
}

// run writes until close.
func (w *writer) run() {
	defer close(w.ended)
	runtime.LockOSThread()
	modest()
	for k := range w.writes {
		c := k.c
		if len(k.b) > 0 && c.err == nil {
			_, c.err = c.file.Write(k.b)
		}
		if cap(k.b) >= chunkSize { // not a capture's first, if that is a small one
			select {
			case w.spare <- k.b[:0]:
			default: // one more than there should be
			}
		}
		if k.last {
			c.err = errors.Join(c.err, c.file.Close())
			w.mu.Lock()
			w.finished = append(w.finished, finish{c, c.request})
			w.mu.Unlock()
			_, _ = unix.Write(w.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		}
	}
}

// close waits until everything is written.
func (w *writer) close() {
	close(w.writes)
	<-w.ended
}

// chunk returns an empty chunk, or nil.
func (w *writer) chunk() []byte {
	select {
	case b := <-w.spare:
		return b
	default:
	}
	if w.made == maxChunks {
		return nil
	}
	w.made++
	return make([]byte, 0, chunkSize)
}

// take returns the captures that have ended since the last call.
func (w *writer) take() []finish {
	var b [8]byte
	_, _ = rawRead(w.wake, b[:])
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.finished
	w.finished = nil
	return f
}

// record starts a capture. origin is the time since 1970 at which the loop's clock showed 0.
func (w *writer) record(file *os.File, origin time.Duration, snap int) *recorder {
	c := &recorder{w: w, file: file, log: tap.Log{Origin: origin, Snap: snap}, cur: w.chunk()}
	if c.cur == nil {
		c.cur = make([]byte, 0, chunkRoom) // the header must not be missing
	}
	c.cur = c.log.AppendHeader(c.cur)
	return c
}

// room tells whether there is a chunk to append a packet of size bytes to.
func (c *recorder) room(size int) bool {
	if c.cur != nil && cap(c.cur)-len(c.cur) < size+chunkRoom {
		select {
		case c.w.writes <- write{c: c, b: c.cur}:
			c.cur = nil
		default: // cannot be: there are fewer chunks than room for them
		}
	}
	if c.cur == nil {
		c.cur = c.w.chunk()
	}
	if c.cur == nil {
		c.lost++
		return false
	}
	c.packets++
	return true
}

// tap is the net's fabric.Tap.
func (c *recorder) tap(e fabric.TapEvent) {
	if c.room(len(e.Packet)) {
		c.cur = c.log.AppendEvent(c.cur, e)
	}
}

// stop hands the rest to the writer. The request is answered when the file is whole.
func (c *recorder) stop(request uint32) {
	c.request = request
	c.w.writes <- write{c: c, b: c.cur, last: true}
	c.cur = nil
}

// startCapture serves opCapture.
func (l *loop) startCapture(n *netState, r *request) error {
	snap := int(r.body.u32())
	if r.body.err != nil || r.fd < 0 {
		return errMessage
	}
	if n.capture != nil {
		return errors.New("the net is being captured: stop that first")
	}
	file := os.NewFile(uintptr(r.fd), "capture")
	r.fd = -1
	n.capture = l.writer.record(file, l.origin(), snap)
	n.SetTap(n.capture.tap)
	for _, m := range n.monitors {
		if err := sniff.Unmute(m.fd); err != nil {
			_ = l.stopCapture(n, 0)
			return fmt.Errorf("start monitor %q: %w", m.monitor, err)
		}
	}
	return nil
}

// origin is the time since 1970 at which the loop's clock showed 0. A reading of both clocks reads one after the other: the machine may
// pause in between, which makes it too early.
func (l *loop) origin() (latest time.Duration) {
	for range 3 {
		now := time.Now()
		latest = max(latest, time.Duration(now.UnixNano())-now.Sub(l.start))
	}
	return latest
}

var errNoCapture = errors.New("the net is not being captured")

// stopCapture serves opStopCapture; with request 0 nobody waits.
func (l *loop) stopCapture(n *netState, request uint32) error {
	c := n.capture
	if c == nil {
		return errNoCapture
	}
	for _, m := range n.monitors {
		_ = sniff.Mute(m.fd)
		for l.drainMonitor(m) { // no more than the socket's buffer holds
		}
		if st, err := unix.GetsockoptTpacketStats(m.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			c.lost += uint64(st.Drops)
		}
	}
	n.capture = nil
	n.SetTap(nil)
	c.stop(request)
	return errLater
}

// answerFinished answers the requests whose captures have ended.
func (l *loop) answerFinished() error {
	for _, f := range l.writer.take() {
		if f.request == 0 {
			continue
		}
		out := &l.control.out
		out.b = out.b[:0]
		out.u32(f.request)
		out.u8(codeOK)
		out.u64(f.c.packets)
		out.u64(f.c.lost)
		failed := ""
		if f.c.err != nil {
			failed = f.c.err.Error()
		}
		out.text(failed)
		if err := l.control.flush(out.b); err != nil {
			return err
		}
	}
	return nil
}
