// Package pcapng writes and reads captures of IP packets in the pcapng format (draft-ietf-opsawg-pcapng), as much of
// it as a lab needs: several interfaces, nanoseconds, direction, and a comment for each packet.
//
//	Section Header Block          AppendHeader     application, the origin of the capture's clock
//	Interface Description Block   AppendInterface  name, description; numbered from 0 in the order of the file
//	Enhanced Packet Block         AppendPacket     interface, time, direction, bytes, comment
//	…                                              further interfaces and packets, in any order
//
// A direction is that of the host or site at the interface: Outbound goes away from it, Inbound comes to it.
//
// # Link type
//
// Packets have no link layer, yet LINKTYPE_RAW will not do: libpcap knows it by two numbers (101 in files, 12 on
// Linux), compares one with the other when a file has a second interface, and so tcpdump refuses the file (seen with
// libpcap 1.10.3: "an interface has a type 101 different from the type of the first interface"). Files therefore have
// LINKTYPE_NULL: four bytes before each packet give its family, as little-endian 2 for IPv4 and 24 for IPv6, which both
// tcpdump and tshark know (10, Linux's own number, is unknown to tcpdump). All interfaces have one snapshot
// length, because tcpdump refuses a file with several as well.
//
// # Comments
//
// A packet's comment tells what the lab did with it. Comment is the one definition of its grammar. Items come in this
// order, each at most once:
//
//	comment   = item *( SP item )
//	item      = "id=" number         ; the packet's, at every tap that it passes and for its duplicates
//	          | "parent=" number     ; the packet that it was made of or answers
//	          | "at=" word           ; the point of the tap
//	          | "late=" number       ; ns by which it was delivered later than its time
//	          | "held"               ; it waits, a fragment for the first one
//	          | "translated " change | "translated to " change
//	          | "dropped: " reason
//	change    = endpoint "→" endpoint          ; translated: the source's; translated to: the destination's
//	endpoint  = IPv4 ":" port / "[" IPv6 "]:" port
//	reason    = text                           ; up to the comment's end
//
//	id=17 at=wan translated 192.168.1.2:5000→203.0.113.1:5000
//	id=17 at=wan dropped: no mapping
package pcapng
