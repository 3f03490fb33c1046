package uplink

import (
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// report is what the device says of itself, and how far the rendezvous has heard it.
type report struct {
	class      wire.Class // without the timeout that the link saw
	candidates []wire.Endpoint
	sequence   uint32 // of the last one sent in this session
	sent       wire.Report
	tries      int
	next       time.Time // zero: nothing to say
}

// Report tells the rendezvous what is known of this device's NAT and by which further addresses it may be reached, now and
// after each handshake, until it acknowledges. What the link itself finds out about the NAT's timeout is added to the class
// where that says nothing of it. Of candidates the first wire.MaxCandidates count.
func (l *Link) Report(now time.Time, class wire.Class, candidates []netip.AddrPort) {
	l.report.class = class
	l.report.candidates = wire.Ats(candidates[:min(len(candidates), wire.MaxCandidates)])
	l.update(now)
}

// update says what has changed since the last report.
func (l *Link) update(now time.Time) {
	r := &l.report
	m := wire.Report{Class: r.class, Candidates: r.candidates}
	if t := l.rhythm.forgotten; m.Class.Timeout == 0 && t > 0 {
		m.Class.Timeout = uint16(min((t+time.Second-1)/time.Second, 1<<16-1))
	}
	if m.Class == r.sent.Class && slices.Equal(m.Candidates, r.sent.Candidates) {
		return
	}
	r.sent = m
	if l.sess != nil {
		l.sendReport(now)
	}
}

// restartReport says everything again in a new session.
func (l *Link) restartReport(now time.Time) {
	r := &l.report
	r.sequence, r.next = 0, time.Time{}
	if !r.sent.Class.IsZero() || len(r.sent.Candidates) > 0 {
		l.sendReport(now)
	}
}

// sendReport says what is to be said under a new number.
func (l *Link) sendReport(now time.Time) {
	r := &l.report
	r.sequence++
	r.sent.Sequence, r.tries, r.next = r.sequence, 0, now
	l.repeatReport(now)
}

// repeatReport sends a report that is due.
func (l *Link) repeatReport(now time.Time) {
	r := &l.report
	if !core.Due(now, r.next) {
		return
	}
	m := r.sent
	l.Send(core.Signal, &m)
	gap := min(l.RTO()<<min(r.tries, 10), lastRetry)
	r.tries++
	r.next = now.Add(gap + l.jitter(gap/4))
}

// reported takes the acknowledgement. One of an earlier report means nothing: the latest counts.
func (l *Link) reported(m *wire.Reported) {
	if r := &l.report; m.Sequence == r.sequence {
		r.next = time.Time{}
	}
}
