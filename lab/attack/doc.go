// Package attack is hosts that mean harm: each is a value that runs on one host of a lab, does at most what its budget
// allows, and says what it sent, what it got, and what it gained that it should not have.
//
//	off the path     Spoofer      writes any source address (raw socket), sees no answer
//	                 Flooder      a Spoofer of handshakes that look valid
//	on the path      Middle       between a host and its router: sees, drops, delays, alters, replays, reorders by a Rule
//	                 SYNFlooder   half-open TCP connections from addresses that are nobody's
//	a client         Garbler      says on TCP connections what no client says
//	                 Enumerator   a viewer that asks for one UID after the other, and keeps the answers and their times
//	                 Impostor     a camera with a key of its own that is handed another one's visitors
//	                 Decoy        a web or RTSP server where viewers expect their camera's, which asks for logins
//	the provider     RogueRendezvous   holds the rendezvous' key, and lies to both sides
//	                 RogueRelay        the bundled server, which alters and keeps what it relays
//
//	            Budget{Packets, Duration}
//	                │
//	core or rule ──►│ meter ──► sockets of a lab.Machine ──► Report{Sent, Received, Ended, Counts, Gained}
//	                │
//	                └ spent: everything is closed, and what was between others is taken out again
//
// What decides is without I/O and takes time as an argument (passage, asker, rogue …); what runs it is a few lines. No
// attack has a socket that is not a lab.Machine's: a Machine that no running lab made is refused (ErrNotLab), so that none of
// this can ever reach a network that is somebody's.
//
// They are the attacks that broke real P2P cameras: CVE-2019-11219 (Enumerator), CVE-2019-11220 (Middle, RogueRendezvous),
// CVE-2021-28372 (Impostor), CVE-2020-26262 and reflection (Spoofer with Kinds, RogueRendezvous), impl/PROTOCOL.md §18.
// IPv4 alone: Spoofer, Flooder and Middle.
package attack
