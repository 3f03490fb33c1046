package soak

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/internal/sniff"
	"golang.org/x/sys/unix"
)

// wiretap tells a function the IP packets that pass a host's card, as they pass.
type wiretap struct {
	fd     int
	over   atomic.Bool
	missed atomic.Int64
	wg     sync.WaitGroup
}

// listenIn begins. out says that the packet is from the host; b is valid until see returns.
func listenIn(m *lab.Machine, see func(out bool, b []byte)) (*wiretap, error) {
	w := &wiretap{}
	err := m.Do(func() error {
		card, err := cardOf(m.Addr())
		if err != nil {
			return err
		}
		w.fd, err = sniff.Open(card, false)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen in on host %s: %w", m.Name, err)
	}
	w.wg.Go(func() { w.read(see) })
	return w, nil
}

func (w *wiretap) read(see func(out bool, b []byte)) {
	var r sniff.Reader
	for !w.over.Load() {
		p, e := r.Read(w.fd)
		switch e {
		case 0:
			out := p.Out
			p.Wire(func(b []byte) { see(out, b) })
		case unix.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, 50)
		case unix.EINTR:
		default:
			w.missed.Add(1)
		}
	}
}

// close ends it; missed says how many packets the kernel did not tell.
func (w *wiretap) close() (missed int64) {
	w.over.Store(true)
	w.wg.Wait()
	unix.Close(w.fd)
	return w.missed.Load()
}

// cardOf is the device that has an address, in the namespace of the calling thread.
func cardOf(a netip.Addr) (int, error) {
	devices, err := net.Interfaces()
	if err != nil {
		return 0, err
	}
	for _, d := range devices {
		addrs, err := d.Addrs()
		if err != nil {
			return 0, err
		}
		for _, x := range addrs {
			if p, err := netip.ParsePrefix(x.String()); err == nil && p.Addr() == a {
				return d.Index, nil
			}
		}
	}
	return 0, fmt.Errorf("no device has the address %v", a)
}

// poll takes a datagram that has come already.
func poll(c *net.UDPConn, buf []byte) ([]byte, bool) {
	raw, err := c.SyscallConn()
	if err != nil || c.SetReadDeadline(time.Time{}) != nil {
		return nil, false
	}
	n := -1
	err = raw.Read(func(fd uintptr) bool {
		for {
			k, _, err := unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			if err == nil {
				n = k
			}
			if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNREFUSED) {
				return true
			}
		}
	})
	if err != nil || n < 0 {
		return nil, false
	}
	return buf[:n], true
}
