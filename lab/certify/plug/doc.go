// Package plug puts a vendor's device, as it is, on the LAN of a lab's site: a box on a cable, of which nothing is known but
// what it sends.
//
//	box ── veth or network card ──► lan3 of a router's namespace (engine netfilter)
//	                                 ├─ DHCPv4, RFC 2131     an address of the site's LAN, the router, the DNS server
//	                                 ├─ DNS, RFC 1035        the vendor's servers are the lab's hosts; each question is kept
//	                                 └─ NAT ── wan0 ── fabric ── the lab's other sites and public hosts
//
// The box gets what a home router gives it, and judges of it read captures (lab.Capture has the outlet as SITE/box). It is an
// ordinary host of the site: the site's NAT, port mapping servers, link and events apply. What a box here does not get:
//
//   - IPv6: nobody sends it router advertisements.
//   - a segment shared with the site's other hosts: these answer by their addresses, through the router, but what is sent to
//     groups or broadcast (mDNS, WS-Discovery) reaches the router alone.
//   - resolvers other than this one: a question to 8.8.8.8 leaves by the NAT like any other packet, and is in the capture.
//   - a router of engine table, which has no namespace to plug anything into: give the site engine: netfilter. Any other
//     site may have any engine.
//
// A program that offers this calls netns.IsolateKeepingHome instead of Isolate, and as root: an ordinary user may not move the
// machine's interfaces. What it runs in the lab as root could then find the machine's namespace in /proc/1/fd, so let it run no
// stranger's program beside a box.
//
// The interface goes back to where it came from when the box or the lab is closed. When the program is killed, at any
// moment, the kernel takes the namespaces down: a network card comes back to the machine's first namespace under the name
// that it had in the lab (lan3), with its own as an alternative one (ip link set lan3 name eth1, after ip link property del dev
// lan3 altname eth1); a veth pair is removed, both ends of it.
package plug
