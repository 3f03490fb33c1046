package source

import (
	"context"
	"io"

	"github.com/punchlab/punchlab/impl/media"
)

// Hub captures one input for any number of readers. It is safe for concurrent use.
type Hub struct {
	cfg Config
}

// New returns a Hub. It starts nothing yet, but that a Config with Always captures at once.
func New(cfg Config) (*Hub, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Hub{cfg: cfg}, nil
}

// Open returns a reader, and starts the capture if it is the first. It does not wait.
func (h *Hub) Open() *Reader { return &Reader{hub: h} }

// Close ends the capture and every reader, and waits for the processes.
func (h *Hub) Close() error { return nil }

// Stats is what a Hub has done so far.
type Stats struct {
	Readers   int   // now
	Captures  int64 // started
	Encoders  int64 // started
	Failures  int64
	Frames    int64 // captured
	Skipped   int64 // frames that slow readers did not get
	Bitrate   int   // of the input's H.264, in bits a second, over the last seconds; 0: it has none
	Running   int   // processes now
	KeyFrames int64 // asked for
}

// Stats returns the counts so far.
func (h *Hub) Stats() Stats { return Stats{} }

// Reader is one reader's video: a media.Source, media.KeyFramer and media.Adaptive. Next does not wait. It is safe for concurrent
// use. Whoever has opened it closes it.
type Reader struct {
	hub *Hub
}

// Next returns the next access unit, media.ErrPending where it is still to come, or io.EOF when the input is over or the reader closed.
func (r *Reader) Next() (media.AccessUnit, error) { return media.AccessUnit{}, io.EOF }

// Wait waits until Next has something else to say than media.ErrPending, and returns the context's error if that ends before.
func (r *Reader) Wait(ctx context.Context) error { return ctx.Err() }

// RequestKeyFrame asks for a key frame soon: an encoder makes one; of video that is passed on as it is, the running group of pictures
// comes again.
func (r *Reader) RequestKeyFrame() {}

// SetTarget says how much this reader's path carries, in bits a second. Others may get another rendition.
func (r *Reader) SetTarget(bps int) {}

// Floor is the least that SetTarget can bring about, in bits a second: below it, leave out frames.
func (r *Reader) Floor() int { return r.hub.cfg.Floor }

// Close ends the reader. The last one ends the capture, after Config.Linger.
func (r *Reader) Close() error { return nil }
