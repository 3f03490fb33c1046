package live

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/punchlab/punchlab/lab/netns"
	"golang.org/x/sys/unix"
)

// CaptureOptions tune a capture.
type CaptureOptions struct {
	Snap int // bytes kept of each packet, from its IP header on; zero: all
}

// Capture has the fabric process write what passes the net's taps and monitors to the file, as pcapng (package tap says
// how). The caller may close its own descriptor at once. While it runs, big packets are split where they enter, so that
// the capture shows what a wire would carry.
func (n *Net) Capture(f *os.File, o CaptureOptions) error {
	if o.Snap < 0 {
		return fmt.Errorf("start capture: snap length %d is negative: give 0 for whole packets", o.Snap)
	}
	_, err := n.fab.client.call(opCapture, n.id, 0, func(e *encoder) { e.u32(uint32(o.Snap)) }, int(f.Fd()))
	runtime.KeepAlive(f) // its number has just been used
	if err != nil {
		return fmt.Errorf("start capture: %w", err)
	}
	return nil
}

// StopCapture ends the capture and returns how many packets it has, when the file is whole. Packets that could not be
// written as fast as they came are an error that wraps ErrCaptureIncomplete; the others are in the file.
func (n *Net) StopCapture() (packets uint64, err error) {
	b, err := n.fab.client.call(opStopCapture, n.id, 0, nil, -1)
	if err != nil {
		return 0, fmt.Errorf("stop capture: %w", err)
	}
	d := decoder{b: b}
	packets, lost, failed := d.u64(), d.u64(), d.text()
	switch {
	case d.err != nil:
		err = d.err
	case failed != "":
		err = errors.New(failed)
	case lost > 0:
		err = fmt.Errorf("%w: %d packets are missing: give a snap length, or a faster disk", ErrCaptureIncomplete, lost)
	}
	if err != nil {
		err = fmt.Errorf("capture: %w", err)
	}
	return packets, err
}

// Monitor adds a device of a kernel router's LAN to what the net captures, as the interface "monitor " and name. The
// kernel says when a packet passed it. It costs the namespace a copy of each packet while a capture runs.
func (n *Net) Monitor(name string, ns *netns.NS, device string) error {
	var fd int
	err := ns.Do(func() error {
		index, err := indexOf(device)
		if err == nil && index == 0 {
			err = fmt.Errorf("no device %q", device)
		}
		if err == nil {
			fd, err = openMonitor(index)
		}
		return err
	})
	if err == nil {
		_, err = n.fab.client.call(opMonitor, n.id, 0, func(e *encoder) { e.text(name) }, fd)
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("monitor %q: %w", name, explainDevice(err))
	}
	return nil
}

// openMonitor opens a socket for the IP packets of the device in both directions. It is mute.
func openMonitor(index int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	err = errors.Join(
		mute(fd),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
	)
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, packetBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, packetBuffer)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: allProtocols, Ifindex: index})
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("set up packet socket: %w", err)
	}
	return fd, nil
}

// mute lets a packet socket receive nothing. Unbinding it instead would wait for all of the kernel's processors.
func mute(fd int) error {
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{
		Len: 1, Filter: &unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K},
	})
}

// unmute undoes mute.
func unmute(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) }
