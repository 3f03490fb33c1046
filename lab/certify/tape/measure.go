package tape

import (
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

// Rate is how many bits per second the packets from t0 on and before t1 are, IP headers counted.
func Rate(ps []Packet, t0, t1 time.Time) float64 { return 0 }

// Amount is how much of packets.
type Amount struct {
	Packets int
	Bytes   int64 // IP headers counted
}

// Per counts the packets of each of the periods from t0 on and before t1. The last one may be shorter.
func Per(period time.Duration, ps []Packet, t0, t1 time.Time) []Amount { return nil }

// PerSecond is Per of seconds.
func PerSecond(ps []Packet, t0, t1 time.Time) []Amount { return Per(time.Second, ps, t0, t1) }

// PerMinute is Per of minutes.
func PerMinute(ps []Packet, t0, t1 time.Time) []Amount { return Per(time.Minute, ps, t0, t1) }

// Busiest is the largest amount in any window of that length, wherever it begins, and when that does: most packets, and
// independently most bytes.
func Busiest(window time.Duration, ps []Packet) (packets, bytes Peak) { return }

// Peak is the largest number within a window.
type Peak struct {
	N  int64
	At time.Time // the window's first packet
}

// Gap is a time without packets.
type Gap struct{ From, To time.Time }

// Length is how long the gap is.
func (g Gap) Length() time.Duration { return g.To.Sub(g.From) }

// Gaps are the times from t0 to t1 without a packet, those at both ends too, of the given length or more.
func Gaps(ps []Packet, t0, t1 time.Time, least time.Duration) []Gap { return nil }

// First is the first packet at or after a time that matches all.
func First(ps []Packet, t time.Time, match ...Match) (Packet, bool) { return Packet{}, false }

// Last is the last packet that matches all.
func Last(ps []Packet, match ...Match) (Packet, bool) { return Packet{}, false }

// Keepalives are the times of groups of packets: a group is a packet and those within that time after it. Give it what the
// camera sends its servers: From(camera), To(servers).
func Keepalives(ps []Packet, within time.Duration) []time.Time { return nil }

// Distances are those between successive times.
func Distances(times []time.Time) []time.Duration { return nil }

// Mean is the mean of the distances; zero: there is none.
func Mean(distances []time.Duration) time.Duration { return 0 }
