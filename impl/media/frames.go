package media

import "time"

// advance delivers every frame that is whole and next.
func (r *Receiver) advance(now time.Time) {
	b := &r.buffer
	for b.scan <= b.highest {
		s := b.at(b.scan)
		if s.state != held {
			return
		}
		if b.scan > b.next && s.pkt.ts != b.at(b.next).pkt.ts { // a frame without a marker
			r.deliver(now, b.scan)
		}
		b.scan++
		if s.pkt.marker {
			r.deliver(now, b.scan)
		}
	}
}

// deliver ends the frame [next, to), all held and of one timestamp.
func (r *Receiver) deliver(now time.Time, to uint64) {
	b := &r.buffer
	from := b.next
	begins := b.aligned || beginsPicture(b.at(from).pkt.payload)
	b.next, b.aligned = to, true
	data, key, err := r.assemble(from, to)
	switch {
	case !begins:
		r.q.FramesIncomplete++
		r.lose(now)
	case err != nil:
		r.q.Rejected.Payload++
		r.q.FramesIncomplete++
		r.lose(now)
	case b.waitKey && !key:
		r.q.FramesSkipped++
	default:
		b.waitKey = false
		r.repair.keyDue = time.Time{}
		r.q.FramesReceived++
		r.next.Frames = append(r.next.Frames, r.frame(from, to, data, key))
	}
	r.release(from, to)
}

func (r *Receiver) frame(from, to uint64, data []byte, key bool) Frame {
	b := &r.buffer
	first := b.at(from).pkt
	f := Frame{Key: key, Data: data, FirstPacket: first.at, Complete: first.at, Packets: int(to - from)}
	for seq := from; seq < to; seq++ {
		p := b.at(seq).pkt
		f.Bytes += p.size
		if p.at.Before(f.FirstPacket) {
			f.FirstPacket = p.at
		}
		if p.at.After(f.Complete) {
			f.Complete = p.at
		}
		if p.captured != 0 {
			f.Captured = fromNTP(p.captured)
		}
	}
	ticks := r.extendTicks(first.ts)
	f.PTS = time.Duration(ticks/clockRate)*time.Second + time.Duration((ticks%clockRate*1e9+clockRate/2)/clockRate)
	f.Index = int((ticks*int64(r.cfg.FPS) + clockRate/2) / clockRate)
	return f
}

// extendTicks makes an RTP timestamp a PTS in clock ticks that does not wrap.
func (r *Receiver) extendTicks(ts uint32) int64 {
	b := &r.buffer
	if b.timed {
		b.ticks = max(b.ticks+int64(int32(ts-b.lastTS)), 0)
	} else {
		b.ticks = int64(ts - r.cfg.Keys.firstTS)
	}
	b.timed, b.lastTS = true, ts
	return b.ticks
}

// release ends the packets of [from, to) that are held.
func (r *Receiver) release(from, to uint64) {
	for seq := from; seq < to; seq++ {
		s := r.buffer.at(seq)
		if s.state == held {
			r.buffer.put(s.pkt)
			s.state, s.pkt = done, nil
		}
	}
}

// lose notes that a frame is lost for good: nothing can be shown before the next key frame.
func (r *Receiver) lose(now time.Time) {
	if !r.buffer.waitKey || r.repair.keyDue.IsZero() {
		r.repair.keyDue = now
	}
	r.buffer.waitKey = true
}

// abandon gives up all packets up to and including seq, with the frames they belong to.
func (r *Receiver) abandon(now time.Time, seq uint64) {
	b := &r.buffer
	last := min(seq, b.highest)
	var ts uint32
	seen := false
	for at := b.next; at <= last; at++ {
		s := b.at(at)
		switch s.state {
		case missing:
			b.missing--
			s.state = lapsed
			r.countLost(s)
		case held:
			if !seen || s.pkt.ts != ts {
				r.q.FramesIncomplete++
			}
			ts, seen = s.pkt.ts, true
			r.release(at, at+1)
		}
	}
	b.next, b.scan, b.aligned = seq+1, seq+1, false
	r.lose(now)
}

func (r *Receiver) countLost(s *slot) {
	if !s.lost {
		s.lost = true
		r.q.Lost++
	}
}

// jump goes on at a whole key frame around seq, past what is missing before it: while nothing can be
// shown, waiting for older packets brings nothing.
func (r *Receiver) jump(now time.Time, seq uint64) {
	b := &r.buffer
	if b.at(seq).state != held {
		return
	}
	ts := b.at(seq).pkt.ts
	first, last := seq, seq
	for first > b.next && b.holds(first-1, ts) {
		first--
	}
	for !b.at(last).pkt.marker {
		last++
		if last > b.highest || !b.holds(last, ts) {
			return
		}
	}
	if !beginsPicture(b.at(first).pkt.payload) {
		return
	}
	if _, key, err := r.assemble(first, last+1); err != nil || !key {
		return
	}
	if first > b.next {
		r.abandon(now, first-1)
	}
	b.aligned = true
	r.advance(now)
}

// holds says that seq is held and of this timestamp.
func (b *buffer) holds(seq uint64, ts uint32) bool {
	s := b.at(seq)
	return s.state == held && s.pkt.ts == ts
}
