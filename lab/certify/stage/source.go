package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// SourceRate is how many frames a second a camera takes from its source.
const SourceRate = 30

// Frame is a line of frames.jsonl.
type Frame struct {
	N      int       // of the source's frames, from 1; the clip begins anew after its last
	T      time.Time // when it was given to the network, or to the decoder, by the program's clock
	Size   int       // bytes
	SHA256 string    // of the bytes, in small hexadecimal letters
}

// Source is the clip that cameras send.
type Source struct {
	Bytes  []byte   // the file
	Units  [][]byte // its frames (access units in Annex B), of which the n-th frame sent is Units[(n-1) % len(Units)]
	frames []Frame
}

// clip is the embedded one.
func clip() Source {
	var s Source
	for _, u := range media.EmbeddedClip().AccessUnits {
		sum := sha256.Sum256(u.Data)
		s.Bytes = append(s.Bytes, u.Data...)
		s.Units = append(s.Units, u.Data)
		s.frames = append(s.frames, Frame{Size: len(u.Data), SHA256: hex.EncodeToString(sum[:])})
	}
	return s
}

// Frame is the n-th frame that a camera takes from it, n from 1; without a time.
func (s Source) Frame(n int) Frame {
	f := s.frames[(n-1)%len(s.frames)]
	f.N = n
	return f
}

// Intact reports whether a frame is byte for byte the source's.
func (s Source) Intact(f Frame) bool {
	if f.N < 1 {
		return false
	}
	want := s.Frame(f.N)
	return f.Size == want.Size && f.SHA256 == want.SHA256
}

// Rate is what the clip takes at SourceRate, bits a second.
func (s Source) Rate() int64 {
	return int64(len(s.Bytes)) * 8 * SourceRate / int64(len(s.Units))
}

// Samples are n pieces of the clip of size bytes each, from all over it: what an observer of the path looks for.
func (s Source) Samples(n, size int) [][]byte {
	var samples [][]byte
	for i := range n {
		u := s.Units[i*len(s.Units)/n]
		if at := len(u) / 2; at+size <= len(u) {
			samples = append(samples, u[at:at+size])
		}
	}
	return samples
}
