package tape

import (
	"context"
	"errors"
	"time"

	"github.com/punchlab/punchlab/lab"
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
type Tape struct{}

// New returns an empty tape with DefaultLimit.
func New() *Tape { return &Tape{} }

// SetLimit changes how many bytes of packets the tape holds. Beyond it nothing more is recorded, and Err returns ErrFull.
func (t *Tape) SetLimit(bytes int64) {}

// Watch records what passes every device that the host has now, but for the loopback.
func (t *Tape) Watch(m *lab.Machine) error { return nil }

// WatchOutlet records what passes a box's cable under the name of a host: Out is from the box.
func (t *Tape) WatchOutlet(o *lab.Outlet, host string) error { return nil }

// Mark is a position: what has passed up to now is before it, what passes later is not.
func (t *Tape) Mark() int { return 0 }

// Packets returns those from a position on that match all, by their times. What has passed up to now is among them.
func (t *Tape) Packets(from int, match ...Match) []Packet { return nil }

// Count is how many packets from a position on match all.
func (t *Tape) Count(from int, match ...Match) int { return 0 }

// Wait waits until n packets from a position on match all, and returns how many do. The error of a wait that ended before says
// how many did; it wraps the context's, or Err's.
func (t *Tape) Wait(ctx context.Context, from, n int, match ...Match) (int, error) { return 0, nil }

// Forget frees what is before a position. Positions stay as they are.
func (t *Tape) Forget(before int) {}

// Lost is how many packets passed and were not recorded.
func (t *Tape) Lost() uint32 { return 0 }

// Err says that the tape is not the whole of what passed, or of what was asked for; nil if it is. It wraps ErrFull, ErrLost or
// ErrForgotten.
func (t *Tape) Err() error { return nil }

// Close ends the recording. What was recorded can still be asked for.
func (t *Tape) Close() error { return nil }

var _ = time.Now
