package stage

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/tape"
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
	s := clip([]byte("secret"), 3)
	n := len(s.Units)
	parsed, err := media.ParseAnnexB(s.Bytes, SourceRate)
	if err != nil || len(parsed.AccessUnits) != n || n != 3*len(media.EmbeddedClip().AccessUnits) {
		t.Fatalf("%d frames, of which a reader of H.264 finds %d: %v", n, len(parsed.AccessUnits), err)
	}
	other, seen := clip([]byte("another"), 3), map[string]int{}
	for i, u := range parsed.AccessUnits {
		if !bytes.Equal(u.Data, s.Units[i]) || u.Key != media.EmbeddedClip().At(i).Key {
			t.Errorf("frame %d is not what a reader of H.264 finds", i+1)
		}
		if first, again := seen[s.Frame(i+1).SHA256]; again {
			t.Errorf("frame %d is frame %d once more: a camera could show its first seconds again", i+1, first)
		}
		seen[s.Frame(i+1).SHA256] = i + 1
		if other.Intact(s.Frame(i + 1)) {
			t.Errorf("frame %d is known to who knows another case's", i+1)
		}
	}
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

// TestHoldsClaimsToPackets has a host get a packet of 1,000 bytes every 100 ms, and a viewer there say what it got.
func TestHoldsClaimsToPackets(t *testing.T) {
	began := time.Unix(1700000000, 0)
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	var packets []tape.Packet
	for i := range 100 {
		packets = append(packets, tape.Packet{At: at(100 * i), Payload: make([]byte, 1000)})
	}
	frame := func(ms, size int) Frame { return Frame{N: 1, T: at(ms), Size: size} }
	for name, c := range map[string]struct {
		frames []Frame
		want   string
	}{
		"the truth":      {[]Frame{frame(1900, 20_000), frame(3900, 20_000)}, ""},
		"out of order":   {[]Frame{frame(3900, 20_000), frame(1900, 20_000)}, ""},
		"a frame of air": {[]Frame{frame(1900, 20_000), frame(1901, 20_000)}, "2 frames of 40000 bytes by 22:13:21.901, and 20000 bytes of payload"},
		"a frame early":  {[]Frame{frame(100, 20_000)}, "1 frames of 20000 bytes by 22:13:20.100, and 2000 bytes"},
		"before it was":  {[]Frame{frame(-1000, 10)}, "1s before it was started"},
		"after its end":  {[]Frame{frame(11_000, 10)}, "1s after its end"},
	} {
		if got := belied(c.frames, packets, span{began, at(10_000)}, "got", claimSpare, claimTime); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
