// Package packet gives views of IPv4, IPv6, UDP, TCP and ICMP headers in place, and checksums that follow a change
// without reading the payload (RFC 1624). A view is the bytes themselves: nothing is copied or allocated.
//
//	b ── ParseIPv4 ──► IPv4   0       4       8       12      16      20          TotalLen
//	                          │ver,len│id,frag│ttl,sum│  src  │  dst  │ options… │ payload │
//	                                                                             └── Payload() ── ParseUDP ──► UDP
//	b ── ParseIPv6 ──► IPv6   0       4       8               24              40
//	                          │ver,flw│len,hop│      src      │      dst      │ extensions… │ payload │
//
// A Parse function checks every length that the getters rely on, so that no getter of a view it returned can panic.
// It does not check checksums: a router does not either, except the IPv4 header's, for which there is a method.
//
// AppendIPv4 and AppendIPv6 translate whole packets from one family to the other (RFC 7915). Segment and FinishChecksum
// do what a host leaves to its network card: they split what is too long and sum what is not summed yet.
//
// It is for the hot path of fabric and NAT; analysis of captures uses gopacket, which also checks this package's tests.
package packet
