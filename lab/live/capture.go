package live

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/punchlab/punchlab/lab/internal/sniff"
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
// kernel says when a packet passed it; what it has not split yet is split here (package sniff). It costs the namespace a copy of
// each packet while a capture runs.
func (n *Net) Monitor(name string, ns *netns.NS, device string) error {
	var fd int
	err := ns.Do(func() error {
		index, err := indexOf(device)
		if err == nil && index == 0 {
			err = fmt.Errorf("no device %q", device)
		}
		if err == nil {
			fd, err = sniff.Open(index, true)
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
