package stage

import (
	"fmt"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/certify"
	"github.com/punchlab/punchlab/lab/certify/tape"
)

// What a host that a vendor's program has may send in a second. Beyond the first the program is ended at once: what it sends fills the lab's
// memory and disk, which are the other cases' too. Beyond the second it is at fault where packets were lost or the tape is full.
const (
	floodBytes, floodPackets = 16 << 20, 40_000
	wasteBytes, wastePackets = 4 << 20, 5_000
	wasteShare               = 16 // times the declared bitrate, if that is more
	leastMedia               = 1000
)

// flooded says that a host has sent what no camera has to; torn: packets of the tape are missing. "": it has not.
func flooded(sent tape.Sent, bitrate int64, torn bool) string {
	bytes, packets := int64(floodBytes), int64(floodPackets)
	if torn {
		bytes = max(wasteBytes, wasteShare*bitrate/8)
		packets = max(wastePackets, wasteShare*bitrate/8/leastMedia)
	}
	if sent.PeakBytes <= bytes && sent.PeakPackets <= packets {
		return ""
	}
	return fmt.Sprintf("flooded the network: %d packets and %d bytes in a second, %d bytes in all", sent.PeakPackets, sent.PeakBytes, sent.Bytes)
}

// dam looks four times a second whether a vendor's program floods the lab.
type dam struct{ stop, done chan struct{} }

func (x *Set) newDam() *dam {
	d := &dam{make(chan struct{}), make(chan struct{})}
	go func() {
		defer close(d.done)
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				x.convict()
			case <-d.stop:
				return
			}
		}
	}()
	return d
}

// close ends it, after a last look. It is harmless to nil.
func (d *dam) close(x *Set) {
	if d == nil {
		return
	}
	close(d.stop)
	<-d.done
	x.convict()
}

// convict ends the vendor's programs whose host floods the lab, and blames them, each once.
func (x *Set) convict() {
	x.mu.Lock()
	cast := slices.Clone(x.cast)
	x.mu.Unlock()
	torn, bitrate := x.tape.Err() != nil, x.stage.Decl().Bounds.Bitrate
	if what := flooded(x.tape.Sent(cameraHost), bitrate, torn); what != "" && x.box != nil && !x.drowned {
		x.drowned = true
		f := &Fault{certify.RoleCamera, 1, what}
		x.stage.drown(f)
		x.stage.blame(f)
	}
	for _, p := range cast {
		what := flooded(x.tape.Sent(p.Host), bitrate, torn)
		if what == "" || !p.Vendors {
			continue
		}
		p.mu.Lock()
		known := p.flood != nil
		if !known {
			p.flood = &Fault{p.Role, p.Unit, what}
		}
		p.mu.Unlock()
		if !known {
			x.stage.drown(p.flood) // the program's end blames it
			p.Kill()
			p.cancel()
		}
	}
}

// flooded reports whether a program has flooded the lab.
func (s *Stage) flooded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flood != nil
}

// excused is an error of the capture's, unless the lab was flooded: then it is noted.
func (s *Stage) excused(err error) error {
	if err == nil || !s.flooded() {
		return err
	}
	s.Note("%v", err)
	return nil
}

// drown keeps who flooded the lab first: what cannot be judged for that is that program's fault and not the lab's.
func (s *Stage) drown(f *Fault) {
	s.Note("%v", f)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flood == nil {
		s.flood = f
	}
}
