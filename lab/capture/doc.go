// Package capture reads what a trial's taps recorded and says what happened: which way every packet took, where and why it
// ended, and why the trial came out as it did.
//
//	pcapng ─ Read ─► Trace ─ Follow ─► Journeys ─► Timeline ─┬─► Text, SVG   a sequence diagram
//	                   │       ▲           │                 └─► Explain     a sentence
//	                   │     Roles         ├─► Flows, Media, Leaks
//	                   └─ Verify ──► lab/fabric in virtual time, with the same inputs
//
// Follow takes a packet from tap to tap by the number that the fabric gave it. A router of the kernel gives no numbers and
// says nothing: there a monitor saw the packet on the router's LAN, a tap the same packet on its WAN, and Follow pairs
// the two by what translation leaves alone, the payload and the other endpoint. What has no partner was dropped, and
// why is inferred from the mappings seen so far: no mapping, filtered, or expired.
//
//	host ──► monitor ──[ router of the kernel ]──► uplink ──► core ──► uplink ──[ router of the kernel ]──► monitor ──► host
//
// Of copies of one datagram, that passed which came last before; of copies that come at once to several ports of a router, that
// which the mappings seen so far lead to. Where two ports lead to one socket the inference may take one copy for the other.
//
// Where the roles name a router's behavior the inference uses its timeouts. On captures of engine table, whose taps
// have the exact verdicts, tests compare the two.
//
// Package pcapng is the format, package tap what the lab writes in it.
package capture
