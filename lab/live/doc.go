// Package live runs the fabric in real time: it carries packets between network namespaces, in a process of its own,
// so that nothing the lab or a system under test does can delay a packet.
//
//	this process                                   the fabric process (PUNCHLAB_FABRIC, /proc/self/exe)
//	┌───────────────────────────┐  seqpacket       ┌──────────────────────────────────────────┐
//	│ Fabric ── Net ── Uplink   │  socket pair     │ one thread, one epoll set:               │
//	│   requests ───────────────┼─ SCM_RIGHTS ────►│   control socket, timerfd, every device  │
//	│   answers  ◄──────────────┼──────────────────┤   fabric.Fabric: routes, queues, heap    │
//	└───────────────────────────┘                  └───▲──────────────▲──────────────▲────────┘
//	                                                   │ TUN          │ TUN          │ TUN
//	                                              ┌────┴────┐    ┌────┴────┐    ┌────┴────┐
//	                                              │ wan0    │    │ wan0    │    │ wan0    │
//	                                              │ router  │    │ router  │    │ server  │ namespaces
//	                                              └─────────┘    └─────────┘    └─────────┘
//
// A device is made in its namespace by this process, which needs no more than CAP_NET_ADMIN there, and only its
// descriptor travels. It is persistent from the start and goes with its namespace: closing a TUN device on its own
// costs the kernel tens of milliseconds, and closing persistent ones with their namespace next to nothing. As
// netns.NS are held by descriptor alone, a process that is killed leaves no device all the same.
//
// Where /dev/net/tun cannot be opened the device is one end of a veth pair; the other end lies in a namespace of the
// net and is read through AF_PACKET. Checksums and segmentation are then done by the sender's kernel, and the device
// resolves no neighbors (IFF_NOARP): every frame goes to the fabric. It is the slower way.
//
// The fabric process ends when its control socket closes, so it dies with its parent, also of kill -9. If it dies
// first, every call returns an error that wraps ErrFabricEnded and says how it ended.
//
// The lateness of a packet is how long after its due time its delivery began, plus how long the loop's thread waited for
// a CPU before it read the packet. What it cannot see is the way from the kernel's interrupt to a runnable thread: some
// 50 to 100 µs when the machine is idle.
//
// Every program that calls Start calls Main first thing in main, and a test binary in TestMain:
//
//	func TestMain(m *testing.M) { live.Main(); netnstest.Main(m) }
package live
