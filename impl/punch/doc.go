// Package punch finds a direct path between two peers that the rendezvous has introduced: what to send, when and where, how much an
// address may be sent before it is known to be the peer's, and when to give up.
//
//	             Add                    Heard               Trust (the rendezvous saw the peer there,
//	candidate ─────────► scheduled ───────────────► alive     or it echoed a challenge from there)
//	                        │  ≤ 5 packets, ≤ 1 KiB unless trusted      │
//	                        │  Fast[0], Fast[1], … then every Slow      ▼
//	                        └──────────── GiveUp ──► silent         any amount
//
// An Agent decides; what is sent as a punch is its owner's matter: a viewer sends punch packets, a camera repeats Noise-2 for as long
// as it has not heard the viewer's session. A candidate is a pair of an own socket and an address of the peer's. The package is a
// core: time is an argument, and it sends nothing itself.
//
// # Strategies
//
// A strategy is a Policy, data in a file of its own. Times count from the moment a side knows the peer's endpoint; the camera knows it when
// it is introduced, the viewer about as long after as a packet takes from the rendezvous. A packet is a punch of 192 bytes, room for the
// answer, or a bare one of 32.
//
//	strategy       sends                                                            at (ms)                            gives up  probes, a side
//	direct         a punch to each candidate: the endpoint that the rendezvous      0 20 60 150 350, then every 400    3 s       128, 200/s
//	               saw, and what the peer says are its own addresses
//	low-ttl        two punches with TTL 3 to the endpoint: they open the own        0 20, then 120 160 250 450,        3.5 s     128, 200/s
//	               filter and end before the peer's NAT; then as direct             then every 400
//	portmap        as direct, and to what the peer's router maps                    as direct                          3 s       128, 200/s
//	ipv6           as direct, IPv6 addresses alone                                  as direct                          3 s       128, 200/s
//	prediction     as direct; a round: the side with the sequential allocator       rounds every 700, 4 of them;       3.5 s     1,024, 1,000/s
//	               samples it by a fresh socket (0 80 160 240) and punches by       guesses 0 80 250 after the
//	               that socket (0 100 200 300 400); the other one guesses the       sample
//	               W = 16 ports after the sample
//	birthday       as direct; the side with the random ports opens N = 256          sockets: 0, half way, at the end,  3 s, or   2,048, 1,000/s
//	               sockets that punch, the other one probes M = 1,024 ports,        1 ms apart; probes: from 20 on,    the end
//	               none twice; 64 × 69 in a block of 1,024                          640 a second                       + 0.7 s
//	tcp            TCP simultaneous open: a punch in a stream, which begins a       0 100 300 700 1500 3000            6 s       128, 200/s
//	               connection where there is none
//	turn           from an own allocation at a TURN server to the endpoint that     as direct;                         4 s       128, 200/s
//	               the rendezvous saw; from the main socket to the peer's           0 60 200
//	               allocations
//	port-forward   the initiation, to a port that the camera's owner forwarded      0 250 750 1750 3750                6 s       128, 200/s
//	relay          nothing: the rendezvous relays                                   –                                  –         0
//	tls443         nothing: the rendezvous relays, by TLS on TCP port 443           –                                  –         0
//	adaptive       as direct, at the same time as the relay, and what both NATs'    as direct; W = 24; 256 × 2,048,    3 s, or   4,096, 1,000/s
//	               classes call for (below)                                         64 × 256 in a block                the end
//	                                                                                                                   + 0.7 s
//
// Bytes of probes are bounded, too: by 32 KiB for those of 128 packets, 64 for prediction, 128 for birthday, 256 for adaptive.
//
// # What the classes call for
//
// Both sides have classified the NATs before them (wire.Class), and each knows the other's class; decide comes to the same conclusion
// on both. Mapping and filtering are endpoint-independent (I), address-dependent (A) or address-and-port-dependent (P); what is
// unknown counts as a mapping of I and a filter of P.
//
//	one side       the other side      what happens
//	I, any filter  I, any filter       both at once
//	A or P, I      any filter but P    both at once
//	A or P, I      filter P            the first one is silent until it hears the other, for 1 s at most: a punch of its own would make a
//	                                   second mapping, by which its answer would leave; the other one expects the first mapping
//	                                   (adaptive alone; prediction and birthday guess here)
//	A or P, A or P I, filter I or A    both at once
//	A or P, A or P I, filter P         the other one guesses the first one's new port: by prediction, or by birthday
//	A or P, A      A or P, A or P      the same: the first one's filter does not mind what port the guess comes from
//	A or P, P      A or P, P           where both are sequential both guess; else the relay
//
// Where both map by address and port and both guess, the k-th packet of either has to go exactly where the l-th of the other leaves from.
// Foreign flows move the allocators by x and y meanwhile. The viewer aims at every second port after the sample, the camera at every one:
// then k = x+y and l = 2x+y meet, whatever x and y, within the window.
//
// Success of N sockets and M probes among P ports is at least 1−(1−N/P)^M. Of 64,511 ports (1025 to 65535): 256 × 174 finds one in
// 49.9 %, 256 × 1,024 in 98.3 %, 256 × 2,048 in 99.97 %. Of a carrier's block of 1,024: 64 × 69 in 98.8 %, 64 × 256 in all but one of
// 10^7. Loss on the way takes from M, but the sockets' second and third punches find the other side's filter opened by its lost probes.
// Two random ports of the same pair are not tried: 99 % would take 140,000 probes a side.
//
// A silent side may have spoken already: it was classified later than it was asked for, or its NAT remembers an earlier connection. So it
// shows a fresh socket by samples, at once or after 400 ms, and the other side punches that (silence.go). A side of that class is also silent
// towards one whose class nobody knows yet: whatever that sends comes in.
//
// A side whose NAT claims to be I, I and that is not reached within 1 s is taken for P, P with random ports from then on: some NATs treat
// servers otherwise than peers (adaptive alone).
//
// A NAT that preserves ports though its mappings depend on the destination (Config.Spare): a fresh socket that has sent nothing yet, whose
// port the peer was told, gets that very port if the peer is the first that it sends to.
//
// # Bounds
//
// Packets of all kinds to an address and port where the peer is not known to receive: 5, and 1,024 bytes; to all ports together of an
// IP address at which the rendezvous has not seen the peer: as many; of such IP addresses: 10 an introduction. Guesses go to the
// IP address where the rendezvous sees the peer, and a sample elsewhere is ignored. Private addresses (RFC 1918, 4193, 3927, 6598,
// loopback) are tried only where both sides appear from the same address, or the peer from a private one. A peer that lies about its NAT costs
// the policy's budget of probes, at its own address. What was spent on unconfirmed addresses stays counted when an agent is restarted.
package punch
