package media

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// arrived is what reports of arrivals say, by transport-wide sequence number.
type arrived map[uint16]time.Duration

// take reads a report as the draft's §3.1 says; base is the time of its clock's zero.
func (a arrived) take(t *testing.T, p *rtcp.TransportLayerCC) {
	t.Helper()
	at := time.Duration(p.ReferenceTime) * 64 * time.Millisecond
	seq, delta := p.BaseSequenceNumber, 0
	status := func(symbol uint16) {
		if symbol == rtcp.TypeTCCPacketReceivedSmallDelta || symbol == rtcp.TypeTCCPacketReceivedLargeDelta {
			at += time.Duration(p.RecvDeltas[delta].Delta) * time.Microsecond
			a[seq] = at
			delta++
		}
		seq++
	}
	left := int(p.PacketStatusCount)
	for _, c := range p.PacketChunks {
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			for range min(int(c.RunLength), left) {
				status(c.PacketStatusSymbol)
				left--
			}
		case *rtcp.StatusVectorChunk:
			for _, s := range c.SymbolList[:min(len(c.SymbolList), left)] {
				status(s)
				left--
			}
		default:
			t.Fatalf("unknown chunk %T", c)
		}
	}
	if left != 0 || delta != len(p.RecvDeltas) {
		t.Fatalf("the report counts %d packets more than it tells of, %d times of %d used", left, delta, len(p.RecvDeltas))
	}
}

// Each packet's arrival is reported once the camera asks, to a quarter of a millisecond; what was lost is reported lost although
// it was repaired.
func TestArrivalsAreReported(t *testing.T) {
	s, r := newPair(t, SenderConfig{TransportCC: true}, ReceiverConfig{})
	l := newLink(t, 1, s, r)
	l.media.Delay, l.feedback.Delay = 20*time.Millisecond, 20*time.Millisecond
	told, reports := arrived{}, 0
	l.arrivals = func(p *rtcp.TransportLayerCC) { told.take(t, p); reports++ }
	count, lost := uint16(0), map[uint16]bool{}
	sent := map[uint16]time.Duration{}
	l.drop = func(b []byte, at time.Duration) bool {
		seq := uint16(b[2])<<8 | uint16(b[3])
		if _, again := sent[seq]; again {
			return false
		}
		sent[seq] = at
		count++
		lost[seq] = count%37 == 0
		return lost[seq]
	}
	l.stream(EmbeddedClip(), 50)
	l.run(time.Minute)
	l.intact(EmbeddedClip(), 0, 50)
	for seq, at := range sent {
		when, ok := told[seq]
		switch {
		case ok == lost[seq]:
			t.Errorf("packet %d: lost %v, reported as arrived %v", seq, lost[seq], ok)
		case ok && (when-at).Abs() > 250*time.Microsecond: // sent at 0, the first arrives at the clock's zero
			t.Errorf("packet %d sent at %v is said to have come at %v", seq, at, when)
		}
	}
	if reports < 14 || reports > 20 || len(told) < 300 { // a frame is the first in 100 ms every 120 ms
		t.Errorf("%d reports tell of %d packets in 2 s", reports, len(told))
	}
}

// A camera that does not ask gets no reports, and its packets are as long as those of one that does.
func TestArrivalsAreOnlyReportedToWhoAsks(t *testing.T) {
	var sizes [2]int
	for i, asks := range []bool{false, true} {
		s, r := newPair(t, SenderConfig{TransportCC: asks}, ReceiverConfig{})
		l := newLink(t, 1, s, r)
		reports := 0
		l.arrivals = func(*rtcp.TransportLayerCC) { reports++ }
		l.drop = func(b []byte, _ time.Duration) bool { sizes[i] += len(b); return false }
		l.stream(EmbeddedClip(), 10)
		l.run(time.Minute)
		l.intact(EmbeddedClip(), 0, 10)
		if reports > 0 != asks {
			t.Errorf("asked %v: %d reports", asks, reports)
		}
	}
	if sizes[0] != sizes[1] || sizes[0] == 0 {
		t.Errorf("the video takes %d bytes, with feedback %d", sizes[0], sizes[1])
	}
}

// What comes twice has arrived when it came first.
func TestCopiesAreReportedOnce(t *testing.T) {
	s, r := newPair(t, SenderConfig{TransportCC: true}, ReceiverConfig{})
	packets := clipPackets(t, s, 1)
	told := arrived{}
	for i, gap := range []time.Duration{0, 30 * time.Millisecond} {
		for _, b := range packets {
			if err := r.HandlePacket(epoch.Add(gap), b); err != nil {
				t.Fatal(i, err)
			}
		}
	}
	r.HandleTimeout(epoch.Add(100 * time.Millisecond))
	for _, b := range r.Ready().RTCP {
		f, err := s.HandleRTCP(epoch.Add(time.Second), b)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Arrivals {
			told.take(t, p)
		}
	}
	if len(told) != len(packets) {
		t.Fatalf("%d of %d packets are told of", len(told), len(packets))
	}
	for seq, at := range told {
		if at != 0 {
			t.Errorf("packet %d came at %v, want 0", seq, at)
		}
	}
}
