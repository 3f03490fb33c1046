// Package lab describes a small internet and runs it.
//
// A Topology is plain data: it validates, prints and hashes without root and without touching the kernel. A Lab is a
// topology that is up: Up makes it, Configure gives it other NATs and links, Reset forgets every flow and every packet in
// flight, and Close undoes all of it. A Pool keeps labs wired between trials. Prove has each NAT classified from outside
// before anything is measured through it.
//

//
// What Up makes of it: hosts and routers are network namespaces.
//
//	camera (host)        viewer (host)          rendezvous (public host)
//	  │ veth               │ veth                 │ TUN
//	router: nftables     router: nftables         │
//	  │ TUN wan0           │ TUN wan0             │
//	  └────────────────────┴──── fabric ──────────┘   a process of its own: routes, delays, loses
package lab
