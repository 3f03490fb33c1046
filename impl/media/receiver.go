package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// ReceiverConfig configures a Receiver. Zero knobs take the defaults.
type ReceiverConfig struct {
	Keys        Keys
	PayloadType uint8         // 0: DefaultPayloadType
	FPS         int           // the source's frames per second, for Frame.Index; 0: the embedded clip's
	ReorderWait time.Duration // how long a gap may be reordering before it is asked for; 0: 10 ms
	MaxWait     time.Duration // how long a missing packet is waited for; 0: 1 s, or 4 RTT where that is longer
	RTT         time.Duration // round trip to the camera until one is measured; 0: 100 ms
	ReportEvery time.Duration // between receiver reports while packets come; 0: 1 s
	// FeedbackEvery is the time between reports of arrivals while packets come that ask for them; 0: 100 ms.
	FeedbackEvery time.Duration
}

func (c ReceiverConfig) withDefaults() (ReceiverConfig, error) {
	if c.PayloadType == 0 {
		c.PayloadType = DefaultPayloadType
	}
	if c.FPS == 0 {
		c.FPS = clipFPS
	}
	if c.ReorderWait == 0 {
		c.ReorderWait = 10 * time.Millisecond
	}
	if c.RTT == 0 {
		c.RTT = 100 * time.Millisecond
	}
	if c.ReportEvery == 0 {
		c.ReportEvery = reportEvery
	}
	if c.FeedbackEvery == 0 {
		c.FeedbackEvery = 100 * time.Millisecond
	}
	if c.MaxWait == 0 {
		c.MaxWait = max(time.Second, 4*c.RTT)
	}
	switch {
	case c.Keys == (Keys{}):
		return c, fmt.Errorf("make media receiver: no keys, derive them with NewKeys")
	case c.FPS < 0:
		return c, fmt.Errorf("make media receiver: frame rate %d is below 0", c.FPS)
	case c.ReorderWait < 0 || c.RTT < 0 || c.ReportEvery < 0 || c.FeedbackEvery < 0:
		return c, fmt.Errorf("make media receiver: reorder wait %v, RTT %v or time between reports %v and %v is below 0",
			c.ReorderWait, c.RTT, c.ReportEvery, c.FeedbackEvery)
	case c.MaxWait < c.ReorderWait:
		return c, fmt.Errorf("make media receiver: max wait %v is below the reorder wait %v", c.MaxWait, c.ReorderWait)
	}
	return c, nil
}

// Frame is one whole access unit as it arrived.
type Frame struct {
	Index int           // of the access unit at the source
	PTS   time.Duration // of the access unit at the source, to 1/90000 s
	Key   bool          // it has an IDR slice
	Data  []byte        // Annex B, 4-byte start codes; the caller's to keep

	Captured    time.Time // from abs-capture-time, the camera's wall clock; exact to the nanosecond
	FirstPacket time.Time // arrival of its first packet to arrive
	Complete    time.Time // arrival of its last packet to arrive, whichever path brought it
	Bytes       int       // its SRTP packets' bytes
	Packets     int
}

// Hash returns the hash of Data. It takes as long as receiving the frame did: only who compares frames asks for it.
func (f Frame) Hash() Hash { return Sum(f.Data) }

// Latency returns the one-way latency from capture to the last packet's arrival. It is as exact as the
// two clocks agree; on one machine it is exact.
func (f Frame) Latency() time.Duration { return f.Complete.Round(0).Sub(f.Captured) }

// Output is what a Receiver has to give. It is valid until the next call of the receiver, except for
// Frame.Data, which is the caller's.
type Output struct {
	Frames []Frame  // whole, in order, from a key frame on, nothing skipped but to a key frame
	RTCP   [][]byte // SRTCP packets for the camera, to be sent at once on the current path
}

// maxPacket bounds an SRTP packet, and with the window what a receiver holds: 4 MiB.
const maxPacket = 2048

var (
	errHeader = errors.New("no rtp header")
	errStream = errors.New("another stream's ssrc or payload type")
)

// Receiver turns SRTP packets into frames. It is not safe for concurrent use.
type Receiver struct {
	cfg      ReceiverConfig
	in, out  *srtp.Context
	header   rtp.Header // scratch for pion
	buffer   buffer
	repair   repair
	report   report
	arrivals arrivals
	next     Output // being collected
	given    Output // what Ready returned last
	q        Quality
}

// NewReceiver returns a receiver for one stream.
func NewReceiver(cfg ReceiverConfig) (*Receiver, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Receiver{cfg: cfg}
	if r.in, err = cfg.Keys.camera.context(); err != nil {
		return nil, err
	}
	if r.out, err = cfg.Keys.viewer.context(); err != nil {
		return nil, err
	}
	r.repair.srtt = cfg.RTT
	r.buffer.waitKey = true
	return r, nil
}

// HandlePacket takes an SRTP or SRTCP packet from any path. b is not kept. An error says why it was
// dropped, and Quality counts it; a duplicate is counted and is no error. Drain Ready afterwards.
func (r *Receiver) HandlePacket(now time.Time, b []byte) error {
	if isRTCP(b) {
		return r.handleRTCP(now, b)
	}
	if len(b) < 12+tagLen || len(b) > maxPacket || b[0]>>6 != 2 {
		r.q.Rejected.Header++
		return fmt.Errorf("handle rtp packet of %d bytes: %w", len(b), errHeader)
	}
	if binary.BigEndian.Uint32(b[8:]) != r.cfg.Keys.ssrc || b[1]&0x7F != r.cfg.PayloadType {
		r.q.Rejected.Stream++
		return fmt.Errorf("handle rtp packet: %w", errStream)
	}
	seq := r.buffer.extend(binary.BigEndian.Uint16(b[2:]))
	switch {
	case r.buffer.tooOld(seq):
		r.q.Rejected.Replay++
		return fmt.Errorf("handle rtp packet %d: %w", seq, errReplay)
	case r.buffer.seen(seq):
		r.duplicate(now, seq)
		return nil
	}
	p := r.buffer.get()
	if err := r.decrypt(p, b); err != nil {
		r.buffer.put(p)
		return fmt.Errorf("handle rtp packet %d: %w", seq, err)
	}
	r.accept(now, seq, p)
	return nil
}

// decrypt authenticates b and fills p.
func (r *Receiver) decrypt(p *packet, b []byte) error {
	plain, err := r.in.DecryptRTP(p.buf[:0], b, &r.header)
	switch {
	case errors.Is(err, srtp.ErrFailedToVerifyAuthTag):
		r.q.Rejected.Auth++
		return err
	case err != nil: // replays have been sorted out before
		r.q.Rejected.Header++
		return err
	}
	p.buf, p.size, p.payload = plain, len(b), payloadOf(plain)
	p.ts, p.marker = r.header.Timestamp, r.header.Marker
	if ext := r.header.GetExtension(extCapture); len(ext) >= 8 {
		p.captured = binary.BigEndian.Uint64(ext)
	}
	if ext := r.header.GetExtension(extTransport); len(ext) == 2 {
		p.number, p.numbered = binary.BigEndian.Uint16(ext), true
	}
	return nil
}

// unreadable stands for a payload that cannot be told; its frame is dropped as malformed.
var unreadable = []byte{0}

// payloadOf returns an RTP packet's payload without padding. The header has been parsed before, so it
// is whole.
func payloadOf(b []byte) []byte {
	n := 12 + 4*int(b[0]&0xF)
	if b[0]&0x10 != 0 {
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	payload := b[n:]
	if b[0]&0x20 == 0 {
		return payload
	}
	if len(payload) == 0 {
		return unreadable
	}
	// RFC 3550 §5.1: the last byte counts the padding, itself included.
	padding := int(payload[len(payload)-1])
	if padding == 0 || padding > len(payload) {
		return unreadable
	}
	return payload[:len(payload)-padding]
}

// HandleTimeout does what is due at now. Call it at Deadline.
func (r *Receiver) HandleTimeout(now time.Time) {
	if !r.buffer.started {
		return
	}
	r.repairMissing(now)
	r.requestKeyFrame(now)
	r.reportReception(now)
	r.reportArrivals(now)
}

// Deadline returns when HandleTimeout is next needed; zero: not at all.
func (r *Receiver) Deadline() time.Time {
	var first time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if r.buffer.missing > 0 {
		earlier(r.repair.due)
	}
	earlier(r.repair.keyDue)
	earlier(r.report.due)
	earlier(r.arrivals.due)
	return first
}

// Ready returns what has come up since the last call.
func (r *Receiver) Ready() Output {
	r.given, r.next = r.next, Output{Frames: r.given.Frames[:0], RTCP: r.given.RTCP[:0]}
	return r.given
}

// HighestSeq returns the greatest extended sequence number (SRTP index) received.
func (r *Receiver) HighestSeq() (seq uint64, ok bool) { return r.buffer.highest, r.buffer.started }

// Wanted returns the extended sequence number of the first packet that is still missing, or else of the one after the
// newest; ok is false before the first packet, and while the receiver is Headless.
func (r *Receiver) Wanted() (seq uint64, ok bool) {
	b := &r.buffer
	if !b.started || r.Headless() {
		return 0, false
	}
	for seq := b.next; b.missing > 0 && seq <= b.highest; seq++ {
		if b.at(seq).state == missing {
			return seq, true
		}
	}
	return b.highest + 1, true
}

// Headless says whether the stream's beginning is missing, and more of it than is asked for: the path was closed for it. Nothing can be
// shown before the camera sends it again, or the next key frame.
func (r *Receiver) Headless() bool {
	b := &r.buffer
	if !b.started || b.next != b.base {
		return false
	}
	s := b.at(b.base)
	return s.state == missing && !s.ask
}

// Quality returns the counts so far.
func (r *Receiver) Quality() Quality {
	q := r.q
	if r.buffer.started {
		q.Expected = r.buffer.highest - r.buffer.base + 1
	}
	q.Jitter = r.report.jitter()
	q.RTT = r.repair.srtt
	return q
}
