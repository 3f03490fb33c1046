package media

import (
	"time"

	"github.com/pion/rtcp"
)

const (
	nackSpacing = 5 * time.Millisecond // between NACK packets; what is due within it goes along
	nackMost    = 128                  // sequence numbers a NACK packet, which is 128 × 4 bytes at worst
	nackTries   = 20
	retryLeast  = 15 * time.Millisecond
	longestRTT  = 2 * time.Second
	keySpacing  = 500 * time.Millisecond // between PLIs
)

// repair is what the receiver knows of asking for packets.
type repair struct {
	due    time.Time // of the earliest missing packet
	last   time.Time // NACK packet
	keyDue time.Time // of the next PLI; zero: none is wanted
	keyAt  time.Time // of the last one that RequestKeyFrame sent

	srtt, rttvar time.Duration // RFC 6298 §2
	measured     bool
	doubled      time.Time // when tooSoon last did
}

func (p *repair) sooner(t time.Time) {
	if p.due.IsZero() || t.Before(p.due) {
		p.due = t
	}
}

// sample takes one time from NACK to repair.
func (p *repair) sample(rtt time.Duration) {
	if !p.measured {
		p.srtt, p.rttvar, p.measured = rtt, rtt/2, true
		return
	}
	p.rttvar += ((p.srtt - rtt).Abs() - p.rttvar) / 4
	p.srtt += (rtt - p.srtt) / 8
}

// tooSoon doubles the estimate, at most once a round trip, until an unambiguous sample replaces it: a
// packet asked for twice tells no round trip (Karn's algorithm, RFC 6298 §3).
func (p *repair) tooSoon(now time.Time) {
	if !p.doubled.IsZero() && now.Sub(p.doubled) < p.srtt {
		return
	}
	p.srtt, p.measured, p.doubled = min(2*p.srtt, longestRTT), false, now
}

// retry is how long an answer to a NACK is waited for.
func (p *repair) retry() time.Duration {
	if !p.measured {
		return max(p.srtt*3/2, retryLeast)
	}
	return max(p.srtt+4*p.rttvar, retryLeast)
}

// repairMissing gives up what is too old and asks for what is due.
func (r *Receiver) repairMissing(now time.Time) {
	b, p := &r.buffer, &r.repair
	if b.missing == 0 || p.due.IsZero() || now.Before(p.due) {
		return
	}
	p.due = time.Time{}
	if seq, ok := r.expired(now); ok {
		r.abandon(now, seq)
		r.advance(now)
	}
	if next := p.last.Add(nackSpacing); !p.last.IsZero() && now.Before(next) {
		p.due = next
		return
	}
	r.sendNACK(now, r.collectDue(now))
}

// expired returns the newest packet that has been missing for MaxWait.
func (r *Receiver) expired(now time.Time) (newest uint64, ok bool) {
	b := &r.buffer
	for seq := b.next; seq <= b.highest; seq++ {
		if s := b.at(seq); s.state == missing && now.Sub(s.since) >= r.cfg.MaxWait {
			newest, ok = seq, true
		}
	}
	return newest, ok
}

// collectDue returns the packets to ask for now and notes when the next is due.
func (r *Receiver) collectDue(now time.Time) []uint16 {
	b, p := &r.buffer, &r.repair
	var due []uint16
	for seq := b.next; seq <= b.highest; seq++ {
		s := b.at(seq)
		if s.state != missing {
			continue
		}
		p.sooner(s.since.Add(r.cfg.MaxWait))
		at := s.since.Add(r.cfg.ReorderWait)
		if s.tries > 0 {
			at = s.asked.Add(p.retry())
		}
		switch {
		case s.tries >= nackTries || !s.ask && s.lost:
		case at.Sub(now) > nackSpacing || s.tries == 0 && at.After(now):
			p.sooner(at)
		case !s.ask:
			r.countLost(s)
		case len(due) == nackMost:
			p.sooner(now.Add(nackSpacing))
		default:
			r.countLost(s)
			s.tries++
			s.asked = now
			due = append(due, uint16(seq))
			p.sooner(now.Add(p.retry()))
		}
	}
	return due
}

func (r *Receiver) sendNACK(now time.Time, due []uint16) {
	if len(due) == 0 {
		return
	}
	r.repair.last = now
	r.q.NACKs += uint64(len(due))
	r.send(&rtcp.TransportLayerNack{
		SenderSSRC: r.cfg.Keys.viewerSSRC, MediaSSRC: r.cfg.Keys.ssrc,
		Nacks: rtcp.NackPairsFromSequenceNumbers(due),
	})
}

// requestKeyFrame sends a PLI when a frame is lost for good, and again until a key frame comes.
func (r *Receiver) requestKeyFrame(now time.Time) {
	p := &r.repair
	if p.keyDue.IsZero() || now.Before(p.keyDue) {
		return
	}
	p.keyDue = now.Add(max(keySpacing, 2*p.srtt))
	r.q.PLIs++
	r.send(&rtcp.PictureLossIndication{SenderSSRC: r.cfg.Keys.viewerSSRC, MediaSSRC: r.cfg.Keys.ssrc})
}

// RequestKeyFrame asks the camera for a key frame soon, for a consumer that has just come or has lost something: once in 500 ms at
// most, and not while one is asked for already. Drain Ready afterwards.
func (r *Receiver) RequestKeyFrame(now time.Time) {
	p := &r.repair
	if !r.buffer.started || !p.keyDue.IsZero() || !p.keyAt.IsZero() && now.Sub(p.keyAt) < keySpacing {
		return
	}
	p.keyAt = now
	r.q.PLIs++
	r.send(&rtcp.PictureLossIndication{SenderSSRC: r.cfg.Keys.viewerSSRC, MediaSSRC: r.cfg.Keys.ssrc})
}

// send encrypts one RTCP packet for the camera.
func (r *Receiver) send(p rtcp.Packet) {
	b, err := sealRTCP(r.out, p)
	if err != nil { // 2^31 packets sent (RFC 3711 §9.2): media goes on unrepaired
		return
	}
	r.next.RTCP = append(r.next.RTCP, b)
}
