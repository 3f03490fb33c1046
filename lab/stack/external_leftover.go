package stack

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// leftover finds what programs leave on hosts: processes that went into groups of their own, and devices.
type leftover struct {
	hosts  []*lab.Machine
	spaces map[string]bool           // the hosts' network namespaces
	links  map[*lab.Machine][]string // devices that were there before
}

func newLeftover(hosts []*lab.Machine) (*leftover, error) {
	l := &leftover{hosts: hosts, spaces: map[string]bool{}, links: map[*lab.Machine][]string{}}
	for _, m := range hosts {
		err := m.Do(func() error {
			space, err := os.Readlink("/proc/thread-self/ns/net")
			if err != nil {
				return err
			}
			l.spaces[space] = true
			list, err := net.Interfaces()
			for _, i := range list {
				l.links[m] = append(l.links[m], i.Name)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list what is on host %s: %w", m.Name, err)
		}
	}
	return l, nil
}

// sweepPatience is how long a killed process may take to be gone.
const sweepPatience = 10 * time.Second

// sweep ends every process on the hosts, and reaps those that have become this process's children, as orphans do in a PID
// namespace of its own: of the groups, and of those that were seen before. The groups' leaders, which are waited for elsewhere,
// must have been.
func (l *leftover) sweep(groups, seen []int) error {
	gone := map[int]bool{} // false: was seen, and may still be there
	for _, pid := range seen {
		gone[pid] = slices.Contains(groups, pid)
	}
	for deadline := time.Now().Add(sweepPatience); ; time.Sleep(time.Millisecond) {
		alive, orphans := survey(l.spaces, groups)
		for _, pid := range alive {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		for _, pid := range slices.Concat(alive, orphans) {
			gone[pid] = false
		}
		var left []int
		for pid := range gone {
			if gone[pid] = gone[pid] || reap(pid); !gone[pid] {
				left = append(left, pid)
			}
		}
		if len(left) == 0 {
			return l.sweepLinks()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("end the programs on the hosts: processes %v are still there %v after SIGKILL", left, sweepPatience)
		}
	}
}

// reap waits for a dead child, without waiting, and reports whether the process is gone. An orphan becomes this process's
// child when its parent has ended.
func reap(pid int) bool {
	if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err == nil && got == pid {
		return true
	}
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err != nil
}

// survey lists the processes in the namespaces, but for this one, and this one's other children in the groups: what is about
// to end has left its namespace already.
func survey(spaces map[string]bool, groups []int) (alive, orphans []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		space, err := os.Readlink(filepath.Join("/proc", e.Name(), "ns/net"))
		if err == nil && spaces[space] {
			alive = append(alive, pid)
		} else if parent, group, _ := status(pid); parent == os.Getpid() && slices.Contains(groups, group) && pid != group {
			orphans = append(orphans, pid)
		}
	}
	return alive, orphans
}

// status reads /proc/PID/stat: the parent, the process group and the state, proc(5)'s letter; empty: there is no such process.
func status(pid int) (parent, group int, state string) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, ""
	}
	_, _ = fmt.Sscan(string(b[bytes.LastIndexByte(b, ')')+1:]), &state, &parent, &group) // the name before may have anything
	return parent, group, state
}

// sweepLinks removes the devices that were not there before.
func (l *leftover) sweepLinks() error {
	var errs []error
	for _, m := range l.hosts {
		err := m.Do(func() error {
			h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
			if err != nil {
				return err
			}
			defer h.Close()
			list, err := h.LinkList()
			for _, link := range list {
				if !slices.Contains(l.links[m], link.Attrs().Name) {
					err = errors.Join(err, h.LinkDel(link))
				}
			}
			return err
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("remove devices from host %s: %w", m.Name, err))
		}
	}
	return errors.Join(errs...)
}
