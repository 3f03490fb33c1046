package tape

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/internal/sniff"
)

// DefaultLimit is how many bytes of packets a tape holds if nothing else was said.
const DefaultLimit = 256 << 20

// Errors of a tape that is not the whole of what passed.
var (
	ErrFull      = errors.New("the tape is full: forget what is judged, or set a higher limit")
	ErrLost      = errors.New("the kernel lost packets before they could be read")
	ErrForgotten = errors.New("packets were asked for that had been forgotten")
	ErrClosed    = errors.New("the tape is closed")
)

// Tape records packets as they pass. It is safe for concurrent use. What it returns stays valid after Forget and Close.
type Tape struct {
	taps *sniff.Taps // locked before mu

	mu       sync.Mutex
	decoders map[string]*decoder // by the taps' names
	packets  []Packet            // from position first on
	first    int
	room     block
	limit    int64
	held     int64 // bytes
	over     uint32
	early    int           // the earliest position that was forgotten and asked for, and 1; zero: none
	changed  chan struct{} // closed when something was recorded; nil: nobody waits
	lost     uint32        // by the kernel, as of the last look
	closed   bool
	sent     map[string]*sending // by host
}

// New returns an empty tape with DefaultLimit.
func New() *Tape {
	t := &Tape{limit: DefaultLimit, decoders: map[string]*decoder{}, sent: map[string]*sending{}}
	t.taps = sniff.NewTaps(t.record)
	return t
}

// SetLimit changes how many bytes of packets the tape holds. Beyond it nothing more is recorded, and Err returns ErrFull.
func (t *Tape) SetLimit(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = bytes
}

// Watch records what passes every device that the host has now, but for the loopback.
func (t *Tape) Watch(m *lab.Machine) error {
	if err := m.Do(func() error { return t.taps.AddAll(m.Name) }); err != nil {
		return fmt.Errorf("watch the packets of host %s: %w", m.Name, err)
	}
	return nil
}

// WatchOutlet records what passes a box's cable under the name of a host: Out is from the box.
func (t *Tape) WatchOutlet(o *lab.Outlet, host string) error {
	err := o.Do(func() error {
		d, err := net.InterfaceByName(o.Device)
		if err != nil {
			return err
		}
		return t.taps.Add(farEnd+host, d.Index)
	})
	if err != nil {
		return fmt.Errorf("watch the packets of %s: %w", o.Name, err)
	}
	return nil
}

// farEnd begins the name of a tap at the other end of the host's cable. No host is called so.
const farEnd = "\x00"

// overhead is about what a packet takes beside its payload.
const overhead = 160

// record takes a packet in.
func (t *Tape) record(name string, out bool, at time.Time, b []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.decoders[name]
	if d == nil {
		d = &decoder{}
		t.decoders[name] = d
	}
	host, far := strings.CutPrefix(name, farEnd)
	p, ok := d.decode(b, out != far)
	if !ok {
		return
	}
	if p.Out {
		t.count(host, at, p.Size)
	}
	if t.over > 0 || t.held+int64(len(p.Payload))+overhead > t.limit {
		t.over++
	} else {
		p.At, p.Host = at, host
		p.Payload = t.room.keep(p.Payload)
		t.held += int64(len(p.Payload)) + overhead
		t.packets = append(t.packets, p)
	}
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// block is where payloads are kept, many in one piece of memory.
type block []byte

const blockSize = 1 << 18

func (k *block) keep(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	if len(*k) < len(b) {
		*k = make([]byte, max(blockSize, len(b)))
	}
	kept := (*k)[:copy(*k, b):len(b)]
	*k = (*k)[len(b):]
	return kept
}

// Mark is a position: what has passed up to now is before it, what passes later is not.
func (t *Tape) Mark() int {
	t.taps.Flush()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first + len(t.packets)
}

// Packets returns those from a position on that match all, by their times. What has passed up to now is among them.
func (t *Tape) Packets(from int, match ...Match) []Packet {
	t.taps.Flush()
	found := Select(t.since(from), match...)
	slices.SortStableFunc(found, func(a, b Packet) int { return a.At.Compare(b.At) })
	return found
}

// Count is how many packets from a position on match all.
func (t *Tape) Count(from int, match ...Match) int {
	t.taps.Flush()
	return Count(t.since(from), match...)
}

// since are the packets from a position on, as they came in. They are not to be changed.
func (t *Tape) since(from int) []Packet {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.after(from)
}

// after is since of a locked tape.
func (t *Tape) after(from int) []Packet {
	if from < t.first && (t.early == 0 || from < t.early-1) {
		t.early = from + 1
	}
	i := min(max(from-t.first, 0), len(t.packets))
	return t.packets[i:len(t.packets):len(t.packets)]
}

// Wait waits until n packets from a position on match all, and returns how many do. The error of a wait that ended before says
// how many did; it wraps the context's, or Err's.
func (t *Tape) Wait(ctx context.Context, from, n int, match ...Match) (int, error) {
	found := 0
	for {
		t.taps.Flush()
		t.mu.Lock()
		news := t.after(from)
		from = max(from, t.first) + len(news)
		if t.changed == nil {
			t.changed = make(chan struct{})
		}
		changed := t.changed
		err := t.whole()
		if err == nil && t.closed {
			err = ErrClosed
		}
		t.mu.Unlock()
		if found += Count(news, match...); found >= n {
			return found, nil
		}
		if err == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
		}
		return found, fmt.Errorf("wait for %d packets, of which %d passed: %w", n, found, err)
	}
}

// Forget frees what is before a position. Positions stay as they are.
func (t *Tape) Forget(before int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(max(before-t.first, 0), len(t.packets))
	for i := range t.packets[:n] {
		t.held -= int64(len(t.packets[i].Payload)) + overhead
	}
	t.packets = slices.Clone(t.packets[n:])
	t.first += n
}

// Holds reports whether all from a position on is there: nothing of it was forgotten.
func (t *Tape) Holds(from int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return from >= t.first
}

// Lost is how many packets passed and were not recorded.
func (t *Tape) Lost() uint32 {
	t.look()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost + t.over
}

// look asks the kernel what it lost.
func (t *Tape) look() {
	t.taps.Flush()
	n := t.taps.Lost()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost = max(t.lost, n) // a closed socket says nothing any more
}

// Err says that the tape is not the whole of what passed, or of what was asked for; nil if it is. It wraps ErrFull, ErrLost or
// ErrForgotten.
func (t *Tape) Err() error {
	t.look()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.whole()
}

// whole is Err of a locked tape, as of the last look.
func (t *Tape) whole() error {
	switch {
	case t.over > 0:
		return fmt.Errorf("tape: %d packets were not recorded: %w (it is %d bytes)", t.over, ErrFull, t.limit)
	case t.lost > 0:
		return fmt.Errorf("tape: %d packets were not recorded: %w", t.lost, ErrLost)
	case t.early > 0:
		return fmt.Errorf("tape: packets from %d on: %w, up to %d", t.early-1, ErrForgotten, t.first)
	}
	return nil
}

// Close ends the recording. What was recorded can still be asked for.
func (t *Tape) Close() error {
	t.look()
	err := t.taps.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
	return err
}
