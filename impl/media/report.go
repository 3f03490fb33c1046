package media

import (
	"fmt"
	"math"
	"time"

	"github.com/pion/rtcp"
)

// report is what the receiver needs for receiver reports.
type report struct {
	due time.Time // zero: nothing has come since the last

	lastAt  time.Time // transit of the packet before, for jitter
	lastTS  uint32
	timed   bool
	jitterN float64 // ns

	expected, received uint64    // at the last report
	sr                 uint32    // middle bits of the last sender report's NTP time
	srAt               time.Time // its arrival
}

// transit updates the interarrival jitter (RFC 3550 §6.4.1). Resent packets are left out: their delay is
// the repair's.
func (p *report) transit(now time.Time, ts uint32) {
	if p.timed {
		sent := float64(int32(ts-p.lastTS)) * 1e9 / clockRate
		d := math.Abs(float64(now.Sub(p.lastAt)) - sent)
		p.jitterN += (d - p.jitterN) / 16
	}
	p.lastAt, p.lastTS, p.timed = now, ts, true
}

func (p *report) jitter() time.Duration { return time.Duration(p.jitterN) }

// schedule sees that a report follows soon after a packet.
func (p *report) schedule(now time.Time, after time.Duration) {
	if p.due.IsZero() {
		p.due = now.Add(after)
	}
}

// reportReception sends a receiver report (RFC 3550 §6.4.2) when one is due.
func (r *Receiver) reportReception(now time.Time) {
	p := &r.report
	if p.due.IsZero() || now.Before(p.due) {
		return
	}
	p.due = time.Time{}
	q := r.Quality()
	expected, received := q.Expected-p.expected, q.Received-p.received
	p.expected, p.received = q.Expected, q.Received
	block := rtcp.ReceptionReport{
		SSRC:               r.cfg.Keys.ssrc,
		LastSequenceNumber: uint32(r.buffer.highest),
		Jitter:             uint32(p.jitterN * clockRate / 1e9),
		LastSenderReport:   p.sr,
	}
	if expected > received {
		block.FractionLost = uint8(min((expected-received)*256/expected, 255))
	}
	if q.Expected > q.Received {
		block.TotalLost = uint32(min(q.Expected-q.Received, 1<<23-1))
	}
	if p.sr != 0 {
		block.Delay = uint32(now.Sub(p.srAt) * 65536 / time.Second)
	}
	r.send(&rtcp.ReceiverReport{SSRC: r.cfg.Keys.viewerSSRC, Reports: []rtcp.ReceptionReport{block}})
}

// handleRTCP takes the camera's sender reports.
func (r *Receiver) handleRTCP(now time.Time, b []byte) error {
	packets, err := openRTCP(r.in, b, &r.q.Rejected)
	if err != nil {
		return fmt.Errorf("handle rtcp: %w", err)
	}
	for _, p := range packets {
		if sr, ok := p.(*rtcp.SenderReport); ok && sr.SSRC == r.cfg.Keys.ssrc {
			r.report.sr, r.report.srAt = uint32(sr.NTPTime>>16), now
		}
	}
	return nil
}
