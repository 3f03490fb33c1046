package cloud

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Join returns a writer that makes one transport stream of segments, also where some between them are missing or come from
// another run: it numbers each stream's packets anew (H.222.0 §2.4.3.3), so that no demuxer drops the picture before a hole.
// Each Write must be of whole packets.
func Join(w io.Writer) io.Writer { return &joiner{w: w, next: map[uint16]byte{}} }

type joiner struct {
	w    io.Writer
	next map[uint16]byte
	buf  []byte
}

func (j *joiner) Write(b []byte) (int, error) {
	if len(b)%packet != 0 {
		return 0, fmt.Errorf("join: %d bytes are not whole packets of %d", len(b), packet)
	}
	j.buf = append(j.buf[:0], b...)
	for p := j.buf; len(p) > 0; p = p[packet:] {
		pid := binary.BigEndian.Uint16(p[1:]) & 0x1FFF
		p[3] = p[3]&0xF0 | j.next[pid]
		if p[3]&0x10 != 0 { // it has a payload
			j.next[pid] = (j.next[pid] + 1) & 0x0F
		}
	}
	return j.w.Write(j.buf)
}
