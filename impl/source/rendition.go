package source

import (
	"time"

	"github.com/punchlab/punchlab/impl/media"
)

// rendition is one coding of the input's pictures: the last groups of them, which readers read at their own pace. The Hub's lock
// guards it.
//
//	units   K p p p p K p p p p K p p
//	                  └ reader A  └ key: where a new reader begins
type rendition struct {
	rate  int // bits a second that an encoder aims at; 0: as the input has it
	units []unit
	first int64 // number of units[0]
	key   int64 // number of the newest key frame; -1: none is held
	bytes int   // of units
	over  bool  // nothing is added any more
	meter meter // of the input's H.264
}

// unit is an access unit in a rendition.
type unit struct {
	number   int64 // of the picture, as the Hub counts them from 1: the same in every rendition
	data     []byte
	hash     media.Hash
	key      bool
	captured time.Time
	pts      time.Duration // on the Hub's timeline
}

// What a rendition holds at most.
const (
	maxUnits = 2048
	maxBytes = 24 << 20
)

func newRendition(rate int) *rendition { return &rendition{rate: rate, key: -1} }

// end is the number of the next unit.
func (r *rendition) end() int64 { return r.first + int64(len(r.units)) }

// at returns a unit that is held.
func (r *rendition) at(n int64) *unit {
	if n < r.first || n >= r.end() {
		return nil
	}
	return &r.units[n-r.first]
}

// add appends a unit, and forgets what is older than the group before this one.
func (r *rendition) add(u unit) {
	if u.key {
		if r.key >= 0 {
			r.drop(int(r.key - r.first))
		}
		r.key = r.end()
	}
	r.units = append(r.units, u)
	r.bytes += len(u.data)
	for len(r.units) > maxUnits || r.bytes > maxBytes {
		r.drop(1)
	}
}

// drop forgets the oldest n units.
func (r *rendition) drop(n int) {
	for _, u := range r.units[:n] {
		r.bytes -= len(u.data)
	}
	clear(r.units[:n])
	r.units = r.units[n:]
	r.first += int64(n)
	if r.key < r.first {
		r.key = -1
	}
}

// keyAfter finds the oldest key frame of a picture after one.
func (r *rendition) keyAfter(number int64) (n int64, ok bool) {
	for i := range r.units {
		if u := &r.units[i]; u.key && u.number > number {
			return r.first + int64(i), true
		}
	}
	return 0, false
}

// meter measures a bit rate over the last seconds of a stream's own time, which may come in bursts.
type meter struct {
	slots [meterSlots]int // bytes of the last seconds, in a ring
	some  bool
	begun time.Duration // of second 0
	last  int64         // the newest second since then
}

const (
	meterSlots = 5 // the newest is not over yet
	meterLeast = 2 // whole seconds, before which the rate is not known
)

func (m *meter) add(at time.Duration, bytes int) {
	if at < m.begun || !m.some {
		*m = meter{begun: at, some: true} // its times begin anew
	}
	s := max(int64((at-m.begun)/time.Second), m.last)
	if s-m.last > meterSlots {
		m.last = s - meterSlots
	}
	for ; m.last < s; m.last++ {
		m.slots[(m.last+1)%meterSlots] = 0
	}
	m.slots[s%meterSlots] += bytes
}

// rate is in bits a second, over whole seconds; 0: not known yet.
func (m *meter) rate() int {
	whole := min(m.last, meterSlots-1)
	if whole < meterLeast {
		return 0
	}
	sum := 0
	for i := range whole {
		sum += m.slots[(m.last-1-i)%meterSlots]
	}
	return sum * 8 / int(whole)
}
