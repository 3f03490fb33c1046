// Package netns makes and enters Linux network namespaces, and isolates a program so that it can.
//
//	your shell ── punchlab (parent: only waits and forwards signals)
//	                 │ clone(NEWNS|NEWNET|NEWPID [|NEWUSER when not root]), dies with its parent
//	                 ▼
//	              punchlab (child, PID 1 of its own PID namespace)
//	                 ├─ NS ── NS ── NS …   held by descriptors only, no name under /run/netns
//	                 └─ whatever it starts; the kernel ends all of it when PID 1 ends
//
// Nothing here has a name in the file system, so a process that is killed at any moment leaves neither
// namespace, interface, rule nor process: closing the last descriptor is the cleanup, and the kernel does it.
package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	vns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ErrClosed is returned by the methods of a closed NS.
var ErrClosed = errors.New("network namespace is closed")

// NS is a network namespace that lives as long as its descriptor, and as the sockets opened inside.
// It is safe for concurrent use, except Close.
type NS struct {
	fd        vns.NsHandle
	route, nf *netlink.Handle
}

// New creates a namespace with its loopback interface up.
func New() (*NS, error) {
	n := &NS{fd: vns.None()}
	err := onOwnThread(func() (err error) {
		if n.fd, err = vns.New(); err != nil {
			return fmt.Errorf("unshare network namespace: %w", err)
		}
		// This thread is inside now, so the sockets that the handle opens are too.
		// Two handles: one for both families leaks the first socket where the second is refused.
		if n.route, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return fmt.Errorf("open netlink: %w", err)
		}
		n.nf, err = netlink.NewHandle(unix.NETLINK_NETFILTER)
		if errors.Is(err, unix.EPROTONOSUPPORT) {
			return fmt.Errorf("open netlink: %w: this kernel has no nftables (CONFIG_NF_TABLES; modprobe nf_tables)", err)
		}
		if err != nil {
			return fmt.Errorf("open netlink: %w", err)
		}
		const lo = 1
		if err := n.route.LinkSetUp(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: lo}}); err != nil {
			return fmt.Errorf("set lo up: %w", err)
		}
		return nil
	})
	if err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// FD returns the namespace's descriptor, which stays the namespace's.
func (n *NS) FD() int { return int(n.fd) }

// Netlink returns a handle for links, addresses and routes whose socket is inside the namespace.
func (n *NS) Netlink() *netlink.Handle { return n.route }

// Netfilter returns a handle for connection tracking whose socket is inside the namespace.
func (n *NS) Netfilter() *netlink.Handle { return n.nf }

// Do runs fn on an OS thread that is inside the namespace. Sockets and processes that fn makes stay there;
// goroutines that it starts do not.
func (n *NS) Do(fn func() error) error {
	if !n.fd.IsOpen() {
		return ErrClosed
	}
	return onOwnThread(func() error {
		if err := vns.Set(n.fd); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return fn()
	})
}

// Sysctl writes one of the namespace's own settings, with its path below /proc/sys: "net/ipv4/ip_forward".
func (n *NS) Sysctl(key, value string) error {
	return n.Do(func() error {
		if err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0); err != nil {
			return fmt.Errorf("set sysctl: %w", err)
		}
		return nil
	})
}

// Close drops the descriptors. The kernel frees the namespace once the last socket inside is closed too.
func (n *NS) Close() error {
	for _, h := range []**netlink.Handle{&n.route, &n.nf} {
		if *h != nil {
			(*h).Close()
			*h = nil
		}
	}
	if !n.fd.IsOpen() {
		return nil
	}
	return n.fd.Close()
}

// onOwnThread runs fn on a locked thread and restores the thread's namespace. A thread that can't be
// restored stays locked, so that the runtime ends it with its goroutine instead of using it again.
func onOwnThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := vns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("read this thread's network namespace: %w", err)
			return
		}
		err = fn()
		if vns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		home.Close() // before the caller goes on: nothing is left open then
		done <- err
	}()
	return <-done
}
