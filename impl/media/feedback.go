package media

import (
	"errors"
	"fmt"
	"time"

	"github.com/pion/rtcp"
)

var (
	errShort  = errors.New("too short for srtcp")
	errReplay = errors.New("seen before or too old")
)

// replay returns everything from index seq on that the history holds.
func (s *Sender) replay(now time.Time, dst [][]byte, seq uint64) [][]byte {
	if !s.started {
		return dst
	}
	oldest := s.next - min(s.next, uint64(len(s.history.slots)))
	for seq = max(seq, oldest, uint64(s.cfg.Keys.firstSeq)); seq < s.next; seq++ {
		if b, _ := s.history.resend(now, seq, 0); b != nil {
			dst = append(dst, b)
		}
	}
	return dst
}

func (s *Sender) some(now time.Time, dst [][]byte, seq, last uint64, n int) ([][]byte, uint64) {
	if !s.started {
		return dst, last
	}
	oldest := s.next - min(s.next, uint64(len(s.history.slots)))
	seq = max(seq+1, oldest, uint64(s.cfg.Keys.firstSeq))
	for ; n > 0 && seq <= last && seq < s.next; seq++ {
		if b, _ := s.history.resend(now, seq, 0); b != nil {
			dst = append(dst, b)
			n--
		}
	}
	if seq > last || seq >= s.next {
		return dst, last
	}
	return dst, seq - 1
}

func (s *Sender) handleRTCP(now time.Time, b []byte) (Feedback, error) {
	packets, err := openRTCP(s.in, b, &s.rejected)
	if err != nil {
		return Feedback{}, fmt.Errorf("handle rtcp: %w", err)
	}
	var f Feedback
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.TransportLayerNack:
			if p.MediaSSRC == s.cfg.Keys.ssrc {
				s.nack(now, p, &f)
			}
		case *rtcp.PictureLossIndication:
			f.KeyFrame = f.KeyFrame || p.MediaSSRC == s.cfg.Keys.ssrc
		case *rtcp.TransportLayerCC:
			if p.MediaSSRC == s.cfg.Keys.ssrc && s.cfg.TransportCC {
				f.Arrivals = append(f.Arrivals, p)
			}
		case *rtcp.ReceiverReport:
			for i := range p.Reports {
				if p.Reports[i].SSRC == s.cfg.Keys.ssrc {
					s.receiverReport(now, &p.Reports[i], &f)
				}
			}
		}
	}
	return f, nil
}

func (s *Sender) nack(now time.Time, p *rtcp.TransportLayerNack, f *Feedback) {
	for _, pair := range p.Nacks {
		pair.Range(func(seq uint16) bool {
			switch b, gone := s.history.resend(now, s.extend(seq), s.cfg.ResendGap); {
			case gone:
				f.Gone++
			case b == nil:
				f.Repeated++
			default:
				f.Resend = append(f.Resend, b)
			}
			return true
		})
	}
}

// extend finds the newest packet made with this 16-bit sequence number.
func (s *Sender) extend(seq uint16) uint64 {
	return s.next - 1 - uint64(uint16(s.next-1)-seq)
}

func (s *Sender) receiverReport(now time.Time, r *rtcp.ReceptionReport, f *Feedback) {
	f.Report = true
	f.Highest = s.next - 1 - uint64(uint32(s.next-1)-r.LastSequenceNumber)
	f.Lost = float64(r.FractionLost) / 256
	f.Jitter = time.Duration(r.Jitter) * time.Second / clockRate
	ntp, ok := toNTP(now)
	if !ok || r.LastSenderReport == 0 {
		return
	}
	// RFC 3550 §6.4.1: A − LSR − DLSR in units of 1/65536 s; below 0 the report is nonsense.
	rtt := int32(uint32(ntp>>16) - r.LastSenderReport - r.Delay)
	if rtt > 0 {
		f.RTT = time.Duration(rtt) * time.Second >> 16
	}
}

func (s *Sender) report(now time.Time) ([]byte, error) {
	if !s.started || !s.reported.IsZero() && now.Sub(s.reported) < reportEvery {
		return nil, nil
	}
	ntp, ok := toNTP(now)
	if !ok {
		return nil, fmt.Errorf("make sender report: time %v is outside 1968 to 2104", now)
	}
	s.reported = now
	// RFC 3550 §6.4.1: the RTP timestamp that corresponds to the NTP time, so extrapolated.
	since := now.Sub(s.lastFrame)
	ticks := int64(s.lastTicks) + int64(since)*9/100000
	return sealRTCP(s.out, &rtcp.SenderReport{
		SSRC: s.cfg.Keys.ssrc, NTPTime: ntp, RTPTime: s.cfg.Keys.firstTS + uint32(ticks),
		PacketCount: s.packets, OctetCount: s.octets,
	})
}
