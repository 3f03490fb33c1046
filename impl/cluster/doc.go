// Package cluster joins several rendezvous servers through NATS, so that any of them serves any camera.
//
//	          hello, visit, tell, call …            core subjects, sealed letters
//	node A ◄──────────────────────────────► NATS ◄──────────────────────────────► node B
//	  │        cameras: UID → node, since           JetStream key-value buckets, sealed entries
//	  │        ties: (UID, id) → connection                                         │
//	  └────────────── relay frames, sealed, by UDP between the nodes' own sockets ──┘
//
// All nodes have the same static key, which labels name, and each its own addresses. A Node is rendezvous.Others for the core
// of its server: what the core asks for is looked up and sent by goroutines here, and what comes of it is handed back on the
// core's goroutine.
//
// Who holds a camera: the entry of the directory, which changes by compare-and-swap alone. A node at which a camera registers
// claims it; where another node that lives has it, that one asks the camera whether it is still there. If it is, two
// devices have one key, and the newcomer is sent away; if not, the claim stands and the other node lets go. Until that has been
// answered, which takes a round trip or two, the newcomer is introduced to viewers of his own node, and to no others; one who was sent
// away lately, to nobody.
//
//	online ──► claim ──► ours          ours: written again from time to time, since entries expire
//	             │ held by a node that lives ──► challenge ──► alive: the newcomer is sent away
//	             │                                    └──────► gone: taken over, the other node releases it
//	offline ──► written, unless the entry is another's by now
//
// A node lives while its hello is heard, once a second; entries of a process that has ended count for nothing. With NATS away a
// node serves its own devices, says so (Health), and announces them again when it is back.
//
// NATS is trusted to deliver, not with contents: letters, entries and frames are sealed with keys from the servers' static key.
package cluster
