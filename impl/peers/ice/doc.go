// Package ice is the comparator that most people would reach for today: WebRTC by pion (ICE by RFC 8445, trickled by RFC
// 8838; DTLS-SRTP by RFC 5764; STUN and TURN by RFC 8489 and 8656), carrying the same clip as this project's own camera.
//
//	camera ──TCP──▶ signalling ◀──TCP── viewer       both are connected before the viewer asks
//	   │                 offer, answer, candidates       │
//	   ├──────▶ STUN, TURN (UDP 3478, TCP 443) ◀─────────┤
//	   └───────────── ICE checks, DTLS, SRTP ────────────┘
//
// Signalling and STUN/TURN are the Server's, which stands where a rendezvous would. The viewer offers, as a browser does,
// and the camera answers; each candidate is sent as soon as it is gathered. Every socket is made by a Net, which is told by
// a function where it is to be: so many of each run in one process, each in a network of its own.
package ice
