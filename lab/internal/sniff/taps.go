package sniff

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Taps follow devices and tell each packet that passes them, as a wire would carry it, when the kernel has passed it.
//
//	socket of a device ─┐  a goroutine each, when there is something
//	socket of a device ─┴► Reader ─ Wire ─► seen        Flush does the same at once, for what has passed up to now
//
// They are safe for concurrent use.
type Taps struct {
	seen func(name string, out bool, at time.Time, packet []byte)

	mu     sync.Mutex
	list   []*tap
	closed bool
	wg     sync.WaitGroup
}

type tap struct {
	name string
	file *os.File
	raw  syscall.RawConn

	mu     sync.Mutex
	reader Reader
	lost   uint32 // packets that the kernel did not tell, or dropped
}

// NewTaps returns taps on nothing yet. seen is called from several goroutines, of one device's packets in their order, and must not
// keep the packet.
func NewTaps(seen func(name string, out bool, at time.Time, packet []byte)) *Taps {
	return &Taps{seen: seen}
}

// AddAll follows every device that the calling thread's namespace has now, but for loopbacks. name is what their packets are told with.
// After an error none of them is followed.
func (t *Taps) AddAll(name string) error {
	devices, err := net.Interfaces()
	if err != nil {
		return err
	}
	var indexes []int
	for _, d := range devices {
		if d.Flags&net.FlagLoopback == 0 {
			indexes = append(indexes, d.Index)
		}
	}
	return t.Add(name, indexes...)
}

// Add follows devices of the calling thread's namespace, by their indexes. After an error none of them is followed.
func (t *Taps) Add(name string, devices ...int) error {
	var opened []*tap
	for _, d := range devices {
		one, err := open(name, d)
		if err != nil {
			return errors.Join(fmt.Errorf("device %d: %w", d, err), closeAll(opened))
		}
		opened = append(opened, one)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errors.Join(os.ErrClosed, closeAll(opened))
	}
	t.list = append(t.list, opened...)
	for _, one := range opened {
		t.wg.Go(func() { t.follow(one) })
	}
	return nil
}

func open(name string, device int) (*tap, error) {
	fd, err := Open(device, false)
	if err != nil {
		return nil, err
	}
	one := &tap{name: name, file: os.NewFile(uintptr(fd), "tap "+name)}
	if one.raw, err = one.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, one.file.Close())
	}
	return one, nil
}

func closeAll(list []*tap) error {
	var errs []error
	for _, one := range list {
		errs = append(errs, one.file.Close())
	}
	return errors.Join(errs...)
}

// follow reads until the tap is closed.
func (t *Taps) follow(one *tap) {
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
func (t *Taps) drain(one *tap, fd int) {
	one.mu.Lock()
	defer one.mu.Unlock()
	for {
		p, e := one.reader.Read(fd)
		switch e {
		case 0:
		case unix.EINTR, unix.ENETDOWN: // a host that moves takes its device down
			continue
		case unix.EINVAL:
			one.lost++
			continue
		default:
			return
		}
		at := time.Unix(0, int64(p.At))
		if p.At == 0 {
			at = time.Now()
		}
		p.Wire(func(b []byte) { t.seen(one.name, p.Out, at, b) })
	}
}

// taps are those that there are.
func (t *Taps) taps() []*tap {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list[:len(t.list):len(t.list)]
}

// Flush tells what has passed up to now; when it returns seen has had it.
func (t *Taps) Flush() {
	for _, one := range t.taps() {
		_ = one.raw.Control(func(fd uintptr) { t.drain(one, int(fd)) })
	}
}

// Lost is how many packets were not read in time, or could not be read.
func (t *Taps) Lost() (n uint32) {
	for _, one := range t.taps() {
		one.mu.Lock()
		_ = one.raw.Control(func(fd uintptr) {
			// The kernel's count begins anew each time that it is asked.
			if s, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
				one.lost += s.Drops
			}
		})
		n += one.lost
		one.mu.Unlock()
	}
	return n
}

// Close ends it. seen is not called any more when it has returned.
func (t *Taps) Close() error {
	t.mu.Lock()
	list, was := t.list, t.closed
	t.closed = true
	t.mu.Unlock()
	if was {
		return nil
	}
	err := closeAll(list)
	t.wg.Wait()
	return err
}
