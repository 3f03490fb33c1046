package stack

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/internal/sniff"
	"golang.org/x/sys/unix"
)

// taps are packet sockets on the devices of hosts: they see live what the lab's capture writes to a file, beside it, as a wire
// would carry it (package sniff).
type taps struct {
	seen func(host string, out bool, at time.Time, packet []byte)
	list []*tap
	wg   sync.WaitGroup
}

type tap struct {
	host string
	file *os.File
	raw  syscall.RawConn

	mu     sync.Mutex
	reader sniff.Reader
	untold uint32 // packets that the kernel did not tell
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
		fd, err := sniff.Open(d.Index, false)
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
		p, e := one.reader.Read(fd)
		switch e {
		case 0:
		case unix.EINTR, unix.ENETDOWN: // a host that moves takes its device down
			continue
		case unix.EINVAL:
			one.untold++
			continue
		default:
			return
		}
		at := time.Unix(0, int64(p.At))
		if p.At == 0 {
			at = time.Now()
		}
		p.Wire(func(b []byte) { t.seen(one.host, p.Out, at, b) })
	}
}

// flush reads what has come up to now.
func (t *taps) flush() {
	for _, one := range t.list {
		_ = one.raw.Control(func(fd uintptr) { t.drain(one, int(fd)) })
	}
}

// lost is how many packets were not read in time, or could not be read.
func (t *taps) lost() (n uint32) {
	for _, one := range t.list {
		one.mu.Lock()
		n += one.untold
		one.mu.Unlock()
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
