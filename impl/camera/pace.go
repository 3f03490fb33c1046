package camera

import (
	"time"
)

// A key frame is many packets. Sent at once they would fill the queue of a slow access, lose each other there, and look like
// congestion to the estimator. Where the path's bitrate is known they leave a little faster than that:
//
//	access unit ─► Sender's history ─► pace: 5 ms worth at a time, in order ─► path in use
//	                    ▲ left │ newest
//
// What is sent again is counted as well, and waits for its turn by being asked for once more. Access units that would wait for longer
// than paceQueue, the time of their group's key frame aside, are left out (quality.go), so that the video stays near to what is seen.
const (
	paceFactor = 1.5                    // of the target
	paceStep   = 5 * time.Millisecond   // sent at once
	paceDebt   = 250 * time.Millisecond // of the path's time may be taken ahead by what is sent again
	paceQueue  = 300 * time.Millisecond // of the path's time
	paceMost   = history / 2            // packets that wait; more do not
)

// pace is when a viewer's packets leave.
type pace struct {
	left uint64    // extended sequence number of the newest packet that has left
	free time.Time // when the path is through with what has left
	wait int       // bytes that have been made and have not left
	out  [][]byte
}

// busy notes that something leaves which takes so long.
func (p *pace) busy(now time.Time, d time.Duration) {
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(d)
}

// rate is the bitrate at which packets leave; 0: as they come.
func (q *quality) rate() int { return int(paceFactor * float64(q.target)) }

// took is how long so many bytes take to leave.
func (q *quality) took(bytes int) time.Duration {
	if q.target == 0 {
		return 0
	}
	return time.Duration(float64(bytes) * 8 / float64(q.rate()) * float64(time.Second))
}

// waits says whether packets are there that may not leave yet.
func (v *viewer) waits(now time.Time) bool {
	s := &v.stream
	newest, ok := s.sender.LastSeq()
	return ok && s.pace.left < newest && newest-s.pace.left <= paceMost && s.pace.free.After(now.Add(paceStep))
}

// transmit sends what may leave of what has been made.
func (v *viewer) transmit(now time.Time) {
	s := &v.stream
	p := &s.pace
	newest, ok := s.sender.LastSeq()
	paths, n := v.carried(now)
	for ok && p.left < newest && !v.waits(now) {
		p.left++
		b := s.sender.Packet(p.left)
		if b == nil { // more were made than the history holds
			p.wait = 0
			continue
		}
		p.out = append(p.out[:0], b)
		for _, path := range paths[:n] {
			v.sendMedia(path, p.out)
		}
		v.leftNow(now, p.out, n)
	}
}

// leftNow notes that packets have left for the first time, by so many paths, which often begin with the same access. The last of the
// packets is pace.left.
func (v *viewer) leftNow(now time.Time, packets [][]byte, paths int) {
	s := &v.stream
	s.quality.sent(now, s.pace.left, packets)
	for _, b := range packets {
		s.pace.busy(now, s.quality.took(paths*len(b)))
		s.pace.wait -= len(b)
	}
	if last := max(s.marked-1, 0) % marks; s.marked > 0 && now.Sub(s.marks[last].at) < markEvery {
		s.marks[last].seq = s.pace.left
	} else {
		s.marks[s.marked%marks] = mark{now, s.pace.left}
		s.marked++
	}
	if s.owed.IsZero() {
		s.owed = now
	}
}

// paced is when packets that wait may leave; zero: none wait.
func (s *stream) paced() time.Time {
	if newest, ok := s.sender.LastSeq(); !ok || s.pace.left >= newest {
		return time.Time{}
	}
	return s.pace.free
}

// queued is how long the path has to do, from a time on, with what has been made until now.
func (s *stream) queued(now, at time.Time) time.Duration {
	if s.quality.target == 0 {
		return 0
	}
	through := now
	if s.pace.free.After(now) {
		through = s.pace.free
	}
	return through.Sub(at) + s.quality.took(s.pace.wait)
}

// affordable are those of packets that may be sent again now.
func (s *stream) affordable(now time.Time, packets [][]byte) [][]byte {
	if s.quality.target == 0 {
		return packets
	}
	for i, b := range packets {
		if s.pace.free.Sub(now) > paceDebt {
			return packets[:i]
		}
		s.pace.busy(now, s.quality.took(len(b)))
	}
	return packets
}
