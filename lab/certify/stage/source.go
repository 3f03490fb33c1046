package stage

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
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

// Source is the clip that cameras send: the embedded one, several times over, with a mark in each frame that nobody knows before the case
// begins and that no other frame has, of an earlier round neither. So a viewer that says that it got a frame has it from the camera, and a
// camera that shows its first seconds again, in place of what there is to be seen, is seen to.
type Source struct {
	Bytes  []byte   // the file
	Units  [][]byte // its frames (access units in Annex B), of which the n-th frame sent is Units[(n-1) % len(Units)]
	frames []Frame
}

// Rounds of the embedded clip, of 3.3 s each: in full every frame of MED-1's half minute is another one. All cases of a run have as many, so
// that the file does not tell a program which case it is.
const (
	fullRounds  = 10
	briefRounds = 2
)

// clip is the embedded one so many times, with marks that follow from a secret.
func clip(secret []byte, rounds int) Source {
	var s Source
	units := media.EmbeddedClip().AccessUnits
	for n := range rounds * len(units) {
		u := units[n%len(units)]
		at := picture(u.Data)
		unit := slices.Concat(u.Data[:at], mark(secret, n), u.Data[at:])
		sum := sha256.Sum256(unit)
		s.Bytes = append(s.Bytes, unit...)
		s.Units = append(s.Units, unit)
		s.frames = append(s.frames, Frame{Size: len(unit), SHA256: hex.EncodeToString(sum[:])})
	}
	return s
}

// secret is what no program can know: it does not follow from the seed, which programs are told.
func secret() []byte {
	b := make([]byte, sha256.Size)
	_, _ = rand.Read(b) // never fails
	return b
}

// mark is a frame's: supplemental enhancement information that decoders pass over, user_data_unregistered (H.264 §7.3.2.3, §D.1.7), with
// words in place of a UUID.
func mark(secret []byte, n int) []byte {
	const id = "punchlab's frame"
	digits := fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%s%d", secret, n))) // no zero byte, which could be a start code's
	nal := append([]byte{0, 0, 0, 1, 6, 5, byte(len(id) + len(digits))}, id+digits...)
	return append(nal, 0x80) // rbsp_trailing_bits
}

// picture is where the start code of a frame's first slice is, before which supplemental information goes.
func picture(unit []byte) int {
	for i := 0; i+3 < len(unit); i++ {
		if unit[i] != 0 || unit[i+1] != 0 || unit[i+2] != 1 {
			continue
		}
		if kind := unit[i+3] & 0x1f; kind >= 1 && kind <= 5 { // slices, and their partitions
			if i > 0 && unit[i-1] == 0 {
				i--
			}
			return i
		}
	}
	return len(unit)
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
