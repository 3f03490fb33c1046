// Package bandwidth estimates what a path carries: a media.Estimator over Google Congestion Control, as pion has it.
//
//	sender ── RTP, transport-wide sequence numbers ──► path ──► receiver
//	   ▲                                                          │ arrival times (TWCC)
//	   │ target, bit/s                                            │ fraction lost (RR)
//	   └── least of: delay (Kalman filter), loss ◄────────────────┘
//
// The delay-based part falls as soon as a queue begins to grow, before anything is lost; the loss-based one falls above 10 % and grows
// below 2 % (draft-ietf-rmcat-gcc-02 §5, §6). While no transport-wide feedback comes, the loss that receiver reports tell is all there
// is.
//
// A viewer of whom nothing is heard for a while has been cut off, or is gone: what was lost meanwhile says nothing of what the path
// carries once it is back, and is not taken for congestion.
//
// pion's part reads the clock itself: the times that an Estimator is given must be the clock's (or testing/synctest's). It remembers the
// last 250 packets: what has a longer round trip, as 20 Mbit/s over 150 ms have, is estimated too low.
package bandwidth

import (
	"fmt"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/gcc"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/punchlab/punchlab/impl/media"
)

// Config describes an Estimator. All rates are in bits a second.
type Config struct {
	Start   int // the first target; 0: 2,000,000
	Floor   int // the least target; 0: 50,000
	Ceiling int // the greatest; 0: 50,000,000
}

func (c Config) withDefaults() (Config, error) {
	if c.Start == 0 {
		c.Start = 2_000_000
	}
	if c.Floor == 0 {
		c.Floor = min(50_000, c.Start)
	}
	if c.Ceiling == 0 {
		c.Ceiling = max(50_000_000, c.Start)
	}
	if c.Floor <= 0 || c.Start < c.Floor || c.Ceiling < c.Start {
		return c, fmt.Errorf("configure estimator: %d ≤ %d ≤ %d does not hold for floor, start and ceiling", c.Floor, c.Start, c.Ceiling)
	}
	return c, nil
}

// Estimator estimates one path's rate. It is safe for concurrent use.
type Estimator struct {
	cfg Config
	bwe *gcc.SendSideBWE
	out interceptor.RTPWriter

	mu     sync.Mutex // holds what packets and reports are made of, and the rest
	header rtp.Header
	attrs  interceptor.Attributes
	loss   losses
	known  bool      // there has been feedback on arrivals
	last   time.Time // of that feedback
	heard  time.Time // of any report
	newest uint16    // packet that was sent
	cut    cut
	closed bool
}

// cut is a time without any report, of which the viewer tells once it is over.
type cut struct {
	last  uint16    // packet that was sent in it
	until time.Time // at which all has been told; zero: there was none
}

var _ media.Estimator = (*Estimator)(nil)

const (
	ssrc = 1
	// extension is the number of the header extension in the packets that pion is shown: only it sees them.
	extension    = 1
	extensionURI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	// rtpHeader are the bytes of a packet that pion counts without being told: the header with the extension.
	rtpHeader = 20
	// deaf is how long arrivals may go untold before reports of loss are believed instead.
	deaf = 2 * time.Second
	// silence is how long there is no report, of those that come several times a second, when the viewer is cut off: no queue holds back
	// every report for so long and then carries as much as before.
	silence = 1500 * time.Millisecond
	// telling is how long a viewer takes at most to tell of what it missed in a cut: as long as it waits for that.
	telling = 2 * time.Second
)

// New starts an estimator. Close it.
func New(cfg Config) (*Estimator, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	e := &Estimator{cfg: cfg, attrs: interceptor.Attributes{}, loss: losses{rate: cfg.Start}}
	e.bwe, err = gcc.NewSendSideBWE(gcc.SendSideBWEInitialBitrate(cfg.Start), gcc.SendSideBWEMinBitrate(cfg.Floor),
		gcc.SendSideBWEMaxBitrate(cfg.Ceiling), gcc.SendSideBWEPacer(gcc.NewNoOpPacer()), gcc.WithLoggerFactory(quiet))
	if err != nil {
		return nil, fmt.Errorf("start estimator: %w", err)
	}
	info := &interceptor.StreamInfo{SSRC: ssrc, RTPHeaderExtensions: []interceptor.RTPHeaderExtension{{URI: extensionURI, ID: extension}}}
	e.out = e.bwe.AddStream(info, interceptor.RTPWriterFunc(func(*rtp.Header, []byte, interceptor.Attributes) (int, error) { return 0, nil }))
	e.header = rtp.Header{Version: 2, SSRC: ssrc}
	return e, nil
}

// nothing stands for packets' payloads: pion looks at their lengths alone.
var nothing [1 << 16]byte

// Sent says that a packet with a transport-wide sequence number has left, all of its size in bytes. now must be the clock's.
func (e *Estimator) Sent(now time.Time, seq uint16, size int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	b, _ := rtp.TransportCCExtension{TransportSequence: seq}.Marshal()
	if err := e.header.SetExtension(extension, b); err != nil {
		return
	}
	if int16(seq-e.newest) > 0 {
		e.newest = seq
	}
	// The pacer sends at once, so that pion notes the time of this call.
	_, _ = e.out.Write(&e.header, nothing[:min(max(size-rtpHeader, 0), len(nothing))], e.attrs)
}

// Feedback takes what the receiver says of the packets' arrivals.
func (e *Estimator) Feedback(now time.Time, fb *rtcp.TransportLayerCC) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.hear(now)
	e.known, e.last = true, now
	if now.Before(e.cut.until) && int16(fb.BaseSequenceNumber-e.cut.last) <= 0 {
		return // of the time when nothing passed
	}
	_ = e.bwe.WriteRTCP([]rtcp.Packet{fb}, nil) // one that does not fit what was sent says nothing
}

// hear notes a report, and whether it is the first one after a cut.
func (e *Estimator) hear(now time.Time) {
	if !e.heard.IsZero() && now.Sub(e.heard) >= silence {
		e.cut = cut{last: e.newest, until: now.Add(telling)}
	}
	e.heard = now
}

// Lost takes the fraction of packets, 0 to 1, that a receiver report says were lost.
func (e *Estimator) Lost(now time.Time, fraction float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.hear(now)
	if e.known && now.Sub(e.last) < deaf || now.Before(e.cut.until) {
		return
	}
	if e.known { // from where the arrivals have left it
		e.known, e.loss.rate = false, e.bwe.GetTargetBitrate()
	}
	e.loss.report(now, fraction, e.cfg)
}

// Target is what the path carries, in bits a second.
func (e *Estimator) Target() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	rate := e.loss.rate
	if e.known {
		rate = e.bwe.GetTargetBitrate()
	}
	return min(max(rate, e.cfg.Floor), e.cfg.Ceiling)
}

// Close ends the estimator.
func (e *Estimator) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		if e.known {
			e.known, e.loss.rate = false, e.bwe.GetTargetBitrate()
		}
		e.closed = true
		_ = e.bwe.Close()
	}
}

// losses is the loss-based part alone (draft-ietf-rmcat-gcc-02 §6), for who tells no arrivals.
type losses struct {
	rate int
	last time.Time
}

func (l *losses) report(now time.Time, fraction float64, c Config) {
	const least = 200 * time.Millisecond
	if !l.last.IsZero() && now.Sub(l.last) < least {
		return
	}
	l.last = now
	switch {
	case fraction > 0.1:
		l.rate = int(float64(l.rate) * (1 - 0.5*min(fraction, 1)))
	case fraction < 0.02:
		l.rate = int(float64(l.rate) * 1.05)
	}
	l.rate = min(max(l.rate, c.Floor), c.Ceiling)
}
