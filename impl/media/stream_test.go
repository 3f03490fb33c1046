package media

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRoundTripIsLosslessByteForByte(t *testing.T) {
	clip := EmbeddedClip()
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	l := newLink(t, 1, s, r)
	l.media.Delay, l.feedback.Delay = 30*time.Millisecond, 20*time.Millisecond
	n := 2*len(clip.AccessUnits) + 10 // the clip loops
	l.stream(clip, n)
	l.run(time.Minute)
	l.intact(clip, 0, n)
	for _, f := range l.frames {
		if f.Latency() != 30*time.Millisecond || !f.FirstPacket.Equal(f.Complete) {
			t.Fatalf("frame %d: latency %v, want exactly 30ms", f.Index, f.Latency())
		}
	}
	q := r.Quality()
	want := Quality{
		Expected: uint64(l.sent), Received: uint64(l.sent), FramesReceived: uint64(n),
		Bytes: q.Bytes, Jitter: q.Jitter, RTT: 100 * time.Millisecond,
	}
	if diff := cmp.Diff(want, q); diff != "" {
		t.Errorf("quality (-want +got):\n%s", diff)
	}
	if q.Jitter > time.Microsecond {
		t.Errorf("jitter is %v on a link without any", q.Jitter)
	}
	if d := l.fb.RTT - 50*time.Millisecond; d.Abs() > 40*time.Microsecond || !l.fb.Report || l.fb.Lost != 0 {
		t.Errorf("receiver report tells RTT %v and loss %v, want 50ms and 0", l.fb.RTT, l.fb.Lost)
	}
	if seq, ok := r.HighestSeq(); !ok || seq != uint64(s.cfg.Keys.firstSeq)+uint64(l.sent)-1 {
		t.Errorf("highest sequence number is %d, %v", seq, ok)
	}
}

func TestImpairmentsAreRepairedLossless(t *testing.T) {
	clip := EmbeddedClip()
	for _, test := range []struct {
		name            string
		media, feedback impairment
	}{
		{"loss", impairment{Loss: 0.05}, impairment{}},
		{"heavy loss both ways", impairment{Loss: 0.2, Jitter: 2 * time.Millisecond}, impairment{Loss: 0.2}},
		{"reordering", impairment{Jitter: 30 * time.Millisecond}, impairment{}},
		{"duplication", impairment{Duplicate: 0.5}, impairment{Duplicate: 0.5}},
		{"all", impairment{Loss: 0.1, Duplicate: 0.1, Jitter: 40 * time.Millisecond}, impairment{Loss: 0.1, Duplicate: 0.1, Jitter: 40 * time.Millisecond}},
	} {
		for seed := range uint64(8) {
			t.Run(fmt.Sprintf("%s/%d", test.name, seed), func(t *testing.T) {
				s, r := newPair(t, SenderConfig{HistoryPackets: window}, ReceiverConfig{MaxWait: 2 * time.Second})
				l := newLink(t, seed, s, r)
				l.media, l.feedback = test.media, test.feedback
				l.media.Delay, l.feedback.Delay = 25*time.Millisecond, 25*time.Millisecond
				l.stream(clip, 104) // a loss at the very end shows only when more follows
				l.run(time.Minute)
				l.frames = l.frames[:min(len(l.frames), 100)]
				l.intact(clip, 0, 100)
				q := r.Quality()
				if q.Lost != q.Repaired || q.FramesIncomplete+q.FramesSkipped+q.Late != 0 {
					t.Errorf("quality: %+v", q)
				}
				most := 1.5 * test.media.Loss
				if test.media.Jitter > r.cfg.ReorderWait { // some that were merely late pass for lost
					most *= 2
				}
				if test.media.Loss > 0 && (q.Loss() < test.media.Loss/2 || q.Loss() > most) {
					t.Errorf("measured a loss of %.3f on a link that loses %.3f", q.Loss(), test.media.Loss)
				}
				if test.media.Loss == 0 && test.media.Jitter == 0 && q.Lost+q.NACKs != 0 {
					t.Errorf("lost %d, asked for %d on a link without loss", q.Lost, q.NACKs)
				}
				if test.media.Duplicate > 0 && q.Duplicate == 0 {
					t.Error("no duplicate counted")
				}
				if jittery := q.Jitter > time.Microsecond; jittery != (test.media.Jitter > 0) {
					t.Errorf("measured a jitter of %v on a link with %v; repairs do not count", q.Jitter, test.media.Jitter)
				}
			})
		}
	}
}

// A packet that was asked for once and then came twice was late on a slower path, not lost.
func TestLatePacketsAreNotCountedLost(t *testing.T) {
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	l := newLink(t, 1, s, r)
	l.media.Delay, l.feedback.Delay = 20*time.Millisecond, 20*time.Millisecond
	late := 0
	l.drop = func(b []byte, at time.Duration) bool {
		if l.sent%30 == 3 && len(b) == DefaultMTU && late < 5 { // they take a detour instead
			late++
			l.at(l.now.Add(70*time.Millisecond), func() {
				if err := r.HandlePacket(l.now, b); err != nil {
					t.Error(err)
				}
				l.drain()
			})
			return true
		}
		return false
	}
	l.stream(EmbeddedClip(), 50)
	l.run(time.Minute)
	l.intact(EmbeddedClip(), 0, 50)
	if q := r.Quality(); late != 5 || q.Lost != 0 || q.Reordered != 5 || q.Duplicate != 5 {
		t.Errorf("quality: %+v", q)
	}
}

// Both paths carry everything: each copy that comes second is a duplicate, nothing else changes.
func TestTwoPathsAreDuplicates(t *testing.T) {
	clip := EmbeddedClip()
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	l := newLink(t, 1, s, r)
	l.media = impairment{Delay: 20 * time.Millisecond, Duplicate: 1, Jitter: 60 * time.Millisecond}
	l.feedback.Loss = 1
	l.stream(clip, 100)
	l.run(time.Minute)
	l.intact(clip, 0, 100)
	if q := r.Quality(); q.Duplicate != q.Received || q.Rejected != (Rejected{}) {
		t.Errorf("quality: %+v", q)
	}
}

// The first flight is lost in part: the receiver knows from the keys where the stream began.
func TestLostHeadIsAskedFor(t *testing.T) {
	clip := EmbeddedClip()
	for _, lost := range []int{1, 5, 27} {
		s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
		l := newLink(t, 1, s, r)
		l.media.Delay, l.feedback.Delay = 20*time.Millisecond, 20*time.Millisecond
		l.drop = func([]byte, time.Duration) bool { return l.sent <= lost }
		l.stream(clip, 30)
		l.run(time.Minute)
		l.intact(clip, 0, 30)
		if q := r.Quality(); q.Lost != uint64(lost) || q.Repaired != uint64(lost) || q.PLIs != 0 {
			t.Errorf("quality: %+v", q)
		}
	}
}

// Where more of the first flight is lost than is asked for, the receiver says that it has no beginning; what is lost of what the camera
// then sends again is asked for, and nothing else.
func TestLostFlightIsSentAgain(t *testing.T) {
	for _, n := range []int{1, headAsk, headAsk + 1, headAsk + 20} {
		for _, lost := range []int{0, 7} {
			s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
			packets := clipPackets(t, s, 12)
			if r.Headless() {
				t.Error("headless before the first packet")
			}
			handle(t, r, epoch, packets[n])
			first := uint64(testKeys("pair").firstSeq)
			if seq, ok := r.Wanted(); r.Headless() != (n > headAsk) || ok != (n <= headAsk) || ok && seq != first {
				t.Fatalf("%d packets are missing: headless %v, %d is wanted (%v), want %d", n, r.Headless(), seq, ok, first)
			}
			if n <= headAsk+1 {
				continue
			}
			now := epoch.Add(20 * time.Millisecond)
			handle(t, r, now, packets[:lost]...)
			handle(t, r, now, packets[lost+1:n]...)
			if seq, ok := r.Wanted(); r.Headless() || !ok || seq != first+uint64(lost) {
				t.Errorf("without packet %d: headless %v, %d is wanted (%v), want %d", lost, r.Headless(), seq, ok, first+uint64(lost))
			}
			if r.HandleTimeout(now); r.Quality().NACKs != 0 {
				t.Errorf("packet %d is asked for before it may have been overtaken", lost)
			}
			if r.HandleTimeout(now.Add(r.cfg.ReorderWait)); r.Quality().NACKs != 1 {
				t.Errorf("without packet %d: %d are asked for, want that one", lost, r.Quality().NACKs)
			}
			handle(t, r, now.Add(40*time.Millisecond), packets[lost])
			if frames := r.Ready().Frames; len(frames) == 0 || frames[0].Index != 0 || !frames[0].Key {
				t.Errorf("without packet %d: %d frames", lost, len(frames))
			}
		}
	}
}

// The first path was closed for a while; then the camera replays the group of pictures on another.
func TestReplayOfTheGroupOfPictures(t *testing.T) {
	clip := EmbeddedClip()
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	l := newLink(t, 1, s, r)
	l.media.Delay, l.feedback.Delay = 20*time.Millisecond, 20*time.Millisecond
	open := 1450 * time.Millisecond
	l.drop = func(_ []byte, at time.Duration) bool { return at < open }
	l.at(epoch.Add(open), func() { l.toViewer(s.LastGOP(l.now, nil)...) })
	l.stream(clip, 60)
	l.run(time.Minute)
	l.intact(clip, 25, 35)
	if first := l.frames[0]; !first.Complete.Equal(epoch.Add(open + 20*time.Millisecond)) {
		t.Errorf("the replayed key frame came %v after the path opened", first.Complete.Sub(epoch.Add(open)))
	}
	if q := r.Quality(); q.FramesIncomplete+q.FramesSkipped != 0 {
		t.Errorf("quality: %+v", q)
	}
}

// Media moves to another path when the first dies: Since continues where the viewer stands.
func TestReplaySinceHighest(t *testing.T) {
	clip := EmbeddedClip()
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	l := newLink(t, 1, s, r)
	l.media.Delay, l.feedback.Delay = 20*time.Millisecond, 20*time.Millisecond
	dead, moved := 700*time.Millisecond, 1500*time.Millisecond
	l.drop = func(_ []byte, at time.Duration) bool { return at >= dead && at < moved }
	l.at(epoch.Add(moved), func() {
		seq, _ := r.HighestSeq()
		l.toViewer(s.Since(l.now, nil, seq)...)
	})
	l.stream(clip, 60)
	l.run(time.Minute)
	l.intact(clip, 0, 60)
	if q := r.Quality(); q.NACKs+q.Lost+q.Duplicate != 0 {
		t.Errorf("quality: %+v", q)
	}
}

// What cannot be repaired costs the frames up to the next key frame, and no more.
func TestLossForGoodSkipsToTheNextKeyFrame(t *testing.T) {
	clip := EmbeddedClip()
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{MaxWait: 300 * time.Millisecond})
	l := newLink(t, 1, s, r)
	l.media.Delay, l.feedback.Delay = 20*time.Millisecond, 20*time.Millisecond
	var victim []byte
	l.drop = func(b []byte, at time.Duration) bool {
		if victim == nil && at == 400*time.Millisecond { // frame 10
			victim = append([]byte(nil), b...)
		}
		return victim != nil && string(b) == string(victim)
	}
	l.stream(clip, 60)
	l.run(time.Minute)
	if len(l.frames) != 10+35 {
		t.Fatalf("received %d frames, want 10 before the loss and 35 from the next key frame on", len(l.frames))
	}
	after := l.frames[10:]
	l.frames = l.frames[:10]
	l.intact(clip, 0, 10)
	l.frames = after
	l.intact(clip, 25, 35)
	q := r.Quality()
	if q.FramesIncomplete != 1 || q.FramesSkipped != 14 || q.Lost != 1 || q.Repaired != 0 {
		t.Errorf("quality: %+v", q)
	}
	if l.plis == 0 || l.plis > 2 || q.PLIs != uint64(l.plis) {
		t.Errorf("%d key frames were asked for, %d requests arrived", q.PLIs, l.plis)
	}
}

// An outage longer than the window: the receiver starts again at a key frame, in bounded work.
func TestJumpBeyondTheWindow(t *testing.T) {
	clip := EmbeddedClip()
	s, r := newPair(t, SenderConfig{}, ReceiverConfig{})
	l := newLink(t, 1, s, r)
	l.drop = func(_ []byte, at time.Duration) bool { return at >= 2*time.Second && at < 20*time.Second }
	l.feedback.Loss = 1
	l.stream(clip, 600)
	l.run(time.Minute)
	after := l.frames[50:]
	l.frames = l.frames[:50]
	l.intact(clip, 0, 50)
	l.frames = after
	l.intact(clip, 500, 100)
	if q := r.Quality(); q.Lost != uint64(l.lost) || q.Expected != q.Received+q.Lost {
		t.Errorf("lost %d packets; quality: %+v", l.lost, q)
	}
}

// Sequence numbers and timestamps wrap without a trace.
func TestWraps(t *testing.T) {
	clip := EmbeddedClip()
	s, r := newPair(t, SenderConfig{MTU: minMTU, HistoryPackets: window}, ReceiverConfig{})
	for _, k := range []*Keys{&s.cfg.Keys, &r.cfg.Keys} {
		k.firstTS = 1<<32 - 20*3600
	}
	l := newLink(t, 3, s, r)
	l.media = impairment{Delay: 10 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.01}
	l.feedback.Delay = 10 * time.Millisecond
	n := 1700 // of about 50 packets each
	l.stream(clip, n+4)
	l.run(2 * time.Minute)
	l.frames = l.frames[:min(len(l.frames), n)]
	l.intact(clip, 0, n)
	if seq, _ := r.HighestSeq(); seq < 1<<16 {
		t.Errorf("the sequence number stopped at %d, before it wrapped", seq)
	}
}
