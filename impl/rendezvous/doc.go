// Package rendezvous introduces viewers to cameras, keeps track of which cameras are online, tells those who watch them, and
// relays where no direct path exists. It knows devices by their keys and sees none of what they say to each other.
//
//	              response                 first sealed datagram        Goodbye, or silence and
//	initiation ──────────────► pending ─────────────────────────► online ──── 3 pings unanswered ──► offline
//	   │                         │ 10 s                             │  ▲                                │
//	   ▼ not admitted            ▼                                  └──┘ Pong from a new address:       │ evicted when room
//	 Denied                   forgotten                                  the endpoint has moved          ▼ is needed
//
// Admission: Config.Trust judges cameras by their certificates, Config.Account viewers by their tokens. Who is denied leaves no
// trace; who is not any more to be served is found by Recheck. See admit.go and recheck.go.
//
// An endpoint that is told to anybody, or relayed to, has been seen to receive: it is the one that answered the handshake,
// or a Pong came from there. A session replaces an older one of the same key only once it is confirmed, so a replayed
// initiation changes nothing; and a camera's only once the older one's holder, asked by a ping, is silent, so that a copied key
// takes nobody's place (holder.go).
//
//	Connect ──► Peer to the viewer, Introduce to the camera (again until IntroduceAck)
//	        └─► Refused: the same for a camera that is unknown and one that is offline
//	Watch   ──► Presence, and again at each change (presence.go)
//
// A connection is remembered beyond its introduction, as a tie: its parties may ask again where the other is, are told when it
// moves, and may have the next mapping of one shown to the other.
//
//	Again ──► Located to both (again until LocatedAck)       Sample ──► Sampled to the other party
//
// A relay is bound to one tie: frames are accepted only with a channel number from the endpoint it was given to, and go only
// to the endpoint of the other party, within the quotas of the relay, of both devices and of all; they are opaque, and leave
// in the bytes that they came in.
//
// On its UDP sockets the server answers STUN binding requests too, from a grid of four where it has two addresses (RFC 5780),
// never with more bytes than were asked with. A device on a stream (core.Over) is one like any other.
//
// Several servers can be one (Config.Others, cluster.go): a device that another node serves is a record here whose messages go
// by that node.
//
// Memory: a camera that is online is a record of some 300 bytes, its session included, in a slab (slab.go), with places in two
// maps: less than half a KiB in all, and nothing for the garbage collector to follow. What a device has going on besides is
// allocated while it lasts (affairs). All of it is bounded: MaxRegistrations devices are remembered (the device that has been
// offline longest makes room for a new one; where all are online the new one is denied), MaxIntroductions introductions and as
// many relays (a new one is refused), 64 relays a viewer (the idlest makes room, once it is idle for 10 s), one pending session a
// device, one report a device, MaxTies ties, of them 64 of a viewer and 256 of a camera (the one unused longest makes room),
// MaxWatches watched cameras, of them 256 of a viewer.
//
// The package is a core (see impl/core): not safe for concurrent use.
package rendezvous
