// Package rendezvous is the rendezvous server as a program: what the core (impl/rendezvous) has of its host.
//
//	             Options
//	                │ Start ──► Handle: Stats, Reload, Drain, Kill, Close        Run = Start, then Drain at the context's end
//	                ▼
//	UDP, TCP, TLS ── node ── core ◄──► cluster (impl/cluster) ── NATS
//	                          │  ▲
//	       file of stamps ◄───┘  └─── maker's keys, revocations, account's key: read again by Reload (SIGHUP)
//	  HTTP ── /metrics, /healthz, /readyz
//
// Sockets come from a device.Network, so that a server may live in a network namespace that is somebody else's; zero is
// this host's. Its log is structured and holds no secret: UIDs are names, and keys are not written.
package rendezvous
