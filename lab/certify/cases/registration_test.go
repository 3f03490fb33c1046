package cases

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify/tape"
	"github.com/punchlab/punchlab/lab/packet"
)

// What is said in a stream is put together as far as nothing is missing, whatever the order, and connections apart.
func TestStreamsOf(t *testing.T) {
	server := netip.MustParseAddrPort("198.51.100.1:443")
	segment := func(port uint16, seq uint32, text string) tape.Packet {
		return tape.Packet{Protocol: packet.ProtocolTCP, Src: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port), Dst: server, Seq: seq, Payload: []byte(text)}
	}
	const near = 1<<32 - 3 // the sequence number wraps
	said := streamsOf([]tape.Packet{
		segment(1, near, "abc"), segment(2, 70, "xyz"), segment(1, 3, "ghi"), segment(1, 0, "def"), segment(1, near, "ab"), segment(2, 80, "behind a gap"),
	})
	if len(said) != 2 || !bytes.Equal(said[0].B, []byte("abcdefghi")) || !bytes.Equal(said[1].B, []byte("xyz")) || said[0].To != server {
		t.Errorf("%+v", said)
	}
}

// Of a crowd the largest number within any second counts, wherever it begins.
func TestCrowd(t *testing.T) {
	t0 := time.Unix(1000, 0)
	var times []time.Time
	for _, ms := range []int{0, 900, 1100, 1200, 1850, 1899, 1901, 5000} {
		times = append(times, t0.Add(time.Duration(ms)*time.Millisecond))
	}
	if n, at := crowd(times); n != 5 || !at.Equal(times[1]) {
		t.Errorf("%d from %v on", n, at.Sub(t0))
	}
	if n, _ := crowd(nil); n != 0 {
		t.Errorf("%d of none", n)
	}
}

// That a camera is gone is known from the first answer on after which nobody was left without one.
func TestKnownToBeGone(t *testing.T) {
	s := time.Second
	for _, tt := range []struct {
		told, untold []time.Duration
		known        time.Duration
		ok           bool
	}{
		{nil, nil, 0, false},
		{nil, []time.Duration{1 * s}, 0, false},
		{[]time.Duration{5 * s, 6 * s, 7 * s}, nil, 5 * s, true},
		{[]time.Duration{5 * s, 40 * s, 45 * s}, []time.Duration{1 * s, 38 * s}, 40 * s, true},
		{[]time.Duration{5 * s, 10 * s}, []time.Duration{11 * s}, 0, false},
	} {
		v := &visitors{told: tt.told, untold: tt.untold}
		if known, ok := v.known(); known != tt.known || ok != tt.ok {
			t.Errorf("told %v, untold %v: %v %v", tt.told, tt.untold, known, ok)
		}
	}
}

func TestTellsSTUN(t *testing.T) {
	request := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42}, make([]byte, 12)...)
	if !aSTUN(request) || aSTUN(request[:19]) || aSTUN(append([]byte{4}, request[1:]...)) {
		t.Error("STUN is not told from what it is not")
	}
}

// A unit that asks at a steady pace first and then more and more slowly is patient, however many quick tries there were; one that goes on at
// its pace is not.
func TestHalves(t *testing.T) {
	at := func(seconds ...float64) (tries []time.Time) {
		for _, s := range seconds {
			tries = append(tries, time.Unix(1000, 0).Add(time.Duration(s*float64(time.Second))))
		}
		return tries
	}
	for _, c := range []struct {
		name        string
		tries       []time.Time
		early, late time.Duration
		ok          bool
	}{
		{"few", at(0, 1, 2, 3), 0, 0, false},
		{"steady", at(0, 1, 2, 3, 4, 5, 6, 7, 8), time.Second, time.Second, true},
		{"steady, then slower", at(0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 20), time.Second, 6 * time.Second, true},
		{"doubling", at(0, 1, 3, 7.5, 15.5), 2500 * time.Millisecond, 8 * time.Second, true},
		{"quicker and quicker", at(0, 8, 12, 14, 15.5), 8 * time.Second, 2500 * time.Millisecond, true},
		{"rarely, in two ways", at(0, 1, 2, 3, 4, 5, 6, 14, 15, 23, 24), time.Second, 4500 * time.Millisecond, true},
	} {
		if early, late, ok := halves(c.tries); early != c.early || late != c.late || ok != c.ok {
			t.Errorf("%s: %v and %v (%v), want %v and %v (%v)", c.name, early, late, ok, c.early, c.late, c.ok)
		}
	}
}
