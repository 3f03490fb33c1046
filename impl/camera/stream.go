package camera

import (
	"errors"
	"io"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
)

// stream is a viewer's video. Stored access units leave when their PTS comes, counted from the first flight; live ones at once, but
// for those that were there before the viewer came, which are spread like what is sent again.
//
//	wanted ──first flight──► flowing ──Policy.Blind bytes, viewer unheard──► paused ──Use──► flowing …
//	   ▲ │ nothing yet         │  ▲
//	   └─┘ HandleFrames        ▼  │ HandleFrames
//	                         pending: a live source has nothing
type stream struct {
	wanted  bool // from the Hello
	begun   bool
	direct  bool // the first flight goes to the viewer's endpoint too
	ended   bool // the source has
	live    bool
	pending bool // the source has nothing yet
	paused  time.Time

	source media.Source
	sender *media.Sender
	next   media.AccessUnit
	start  time.Time     // of the first flight
	origin time.Time     // when PTS 0 is due
	due    time.Time     // before which nothing more of what was there when the viewer came is sent
	pts    time.Duration // of the last one sent
	owed   time.Time     // when the first packet left since the viewer's last sign; zero: none did
	blind  int           // bytes of media sent before the viewer was heard
	frames int64
	packet [][]byte
	pace   pace
	replay replay
	marks  [marks]mark // of the last times when something left
	marked int

	again   again
	quality quality
}

// tick is more than a tick of RTP's clock.
const tick = 12 * time.Microsecond

// A viewer that was cut off gets what it missed, not all at once: that would fill queues on the way.
const (
	replayBurst = 32                    // packets at once
	replayEvery = 10 * time.Millisecond // then, in steps of
	replayStep  = 8
	// replayGap is how often the same is sent again at most, and how old a packet is that the viewer still waits for although its
	// path has not changed.
	replayGap = 400 * time.Millisecond
	// replayLife is how long what was missed may take of a path whose bitrate is known: a viewer waits so long for what is missing
	// (media.ReceiverConfig.MaxWait), and goes on from the next key frame. Of a path that has become slow nothing else would be left.
	replayLife = time.Second
	marks      = 64 // a power of two; more than replayGap has frames
	markEvery  = 10 * time.Millisecond
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

// startStream sends the first access unit, once there is one, by the media's path, and to the viewer's endpoint too where that is
// another: the first packet by both before the others, so that on a slow access it does not wait for the whole direct copy. The
// direct copy goes on before the relay's: it is the one that is on time.
func (v *viewer) startStream(now time.Time, direct bool) {
	s := &v.stream
	s.direct = direct
	if !v.pull(now) {
		return
	}
	s.begun, s.start = true, now
	s.origin = now.Add(-s.next.PTS)
	v.cam.stats.Streams++
	v.cam.box.Emit(StreamStarted{At: now, Viewer: v.key.UID()})
	v.measure(now)
	packets := v.packetize(now)
	s.pace.left, _ = s.sender.LastSeq()
	first, paths := packets[:min(1, len(packets))], 1
	if direct && v.path.Route == punch.Relay {
		paths = 2
	}
	v.leftNow(now, packets, paths)
	if paths > 1 {
		v.sendMedia(punch.To(v.reflexive), first)
		v.sendMedia(v.path, first)
		packets = packets[len(first):]
		v.sendMedia(punch.To(v.reflexive), packets)
	}
	v.sendMedia(v.path, packets)
	v.pull(now)
}

// look asks a live source again that had nothing.
func (v *viewer) look(now time.Time) {
	s := &v.stream
	switch {
	case !s.pending || s.ended:
	case !s.begun:
		v.startStream(now, s.direct && !v.nominated)
	case v.pull(now):
		v.streamTimeout(now)
	}
}

// pull reads the next access unit that the viewer is to get.
func (v *viewer) pull(now time.Time) bool {
	s := &v.stream
	for {
		au, err := v.read()
		s.pending = errors.Is(err, media.ErrPending)
		switch {
		case s.pending:
			return false
		case err != nil:
			s.end()
			if !errors.Is(err, io.EOF) {
				v.cam.stats.Dropped.Count(err)
			}
			return false
		}
		s.live = !au.Captured.IsZero()
		if s.begun {
			au.PTS = max(au.PTS, s.pts+tick) // a source may begin again at its last key frame
		}
		s.pts = au.PTS
		if s.next = au; v.affords(now, v.leaves(now), au) {
			return true
		}
	}
}

// end stops a stream for good.
func (s *stream) end() { s.ended, s.pending = true, false }

// mute stops what has been made but not sent, too.
func (s *stream) mute() {
	s.end()
	s.replay.due = time.Time{}
	s.pace.left, _ = s.sender.LastSeq()
}

// close gives back what the stream holds.
func (s *stream) close() {
	s.end()
	if c, ok := s.source.(io.Closer); ok {
		_ = c.Close() // nothing was written
	}
	s.quality.close()
}

// packetize makes the packets of the next access unit.
func (v *viewer) packetize(now time.Time) [][]byte {
	s := &v.stream
	captured := now
	if s.live {
		captured = s.next.Captured
	}
	var err error
	s.packet, err = s.sender.Packetize(s.packet[:0], captured, s.next)
	if err != nil {
		v.cam.stats.Dropped.Count(err)
		return nil
	}
	for _, b := range s.packet {
		s.pace.wait += len(b)
	}
	s.frames++
	v.cam.stats.FramesSent++
	if v.cam.cfg.Sent != nil {
		v.cam.cfg.Sent(now, v.key.UID(), s.next)
	}
	if s.backlog() {
		if s.due.Before(now) {
			s.due = now
		}
		s.due = s.due.Add(time.Duration(len(s.packet)) * replayEvery / replayStep)
	}
	return s.packet
}

// backlog says whether the next access unit was there before the viewer came.
func (s *stream) backlog() bool { return s.live && s.next.Captured.Before(s.start) }

// leaves is when the next access unit is to leave.
func (v *viewer) leaves(now time.Time) time.Time {
	s := &v.stream
	switch {
	case !s.live:
		return s.origin.Add(s.next.PTS)
	case s.backlog() && s.due.After(now):
		return s.due
	}
	return now
}

// sendMedia sends packets, as far as the budget of an unheard viewer goes.
func (v *viewer) sendMedia(path punch.Path, packets [][]byte) {
	if !v.cam.private.IsZero() || path.Route == punch.Direct && v.agent.Silent() {
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

// flowing says whether access units leave, by the clock or as they come.
func (s *stream) flowing() bool { return s.begun && !s.ended && s.paused.IsZero() }

func (v *viewer) streamTimeout(now time.Time) {
	s := &v.stream
	if !v.cam.private.IsZero() {
		return
	}
	if core.Due(now, s.replay.due) {
		v.replayStep(now, replayStep)
	}
	v.transmit(now)
	for s.flowing() && !s.pending && !now.Before(v.leaves(now)) {
		if !v.confirmed && s.blind+len(s.next.Data) > v.policy.Blind {
			s.paused = now
			return
		}
		v.packetize(now)
		v.transmit(now)
		if b, err := s.sender.Report(now); err == nil && b != nil {
			v.send(v.path, core.RTCP, b)
		}
		v.pull(now)
	}
}

func (v *viewer) streamDeadline() time.Time {
	s := &v.stream
	if !v.cam.private.IsZero() {
		return time.Time{}
	}
	d := core.Earliest(s.replay.due, s.paced())
	switch {
	case !s.flowing() || s.pending:
		return d
	case s.backlog():
		return core.Earliest(d, s.due)
	case s.live: // it has been there for a moment
		return core.Earliest(d, s.next.Captured)
	}
	return core.Earliest(d, s.origin.Add(s.next.PTS))
}

// rtcp takes the viewer's feedback.
func (v *viewer) rtcp(now time.Time, b []byte) error {
	f, err := v.stream.sender.HandleRTCP(now, b)
	if err != nil {
		return err
	}
	v.alive(now)
	if f.KeyFrame {
		v.cam.stats.KeyFrames++
		v.keyFrame(now)
	}
	if f.Report {
		v.newest = max(v.newest, f.Highest)
	}
	v.estimate(now, f)
	if v.stream.replay.due.IsZero() { // else it comes anyway
		v.resendTo(v.path, v.stream.affordable(now, f.Resend))
	}
	return nil
}

// again sends everything after extended sequence number seq once more by a path.
func (v *viewer) again(now time.Time, path punch.Path, seq uint64) {
	r := &v.stream.replay
	last := v.stream.pace.left
	if last == 0 || seq >= last || path == r.path && seq == r.from && now.Sub(r.began) < replayGap {
		return
	}
	*r = replay{path: path, at: seq, last: last, from: seq, began: now, packets: r.packets}
	v.replayStep(now, replayBurst)
}

func (v *viewer) replayStep(now time.Time, n int) {
	r := &v.stream.replay
	r.packets, r.at = v.stream.sender.Some(now, r.packets[:0], r.at, r.last, n)
	v.resendTo(r.path, r.packets)
	q := &v.stream.quality
	q.sentAgain(now, r.packets)
	if q.target > 0 {
		for _, b := range r.packets {
			v.stream.pace.busy(now, q.took(len(b)))
		}
	}
	if r.due = now.Add(replayEvery); r.due.Before(v.stream.pace.free) {
		r.due = v.stream.pace.free
	}
	if r.at >= r.last || q.target > 0 && r.due.Sub(r.began) >= replayLife {
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

// moveTo makes path the media's. next is the extended sequence number that the viewer waits for; 0: it has nothing, or nothing of the
// beginning.
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
			v.startStream(now, false)
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
	if v.stream.begun {
		v.measure(now)
	}
	v.cam.box.Emit(PathChanged{At: now, Viewer: v.key.UID(), From: from, To: v.path})
}
