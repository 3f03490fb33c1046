// Package fabric is the internet between the sites: many isolated nets, each routing by destination address between
// the access links of its uplinks, and each link impairing what passes.
//
//	          uplink A                     net                      uplink B
//	site A ──► link.Queue up ──due──► TTL, route ──► link.Queue down ──due──► Output ──► site B
//	        Send                       (the core)                         Deliver
//
// A packet passes two stages, and both end in one 4-ary heap ordered by (due, sequence). The second stage starts at
// the time when the first was due, not at the time when the engine came round to it, so that lateness does not add up
// and no decision depends on it. Lateness, due time to the start of the delivery, is counted for each packet; so is
// what the driver says that the packet waited before it was read.
//
// A Fabric has no clock, lock, goroutine or I/O. Whoever drives it passes the time in: lab/live the kernel's, lab/sim
// and the tests a virtual one. A time is a duration since an origin that the driver chooses and keeps. Packets come
// from a pool, and nothing is allocated for one on its way.
//
// Nets share nothing but heap and pool: neither a packet nor a random decision of one depends on another.
//
// What the core answers itself: "fragmentation needed" (RFC 1191 §4) and "packet too big" (RFC 4443 §3.2) when a
// packet is larger than the next link's MTU, and "time exceeded" (RFC 792, RFC 4443 §3.3), all to the sender, through
// its downlink. An IPv4 packet without DF that is too big is dropped and counted, and not fragmented: every sender
// on a site has its uplink's MTU on its own device, and Linux sets DF on what it sends.
//
// A Fabric is not safe for concurrent use.
package fabric
