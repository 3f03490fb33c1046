// Package lab turns a topology, which is plain data, into a running network of namespaces.
//
//	engine netfilter                     engine table
//	camera (host)                        viewer (host)          rendezvous (public host)
//	  │ veth                               │ TUN                  │ TUN
//	router: a namespace with nftables      │                      │
//	  │ TUN wan0                           │                      │
//	  └──────────────────── fabric ──── nat.Table ────────────────┘   a process of its own: routes, translates, delays, loses
//
// A site's router is of either engine, and may stand behind one of either. Up makes all of it, Configure gives a topology of
// the same shape other NATs and links, Do has an event happen (a reboot, a move, a host that sleeps), Forward opens a port as
// its owner would, Plug puts an interface that is not the lab's on a site's LAN, Reset forgets every flow and every packet in
// flight and mends what events broke, and Close undoes everything. A Pool keeps labs wired between trials. Prove has each NAT
// classified from outside, in each family, before anything is measured through it. Capture writes what every tap sees; with
// tables alone, Topology.Replay is the same net in virtual time, in which a capture plays again. Topology.Chance says what was
// possible between two hosts.
//
// Without any namespace, Topology.Model is the same network in the fabric alone, every router a table: engine sim (lab/sim) has
// whatever lives on its hosts in memory too, in virtual time.
package lab
