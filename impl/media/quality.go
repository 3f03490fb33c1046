package media

import "time"

// Quality is what a receiver has counted since it was made.
type Quality struct {
	Expected  uint64 // packets: highest − first sequence number + 1
	Received  uint64 // packets, each counted once
	Lost      uint64 // packets missing before repair: asked for by NACK or given up, and not found to be merely late
	Repaired  uint64 // of Lost, those that came when asked for
	Duplicate uint64 // packets seen before: over a second path, resent, or replayed
	Reordered uint64 // packets that came after a later one without being asked for
	Late      uint64 // packets that came after their frame was given up

	FramesReceived   uint64 // delivered whole
	FramesIncomplete uint64 // seen in part, lost for good
	FramesSkipped    uint64 // whole, but not decodable after a lost one: dropped up to the next key frame

	Bytes  uint64        // of authentic SRTP packets, duplicates not counted
	Jitter time.Duration // interarrival jitter, RFC 3550 §6.4.1
	RTT    time.Duration // NACK to repair, smoothed; ReceiverConfig.RTT before the first
	NACKs  uint64        // packets asked for, repeats included
	PLIs   uint64        // key frames asked for

	Rejected Rejected
}

// Loss returns the fraction of expected packets that were missing before repair, 0 to 1.
func (q Quality) Loss() float64 {
	if q.Expected == 0 {
		return 0
	}
	return float64(q.Lost) / float64(q.Expected)
}

// Rejected counts dropped input by reason.
type Rejected struct {
	Header  uint64 // too short, or no RTP or RTCP header
	Auth    uint64 // the tag does not fit: forged, damaged, or another session's
	Stream  uint64 // another SSRC or payload type
	Replay  uint64 // older than the replay window, or RTCP seen before
	Payload uint64 // authentic, but not H.264 as RFC 6184 packs it, or not RTCP
}

// Total returns the sum over all reasons.
func (r Rejected) Total() uint64 { return r.Header + r.Auth + r.Stream + r.Replay + r.Payload }
