// Package camera is the camera as a program: what the core (impl/camera) has of its host.
//
//	 state folder                  Options
//	camera.key    0600                │ Start ──► Handle: Stats, Motion, Close, Kill      Run = Start, then Close at the context's end
//	camera.crt                        ▼
//	label.txt     0600   UDP, TCP, multicast on the LAN ── node ── core ◄── bandwidth (one estimator a viewer)
//	pairings.json 0600                │                      │ ▲
//	boot, private                     │              readers │ │ frames
//	spool/                            │                      ▼ │
//	                  router ── port mapping          source.Hub ──► recorder ──► S3
//
// The folder is what `punchlab provision` made; pairings, the count of starts and the recording's spool are added to it. Everything in
// it is written whole or not at all, and only one program uses it at a time. Reset makes it what the maker delivered.
//
// Sockets come from a device.Network, and processes from a function, so that a camera may live in a network namespace that is somebody
// else's; zero is this host's. Its log is structured and holds no secret: UIDs are names; keys, labels and passwords are not written.
package camera
