package media

import (
	"fmt"
	"io"
)

// Writer saves received frames as an Annex B byte stream (H.264 annex B), which ffprobe, ffmpeg and
// most players read as it is.
type Writer struct {
	w      io.Writer
	frames int
	bytes  int64
}

// NewWriter returns a writer to w. Closing w stays the caller's.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// WriteFrame appends one frame. A decoder can start at the first key frame written.
func (w *Writer) WriteFrame(f Frame) error {
	n, err := w.w.Write(f.Data)
	w.bytes += int64(n)
	if err != nil {
		return fmt.Errorf("save frame %d: %w", f.Index, err)
	}
	w.frames++
	return nil
}

// Written returns the frames and bytes written so far.
func (w *Writer) Written() (frames int, bytes int64) { return w.frames, w.bytes }
