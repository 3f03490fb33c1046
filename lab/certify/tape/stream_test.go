package tape_test

import (
	"slices"
	"testing"

	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

// steady are so many packets a second for so long, from a time in seconds on.
func steady(size int, rate, from, seconds float64) []tape.Packet {
	var times []float64
	for i := range int(rate * seconds) {
		times = append(times, from+float64(i)/rate)
	}
	return every(size, times...)
}

func TestStreamsOfSmallPackets(t *testing.T) {
	elsewhere := steady(400, 10, 0, 10)
	for i := range elsewhere {
		elsewhere[i].Dst = cam
	}
	icmp := steady(400, 20, 0, 10)
	for i := range icmp {
		icmp[i].Protocol = packet.ProtocolICMP
	}
	for name, c := range map[string]struct {
		ps   []tape.Packet
		want int
	}{
		"media by its size":             {every(528, 1, 2, 3), 3},
		"a packet less":                 {every(527, 1, 2, 3), 0},
		"a stream of small packets":     {steady(400, 20, 0, 10), 200},
		"by ICMP":                       {icmp, 200},
		"signalling":                    {steady(400, 10, 0, 10), 0},
		"a burst":                       {steady(100, 1000, 0, 0.2), 0},
		"to two addresses":              {slices.Concat(steady(400, 10, 0, 10), elsewhere), 0},
		"between two quiet times":       {slices.Concat(every(100, 0), steady(400, 20, 10, 6), every(100, 30)), 120},
		"with a keepalive in its midst": {slices.Concat(steady(400, 20, 0, 10), every(60, 5.01)), 201},
	} {
		if got := tape.Streamed(c.ps); len(got) != c.want {
			t.Errorf("%s: %d of %d packets, want %d", name, len(got), len(c.ps), c.want)
		}
	}
}
