package cloud

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/asticode/go-astits"
	"github.com/punchlab/punchlab/impl/media"
)

// MPEG-TS as HLS has it (RFC 8216 §3.2): one program, one H.264 stream, tables at each key frame.
const (
	videoPID = 0x100
	packet   = 188

	// A clock of 90 kHz in 33 bits wraps every 26.5 hours, and players know. Nothing is shown before ptsOffset of it, so that
	// the clock reference, which runs clockLead ahead, does not begin below zero.
	clockBits = 33
	ptsOffset = 90000
	clockLead = 9000
)

// NAL unit types, ITU-T H.264 table 7-1.
const (
	nalIDR = 5
	nalSPS = 7
	nalPPS = 8
	nalAUD = 9
)

var (
	startCode = []byte{0, 0, 0, 1}
	delimiter = []byte{0, 0, 0, 1, nalAUD, 0xF0} // any slice type: MPEG-TS wants one before each picture (H.222.0 §2.14.1)
)

// muxer writes access units as MPEG-TS. Its counters go on from segment to segment.
type muxer struct {
	ts  *astits.Muxer
	out bytes.Buffer
	es  bytes.Buffer // the access unit, with what it lacks
	sps []byte       // the last parameter sets, with start codes
	pps []byte
}

func newMuxer() (*muxer, error) {
	m := &muxer{}
	m.ts = astits.NewMuxer(context.Background(), &m.out, astits.MuxerOptTablesRetransmitPeriod(1<<30))
	err := m.ts.AddElementaryStream(astits.PMTElementaryStream{ElementaryPID: videoPID, StreamType: astits.StreamTypeH264Video})
	if err != nil {
		return nil, fmt.Errorf("make MPEG-TS: %w", err)
	}
	m.ts.SetPCRPID(videoPID)
	return m, nil
}

// write returns the packets of an access unit, valid until the next call. The first of a segment has tables and, where it is a
// key frame, parameter sets. jump: its timestamps do not go on from the one before.
func (m *muxer) write(au media.AccessUnit, first, jump bool) ([]byte, error) {
	m.out.Reset()
	m.complete(au, first)
	if first && !au.Key {
		if _, err := m.ts.WriteTables(); err != nil {
			return nil, fmt.Errorf("write MPEG-TS tables: %w", err)
		}
	}
	pts := clock(au.PTS, ptsOffset)
	_, err := m.ts.WriteData(&astits.MuxerData{
		PID: videoPID,
		AdaptationField: &astits.PacketAdaptationField{
			RandomAccessIndicator:  au.Key, // brings the tables with it
			DiscontinuityIndicator: jump,
			HasPCR:                 true,
			PCR:                    &astits.ClockReference{Base: clock(au.PTS, ptsOffset-clockLead)},
		},
		PES: &astits.PESData{
			Header: &astits.PESHeader{OptionalHeader: &astits.PESOptionalHeader{
				MarkerBits: 2, PTSDTSIndicator: astits.PTSDTSIndicatorOnlyPTS, PTS: &astits.ClockReference{Base: pts},
				DataAlignmentIndicator: true,
			}},
			Data: m.es.Bytes(),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("write MPEG-TS: access unit %d: %w", au.Index, err)
	}
	return m.out.Bytes(), nil
}

// complete fills es with the access unit, a delimiter before it and the parameter sets that a first key frame must have.
func (m *muxer) complete(au media.AccessUnit, first bool) {
	m.es.Reset()
	types := m.learn(au)
	if !types[nalAUD] {
		m.es.Write(delimiter)
	}
	if first && au.Key && !types[nalSPS] {
		m.es.Write(m.sps)
	}
	if first && au.Key && !types[nalPPS] {
		m.es.Write(m.pps)
	}
	m.es.Write(au.Data)
}

// learn returns the NAL unit types before a picture's first slice, and keeps the parameter sets among them.
func (m *muxer) learn(au media.AccessUnit) (types [32]bool) {
	b := au.Data
	for len(b) > len(startCode) {
		typ := b[len(startCode)] & 0x1F
		types[typ] = true
		if typ >= 1 && typ <= nalIDR {
			break
		}
		end := bytes.Index(b[len(startCode):], startCode)
		if end < 0 {
			end = len(b) - len(startCode)
		}
		end += len(startCode)
		switch typ {
		case nalSPS:
			m.sps = append(m.sps[:0], b[:end]...)
		case nalPPS:
			m.pps = append(m.pps[:0], b[:end]...)
		}
		b = b[end:]
	}
	return types
}

// clock returns a PTS in the stream's clock.
func clock(pts time.Duration, offset int64) int64 {
	return (int64(pts/time.Microsecond)*9/100 + offset) & (1<<clockBits - 1)
}
