// Package media carries H.264 video from a camera to a viewer: sources of access units, an RTP
// sender and an RTP receiver with repair, jitter buffer and quality counts.
//
//	Source ─► AccessUnit ─► Sender ═══ SRTP ═══► Receiver ─► Frame ─► Writer
//	(clip, file, live)      history ◄── SRTCP ── NACK, PLI, RR, TWCC    (--save FILE.h264)
//
// One packet, as it leaves Packetize (at most SenderConfig.MTU bytes, 1,196 by default, so that a
// ChannelData header of 4 bytes still fits a UDP payload of 1,200 bytes):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---+-+-+-------+-+-------------+-------------------------------+
//	|V=2|0|1|  CC=0 |M|     PT      |        sequence number        |  RFC 3550 §5.1; M: last of its
//	+---+-+-+-------+-+-------------+-------------------------------+  access unit (RFC 6184 §5.1)
//	|                  timestamp, 90 kHz, of the PTS                |
//	|                             SSRC                              |
//	+-------------------------------+-------------------------------+
//	|            0xBEDE             |           length=3            |  RFC 8285 §4.2
//	+-------+-------+---------------+-------------------------------+
//	| ID=1  | len=7 |  abs-capture-time: NTP timestamp, 64 bits …   |  on every packet: any packet
//	+-------+-------+-----------------------------------------------+  of a frame dates the frame
//	|                               …                               |
//	+---------------+-------+-------+-------------------------------+
//	|       …       | ID=2  | len=1 | transport-wide sequence number|  where the camera asks for feedback,
//	+---------------+-------+-------+-------------------------------+  else 3 bytes of padding
//	|  NAL unit, STAP-A of parameter sets, or FU-A (RFC 6184 §5.6 to §5.8), encrypted
//	+---------------------------------------------------------------+
//	|  AEAD_AES_128_GCM tag, 16 bytes (RFC 7714)                    |
//	+---------------------------------------------------------------+
//
// Sender and receiver share more than keys: SSRC, first sequence number (below 2^15, RFC 3711
// §3.3.1) and first timestamp all come from the session's exporter (see Keys). So the receiver knows
// which packet was the first, asks for a lost head of the stream, and gives each frame the PTS and
// index it had at the source.
//
// # Repair
//
// The receiver orders packets by their extended sequence number, which is the SRTP index (RFC 3711
// §3.3.1). A gap older than ReorderWait is asked for by NACK (RFC 4585 §6.2.1), again after a round
// trip, until MaxWait has passed; then its frame is lost for good, and with it everything up to the
// next key frame, which PLI (RFC 4585 §6.3.1) asks for. A resent packet is the same SRTP packet, byte
// for byte: the replay window takes either copy and counts the other as a duplicate. Sending the
// same packet over two paths is therefore harmless, and so is moving from one path to another.
//
// RTCP is sent in reduced size (RFC 5506), one report or message a packet, as SRTCP.
//
// # The path's capacity
//
// A session has one stream, so the transport-wide sequence number is the RTP sequence number. The receiver of packets that have
// one reports their arrivals every FeedbackEvery (draft-holmer-rmcat-transport-wide-cc-extensions-01); what came because it was
// asked for counts as lost there, since its delay is the repair's. An Estimator makes a bitrate of that.
//
// # Bytes
//
// Access units are Annex B with 4-byte start codes throughout, whatever the input used. The receiver
// writes the same form, so a frame is intact exactly when its Hash equals the access unit's.
//
// Sender and Receiver are sans-IO cores: time is an argument, they start no goroutine and are not
// safe for concurrent use. Clip is immutable and may be shared.
package media
