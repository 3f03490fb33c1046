package ice

import (
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/punchlab/punchlab/impl/media"
)

var epoch = time.Unix(1_700_000_000, 0)

// clipPackets makes the packets of the clip's first n frames, as a camera does.
func clipPackets(n int) (frames [][]packet) {
	var seq uint16
	for i := range n {
		var frame []packet
		for _, p := range packetize(media.EmbeddedClip().At(i), &seq, epoch, 0) {
			frame = append(frame, packet{Packet: *p, at: epoch.Add(time.Duration(i) * 40 * time.Millisecond), size: p.MarshalSize()})
		}
		frames = append(frames, frame)
	}
	return frames
}

// indices pushes packets and says which frames came; each must be the clip's.
func indices(t *testing.T, a *assembler, packets ...packet) (got []int) {
	t.Helper()
	for _, p := range packets {
		for _, f := range a.push(p) {
			if f.Hash() != media.EmbeddedClip().At(f.Index).Hash {
				t.Errorf("frame %d is not the clip's", f.Index)
			}
			if f.Key != media.EmbeddedClip().At(f.Index).Key {
				t.Errorf("frame %d: key %v", f.Index, f.Key)
			}
			got = append(got, f.Index)
		}
	}
	return got
}

// TestClipSurvivesPionsPackets: the payloader and the depacketizer of pion leave every byte as it was.
func TestClipSurvivesPionsPackets(t *testing.T) {
	a := newAssembler(25)
	for i, frame := range clipPackets(205) { // past a loop of the clip
		if got := indices(t, a, frame...); len(got) != 1 || got[0] != i {
			t.Fatalf("frame %d came as %v", i, got)
		}
	}
}

func TestReorderedPacketsAreOneFrame(t *testing.T) {
	a, frames := newAssembler(25), clipPackets(2)
	key := frames[0]
	key[0], key[1], key[len(key)-1], key[2] = key[1], key[0], key[2], key[len(key)-1]
	if got := indices(t, a, append(key, frames[1]...)...); len(got) != 2 {
		t.Errorf("frames %v came", got)
	}
	if got := indices(t, a, key[3]); got != nil || a.quality.Duplicate != 1 {
		t.Errorf("a packet that comes again made frames %v, %d duplicates", got, a.quality.Duplicate)
	}
}

func TestRepairedPacketMakesTheFrameWhole(t *testing.T) {
	a, frames := newAssembler(25), clipPackets(4)
	indices(t, a, frames[0]...)
	late := frames[1][0]
	if got := indices(t, a, append(append(frames[1][1:], frames[2]...), frames[3]...)...); got != nil {
		t.Fatalf("frames %v came before the one that misses a packet", got)
	}
	late.at = frames[3][0].at
	if got := indices(t, a, late); len(got) != 3 || a.quality.Repaired != 1 || a.quality.Lost != 1 {
		t.Errorf("frames %v came, %d lost, %d repaired", got, a.quality.Lost, a.quality.Repaired)
	}
}

// TestLossEndsAtTheNextKeyFrame: what cannot be decoded is not passed on, and nothing is waited for longer than it must be.
func TestLossEndsAtTheNextKeyFrame(t *testing.T) {
	a, frames := newAssembler(25), clipPackets(60)
	var got []int
	for i, frame := range frames {
		if i == 3 {
			frame = frame[1:]
		}
		got = append(got, indices(t, a, frame...)...)
	}
	if len(got) != 3+60-25 || got[3] != 25 {
		t.Errorf("frames %v came, want 0 to 2 and those from key frame 25 on", got)
	}
	if len(a.held) != 0 || len(a.missing) != 0 {
		t.Errorf("%d packets held, %d missing at the end", len(a.held), len(a.missing))
	}
}

// TestOutageIsOverAtTheKeyFrame: after a long silence the first whole key frame is shown, whatever was missed.
func TestOutageIsOverAtTheKeyFrame(t *testing.T) {
	a, frames := newAssembler(25), clipPackets(260)
	for _, frame := range frames[:10] {
		indices(t, a, frame...)
	}
	var got []int
	for i, frame := range frames[210:] {
		for j, p := range frame {
			if (i*7+j)%50 == 49 && i < 15 { // and there is loss for a while
				continue
			}
			got = append(got, indices(t, a, p)...)
		}
	}
	if len(got) != 260-225 || got[0] != 225 {
		t.Errorf("after the outage frames %v came, want those from key frame 225 on", got)
	}
}

// TestFirstPacketsAreNotWaitedForLong: pion does not ask for what was sent before the first packet that came.
func TestFirstPacketsAreNotWaitedForLong(t *testing.T) {
	a, frames := newAssembler(25), clipPackets(26)
	var got []int
	for _, frame := range frames[20:] {
		got = append(got, indices(t, a, frame[1:]...)...)
		if frame[0].SequenceNumber == frames[25][0].SequenceNumber {
			got = append(got, indices(t, a, frame[0])...)
		}
	}
	if len(got) != 1 || got[0] != 25 {
		t.Errorf("frames %v came, want the key frame 25 at once", got)
	}
}

// TestSecondLossBeforeTheKeyFrameIsNotWaitedFor: where nothing can be shown before a key frame that is here, it is shown.
func TestSecondLossBeforeTheKeyFrameIsNotWaitedFor(t *testing.T) {
	a, frames := newAssembler(25), clipPackets(48) // 22 is given up a second after it, at 47; 24 would be at 49
	frames[22], frames[24] = frames[22][1:], frames[24][1:]
	var got []int
	for _, frame := range frames {
		got = append(got, indices(t, a, frame...)...)
	}
	if len(got) != 22+48-25 || got[22] != 25 {
		t.Errorf("frames %v came, want 0 to 21 and those from key frame 25 on", got)
	}
}

func TestSequenceNumbersWrap(t *testing.T) {
	a := newAssembler(25)
	for i := range 3 << 16 {
		h := rtp.Header{Marker: true, SequenceNumber: uint16(i), Timestamp: uint32(i) * 3600}
		p := packet{at: epoch, Packet: rtp.Packet{Header: h, Payload: []byte{0x65, 0x88, 1}}}
		if f := a.push(p); len(f) != 1 {
			t.Fatalf("packet %d made %d frames", i, len(f))
		}
	}
	if a.quality.Lost != 0 || a.quality.Expected != 3<<16 {
		t.Errorf("%d of %d lost", a.quality.Lost, a.quality.Expected)
	}
}
