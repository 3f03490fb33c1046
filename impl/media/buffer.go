package media

import "time"

// buffer is the jitter buffer: a ring of slots by extended sequence number.
//
//	         base        next            scan        highest
//	──────────┼───────────┼───────────────┼────────────┼─────────►
//	 unknown  │ done or   │ held: begins  │ missing or │ not yet
//	          │ given up  │ a frame       │ held       │
//
// next is where the frame being awaited begins, scan the first packet of it that is not there.
// Slots below next stay until the ring comes round, so that copies are known as such.
type buffer struct {
	slots   [window]slot
	started bool
	base    uint64 // first packet expected
	next    uint64
	scan    uint64
	highest uint64
	missing int // slots in state missing

	aligned bool // next begins an access unit
	waitKey bool // nothing is delivered before a key frame
	ticks   int64
	timed   bool // ticks holds the last frame's timestamp, extended
	lastTS  uint32

	free []*packet
}

type state uint8

const (
	unknown state = iota
	missing
	held
	done   // received, and delivered or dropped
	lapsed // given up
)

type slot struct {
	seq   uint64
	state state
	ask   bool      // worth asking for
	lost  bool      // counted in Quality.Lost
	tries uint8     // times asked for
	since time.Time // when the gap was seen
	asked time.Time // last
	pkt   *packet   // state held
}

type packet struct {
	buf      []byte // backs payload
	payload  []byte
	ts       uint32
	marker   bool
	captured uint64 // NTP; 0: not said
	number   uint16 // transport-wide, where numbered
	numbered bool
	at       time.Time
	size     int
}

// get returns an empty packet; put takes it back.
func (b *buffer) get() *packet {
	n := len(b.free)
	if n == 0 {
		return &packet{buf: make([]byte, 0, 1280)}
	}
	p := b.free[n-1]
	b.free = b.free[:n-1]
	return p
}

func (b *buffer) put(p *packet) {
	*p = packet{buf: p.buf[:0]}
	b.free = append(b.free, p)
}

// at returns the slot of seq, cleared if an older packet had it.
func (b *buffer) at(seq uint64) *slot {
	s := &b.slots[seq%window]
	if s.seq != seq || s.state == unknown {
		*s = slot{seq: seq}
	}
	return s
}

// extend finds the SRTP index of a 16-bit sequence number (RFC 3711 §3.3.1 and appendix A), by the
// same rule as pion/srtp.
func (b *buffer) extend(seq uint16) uint64 {
	if !b.started {
		return uint64(seq)
	}
	const half = 1 << 15
	roc, local, s := b.highest>>16, b.highest&0xFFFF, uint64(seq)
	if b.highest > half {
		switch {
		case local < half && s > local+half:
			roc--
		case local >= half && s < local-half:
			roc++
		}
	}
	return roc<<16 | s
}

// tooOld says that seq is below what the ring can tell.
func (b *buffer) tooOld(seq uint64) bool { return b.started && seq+window <= b.highest }

// seen says that seq has been received.
func (b *buffer) seen(seq uint64) bool {
	s := &b.slots[seq%window]
	return s.seq == seq && (s.state == held || s.state == done)
}

// headAsk and gapAsk bound how many packets of one gap are asked for, the newest. A longer gap is a path
// that was closed: there the camera replays (Sender.Since, Sender.LastGOP), and what of that is lost is asked for (replayed). A long one
// at the stream's beginning it has to be told of (Headless).
const (
	headAsk = 64
	gapAsk  = 256
)

// accept takes an authentic packet that has not been seen.
func (r *Receiver) accept(now time.Time, seq uint64, p *packet) {
	b := &r.buffer
	p.at = now
	if !b.started {
		r.start(now, seq)
	} else if seq > b.highest {
		r.extendTo(now, seq, gapAsk)
	}
	s := b.at(seq)
	r.q.Received++
	r.q.Bytes += uint64(p.size)
	r.arrived(now, s)
	if s.tries == 0 {
		r.report.transit(now, p.ts)
	}
	r.report.schedule(now, r.cfg.ReportEvery)
	if p.numbered && s.tries == 0 {
		r.arrivals.note(now, r.cfg.Keys, p.number, r.cfg.FeedbackEvery)
	}
	if seq < b.next {
		r.q.Late++
		s.state = done
		b.put(p)
		return
	}
	s.state, s.pkt = held, p
	r.advance(now)
	if b.waitKey && b.scan <= b.highest {
		r.jump(now, seq)
	}
}

// start places the buffer at the stream's first packet, which the keys tell, unless that is too far
// back.
func (r *Receiver) start(now time.Time, seq uint64) {
	b := &r.buffer
	first := uint64(r.cfg.Keys.firstSeq)
	b.started = true
	b.base = min(max(first, seq-min(seq, window/2)), seq)
	b.next, b.scan = b.base, b.base
	b.aligned = b.base == first
	b.highest = b.base
	if seq > b.base {
		r.miss(now, b.base, seq, headAsk)
		b.highest = seq
	}
}

// extendTo makes seq the highest and marks the gap below it.
func (r *Receiver) extendTo(now time.Time, seq uint64, ask uint64) {
	b := &r.buffer
	from := b.highest + 1
	if seq-b.next >= window {
		r.abandon(now, seq-window)
		if from < b.next { // a jump beyond the whole window
			r.q.Lost += b.next - from
			from = b.next
		}
	}
	r.miss(now, from, seq, ask)
	b.highest = seq
}

// miss marks [from, to) as missing; the newest ask of them will be asked for.
func (r *Receiver) miss(now time.Time, from, to, ask uint64) {
	b := &r.buffer
	for seq := from; seq < to; seq++ {
		s := b.at(seq)
		s.state, s.since, s.ask = missing, now, to-seq <= ask
		b.missing++
	}
	if to > from {
		r.repair.sooner(now.Add(r.cfg.ReorderWait))
	}
}

// arrived settles what was thought of a packet before it came.
func (r *Receiver) arrived(now time.Time, s *slot) {
	if s.state != missing {
		return
	}
	r.buffer.missing--
	if !s.ask {
		r.replayed(now, s.seq)
	}
	if !s.lost {
		r.q.Reordered++
		return
	}
	r.q.Repaired++
	if s.tries == 1 {
		r.repair.sample(now.Sub(s.asked))
	}
}

// replayed asks for what is missing right before a packet that was not asked for: the camera sends it all again, in order, and that much
// of it was lost.
func (r *Receiver) replayed(now time.Time, seq uint64) {
	b := &r.buffer
	for at := seq; at > b.next && seq-at < headAsk; {
		at--
		s := b.at(at)
		if s.state != missing || s.ask {
			return
		}
		s.ask, s.since = true, now
		r.repair.sooner(now.Add(r.cfg.ReorderWait))
	}
}

// duplicate counts a copy. A packet that was asked for once and came twice was not lost but late, and
// the second copy is the resent one. One that was asked for more often and came twice was asked for
// again too soon.
func (r *Receiver) duplicate(now time.Time, seq uint64) {
	r.q.Duplicate++
	s := r.buffer.at(seq)
	switch {
	case s.lost && s.tries == 1:
		s.lost = false
		r.q.Lost--
		r.q.Repaired--
		r.q.Reordered++
	case s.lost && s.tries > 1:
		r.repair.tooSoon(now)
	}
}
