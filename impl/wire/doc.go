// Package wire is the protocol's byte layouts: which protocol a datagram on the
// shared port belongs to, control messages, punches and relay frames. It is the
// code of impl/PROTOCOL.md, which is normative.
//
//	first byte   0–3      4–8                     64–79        128–191
//	             STUN     punchlab                ChannelData  RTP, RTCP (SRTP)
//	                      4 initiation ┐
//	                      5 response   │ impl/session
//	                      6 cookie     │
//	                      7 transport ─┘─► inside: one control message (CBOR)
//	                      8 punch
//
// A control message is one deterministic CBOR map (RFC 8949 §4.2.1) with integer
// keys; key 0 is the message's type. Exactly one encoding of each message is
// accepted: unknown keys, keys twice, another order or length form, a default
// written out, and bytes after the map are refused. So what parses re-encodes to
// the same bytes, and new fields need a new version.
package wire
