// Package soak attacks the bundled implementation thousands of times, each time in another way, and says what that shows: how often an
// attack may yet succeed, by Clopper and Pearson. It also measures what each unauthenticated datagram draws (Reflect).
//
//	        seed ──► try 1, try 2, …        lanes, side by side, each with devices of its own
//	                  │
//	a host that means harm ──► a lab with the bundled rendezvous, cameras and viewers
//	                  │                         │
//	                  └── what it gets          └── what an honest third party sees     ──► success?  ──► Result
//
// A try is what an attacker does once; a success is seen from outside, by packets and by what honest devices are told, and never by
// asking the program that is attacked:
//
//	attack        a try                                                    a success
//	hijack        one registration under a camera's key by who does not    a viewer that asks for the camera's UID is told the
//	              hold it: forged, replayed or altered; the camera is      impostor's endpoint, or the impostor is told of a viewer,
//	              online, has left, or never was                           or is answered by a session under that key
//	capture       one visit of a camera's owner whom a rogue rendezvous    the camera opens a session with the impostor, the owner is
//	              hands to an impostor, and one use of what the impostor   connected with him, a secret is readable in what he was
//	              was handed: replayed, spliced, or taken for a secret     handed, or the camera's list names somebody else
//	downgrade     one handshake that is altered on its way, or begun       a session comes of it: its initiator can open the answer
//	              with other terms by who may begin one: version,
//	              profile, pattern, prologue, proof, length, padding
//	enumeration   one question for a UID, guessed or collected: by         an online camera that was guessed is found, or a camera that
//	              connect, by watch                                        is offline is answered otherwise than one that never was
//
// A try that had no effect is told from one that never arrived by what is asked after it on the same path: every try is followed by an
// honest question whose answer is waited for, cookies are given back, and every lane ends with an honest use that has to work. Times of answers cannot give
// one UID away; what all of them together give away is Result.Timing.
//
// Who is on the path between a device and the rendezvous can always have its datagrams come by way of himself, as any router does:
// that is no hijack, since he reads and alters nothing. A rogue rendezvous can refuse service.
package soak
