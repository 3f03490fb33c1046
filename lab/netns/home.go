package netns

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"
	vns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// homeEnv tells the isolated child that homeFD is the namespace that it comes from, by its inode: the variable is inherited
// by programs that the descriptor is not.
const homeEnv = "PUNCHLAB_HOME"

// homeFD is its number in the child: the first of exec.Cmd.ExtraFiles.
const homeFD = 3

// ErrNoHome means that nobody kept the namespace that this program was started in.
var ErrNoHome = errors.New("the network namespace that this program was started in was not kept")

// IsolateKeepingHome is Isolate for a program that needs the machine's own interfaces: the child can reach the namespace
// that it comes from, by Home. So can whatever runs as root in the child's PID namespace (/proc/1/fd): start no stranger's
// programs there.
func IsolateKeepingHome() error { return isolate(true) }

// Home returns the namespace that the program was started in, which is the machine's own for a user at a terminal; an
// isolated program has it only by IsolateKeepingHome. The caller closes it. An ordinary user may look at it, and change
// nothing. It has no Netfilter handle.
func Home() (*NS, error) {
	path := "/proc/thread-self/ns/net"
	if Isolated() {
		if err := keptHome(); err != nil {
			return nil, err
		}
		path = fmt.Sprintf("/proc/self/fd/%d", homeFD)
	}
	n := &NS{fd: vns.None()}
	err := onOwnThread(func() error {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open the namespace that this program was started in: %w", err)
		}
		n.fd = vns.NsHandle(fd)
		if err := vns.Set(n.fd); err != nil {
			return fmt.Errorf("enter the namespace that this program was started in: %w: run as root to use the machine's interfaces", err)
		}
		if n.route, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return fmt.Errorf("open netlink: %w", err)
		}
		return nil
	})
	if err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// keptHome checks that homeFD is what homeEnv says.
func keptHome() error {
	want, err := strconv.ParseUint(os.Getenv(homeEnv), 10, 64)
	if err != nil {
		return ErrNoHome
	}
	var stat unix.Stat_t
	if err := unix.Fstat(homeFD, &stat); err != nil || stat.Ino != want {
		return ErrNoHome
	}
	return nil
}

// openHome opens the calling thread's namespace for a child, and returns what the child's environment says of it.
func openHome() (f *os.File, env string, err error) {
	if f, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return nil, "", fmt.Errorf("keep this network namespace: %w", err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		f.Close()
		return nil, "", fmt.Errorf("keep this network namespace: %w", err)
	}
	return f, fmt.Sprintf("%s=%d", homeEnv, stat.Ino), nil
}
