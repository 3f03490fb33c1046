// Package viewer is the viewer as a program: it knows cameras by name, stays logged in at their rendezvous servers, follows who is
// online, and connects while somebody wants the picture.
//
//	book.json ── label, name, role, where it was last met ──┐
//	                                                         ▼
//	Watch ──► Feed ◄── frames ── camera ◄── events ── home ── core (impl/viewer) ── sockets (impl/device)
//	Cameras, Changed ◄── state ────┘                   one for each rendezvous
//	Invite, Members, Revoke … ──► Manage ──────────────┘
//
// A camera sends only while there is a Feed of it: the first one connects, all share one stream, the last one's Close ends
// it. A connection that fails is made again, as soon as the rendezvous says that the camera is back or after a while, unless
// the camera or the rendezvous has refused it for good.
//
// One process at a time has a book open; others of the same user ask it (Use), so that their sessions do not put each other out.
//
// All methods may be called from any goroutine.
package viewer
