package tape

import (
	"slices"
	"time"
)

// Bytes is the sum of the packets' sizes, IP headers counted.
func Bytes(ps []Packet) (n int64) {
	for i := range ps {
		n += int64(ps[i].Size)
	}
	return n
}

// PayloadBytes is the sum of the payloads' sizes.
func PayloadBytes(ps []Packet) (n int64) {
	for i := range ps {
		n += int64(len(ps[i].Payload))
	}
	return n
}

// Rate is how many bits per second the packets from t0 on and before t1 are, IP headers counted; zero if there is no time between.
func Rate(ps []Packet, t0, t1 time.Time) float64 {
	s := t1.Sub(t0).Seconds()
	if s <= 0 {
		return 0
	}
	return float64(Bytes(Select(ps, Between(t0, t1)))) * 8 / s
}

// Amount is how much of packets.
type Amount struct {
	Packets int
	Bytes   int64 // IP headers counted
}

func (a *Amount) add(p *Packet) {
	a.Packets++
	a.Bytes += int64(p.Size)
}

// Per counts the packets of each of the periods from t0 on and before t1. The last one may be shorter.
func Per(period time.Duration, ps []Packet, t0, t1 time.Time) []Amount {
	if period <= 0 || !t1.After(t0) {
		return nil
	}
	as := make([]Amount, (t1.Sub(t0)+period-1)/period)
	for i := range ps {
		if p := &ps[i]; !p.At.Before(t0) && p.At.Before(t1) {
			as[p.At.Sub(t0)/period].add(p)
		}
	}
	return as
}

// PerSecond is Per of seconds.
func PerSecond(ps []Packet, t0, t1 time.Time) []Amount { return Per(time.Second, ps, t0, t1) }

// PerMinute is Per of minutes.
func PerMinute(ps []Packet, t0, t1 time.Time) []Amount { return Per(time.Minute, ps, t0, t1) }

// Peak is the largest number within a window.
type Peak struct {
	N  int64
	At time.Time // the window's first packet
}

// Busiest is the largest amount in any window of that length, wherever it begins, and when that does: most packets, and
// independently most bytes. Packets a whole window apart are not in one.
func Busiest(window time.Duration, ps []Packet) (packets, bytes Peak) {
	ps = byTime(ps)
	first, sum := 0, int64(0)
	for i := range ps {
		sum += int64(ps[i].Size)
		for ; ps[i].At.Sub(ps[first].At) >= window && first < i; first++ {
			sum -= int64(ps[first].Size)
		}
		if n := int64(i - first + 1); n > packets.N {
			packets = Peak{n, ps[first].At}
		}
		if sum > bytes.N {
			bytes = Peak{sum, ps[first].At}
		}
	}
	return packets, bytes
}

// byTime are the packets in the order of their times: themselves, if they are so.
func byTime(ps []Packet) []Packet {
	earlier := func(a, b Packet) int { return a.At.Compare(b.At) }
	if slices.IsSortedFunc(ps, earlier) {
		return ps
	}
	ps = slices.Clone(ps)
	slices.SortStableFunc(ps, earlier)
	return ps
}

// Gap is a time without packets.
type Gap struct{ From, To time.Time }

// Length is how long the gap is.
func (g Gap) Length() time.Duration { return g.To.Sub(g.From) }

// Gaps are the times from t0 to t1 without a packet, those at both ends too, of the given length or more.
func Gaps(ps []Packet, t0, t1 time.Time, least time.Duration) (gaps []Gap) {
	last := t0
	gap := func(to time.Time) {
		if d := to.Sub(last); d > 0 && d >= least {
			gaps = append(gaps, Gap{last, to})
		}
		last = to
	}
	for _, p := range byTime(ps) {
		if !p.At.Before(t0) && !p.At.After(t1) {
			gap(p.At)
		}
	}
	gap(t1)
	return gaps
}

// First is the first packet at or after a time that matches all.
func First(ps []Packet, t time.Time, match ...Match) (p Packet, ok bool) {
	for i := range ps {
		if at := ps[i].At; !at.Before(t) && (!ok || at.Before(p.At)) && all(&ps[i], match) {
			p, ok = ps[i], true
		}
	}
	return p, ok
}

// Last is the last packet that matches all.
func Last(ps []Packet, match ...Match) (p Packet, ok bool) {
	for i := range ps {
		if (!ok || !ps[i].At.Before(p.At)) && all(&ps[i], match) {
			p, ok = ps[i], true
		}
	}
	return p, ok
}

// Keepalives are the times of groups of packets: a group is a packet and those within that time after it. Give it what the
// camera sends its servers: From(camera), To(servers).
func Keepalives(ps []Packet, within time.Duration) (times []time.Time) {
	for _, p := range byTime(ps) {
		if n := len(times); n == 0 || p.At.Sub(times[n-1]) > within {
			times = append(times, p.At)
		}
	}
	return times
}

// Distances are those between successive times.
func Distances(times []time.Time) (ds []time.Duration) {
	for i := 1; i < len(times); i++ {
		ds = append(ds, times[i].Sub(times[i-1]))
	}
	return ds
}

// Mean is the mean of the distances; zero: there is none.
func Mean(distances []time.Duration) time.Duration {
	if len(distances) == 0 {
		return 0
	}
	var sum time.Duration
	for _, d := range distances {
		sum += d
	}
	return sum / time.Duration(len(distances))
}
