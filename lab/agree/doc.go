// Package agree shows that the engines agree. Each requirement of RFC 4787, 5382, 5508 and 6888 that packets can show has
// a script in testdata; the scripts, and random sequences of packets, run on
//
//	table      nat.Table in virtual time: packet in, packet out
//	live       test ── AF_PACKET ── station │ table in lab/live's fabric process │ uplink ── AF_PACKET ── test
//	netfilter  test ── TUN lan0 ── the kernel's nftables, programmed by lab/netfilter ── TUN wan0 ── test
//
// and every packet that comes out is compared after the numbers that an engine draws have been given names. Every checksum
// in it is verified, those in the quotes of ICMP errors too. The tests hold all that but the two parts which other packages' tests
// use: packets in words (Packet) and the kernel's router between raw devices (Kernel).
//
// A known difference stands in its script, as "send differs=netfilter" with the reason above it, and fails once it has
// gone; in lab/nat's Features it stands beside the engine's test. What netfilter refuses, the script says too. In short:
//
//   - netfilter verifies no checksum of UDP and none of an ICMP error; the table drops what is wrong.
//   - The kernel's own stack answers a ping to the router; of the engine table lab/fabric does.
//   - Plain masquerade lets a packet that conntrack can't place out with its internal source, as Linux does.
//   - Conntrack drops TCP segments that fit no state of their connection; the table translates by its mapping.
//   - After a connection's end netfilter keeps its mapping for the established timeout, the table for the transitory one.
//   - With plain masquerade two flows can want a mapped port towards one remote: Linux drops the second, the table finds
//     another port. With port overloading the table lets a flow from before take a mapped port back; netfilter does not.
//   - A hairpin with the internal source never passes a port mapping for one remote in netfilter; in the table it does if the
//     owner has called the sender's external endpoint. The answers that a port mapping of an endpoint-dependent NAT has let
//     out keep their port in netfilter when its lifetime ends, until they are idle.
//   - A wait that is too long for real time ("advance … virtual") is the table's alone.
//
// Requirements without a script: RFC 4787 REQ-13's own path MTU errors (lab/netfilter TestOwnErrors; lab/fabric), RFC 5382
// REQ-6 and REQ-10 and RFC 5508 REQ-10, REQ-11 (see req10-alg, req09-icmp, req04-errors-in, req09-policy), RFC 6888 REQ-3,
// REQ-5, REQ-6 and REQ-10 to REQ-15 but 11 (management, logging and randomness: lab/nat's bounds and draws), REQ-9 (lab/portmap).
package agree
