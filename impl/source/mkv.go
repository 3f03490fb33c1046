package source

import (
	"encoding/binary"
	"io"
	"math"
	"time"
)

// mkvWriter writes video as an endless Matroska stream (RFC 9559) for an encoder's stdin: uncompressed pictures or H.264, each at its
// own time.
//
//	EBML │ Segment, size unknown: Info (ticks of 1 ms) │ Tracks: one │ Cluster(time, SimpleBlock(picture)) │ Cluster …
//
// Times are even numbers of milliseconds; an odd one asks the encoder for a key frame (see encoderArgs). So one process serves every
// request.
type mkvWriter struct {
	w    io.Writer
	buf  []byte
	last int64 // ms; -1: none yet
}

// Element IDs, RFC 8794 §11.1 and RFC 9559 §5.
const (
	idEBML            = 0x1A45DFA3
	idDocType         = 0x4282
	idDocTypeVersion  = 0x4287
	idDocTypeRead     = 0x4285
	idSegment         = 0x18538067
	idInfo            = 0x1549A966
	idTimestampScale  = 0x2AD7B1
	idMuxingApp       = 0x4D80
	idWritingApp      = 0x5741
	idTracks          = 0x1654AE6B
	idTrackEntry      = 0xAE
	idTrackNumber     = 0xD7
	idTrackUID        = 0x73C5
	idTrackType       = 0x83
	idFlagLacing      = 0x9C
	idDefaultDuration = 0x23E383
	idCodecID         = 0x86
	idVideo           = 0xE0
	idPixelWidth      = 0xB0
	idPixelHeight     = 0xBA
	idFourCC          = 0x2EB524
	idCluster         = 0x1F43B675
	idTimestamp       = 0xE7
	idSimpleBlock     = 0xA3
)

// unknownSize is of an element that ends with the stream, on 8 bytes.
const unknownSize = 0x01FFFFFFFFFFFFFF

// newRawMKV begins a stream of uncompressed pictures.
func newRawMKV(w io.Writer, f rawFormat) (*mkvWriter, error) {
	video := concat(number(idPixelWidth, uint64(f.width)), number(idPixelHeight, uint64(f.height)), element(idFourCC, []byte("I420")))
	return newMKV(w, concat(
		text(idCodecID, "V_UNCOMPRESSED"),
		number(idDefaultDuration, uint64(int64(time.Second)*int64(f.den)/int64(f.num))),
		element(idVideo, video),
	))
}

// newAVCMKV begins a stream of H.264 with start codes, parameter sets in it.
func newAVCMKV(w io.Writer) (*mkvWriter, error) {
	return newMKV(w, concat(
		text(idCodecID, "V_MPEG4/ISO/AVC"),
		element(idVideo, concat(number(idPixelWidth, 16), number(idPixelHeight, 16))), // the parameter sets say what they are
	))
}

func newMKV(w io.Writer, track []byte) (*mkvWriter, error) {
	entry := concat(number(idTrackNumber, 1), number(idTrackUID, 1), number(idTrackType, 1), number(idFlagLacing, 0), track)
	head := concat(
		element(idEBML, concat(text(idDocType, "matroska"), number(idDocTypeVersion, 4), number(idDocTypeRead, 2))),
		binary.BigEndian.AppendUint32(nil, idSegment), binary.BigEndian.AppendUint64(nil, unknownSize),
		element(idInfo, concat(number(idTimestampScale, uint64(time.Millisecond)), text(idMuxingApp, "punchlab"), text(idWritingApp, "punchlab"))),
		element(idTracks, element(idTrackEntry, entry)),
	)
	_, err := w.Write(head)
	return &mkvWriter{w: w, last: -1}, err
}

// time is the time that the next picture gets, in ms, which is about a time since the stream's beginning.
func (m *mkvWriter) time(at time.Duration, force bool) int64 {
	ms := max(at.Milliseconds()&^1, m.last&^1+2)
	switch {
	case m.last < 0:
		ms = 0
	case force:
		ms++
	}
	m.last = ms
	return ms
}

// write writes a picture. Of H.264, key says that it is a key frame.
func (m *mkvWriter) write(ms int64, data []byte, key bool) error {
	flags := byte(0)
	if key {
		flags = 0x80
	}
	const blockHead = 4 // track 1, relative time 0, flags
	at := number(idTimestamp, uint64(ms))
	block := sized(idSimpleBlock, blockHead+len(data))
	m.buf = append(m.buf[:0], sized(idCluster, len(at)+len(block)+blockHead+len(data))...)
	m.buf = append(append(append(m.buf, at...), block...), 0x81, 0, 0, flags)
	if _, err := m.w.Write(m.buf); err != nil {
		return err
	}
	_, err := m.w.Write(data)
	return err
}

// element is an EBML element with its data (RFC 8794 §4).
func element(id uint32, data []byte) []byte { return append(sized(id, len(data)), data...) }

// sized is an element's ID and its data's size, on 8 bytes.
func sized(id uint32, size int) []byte {
	b := binary.BigEndian.AppendUint32(nil, id)
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return binary.BigEndian.AppendUint64(b, uint64(size)&math.MaxInt32|1<<56)
}

func number(id uint32, v uint64) []byte { return element(id, binary.BigEndian.AppendUint64(nil, v)) }

func text(id uint32, s string) []byte { return element(id, []byte(s)) }

func concat(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
