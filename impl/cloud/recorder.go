package cloud

import (
	"context"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// Recorder records one camera's video. Its methods are safe for concurrent use and, but for Close, never wait for the network
// or the disk.
type Recorder struct {
	cfg Config
}

// NewRecorder begins to record what is written, and to store what an earlier run left in the spool. A spool that another
// recorder holds is an error; a full disk or a store that refuses is an event.
func NewRecorder(c Config) (*Recorder, error) {
	return &Recorder{cfg: c}, nil
}

// Write records an access unit, in decoding order. Its data must not change afterwards.
func (r *Recorder) Write(au media.AccessUnit) {}

// Motion says that something moves now: where the recorder waits for it, a part begins with the pre-roll, or goes on.
func (r *Recorder) Motion(now time.Time) {}

// Stats returns what was done so far.
func (r *Recorder) Stats() Stats { return Stats{} }

// Close ends the part, and stores what waits until the context ends. What is then left stays in the spool for the next run; the
// error says how much.
func (r *Recorder) Close(ctx context.Context) error { return nil }
