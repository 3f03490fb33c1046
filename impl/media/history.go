package media

import "time"

// history is a ring of the newest SRTP packets by index. Buffers are made at first use and reused
// when the ring comes round.
type history struct {
	slots []sent
	mask  uint64
	mtu   int
}

type sent struct {
	seq  uint64
	buf  []byte // nil: never used
	last time.Time
}

func (h *history) init(packets, mtu int) {
	size := 1
	for size < packets {
		size *= 2
	}
	h.slots, h.mask, h.mtu = make([]sent, size), uint64(size-1), mtu
}

// buffer gives the slot of a new packet an empty buffer of the MTU.
func (h *history) buffer(seq uint64) []byte {
	s := &h.slots[seq&h.mask]
	if s.buf == nil {
		s.buf = make([]byte, 0, h.mtu)
	}
	s.seq, s.last = seq, time.Time{}
	return s.buf[:0]
}

func (h *history) put(seq uint64, b []byte) { h.slots[seq&h.mask].buf = b }

func (h *history) holds(seq uint64) bool {
	s := &h.slots[seq&h.mask]
	return s.buf != nil && s.seq == seq
}

// resend returns a packet unless it is gone or was resent less than gap ago.
func (h *history) resend(now time.Time, seq uint64, gap time.Duration) (b []byte, gone bool) {
	if !h.holds(seq) {
		return nil, true
	}
	s := &h.slots[seq&h.mask]
	if !s.last.IsZero() && now.Sub(s.last) < gap {
		return nil, false
	}
	s.last = now
	return s.buf, false
}
