// Package portmap is a router's port mapping servers: UPnP IGD, NAT-PMP (RFC 6886) and PCP (RFC 6887), with the
// behaviors that routers in homes show: granted, another port than asked for, refused, silent, lost early, a false
// external address, an epoch that tells of a reboot or hides it.
//
//	host ── LAN ──► 239.255.255.250:1900   SSDP     where is the description?            ┐
//	                gateway:5000           HTTP     description, SOAP WANIPConnection    ├─ Core ──► Gateway (the NAT)
//	                gateway:5351           NAT-PMP (version 0), PCP (version 2)          ┘            Map, Unmap, PortMaps
//	     ◄────────  224.0.0.1:5350         the new external address, the new epoch
//	     ◄────────  239.255.255.250:1900   SSDP     I am here
//
// Core holds the protocols and no socket or clock: a datagram or an HTTP request goes in, the answer comes out, and the
// time is an argument. Server is its driver in a network namespace.
//
// The NAT holds the mappings. Core remembers beside each what only the protocol knows (who may change it, its PCP nonce,
// its UPnP description) and drops that once the NAT's list lacks the mapping, so it agrees with a router that was reset.
// One internal endpoint has one external port; a second one is refused (UPnP 718). Not served: PCP's PEER and
// THIRD_PARTY, mappings of whole hosts or of protocols other than UDP and TCP, UPnP events and IPv6 pinholes.
package portmap
