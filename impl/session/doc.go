// Package session is every relation of two devices: one Noise IK handshake, then
// sealed datagrams. It is sans-IO: bytes in, bytes out; `now` and randomness are
// arguments; not safe for concurrent use.
//
//	initiator                                           responder
//	NewInitiator ── initiation ───────────────────────► Responder.Open ─► Request
//	   │                                                   │ under load and no mac2:
//	   │◄────────────────────────────────── cookie reply ──┤ reply, no Request
//	HandleCookie ── the same initiation with mac2 ────────►│
//	   │                                                Request.Accept ─► Session
//	   │◄────────────────────────────────────── response ──┘      │ unconfirmed
//	Finish ─► Session                                             │
//	   └── Seal ── transport datagram ────────────────────► Open: confirmed
//	        ◄───── transport datagrams both ways ──────────►
//
// Noise_IK_25519_ChaChaPoly_BLAKE2s; the layouts are drawn in layout.go. The
// initiator retransmits its initiation byte for byte. A responder that gets the
// same one again (InitiationID) from the same source sends the same response
// again, and refuses another initiation whose Timestamp is not greater than the
// peer's last one: the caller keeps both. It must not let a new session replace
// an older one before Confirmed: an initiation that was recorded earlier can be
// replayed to a responder that lost its memory, a transport datagram cannot.
//
// A session ends RejectAfterTime after its handshake, or after
// RejectAfterMessages datagrams in a direction, when Seal and Open refuse. The
// initiator starts a new handshake at RekeyAfterTime or when NeedsRekey says so.
// The package reads no clock: the caller watches the two times.
package session
