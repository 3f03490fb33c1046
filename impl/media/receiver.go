package media

import (
	"fmt"
	"time"
)

// ReceiverConfig configures a Receiver. Zero knobs take the defaults.
type ReceiverConfig struct {
	Keys        Keys
	PayloadType uint8         // 0: DefaultPayloadType
	FPS         int           // the source's frames per second, for Frame.Index; 0: the embedded clip's
	ReorderWait time.Duration // how long a gap may be reordering before it is asked for; 0: 10 ms
	MaxWait     time.Duration // how long a missing packet is waited for; 0: 1 s
	RTT         time.Duration // round trip to the camera until one is measured; 0: 100 ms
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
	if c.MaxWait == 0 {
		c.MaxWait = time.Second
	}
	if c.RTT == 0 {
		c.RTT = 100 * time.Millisecond
	}
	switch {
	case c.Keys == (Keys{}):
		return c, fmt.Errorf("make media receiver: no keys, derive them with NewKeys")
	case c.FPS < 0:
		return c, fmt.Errorf("make media receiver: frame rate %d is below 0", c.FPS)
	case c.ReorderWait < 0 || c.RTT < 0:
		return c, fmt.Errorf("make media receiver: reorder wait %v or RTT %v is below 0", c.ReorderWait, c.RTT)
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
	Hash  Hash          // of Data

	Captured    time.Time // from abs-capture-time, the camera's wall clock; exact to the nanosecond
	FirstPacket time.Time // arrival of its first packet to arrive
	Complete    time.Time // arrival of its last packet to arrive, whichever path brought it
	Bytes       int       // its SRTP packets' bytes
	Packets     int
}

// Latency returns the one-way latency from capture to the last packet's arrival. It is as exact as the
// two clocks agree; on one machine it is exact.
func (f Frame) Latency() time.Duration { return f.Complete.Round(0).Sub(f.Captured) }

// Output is what a Receiver has to give. It is valid until the next call of the receiver, except for
// Frame.Data, which is the caller's.
type Output struct {
	Frames []Frame  // whole, in order, from a key frame on, nothing skipped but to a key frame
	RTCP   [][]byte // SRTCP packets for the camera, to be sent at once on the current path
}

// Receiver turns SRTP packets into frames. It is not safe for concurrent use.
type Receiver struct {
	cfg ReceiverConfig
	out Output
	q   Quality
}

// NewReceiver returns a receiver for one stream.
func NewReceiver(cfg ReceiverConfig) (*Receiver, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Receiver{cfg: cfg}, nil
}

// HandlePacket takes an SRTP or SRTCP packet from any path. b is not kept. An error says why it was
// dropped, and Quality counts it; a duplicate is counted and no error. Drain Ready afterwards.
func (r *Receiver) HandlePacket(now time.Time, b []byte) error { return nil }

// HandleTimeout does what is due at now. Call it at Deadline.
func (r *Receiver) HandleTimeout(now time.Time) {}

// Deadline returns when HandleTimeout is next needed; zero: not at all.
func (r *Receiver) Deadline() time.Time { return time.Time{} }

// Ready returns what has come up since the last call.
func (r *Receiver) Ready() Output { return r.out }

// HighestSeq returns the greatest extended sequence number (SRTP index) received.
func (r *Receiver) HighestSeq() (seq uint64, ok bool) { return 0, false }

// Quality returns the counts so far.
func (r *Receiver) Quality() Quality { return r.q }
