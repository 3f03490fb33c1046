package media

import (
	"bytes"
	"errors"
	"fmt"
)

// NAL unit types, ITU-T H.264 table 7-1, and the packet types RFC 6184 §5.2 adds.
const (
	nalSlice  = 1
	nalIDR    = 5
	nalSEI    = 6
	nalSPS    = 7
	nalPPS    = 8
	nalAUD    = 9
	nalPrefix = 14
	nalLast   = 23 // types from 24 on are RTP's
	nalSTAPA  = 24
	nalFUA    = 28

	nalTypeMask = 0x1F
	nalRefMask  = 0xE0 // forbidden_zero_bit and nal_ref_idc
	nalForbid   = 0x80

	fuStart = 0x80 // RFC 6184 §5.8
	fuEnd   = 0x40
)

// maxAccessUnit bounds one access unit at the source: far above any camera's key frame, so that a stream
// that is not H.264 ends in an error and not in all the memory.
const maxAccessUnit = 8 << 20

var startCode = []byte{0, 0, 0, 1}

var (
	errReservedNAL  = errors.New("nal unit type is reserved for RTP or unspecified")
	errForbiddenBit = errors.New("nal unit has its forbidden bit set")
	errTooLarge     = fmt.Errorf("access unit exceeds %d bytes", maxAccessUnit)
)

// splitNALs calls yield with each NAL unit of an Annex B byte stream (H.264 annex B.1), without
// start codes and trailing zeros. Bytes before the first start code are skipped.
func splitNALs(stream []byte, yield func(nal []byte) error) error {
	at := nextStartCode(stream, 0)
	for at >= 0 {
		begin := at + 3
		end := len(stream)
		at = nextStartCode(stream, begin)
		if at >= 0 {
			end = at
		}
		nal := bytes.TrimRight(stream[begin:end], "\x00")
		if len(nal) == 0 {
			continue
		}
		if err := yield(nal); err != nil {
			return err
		}
	}
	return nil
}

// nextStartCode returns where the next 00 00 01 begins, or -1.
func nextStartCode(b []byte, from int) int {
	i := bytes.Index(b[from:], startCode[1:])
	if i < 0 {
		return -1
	}
	return from + i
}

// checkNAL refuses NAL units that RTP cannot carry as they are.
func checkNAL(nal []byte) error {
	switch typ := nal[0] & nalTypeMask; {
	case nal[0]&nalForbid != 0:
		return errForbiddenBit
	case typ == 0 || typ > nalLast:
		return fmt.Errorf("%w: %d", errReservedNAL, typ)
	}
	return nil
}

// grouper collects NAL units into access units.
type grouper struct {
	au  []byte
	key bool
	vcl bool // the access unit has its first slice
}

// push adds a NAL unit. When it begins a new access unit, the finished one is returned.
func (g *grouper) push(nal []byte) (au []byte, key bool, err error) {
	if err := checkNAL(nal); err != nil {
		return nil, false, err
	}
	typ := nal[0] & nalTypeMask
	if g.vcl && beginsAccessUnit(nal) {
		au, key = g.flush()
	}
	if len(g.au)+len(startCode)+len(nal) > maxAccessUnit {
		return nil, false, errTooLarge
	}
	g.au = append(append(g.au, startCode...), nal...)
	g.key = g.key || typ == nalIDR
	g.vcl = g.vcl || (typ >= nalSlice && typ <= nalIDR)
	return au, key, nil
}

// flush returns what was collected, nil if it has no picture.
func (g *grouper) flush() (au []byte, key bool) {
	if g.vcl {
		au, key = g.au, g.key
	}
	*g = grouper{}
	return au, key
}

// beginsAccessUnit says whether a NAL unit that follows a slice starts the next access unit
// (H.264 §7.4.1.2.3). Of §7.4.1.2.4 it uses first_mb_in_slice alone: ue(v) 0 is a single one bit.
// Streams with arbitrary slice order, which only the unused extended profile and a few baseline
// encoders know, are cut wrongly.
func beginsAccessUnit(nal []byte) bool {
	switch typ := nal[0] & nalTypeMask; {
	case typ >= nalSlice && typ <= 2 || typ == nalIDR:
		return len(nal) > 1 && nal[1]&0x80 != 0
	case typ >= nalSEI && typ <= nalAUD, typ >= nalPrefix && typ <= 18:
		return true
	}
	return false
}
