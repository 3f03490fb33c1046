package link

import (
	"fmt"
	"time"
)

// The synthetic traces that are shipped, and what Synthetic makes. No one measured them: they have the shapes that
// papers describe, so that a scenario can meet such a link without anyone's recording.
//
//	lte-drive     a car on an LTE network. The rate wanders over two orders of magnitude within seconds, as Winstein,
//	              Sivaraman and Balakrishnan saw (Sprout, NSDI 2013, §2): a slow part (shadowing, some 4 s) and a fast
//	              one (fading, some 100 ms), both normal in the logarithm. Every 10 s or so a handover stops it for
//	              40 to 300 ms, one in four for 1 to 3 s.
//	wifi-crowded  a station among many on one 802.11 channel. It wins the medium after a wait that grows with the number
//	              of busy neighbors, and then sends several packets at once (aggregation); neighbors come and go within
//	              seconds; now and then something that is not Wi-Fi takes the channel for up to 200 ms.
//
// All of it is integer arithmetic on hashes of (seed, step), so every machine makes the same trace.
type shape struct {
	name   string
	length time.Duration
	make   func(g *generator, up bool)
}

var shapes = []shape{
	{"lte-drive", 40 * time.Second, (*generator).drive},
	{"wifi-crowded", 30 * time.Second, (*generator).crowd},
}

// Synthetic makes a trace of the shape lte-drive or wifi-crowded, for a site's uplink or downlink. The shipped ones
// have seed 1.
func Synthetic(name string, up bool, seed uint64) (*Trace, error) {
	direction := "down"
	if up {
		direction = "up"
	}
	for _, s := range shapes {
		if s.name != name {
			continue
		}
		g := &generator{seed: Mix(seed), length: uint32(s.length / time.Millisecond)}
		if up {
			g.seed = Mix(g.seed)
		}
		s.make(g, up)
		if n := len(g.times); n == 0 || g.times[n-1] != g.length {
			g.times = append(g.times, g.length) // the period
		}
		return &Trace{Name: name + "-" + direction, Times: g.times, Anywhere: true}, nil
	}
	return nil, fmt.Errorf("make synthetic trace: no shape %q: choose lte-drive or wifi-crowded", name)
}

type generator struct {
	seed, n uint64
	length  uint32 // ms
	times   []uint32
	credit  int // in millionths of a byte
}

// below draws from [0, n).
func (g *generator) below(n int) int {
	g.n++
	return int(Mix(g.seed^Mix(g.n)) % uint64(n))
}

// normal draws from a distribution close to the normal one, of mean 0 and standard deviation 1000.
func (g *generator) normal() (v int) {
	for range 12 {
		v += g.below(1001) - 500
	}
	return v
}

// roots are 1024 × 2^(k/8).
var roots = [8]int{1024, 1117, 1218, 1328, 1448, 1579, 1722, 1878}

// power is 1024 × 2^(v/1000), in steps of an eighth.
func power(v int) int {
	k := v * 8 / 1000
	if v < 0 {
		k--
	}
	if k >= 0 {
		return roots[k&7] << min(k>>3, 20)
	}
	return roots[k&7] >> min(-(k>>3), 20)
}

// send gives the link a millisecond at rate bit/s.
func (g *generator) send(ms uint32, rate int) {
	g.credit += rate * 125
	for g.credit >= OpportunityBytes*1_000_000 {
		g.credit -= OpportunityBytes * 1_000_000
		g.times = append(g.times, ms)
	}
}

func (g *generator) drive(up bool) {
	mean := 9_000_000
	if up {
		mean = 2_500_000
	}
	var slow, fast, outage int
	handover := 5000 + g.below(10_000)
	for ms := uint32(1); ms <= g.length; ms++ {
		if ms%20 == 0 { // both parts forget: e^(−20 ms/4 s) and e^(−20 ms/100 ms)
			slow += g.normal()*120/1000 - slow*5/1000
			fast += g.normal()*500/1000 - fast*181/1000
		}
		switch handover--; {
		case handover > 0:
		case g.below(4) == 0:
			outage, handover = 1000+g.below(2000), 5000+g.below(10_000)
		default:
			outage, handover = 40+g.below(260), 5000+g.below(10_000)
		}
		if outage > 0 {
			outage--
			continue
		}
		g.send(ms, min(mean*power(slow+fast)/1024, 75_000_000))
	}
}

func (g *generator) crowd(up bool) {
	best := 16 // packets that one win may send
	if up {
		best = 8
	}
	neighbors, change, noise := 4, 0, 300
	for ms := uint32(1); ms <= g.length; {
		if int(ms) >= change {
			neighbors, change = 1+g.below(9), int(ms)+500+g.below(3500)
		}
		if noise--; noise <= 0 {
			ms += uint32(20 + g.below(180))
			noise = 100 + g.below(900)
		}
		for range 1 + g.below(best) {
			if ms <= g.length {
				g.times = append(g.times, ms)
			}
		}
		ms += 1 + uint32(g.below(2+3*neighbors))
	}
}
