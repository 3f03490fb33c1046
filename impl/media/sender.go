package media

import (
	"fmt"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

const (
	// DefaultMTU bounds an SRTP packet so that it fits a UDP payload of 1,200 bytes behind a
	// ChannelData header (RFC 8656 §12.4).
	DefaultMTU = 1200 - 4
	// DefaultPayloadType is the RTP payload type, dynamic (RFC 3551 §6).
	DefaultPayloadType = 96
	// DefaultHistory is how many packets a sender keeps for resends: more than 2 s of the clip.
	DefaultHistory = 512

	minMTU        = 256
	clockRate     = 90000 // RFC 6184 §8.2.1
	extCapture    = 1     // id of abs-capture-time
	extTransport  = 2     // id of the transport-wide sequence number
	rtpHeaderSize = 12 + 4 + 12
	reportEvery   = time.Second
)

// SenderConfig configures a Sender. Zero knobs take the defaults.
type SenderConfig struct {
	Keys           Keys
	PayloadType    uint8         // RTP payload type; 0: DefaultPayloadType
	MTU            int           // bytes of the largest SRTP packet; 0: DefaultMTU
	HistoryPackets int           // kept for resends, rounded up to a power of two; 0: DefaultHistory
	ResendGap      time.Duration // a packet is resent at most this often; 0: 20 ms
	TransportCC    bool          // have the receiver report arrivals (Feedback.Arrivals); packets are no longer for that
}

func (c SenderConfig) withDefaults() (SenderConfig, error) {
	if c.PayloadType == 0 {
		c.PayloadType = DefaultPayloadType
	}
	if c.MTU == 0 {
		c.MTU = DefaultMTU
	}
	if c.HistoryPackets == 0 {
		c.HistoryPackets = DefaultHistory
	}
	if c.ResendGap == 0 {
		c.ResendGap = 20 * time.Millisecond
	}
	switch {
	case c.Keys == (Keys{}):
		return c, fmt.Errorf("make media sender: no keys, derive them with NewKeys")
	case c.PayloadType >= 128 || c.PayloadType >= 64 && c.PayloadType < 96:
		return c, fmt.Errorf("make media sender: payload type %d is not RTP's beside RTCP (RFC 5761 §4), use 96 to 127", c.PayloadType)
	case c.MTU < minMTU || c.MTU > maxPacket:
		return c, fmt.Errorf("make media sender: MTU %d, use %d to %d bytes", c.MTU, minMTU, maxPacket)
	case c.HistoryPackets < 0 || c.HistoryPackets > window:
		return c, fmt.Errorf("make media sender: history of %d packets, use 1 to %d", c.HistoryPackets, window)
	case c.ResendGap < 0:
		return c, fmt.Errorf("make media sender: resend gap %v is below 0", c.ResendGap)
	}
	return c, nil
}

// Sender turns access units into SRTP packets and keeps them for resends. It is not safe for
// concurrent use.
type Sender struct {
	cfg     SenderConfig
	out, in *srtp.Context
	history history

	header rtp.Header // of the packet being made
	parsed rtp.Header // scratch for pion
	ext    [8]byte
	number [2]byte // transport-wide
	nals   [][]byte

	next      uint64 // index of the next packet
	lastTicks uint64
	started   bool
	keySeq    uint64 // index of the last key frame's first packet
	haveKey   bool

	packets, octets uint32 // for sender reports, payload octets only
	reported        time.Time
	lastFrame       time.Time
	rejected        Rejected
}

// NewSender returns a sender for one viewer.
func NewSender(cfg SenderConfig) (*Sender, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Sender{cfg: cfg, next: uint64(cfg.Keys.firstSeq)}
	s.history.init(cfg.HistoryPackets, cfg.MTU)
	if s.out, err = cfg.Keys.camera.context(); err != nil {
		return nil, err
	}
	if s.in, err = cfg.Keys.viewer.context(); err != nil {
		return nil, err
	}
	s.header = rtp.Header{
		Version: 2, PayloadType: cfg.PayloadType, SSRC: cfg.Keys.ssrc,
		Extension: true, ExtensionProfile: rtp.ExtensionProfileOneByte,
	}
	if err := s.header.SetExtension(extCapture, s.ext[:]); err != nil {
		return nil, fmt.Errorf("make media sender: %w", err)
	}
	if cfg.TransportCC {
		if err := s.header.SetExtension(extTransport, s.number[:]); err != nil {
			return nil, fmt.Errorf("make media sender: %w", err)
		}
	}
	return s, nil
}

// LastSeq returns the extended sequence number (SRTP index) of the newest packet.
func (s *Sender) LastSeq() (seq uint64, ok bool) { return s.next - 1, s.started }

// Packetize appends the packets of one access unit to dst, ready to send. captured is when the
// picture was taken, by the wall clock the viewer's arrival times are compared with. PTS must grow.
//
// The packets live in the history: they may be sent, and sent again, until HistoryPackets newer ones
// have been made. Copy what has to live longer. After an error nothing was made.
func (s *Sender) Packetize(dst [][]byte, captured time.Time, au AccessUnit) ([][]byte, error) {
	return s.packetize(dst, captured, au)
}

// Packet returns the packet of an extended sequence number, or nil where it was never made or the history no longer holds it.
func (s *Sender) Packet(seq uint64) []byte {
	if !s.started || seq >= s.next || !s.history.holds(seq) {
		return nil
	}
	return s.history.slots[seq&s.history.mask].buf
}

// Since appends to dst the packets after extended sequence number seq, oldest first, as far as the
// history reaches back. Use it when media moves to another path.
func (s *Sender) Since(now time.Time, dst [][]byte, seq uint64) [][]byte {
	return s.replay(now, dst, seq+1)
}

// Some appends to dst the packets after extended sequence number seq up to last, oldest first, at most n of them, as far
// as the history reaches back, and returns the number up to which it got. Use it to pace what Since would give at once.
func (s *Sender) Some(now time.Time, dst [][]byte, seq, last uint64, n int) ([][]byte, uint64) {
	return s.some(now, dst, seq, last, n)
}

// LastGOP appends to dst everything from the last key frame on, oldest first. It appends nothing when
// there was none or when the history no longer holds the key frame's first packet.
func (s *Sender) LastGOP(now time.Time, dst [][]byte) [][]byte {
	if !s.haveKey || !s.history.holds(s.keySeq) {
		return dst
	}
	return s.replay(now, dst, s.keySeq)
}

// Feedback is what one RTCP packet of the viewer asks for and tells.
type Feedback struct {
	Resend   [][]byte // to send now; valid as long as what Packetize returned
	KeyFrame bool     // PLI: the viewer cannot go on without a key frame
	Gone     int      // packets asked for that the history no longer holds
	Repeated int      // packets asked for again within ResendGap, not resent

	// Arrivals are the receiver's reports of when which packets came (SenderConfig.TransportCC), for an Estimator. They may
	// tell of a packet twice.
	Arrivals []*rtcp.TransportLayerCC

	Report  bool          // the fields below are set: the packet held a receiver report
	Highest uint64        // extended sequence number of the newest packet that the viewer had got
	Lost    float64       // fraction lost since the report before, 0 to 1
	Jitter  time.Duration // RFC 3550 §6.4.1
	RTT     time.Duration // RFC 3550 §6.4.1, figure 2; 0: the viewer has seen no sender report yet
}

// HandleRTCP takes an SRTCP packet of the viewer. An error says why it was dropped; Rejected counts
// it. Feedback.Resend is valid until the next call.
func (s *Sender) HandleRTCP(now time.Time, b []byte) (Feedback, error) { return s.handleRTCP(now, b) }

// Report returns an SRTCP sender report when one is due, a second after the last, else nil. Call it
// after Packetize.
func (s *Sender) Report(now time.Time) ([]byte, error) { return s.report(now) }

// Rejected returns what HandleRTCP dropped.
func (s *Sender) Rejected() Rejected { return s.rejected }
