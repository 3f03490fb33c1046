package stack

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/punchlab/punchlab/lab"
	"golang.org/x/sys/unix"
)

// tapBuffer is what a tap's socket may hold, in bytes of kernel memory; an ordinary user may be granted less.
const tapBuffer = 8 << 20

// taps are packet sockets on the devices of hosts: they see live what the lab's capture writes to a file, beside it. Big
// packets that a kernel splits later are seen whole.
type taps struct {
	seen func(host string, out bool, at time.Time, packet []byte)
	list []*tap
	wg   sync.WaitGroup
}

type tap struct {
	host string
	file *os.File
	raw  syscall.RawConn
	mu   sync.Mutex
	buf  [1 << 16]byte
	oob  [64]byte
}

// openTaps watches every device that the hosts have now, but for loopbacks. seen is called from several goroutines, and must
// not keep the packet.
func openTaps(hosts []*lab.Machine, seen func(host string, out bool, at time.Time, packet []byte)) (*taps, error) {
	t := &taps{seen: seen}
	for _, m := range hosts {
		if err := m.Do(func() error { return t.open(m.Name) }); err != nil {
			return nil, errors.Join(fmt.Errorf("watch the packets of host %s: %w", m.Name, err), t.close())
		}
	}
	for _, one := range t.list {
		t.wg.Go(func() { t.follow(one) })
	}
	return t, nil
}

// open opens the devices of the namespace that it is called in.
func (t *taps) open(host string) error {
	devices, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, d := range devices {
		if d.Flags&net.FlagLoopback != 0 {
			continue
		}
		fd, err := packetSocket(d.Index)
		if err != nil {
			return fmt.Errorf("device %s: %w", d.Name, err)
		}
		one := &tap{host: host, file: os.NewFile(uintptr(fd), "tap "+host)}
		if one.raw, err = one.file.SyscallConn(); err != nil {
			return errors.Join(err, one.file.Close())
		}
		t.list = append(t.list, one)
	}
	return nil
}

// packetSocket receives the IP packets of a device, both ways, with their times.
func packetSocket(device int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, tapBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, tapBuffer)
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // as the network writes it
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: device}),
	)
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("set up packet socket: %w", err)
	}
	return fd, nil
}

// follow reads until the tap is closed.
func (t *taps) follow(one *tap) {
	for {
		err := one.raw.Read(func(fd uintptr) bool {
			t.drain(one, int(fd))
			return false // wait for more
		})
		if err != nil {
			return
		}
	}
}

// drain reads what there is.
func (t *taps) drain(one *tap, fd int) {
	one.mu.Lock()
	defer one.mu.Unlock()
	for {
		n, oobn, _, from, err := unix.Recvmsg(fd, one.buf[:], one.oob[:], unix.MSG_DONTWAIT)
		if err == unix.EINTR || err == unix.ENETDOWN { // a host that moves takes its device down
			continue
		}
		if err != nil {
			return
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || n == 0 {
			continue
		}
		t.seen(one.host, link.Pkttype == unix.PACKET_OUTGOING, stamp(one.oob[:oobn]), one.buf[:n])
	}
}

// stamp is when the kernel saw the packet.
func stamp(oob []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err == nil {
		for _, m := range messages {
			whole := len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{}))
			if whole && m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS {
				return timespec(m.Data)
			}
		}
	}
	return time.Now()
}

// flush reads what has come up to now.
func (t *taps) flush() {
	for _, one := range t.list {
		_ = one.raw.Control(func(fd uintptr) { t.drain(one, int(fd)) })
	}
}

// lost is how many packets were not read in time.
func (t *taps) lost() (n uint32) {
	for _, one := range t.list {
		_ = one.raw.Control(func(fd uintptr) {
			if s, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
				n += s.Drops
			}
		})
	}
	return n
}

func (t *taps) close() error {
	var errs []error
	for _, one := range t.list {
		errs = append(errs, one.file.Close())
	}
	t.wg.Wait()
	return errors.Join(errs...)
}

// timespec reads the kernel's struct, in this machine's byte order.
func timespec(b []byte) time.Time {
	ts := (*unix.Timespec)(unsafe.Pointer(&b[0]))
	return time.Unix(ts.Unix())
}
