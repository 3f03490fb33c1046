package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

var (
	errNoPicture = errors.New("it holds no nal unit")
	errPTS       = errors.New("its PTS does not grow")
	errCaptured  = errors.New("its capture time is outside 1968 to 2104")
)

// packetize checks the whole access unit first, so that an error leaves no half frame behind.
func (s *Sender) packetize(dst [][]byte, captured time.Time, au AccessUnit) ([][]byte, error) {
	ntp, ok := toNTP(captured)
	ticks := ticksOf(au.PTS)
	err := s.collect(au.Data)
	switch {
	case err != nil:
	case !ok:
		err = errCaptured
	case s.started && ticks <= s.lastTicks:
		err = errPTS
	}
	if err != nil {
		return dst, fmt.Errorf("packetize access unit %d: %w", au.Index, err)
	}
	binary.BigEndian.PutUint64(s.ext[:], ntp)
	s.header.Timestamp = s.cfg.Keys.firstTS + uint32(ticks)
	s.lastTicks, s.lastFrame = ticks, captured
	if au.Key {
		s.keySeq, s.haveKey = s.next, true
	}
	s.started = true
	from := len(dst)
	if dst, err = s.payloads(dst); err != nil {
		return dst[:from], fmt.Errorf("packetize access unit %d: %w", au.Index, err)
	}
	return dst, nil
}

// ticksOf converts a PTS to RTP clock ticks, rounded to the nearest.
func ticksOf(pts time.Duration) uint64 {
	sec, rest := uint64(pts/time.Second), uint64(pts%time.Second)
	return sec*clockRate + (rest*clockRate+5e8)/1e9
}

// collect gathers the NAL units of an access unit in s.nals and refuses what RTP cannot carry.
func (s *Sender) collect(data []byte) error {
	s.nals = s.nals[:0]
	err := splitNALs(data, func(nal []byte) error {
		if err := checkNAL(nal); err != nil {
			return err
		}
		s.nals = append(s.nals, nal)
		return nil
	})
	if err == nil && len(s.nals) == 0 {
		err = errNoPicture
	}
	return err
}

// payloads walks the NAL units: runs of parameter sets go into STAP-As (RFC 6184 §5.7.1), each other
// NAL unit alone if it fits (§5.6) and in FU-As if not (§5.8). The marker goes on the last packet.
func (s *Sender) payloads(dst [][]byte) ([][]byte, error) {
	room := s.cfg.MTU - rtpHeaderSize - tagLen
	for i := 0; i < len(s.nals); {
		n := stapRun(s.nals[i:], room)
		last := i+n == len(s.nals)
		nal := s.nals[i]
		var err error
		switch {
		case n > 1:
			dst, err = s.aggregate(dst, s.nals[i:i+n], last)
		case len(nal) <= room:
			buf := append(s.begin(), nal...)
			dst, err = s.seal(dst, buf, last)
		default:
			dst, err = s.fragment(dst, nal, room, last)
		}
		if err != nil {
			return dst, err
		}
		i += n
	}
	return dst, nil
}

// stapRun returns how many of the leading NAL units one STAP-A takes, or 1 for none.
func stapRun(nals [][]byte, room int) int {
	size, n := 1, 0
	for _, nal := range nals {
		typ := nal[0] & nalTypeMask
		size += 2 + len(nal)
		if typ != nalSPS && typ != nalPPS || size > room {
			break
		}
		n++
	}
	return max(n, 1)
}

func (s *Sender) aggregate(dst [][]byte, nals [][]byte, last bool) ([][]byte, error) {
	buf := append(s.begin(), nalSTAPA)
	for _, nal := range nals {
		// RFC 6184 §5.7.1: F is clear here, NRI is the greatest of those within.
		buf[rtpHeaderSize] = max(buf[rtpHeaderSize], nal[0]&nalRefMask|nalSTAPA)
		buf = binary.BigEndian.AppendUint16(buf, uint16(len(nal)))
		buf = append(buf, nal...)
	}
	return s.seal(dst, buf, last)
}

func (s *Sender) fragment(dst [][]byte, nal []byte, room int, last bool) ([][]byte, error) {
	indicator, header := nal[0]&nalRefMask|nalFUA, nal[0]&nalTypeMask|fuStart
	for rest := nal[1:]; len(rest) > 0; header &^= fuStart {
		n := min(len(rest), room-2)
		if n == len(rest) {
			header |= fuEnd
		}
		buf := append(s.begin(), indicator, header)
		buf = append(buf, rest[:n]...)
		rest = rest[n:]
		var err error
		if dst, err = s.seal(dst, buf, last && len(rest) == 0); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// begin returns the next packet's buffer with room for the header, which seal writes.
func (s *Sender) begin() []byte { return s.history.buffer(s.next)[:rtpHeaderSize] }

// seal writes the header, encrypts in place and keeps the packet.
func (s *Sender) seal(dst [][]byte, buf []byte, marker bool) ([][]byte, error) {
	s.header.SequenceNumber, s.header.Marker = uint16(s.next), marker
	binary.BigEndian.PutUint16(s.number[:], uint16(s.next))
	if _, err := s.header.MarshalTo(buf); err != nil {
		return dst, fmt.Errorf("write rtp header: %w", err)
	}
	payload := len(buf) - rtpHeaderSize
	buf, err := s.out.EncryptRTP(buf, buf, &s.parsed)
	if err != nil {
		return dst, fmt.Errorf("encrypt rtp: %w", err)
	}
	s.history.put(s.next, buf)
	s.next++
	s.packets++
	s.octets += uint32(payload)
	return append(dst, buf), nil
}
