// Package link impairs packets: delay, jitter, loss, reordering, duplication, corruption, rate, queue and MTU.
package link

import "time"

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
	QueueBytes int     // bytes that may wait for the rate; zero with a rate: 100 ms at that rate
	MTU        int     // bytes; zero: 1500
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
