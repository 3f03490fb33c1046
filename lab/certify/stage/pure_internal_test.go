package stage

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
)

// TestClock asks as RFC 5905 has it.
func TestClock(t *testing.T) {
	request := make([]byte, ntpSize)
	request[0], request[47] = 4<<3|3, 7
	now := time.Unix(1700000000, 500_000_000)
	a := ntpAnswer(request, now)
	if len(a) != ntpSize || a[0] != 4<<3|4 || a[31] != 7 || a[1] != 1 {
		t.Fatalf("answer % x", a)
	}
	if seconds, part := binary.BigEndian.Uint32(a[40:]), binary.BigEndian.Uint32(a[44:]); seconds != 3908988800 || part != 1<<31 {
		t.Errorf("it is %d and %d/2^32 since 1900", seconds, part)
	}
	request[0] = 4<<3 | 4
	for _, b := range [][]byte{nil, request, request[:47]} {
		if a := ntpAnswer(b, now); a != nil {
			t.Errorf("% x was answered", b)
		}
	}
}

func TestSeeds(t *testing.T) {
	s := &Stage{}
	seen := map[uint64]bool{}
	for n := range 1000 {
		seen[s.Seed(n)] = true
	}
	if len(seen) != 1000 || s.Seed(0) != 0xe220a8397b1dcdaf { // SplitMix64's first of seed 0
		t.Errorf("%d seeds, the first %#x", len(seen), s.Seed(0))
	}
}

func TestSourceKnowsItsFrames(t *testing.T) {
	s := clip()
	n := len(s.Units)
	for _, k := range []int{1, n, n + 1, 5*n + 3} {
		if f := s.Frame(k); f.N != k || !s.Intact(f) || f.Size != len(s.Units[(k-1)%n]) {
			t.Errorf("frame %d: %+v", k, f)
		}
	}
	f := s.Frame(1)
	f.N = 2
	if s.Intact(f) || s.Intact(Frame{}) {
		t.Error("a frame in another's place is taken for intact")
	}
	for _, b := range s.Samples(10, 32) {
		if !strings.Contains(string(s.Bytes), string(b)) || len(b) != 32 {
			t.Error("a sample is not of the source")
		}
	}
}

func TestChecksOptions(t *testing.T) {
	if _, err := Open(Options{Declaration: &certify.Declaration{}}); err == nil || !strings.Contains(err.Error(), "fabric") {
		t.Error(err)
	}
}
