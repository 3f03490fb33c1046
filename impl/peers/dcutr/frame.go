package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/protocol"
)

// videoProtocol is the stream that carries the video:
//
//	viewer ─► camera   from (32 bits), count (32)               one request; a new stream's replaces that of the one before
//	camera ─► viewer   index (32), captured (64), size (32), bytes     a frame; captured is Unix time in ns
//	                   2³²-1 (32), 0 (64), 0 (32)                      hole punching has failed for good
//	                   2³²-2 (32), 0 (64), 200 (32), bytes             the video is over: a sign of life now and then
//	viewer ─► camera   200 bytes                                       the answer to each
const videoProtocol protocol.ID = "/punchlab/video/1"

const (
	punchFailed = 1<<32 - 1 // indexes of frames that are none
	signOfLife  = 1<<32 - 2

	lifeSize  = 200                    // bytes
	lifeEvery = 100 * time.Millisecond // about as much as a keepalive of RFC 7675, sooner
	maxFrame  = 4 << 20                // bytes
	maxFrames = 1 << 20
)

type request struct{ from, count uint32 }

func (r request) write(w io.Writer) error {
	b := binary.BigEndian.AppendUint32(nil, r.from)
	_, err := w.Write(binary.BigEndian.AppendUint32(b, r.count))
	return err
}

func readRequest(r io.Reader) (q request, err error) {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return q, fmt.Errorf("read request: %w", err)
	}
	q = request{binary.BigEndian.Uint32(b[:]), binary.BigEndian.Uint32(b[4:])}
	if q.count > maxFrames || q.from > q.count {
		return q, fmt.Errorf("request for frames %d to %d: at most %d", q.from, q.count, maxFrames)
	}
	return q, nil
}

type frame struct {
	index    uint32
	captured time.Time
	data     []byte
}

const frameHeader = 16

func (f frame) write(w io.Writer) error {
	b := make([]byte, 0, frameHeader+len(f.data))
	b = binary.BigEndian.AppendUint32(b, f.index)
	b = binary.BigEndian.AppendUint64(b, uint64(f.captured.UnixNano()))
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.data)))
	_, err := w.Write(append(b, f.data...))
	return err
}

// readFrame reads a frame. begun is called when its header is here.
func readFrame(r io.Reader, begun func()) (f frame, err error) {
	var b [frameHeader]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return f, err
	}
	f.index, f.captured = binary.BigEndian.Uint32(b[:]), time.Unix(0, int64(binary.BigEndian.Uint64(b[4:])))
	size := binary.BigEndian.Uint32(b[12:])
	if size > maxFrame {
		return f, fmt.Errorf("frame %d has %d bytes: at most %d", f.index, size, maxFrame)
	}
	if f.index < signOfLife {
		begun()
	}
	f.data = make([]byte, size)
	if _, err := io.ReadFull(r, f.data); err != nil {
		return f, fmt.Errorf("read frame %d: %w", f.index, err)
	}
	return f, nil
}
