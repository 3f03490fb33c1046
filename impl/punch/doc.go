// Package punch finds a direct path between two peers that the rendezvous has introduced: when to punch, where, how
// much an address may be sent before it is known to be the peer's, and when to give up.
//
//	             Add                    Heard               Trust (the rendezvous saw the peer there,
//	candidate ─────────► scheduled ───────────────► alive     or it echoed a challenge from there)
//	                        │  ≤ 5 packets, ≤ 1 KiB unless trusted      │
//	                        │  Fast[0], Fast[1], … then every Slow      ▼
//	                        └──────────── GiveUp ──► silent         any amount
//
// An Agent decides; what is sent as a punch is its owner's matter: a viewer sends punch packets, a camera repeats
// Noise-2 for as long as it has not heard the viewer's session. Strategies are data, a file each: see Policy.
//
// The package is a core: time is an argument, and it sends nothing itself.
package punch
