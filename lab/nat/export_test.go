package nat

import (
	"fmt"
	"math/bits"
)

// Sizes are how much of each kind of state a table has.
type Sizes struct{ Mappings, Aliases, Filters, Strays, Sessions, Held int }

func (t *Table) Sizes() Sizes {
	return Sizes{t.maps.n - t.aliases, t.aliases, t.pins.n - t.strays, t.strays, t.sessions.n, t.pieces.bytes}
}

// Check finds contradictions in a table's state.
func (t *Table) Check() error {
	s := t.Sizes()
	if s.Mappings+s.Aliases > t.maxMappings || s.Filters > pinsPerMapping*t.maxMappings || s.Strays > t.maxMappings ||
		s.Sessions > 2*t.maxMappings || s.Held > maxHeld || t.hosts.n > t.maxMappings || len(t.pieces.list) > maxDatagrams {
		return fmt.Errorf("out of bounds: %+v", s)
	}
	owned := map[[2]uint64]int{}
	aliases, inRev, sessions, counted := 0, 0, 0, map[uint32]uint32{}
	for i := range uint32(t.maps.n + len(t.maps.free)) {
		m := t.maps.at(i)
		if m.proto == 0 {
			continue
		}
		if t.findFwd(m.proto, m.internal(), m.remote()) != i {
			return fmt.Errorf("mapping %d is not in fwd: %+v", i, *m)
		}
		if m.is(alias) {
			aliases++
		} else {
			counted[m.host]++
			if !m.is(disowned) {
				inRev++
				if t.findRev(m.proto, m.external(), m.revRemote()) != i {
					return fmt.Errorf("mapping %d is not in rev: %+v", i, *m)
				}
			}
		}
		if m.is(ownsPort) {
			owned[[2]uint64{uint64(m.proto), m.external().word()}]++
		}
		sessions += int(m.sessions)
	}
	if err := t.checkPorts(owned); err != nil {
		return err
	}
	switch {
	case aliases != t.aliases || t.fwd.n != t.maps.n || t.rev.n != inRev:
		return fmt.Errorf("%d aliases, %d in rev, %d in fwd of %d: counted %d and %d", t.aliases, t.rev.n, t.fwd.n, t.maps.n, aliases, inRev)
	case sessions != t.sessions.n || t.talking.n != sessions || t.pinned.n != t.pins.n || t.hosted.n != t.hosts.n:
		return fmt.Errorf("%d sessions (%d in index), counted %d; %d pins (%d)", t.sessions.n, t.talking.n, sessions, t.pins.n, t.pinned.n)
	}
	for i, n := range counted {
		if t.hosts.at(i).count != n {
			return fmt.Errorf("host %d counts %d mappings, has %d", i, t.hosts.at(i).count, n)
		}
	}
	return nil
}

// checkPorts adds the owners that are no mappings and compares them with the ports that are taken.
func (t *Table) checkPorts(owned map[[2]uint64]int) error {
	for _, x := range t.statics.list {
		if t.b.Kind != NoNAT {
			owned[[2]uint64{uint64(x.proto), x.ext.word()}]++
		}
	}
	strays := 0
	for i := range uint32(t.pins.n + len(t.pins.free)) {
		p := t.pins.at(i)
		if t.findPin(p.kind, p.proto, p.owner(), p.far()) != i {
			continue
		}
		if p.kind == holdPin {
			owned[[2]uint64{uint64(p.proto), p.owner().word()}]++
		}
		if p.kind != filterPin && p.kind != usedPin {
			strays++
		}
	}
	if strays != t.strays {
		return fmt.Errorf("%d strays, counted %d", t.strays, strays)
	}
	taken := 0
	for _, protocols := range t.ports.use {
		for _, u := range protocols {
			if u == nil {
				continue
			}
			for _, w := range u {
				taken += bits.OnesCount64(w)
			}
		}
	}
	for k, n := range owned {
		if n != 1 {
			return fmt.Errorf("port %v is owned %d times", k, n)
		}
	}
	if taken != len(owned) {
		return fmt.Errorf("%d ports are taken, and %d owned", taken, len(owned))
	}
	return nil
}
