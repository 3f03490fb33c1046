// Package lab turns a topology, which is plain data, into a running network of namespaces.
//
//	camera (host)        viewer (host)          rendezvous (public host)
//	  │ veth               │ veth                 │ TUN
//	router: nftables     router: nftables         │
//	  │ TUN wan0           │ TUN wan0             │
//	  └────────────────────┴──── fabric ──────────┘   a process of its own: routes, delays, loses
//
// Up makes it, Configure gives a topology of the same shape other NATs and links, Reset forgets every flow and
// every packet in flight, and Close undoes all of it. A Pool keeps labs wired between trials. Prove has each NAT
// classified from outside before anything is measured through it.
package lab
