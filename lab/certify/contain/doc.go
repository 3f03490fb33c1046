// Package contain runs a program that nobody here wrote, on a host of the lab, and says what it did. Whatever the program does, it
// ends in time, leaves nothing behind, and the caller goes on.
//
//	lab (Run) ── orders, answers ──▶ warden ─────────────▶ launcher ══ becomes ══▶ the program
//	   │                              PID 1 of its own      limits, fewer           its children, orphans, daemons:
//	   │ counts and keeps             PID, mount and IPC    capabilities, cgroup    all of them in the warden's
//	   ▼ what they print              namespaces            (if there is one)       PID namespace
//	stdout, stderr
//
// The warden is this executable, started again in the host's network namespace; Main must therefore be called first in main and in
// TestMain. It is the program's init: it reaps orphans, counts processes, memory and files, and when it ends, however it does, the
// kernel kills all that is left. A program can't kill it, since signals from inside that it does not want do nothing to PID 1.
//
// The file system that the program sees:
//
//	Folder           the real one, writable
//	/usr, /etc, …    an overlay for each: writes succeed, go to memory, are listed in the report, and are forgotten
//	/run             the same, but empty at first: a daemon's socket there would be a way out
//	/mnt, …          what can't have an overlay (other file systems are mounted below it): read-only
//	/proc /sys /dev  its own: its own processes, its own network's devices, and only harmless device files
//
// It is user 0, with the capabilities that a device's firmware needs (launch.go) and none to change the machine. It can read
// whatever the lab can: keep from the machine what it must not see. What it leaves in its folder may be symbolic links,
// devices and pipes: read results by os.OpenRoot, and only regular files.
//
// It works as root and as an ordinary user inside namespaces (netns.Isolate). Where cgroup v2 offers memory and pids they hold the
// limits; where it does not, resource limits of each process (setrlimit(2)) hold them and the warden watches the sum, every
// 10 ms. Report.Means says which it was.
package contain
