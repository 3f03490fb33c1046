package lab

import (
	"fmt"
	"os"

	"github.com/punchlab/punchlab/lab/live"
)

// Capture writes every packet at every tap to the file, in pcapng, until StopCapture: the taps of the fabric, with what
// became of each packet, and a monitor on each LAN device of a kernel router, whose name is that of the station there
// (site/host). The file stays the caller's.
func (l *Lab) Capture(f *os.File) error {
	if err := l.watch(); err != nil {
		return fmt.Errorf("capture topology %s: %w", l.topo.Name, err)
	}
	if err := l.net.Capture(f, live.CaptureOptions{}); err != nil {
		return fmt.Errorf("capture topology %s: %w", l.topo.Name, err)
	}
	return nil
}

// watch has the fabric see what the kernel routers' LAN devices carry, from now on.
func (l *Lab) watch() error {
	if l.watched {
		return nil
	}
	err := l.eachSite(func(p *place) error {
		for _, c := range p.cables {
			if err := l.net.Monitor(c.to, p.kernel, c.port); err != nil {
				return err
			}
		}
		return nil
	})
	l.watched = err == nil
	return err
}

// StopCapture ends the capture; every packet up to now is in the file then.
func (l *Lab) StopCapture() error {
	if _, err := l.net.StopCapture(); err != nil {
		return fmt.Errorf("stop capture: %w", err)
	}
	return nil
}
