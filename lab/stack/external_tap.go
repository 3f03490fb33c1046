package stack

import (
	"errors"
	"fmt"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/internal/sniff"
)

// openTaps watches every device that the hosts have now, but for loopbacks: the taps see live what the lab's capture writes to a file,
// beside it, as a wire would carry it (package sniff). seen is called from several goroutines, and must not keep the packet.
func openTaps(hosts []*lab.Machine, seen func(host string, out bool, at time.Time, packet []byte)) (*sniff.Taps, error) {
	t := sniff.NewTaps(seen)
	for _, m := range hosts {
		if err := m.Do(func() error { return t.AddAll(m.Name) }); err != nil {
			return nil, errors.Join(fmt.Errorf("watch the packets of host %s: %w", m.Name, err), t.Close())
		}
	}
	return t, nil
}
