package web

import (
	"math"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

const (
	clockRate  = 90_000
	maxPayload = 1180 // bytes of an RTP payload: with SRTP, UDP and IPv6 headers it fits 1,280
)

// packetizer packs frames as RFC 6184 says. Timestamps are the camera's; where a stream begins anew, they go on.
type packetizer struct {
	payloader codecs.H264Payloader
	seq       uint16
	stream    uint64
	begun     bool
	base      uint32        // timestamp of PTS 0
	last      time.Duration // PTS of the newest frame
	end       uint32        // its timestamp
}

func newPacketizer() *packetizer { return &packetizer{} }

// nominal is the time between two frames where a stream begins anew.
const nominal = 40 * time.Millisecond

func (p *packetizer) packetize(f Frame) (packets []*rtp.Packet) {
	if p.begun && (f.Stream != p.stream || f.PTS < p.last) {
		p.base = p.end + ticks(nominal) - ticks(f.PTS)
		p.payloader = codecs.H264Payloader{} // what parameter sets it keeps are the other stream's
	}
	p.begun, p.stream, p.last, p.end = true, f.Stream, f.PTS, p.base+ticks(f.PTS)
	payloads := p.payloader.Payload(maxPayload, f.Data)
	for i, b := range payloads {
		packets = append(packets, &rtp.Packet{
			Header:  rtp.Header{Version: 2, Marker: i == len(payloads)-1, SequenceNumber: p.seq, Timestamp: p.end},
			Payload: b,
		})
		p.seq++
	}
	return packets
}

func ticks(d time.Duration) uint32 {
	return uint32(int64(math.Round(d.Seconds() * clockRate)))
}
