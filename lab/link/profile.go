package link

import (
	"fmt"
	"math"
	"time"
)

// DefaultMTU is the MTU of an Impairment that gives none.
const DefaultMTU = 1500

// The limits of an Impairment. The largest MTU is that of the fabric's packet buffers; the smallest is the one that
// every IPv4 link must carry (RFC 791 §3.2).
const (
	MinMTU   = 68
	MaxMTU   = 2000
	MaxDelay = time.Minute
	MaxQueue = 1 << 30
	MaxRate  = 1_000_000_000_000
)

// Impairment is one direction of an access link. The zero value is a perfect link.
type Impairment struct {
	Delay      time.Duration   // one way
	Jitter     time.Duration   // uniform in ±Jitter
	KeepOrder  bool            // jitter does not reorder
	Loss       float64         // Bernoulli, 0–1
	Burst      *GilbertElliott // burst loss
	Reorder    float64         // probability that a packet gets ReorderBy more delay
	ReorderBy  time.Duration
	Duplicate  float64 // probability of a second copy
	Corrupt    float64 // probability of one flipped bit behind the IP header
	Rate       int64   // bit/s; zero: unlimited
	QueueBytes int     // bytes that may wait for the rate, the packet on the wire included; zero with a rate: 100 ms at that rate, at least two packets
	MTU        int     // bytes; zero: 1500

	Trace            *Trace        // when something may be sent: instead of Rate, whose mean then counts wherever a rate does
	AQM              AQM           // what drops before the queue is full; zero: drop-tail
	Target, Interval time.Duration // CoDel's; zero: 5 ms and 100 ms. A target below the transmission time of an MTU means that time
	MTUBlackhole     bool          // what is larger than the MTU vanishes without an ICMP error
	Down             bool          // nothing passes
}

// GilbertElliott is the two-state burst loss model (Gilbert 1960, Elliott 1963).
type GilbertElliott struct {
	GoodToBad, BadToGood float64 // transition probabilities per packet
	LossGood, LossBad    float64 // loss probability in each state
}

// Profile is an access link: both directions, as the site sees them, and where its figures come from.
type Profile struct {
	Name     string
	Up, Down Impairment
	Source   string // citation of the figures
}

// Validate names the first value of either direction that no link can have.
func (p Profile) Validate() error {
	if err := p.Up.Validate(); err != nil {
		return fmt.Errorf("check link %q, up: %w", p.Name, err)
	}
	if err := p.Down.Validate(); err != nil {
		return fmt.Errorf("check link %q, down: %w", p.Name, err)
	}
	return nil
}

// Validate names the first value that no link can have.
func (i Impairment) Validate() error {
	probabilities := []struct {
		name string
		p    float64
	}{{"loss", i.Loss}, {"reorder", i.Reorder}, {"duplicate", i.Duplicate}, {"corrupt", i.Corrupt}}
	if g := i.Burst; g != nil {
		for k, p := range []float64{g.GoodToBad, g.BadToGood, g.LossGood, g.LossBad} {
			probabilities = append(probabilities, struct {
				name string
				p    float64
			}{"burst " + [...]string{"good-to-bad", "bad-to-good", "loss in the good state", "loss in the bad state"}[k], p})
		}
	}
	for _, v := range probabilities {
		if math.IsNaN(v.p) || v.p < 0 || v.p > 1 {
			return fmt.Errorf("%s %v is not a probability: give 0 to 1", v.name, v.p)
		}
	}
	for _, v := range []struct {
		name string
		d    time.Duration
	}{{"delay", i.Delay}, {"jitter", i.Jitter}, {"reorder delay", i.ReorderBy}, {"target", i.Target}, {"interval", i.Interval}} {
		if v.d < 0 || v.d > MaxDelay {
			return fmt.Errorf("%s %v is impossible: give 0s to %v", v.name, v.d, MaxDelay)
		}
	}
	switch {
	case i.Rate < 0 || i.Rate > MaxRate:
		return fmt.Errorf("rate %d bit/s is impossible: give 0 (unlimited) to %d", i.Rate, int64(MaxRate))
	case i.Rate > 0 && i.Trace != nil:
		return fmt.Errorf("rate %d bit/s and a trace contradict each other: give one of them", i.Rate)
	case i.AQM > CoDel:
		return fmt.Errorf("queue management %d is unknown: give drop-tail or codel", i.AQM)
	case i.QueueBytes < 0 || i.QueueBytes > MaxQueue:
		return fmt.Errorf("queue of %d bytes is impossible: give 0 (100 ms at the rate) to %d", i.QueueBytes, MaxQueue)
	case i.MTU != 0 && (i.MTU < MinMTU || i.MTU > MaxMTU):
		return fmt.Errorf("MTU %d is impossible: give 0 (%d) or %d to %d", i.MTU, DefaultMTU, MinMTU, MaxMTU)
	}
	if i.Trace != nil {
		if err := i.Trace.Validate(); err != nil {
			return fmt.Errorf("trace %q: %w", i.Trace.Name, err)
		}
	}
	return nil
}

// MeanRate is the rate, or that of the trace, in bit/s; zero: unlimited.
func (i Impairment) MeanRate() int64 {
	if i.Trace != nil {
		return max(i.Trace.Rate(), 1)
	}
	return i.Rate
}

// defaults fills the values that zero stands for.
func (i Impairment) defaults() Impairment {
	if i.MTU == 0 {
		i.MTU = DefaultMTU
	}
	rate := i.MeanRate()
	if rate > 0 && i.QueueBytes == 0 {
		const tenth = 8 * 10 // bit/s to bytes in 100 ms
		i.QueueBytes = min(max(int(rate/tenth), 2*i.MTU), MaxQueue)
	}
	if i.AQM == CoDel {
		if i.Target == 0 {
			i.Target = DefaultTarget
		}
		if i.Interval == 0 {
			i.Interval = DefaultInterval
		}
		if rate > 0 {
			i.Target = max(i.Target, transmission(i.MTU, rate))
		}
	}
	return i
}
