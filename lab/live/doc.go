// Package live runs the fabric in real time: it carries packets between network namespaces, in a process of its own,
// so that nothing the lab or a system under test does can delay a packet.
//
//	this process                                   the fabric process (PUNCHLAB_FABRIC, /proc/self/exe)
//	┌───────────────────────────┐  seqpacket       ┌──────────────────────────────────────────┐
//	│ Fabric ── Net ── Uplink   │  socket pair     │ one thread, one epoll set:               │
//	│            └──── Router   │                  │   control socket, timerfd, every device  │
//	│   requests       └ Station├─ SCM_RIGHTS ────►│   fabric.Fabric: routes, queues, tables  │
//	│   answers  ◄──────────────┼──────────────────┤ a goroutine that writes captures         │
//	└───────────────────────────┘                  └───▲──────────────▲──────────────▲────────┘
//	                                                   │ TUN          │ TUN          │ TUN
//	                                              ┌────┴────┐    ┌────┴────┐    ┌────┴────┐
//	                                              │ wan0    │    │ eth0    │    │ eth0    │
//	                                              │ kernel  │    │ host on │    │ server  │ namespaces
//	                                              │ router  │    │ a LAN   │    │         │
//	                                              └─────────┘    └─────────┘    └─────────┘
//
// An Uplink is a site's or a public host's access link. A Router is one of engine table: it has no namespace, its LAN's
// hosts are Stations, and its WAN is an uplink, a place on another Router's LAN, or a device in a kernel router's
// namespace. A kernel router behind a Router is a Station.
//
// # Devices
//
// A device is made in its namespace by this process, which needs no more than CAP_NET_ADMIN there, and only its
// descriptor travels. It is persistent from the start and goes with its namespace: closing a TUN device on its own
// costs the kernel tens of milliseconds, and closing persistent ones with their namespace next to nothing. As
// netns.NS are held by descriptor alone, a process that is killed leaves no device all the same.
//
// TUN devices leave to the fabric what a network card would do: packets of up to 64 KiB come with a virtio header, unsplit
// and without checksums. They go on like that over a way that does no more than delay them; package fabric splits
// them before anything else happens to them, and where a tap looks.
//
// Where /dev/net/tun cannot be opened the device is one end of a veth pair; the other end lies in a namespace of the
// net and is read through AF_PACKET. Checksums and segmentation are then done by the sender's kernel, and the device
// resolves no neighbors (IFF_NOARP): every frame goes to the fabric. It is the slower way.
//
// # Captures
//
// Net.Capture has the fabric process write a pcapng file of every point that a packet passes, as package tap words it. The
// loop formats the blocks in memory and another goroutine writes them: a slow disk costs packets in the capture, which
// are counted, and delays none. Net.Monitor adds a device of a kernel router, with the kernel's times. All of them show what
// a wire would carry: what hosts leave to their cards to split (TSO, UDP_SEGMENT), and checksums, are done before it is written.
//
// # Failure and time
//
// The fabric process ends when its control socket closes, so it dies with its parent, also of kill -9. If it dies
// first, every call returns an error that wraps ErrFabricEnded and says how it ended.
//
// The lateness of a packet is how long after its due time its delivery began, plus how long the loop's thread waited for
// a CPU before it read the packet, or was short of buffers to read it into: nets share 65,536 (package fabric). What it cannot see is the way from the kernel's interrupt to a runnable thread: some
// 50 to 100 µs when the machine is idle. At more than 50,000 packets a second the loop lets them gather for 40 µs, which
// counts as lateness too; Options.Precise turns that off.
//
// Every program that calls Start calls Main first thing in main, and a test binary in TestMain:
//
//	func TestMain(m *testing.M) { live.Main(); netnstest.Main(m) }
package live
