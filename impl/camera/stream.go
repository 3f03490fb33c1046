package camera

import (
	"errors"
	"io"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
)

// stream is a viewer's video: access units leave when their PTS comes, counted from the first flight.
//
//	wanted ──first flight──► flowing ──Policy.Blind bytes, viewer unheard──► paused ──Use──► flowing …
type stream struct {
	wanted bool // from the Hello
	begun  bool
	ended  bool // the source has
	paused time.Time

	source media.Source
	sender *media.Sender
	next   media.AccessUnit
	origin time.Time // when PTS 0 is due
	blind  int       // bytes of media sent before the viewer was heard
	frames int64
	packet [][]byte
	replay replay
	marks  [marks]mark // of the last access units
	marked int
}

// A viewer that was cut off gets what it missed, not all at once: that would fill queues on the way.
const (
	replayBurst = 32                    // packets at once
	replayEvery = 10 * time.Millisecond // then, in steps of
	replayStep  = 8
	// replayGap is how often the same is sent again at most, and how old a packet is that the viewer still waits for although its
	// path has not changed.
	replayGap = 400 * time.Millisecond
	marks     = 64 // a power of two; more than replayGap has frames
)

// replay is what is being sent again.
type replay struct {
	path     punch.Path
	at, last uint64 // extended sequence numbers: sent up to, wanted up to
	due      time.Time
	from     uint64 // where the last one began, and when
	began    time.Time
	packets  [][]byte
}

// mark is the newest packet at a time.
type mark struct {
	at  time.Time
	seq uint64
}

// startStream sends the first access unit by the media's path, and to the viewer's endpoint too where that is another:
// the first packet by both before the others, so that on a slow access it does not wait for the whole direct copy. The
// direct copy goes on before the relay's: it is the one that is on time.
func (v *viewer) startStream(now time.Time, direct bool) {
	s := &v.stream
	if !v.pull() {
		return
	}
	s.begun = true
	s.origin = now.Add(-s.next.PTS)
	packets := v.packetize(now)
	first := packets[:min(1, len(packets))]
	if direct && v.path.Route == punch.Relay {
		v.sendMedia(punch.To(v.reflexive), first)
		v.sendMedia(v.path, first)
		packets = packets[len(first):]
		v.sendMedia(punch.To(v.reflexive), packets)
	}
	v.sendMedia(v.path, packets)
	v.pull()
}

// pull reads the next access unit.
func (v *viewer) pull() bool {
	s := &v.stream
	au, err := s.source.Next()
	if err != nil {
		s.ended = true
		if !errors.Is(err, io.EOF) {
			v.cam.stats.Dropped.Count(err)
		}
		return false
	}
	s.next = au
	return true
}

// packetize makes the packets of the next access unit.
func (v *viewer) packetize(now time.Time) [][]byte {
	s := &v.stream
	var err error
	s.packet, err = s.sender.Packetize(s.packet[:0], now, s.next)
	if err != nil {
		v.cam.stats.Dropped.Count(err)
		return nil
	}
	s.frames++
	v.cam.stats.FramesSent++
	if seq, ok := s.sender.LastSeq(); ok {
		s.marks[s.marked%marks] = mark{now, seq}
		s.marked++
	}
	return s.packet
}

// sendMedia sends packets, as far as the budget of an unheard viewer goes.
func (v *viewer) sendMedia(path punch.Path, packets [][]byte) {
	if path.Route == punch.Direct && v.agent.Silent() {
		return
	}
	for _, b := range packets {
		if !v.confirmed {
			if v.stream.blind+len(b) > v.policy.Blind {
				return
			}
			v.stream.blind += len(b)
		}
		v.send(path, core.Media, b)
	}
}

// flowing says whether access units leave by the clock.
func (s *stream) flowing() bool { return s.begun && !s.ended && s.paused.IsZero() }

func (v *viewer) streamTimeout(now time.Time) {
	s := &v.stream
	if core.Due(now, s.replay.due) {
		v.replayStep(now, replayStep)
	}
	for s.flowing() && !now.Before(s.origin.Add(s.next.PTS)) {
		if !v.confirmed && s.blind+len(s.next.Data) > v.policy.Blind {
			s.paused = now
			return
		}
		packets := v.packetize(now)
		paths, n := v.carried(now)
		for _, p := range paths[:n] {
			v.sendMedia(p, packets)
		}
		if b, err := s.sender.Report(now); err == nil && b != nil {
			v.send(v.path, core.RTCP, b)
		}
		v.pull()
	}
}

func (v *viewer) streamDeadline() time.Time {
	if !v.stream.flowing() {
		return v.stream.replay.due
	}
	return core.Earliest(v.stream.replay.due, v.stream.origin.Add(v.stream.next.PTS))
}

// rtcp takes the viewer's feedback.
func (v *viewer) rtcp(now time.Time, b []byte) error {
	f, err := v.stream.sender.HandleRTCP(now, b)
	if err != nil {
		return err
	}
	v.alive(now)
	if f.KeyFrame {
		v.cam.stats.KeyFrames++ // a stored stream has its next one within a second
	}
	if f.Report {
		v.newest = max(v.newest, f.Highest)
	}
	if v.stream.replay.due.IsZero() { // else it comes anyway
		v.resendTo(v.path, f.Resend)
	}
	return nil
}

// again sends everything after extended sequence number seq once more by a path.
func (v *viewer) again(now time.Time, path punch.Path, seq uint64) {
	r := &v.stream.replay
	last, ok := v.stream.sender.LastSeq()
	if !ok || seq >= last || path == r.path && seq == r.from && now.Sub(r.began) < replayGap {
		return
	}
	*r = replay{path: path, at: seq, last: last, from: seq, began: now, packets: r.packets}
	v.replayStep(now, replayBurst)
}

func (v *viewer) replayStep(now time.Time, n int) {
	r := &v.stream.replay
	r.packets, r.at = v.stream.sender.Some(now, r.packets[:0], r.at, r.last, n)
	v.resendTo(r.path, r.packets)
	if r.due = now.Add(replayEvery); r.at >= r.last {
		r.due = time.Time{}
	}
}

// sentBy is the newest packet at a time, as far as is known; 0: older than is known.
func (s *stream) sentBy(at time.Time) uint64 {
	for i := s.marked - 1; i >= max(0, s.marked-marks); i-- {
		if m := s.marks[i%marks]; !m.at.After(at) {
			return m.seq
		}
	}
	return 0
}

func (v *viewer) resendTo(path punch.Path, packets [][]byte) {
	v.cam.stats.Resent += int64(len(packets))
	v.sendMedia(path, packets)
}

// moveTo makes path the media's. next is the extended sequence number that the viewer waits for; 0: it has nothing.
//
// What was sent by another direct path before may never arrive and is sent again from there on; what is on its way
// through the relay still arrives. Single losses are left to NACK. A viewer that leaves a direct path for the relay may be wrong:
// for a while the media goes by both.
func (v *viewer) moveTo(now time.Time, path punch.Path, next uint64) {
	from, again := v.path, v.nominated
	v.path, v.nominated = path, true
	switch {
	case path.Route == punch.Direct:
		v.also = punch.Path{}
		v.agent.Stop(path)
	case from.Route == punch.Direct && again:
		v.both(now, from)
	}
	v.changed(now, from)
	s := &v.stream
	if !s.begun {
		if s.wanted && !s.ended { // the first flight had no path for it
			v.begin(now, false)
		}
		return
	}
	lost := from != path && from.Route == punch.Direct || next == 0 && !again
	if next = max(next, 1) - 1; lost || from == path && next < s.sentBy(now.Add(-replayGap)) {
		v.again(now, path, next)
	}
	if !s.paused.IsZero() {
		s.origin = s.origin.Add(now.Sub(s.paused))
		s.paused = time.Time{}
		v.streamTimeout(now)
	}
}

// changed tells of another path of the media than from.
func (v *viewer) changed(now time.Time, from punch.Path) {
	if from == v.path {
		return
	}
	v.cam.stats.PathChanges++
	v.cam.box.Emit(PathChanged{At: now, Viewer: v.key.UID(), From: from, To: v.path})
}
