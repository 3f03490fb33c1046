package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// NAL unit types, ITU-T H.264 table 7-1.
const (
	nalSlice    = 1
	nalIDR      = 5
	nalSPS      = 7
	nalPPS      = 8
	nalAUD      = 9
	nalLast     = 23 // the types from 24 on are RTP's
	nalTypeMask = 0x1F
	nalForbid   = 0x80
)

var startCode = []byte{0, 0, 0, 1}

var errAVC = errors.New("broken H.264 in FLV")

// avcConfig is an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 §5.3.3.1).
type avcConfig struct {
	lengthSize int
	sets       [][]byte // SPS, then PPS
}

// parseAVCConfig reads what an FLV stream begins with.
func parseAVCConfig(b []byte) (c avcConfig, err error) {
	if len(b) < 6 || b[0] != 1 {
		return c, fmt.Errorf("%w: configuration record of %d bytes", errAVC, len(b))
	}
	c.lengthSize = int(b[4]&3) + 1
	if c.lengthSize == 3 {
		return c, fmt.Errorf("%w: NAL unit lengths of 3 bytes", errAVC)
	}
	rest := b[5:]
	for _, mask := range []byte{0x1F, 0xFF} {
		if len(rest) == 0 {
			return c, fmt.Errorf("%w: configuration record ends early", errAVC)
		}
		n := int(rest[0] & mask)
		rest = rest[1:]
		for range n {
			if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
				return c, fmt.Errorf("%w: configuration record ends early", errAVC)
			}
			end := 2 + int(binary.BigEndian.Uint16(rest))
			if set := trim(rest[2:end]); len(set) > 0 {
				c.sets = append(c.sets, bytes.Clone(set))
			}
			rest = rest[end:]
		}
	}
	return c, nil
}

// picture is what an FLV packet holds.
type picture struct {
	data []byte // Annex B, 4-byte start codes
	key  bool   // it has an IDR slice
	vcl  bool   // it has a slice at all
}

// annexB makes a byte stream of NAL units that follow their lengths (ISO/IEC 14496-15 §5.3.3.2), as media has it: 4-byte start codes,
// no trailing zeros, none of the types that RTP cannot carry. A key frame without parameter sets gets the configuration's.
func (c avcConfig) annexB(b []byte) (p picture, err error) {
	sps, nals := false, make([][]byte, 0, 8)
	for len(b) > 0 {
		nal, rest, err := c.cut(b)
		if err != nil {
			return p, err
		}
		b = rest
		if nal = trim(nal); !carried(nal) {
			continue
		}
		switch typ := nal[0] & nalTypeMask; {
		case typ == nalSPS:
			sps = true
		case typ >= nalSlice && typ <= nalIDR:
			p.vcl = true
			p.key = p.key || typ == nalIDR
		}
		nals = append(nals, nal)
	}
	if p.key && !sps {
		nals = c.withSets(nals)
	}
	size := 0
	for _, nal := range nals {
		size += len(startCode) + len(nal)
	}
	p.data = make([]byte, 0, size)
	for _, nal := range nals {
		p.data = append(append(p.data, startCode...), nal...)
	}
	return p, nil
}

// cut takes the first NAL unit.
func (c avcConfig) cut(b []byte) (nal, rest []byte, err error) {
	if len(b) < c.lengthSize {
		return nil, nil, fmt.Errorf("%w: %d bytes after the last NAL unit", errAVC, len(b))
	}
	n := 0
	for _, d := range b[:c.lengthSize] {
		n = n<<8 | int(d)
	}
	b = b[c.lengthSize:]
	if n > len(b) {
		return nil, nil, fmt.Errorf("%w: NAL unit of %d bytes in %d", errAVC, n, len(b))
	}
	return b[:n], b[n:], nil
}

// withSets puts the parameter sets before the picture, after an access unit delimiter.
func (c avcConfig) withSets(nals [][]byte) [][]byte {
	at := 0
	if nals[0][0]&nalTypeMask == nalAUD {
		at = 1
	}
	return append(append(append([][]byte{}, nals[:at]...), c.sets...), nals[at:]...)
}

// trim takes away trailing zeros, which belong to no NAL unit (H.264 §7.4.1).
func trim(nal []byte) []byte { return bytes.TrimRight(nal, "\x00") }

// carried says whether RTP can carry a NAL unit.
func carried(nal []byte) bool {
	if len(nal) == 0 || nal[0]&nalForbid != 0 {
		return false
	}
	typ := nal[0] & nalTypeMask
	return typ > 0 && typ <= nalLast
}
