// Package fabric is the internet between the sites: many isolated nets, each routing by destination address between
// the access links of its uplinks, and each link impairing what passes. What hangs on an uplink is a device, or a
// Router: engine table's, a nat.Table with a LAN of stations.
//
//	          uplink A                     net                      uplink B
//	site A ──► link.Queue up ──due──► TTL, route ──► link.Queue down ──due──► Output ──► site B
//	        Send                       (the core)                         Deliver
//
//	station ──► Router ──► TTL, Table ──► uplink's link.Queue up ──due──► …       … ──due──► Router ──► TTL, Table ──► station
//	        Send    └──► another station of the LAN                                             └──► a Router behind this one
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
// The seed of a net and what is sent when decide everything that its tap sees, byte for byte. What a table does by
// itself, later, is an event in the same heap. Nets share nothing but heap and pool: neither a packet nor a random
// decision of one depends on another.
//
// # Routers
//
// Hops on a LAN take no time and are not impaired. A packet for another station goes straight there, as through a
// switch; all else passes the table, which learns the due time and not the engine's. Each router counts the TTL down
// once, the core by CoreHops. A router's WAN hangs on the core by an uplink of the router's name, or on another router's
// LAN, or on a device that lies in the LAN of a router of the kernel's.
//
// # Who answers
//
// The core answers "fragmentation needed" (RFC 1191 §4) and "packet too big" (RFC 4443 §3.2) when a packet is larger
// than the next link's MTU, and "time exceeded" (RFC 792, RFC 4443 §3.3), all to the sender, through its downlink. An
// IPv4 packet without DF is cut into fragments instead (RFC 791 §2.3). A router answers the same to its LAN, from the
// gateway's address and before it translates, so that the sender finds its own packet quoted; to its WAN only about
// what its table would have let in; and echo requests to the gateway, unless a station is its own host (Self).
//
// # Offloads
//
// A GSO packet, up to 64 KiB that the sender's kernel left to be segmented, passes whole through links that do no more
// than delay, through the core and, if it is TCP, through routers; it counts as its segments. Before all else it is
// split into them: a link that loses, limits, jitters and so on, a segment larger than an MTU, a tap, and a device that
// does not take it. A checksum that was left to be finished is finished in the same places.
//
// A Fabric is not safe for concurrent use.
package fabric
