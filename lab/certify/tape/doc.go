// Package tape has the packets that pass a lab's hosts, while they do, and answers questions about them.
//
//	lab.Machine ─ Watch ───────┐
//	lab.Outlet ── WatchOutlet ─┤► Tape ─ Packets(mark, Match…) ─► []Packet ─┬─► Routes.Of, Flows, Rebinds    which way
//	                           │           Wait                    ▲        ├─► Keepalives, Busiest, Gaps    when
//	capture.pcapng ───────── Read ─────────────────────────────────┘        ├─► Bytes, Rate, PerSecond       how much
//	                                                                        └─► Bodies → Random, Find        what
//
// A packet is seen at the host that sent it and at the one that it came to, by Packet.Host and Packet.Out; what was lost in
// between only at the first. Nobody's word counts, and no protocol is known: the questions are of addresses, sizes, times and bytes.
//
// A tape is the whole of what passed, or Err says that it is not: judge nothing by one with an error.
package tape
