package punch

import (
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// choose is the own part in what both classes and the policy allow. A peer that is not classified yet punches.
func (a *Agent) choose(mine, theirs wire.Class) part {
	p := &a.cfg.Policy
	switch {
	case !p.Direct:
		return plain
	case theirs.IsZero() && p.Has(MethodSilence) && dependent(mine) && open(mine):
		return silent // whoever the peer is, what it sends comes in, and is answered by the mapping that it knows
	case mine.IsZero() || theirs.IsZero():
		return plain
	}
	if !p.Has(MethodPrediction) {
		mine, theirs = disorder(mine), disorder(theirs)
	}
	chosen := plain
	if a.cfg.Role == Camera {
		_, chosen = decide(theirs, mine, p.Has(MethodSilence))
	} else {
		chosen, _ = decide(mine, theirs, p.Has(MethodSilence))
	}
	if (chosen == opens || chosen == probes) && !p.Has(MethodBirthday) {
		return plain
	}
	return chosen
}

// disorder takes the order from a sequential allocator, for a policy that does not predict.
func disorder(c wire.Class) wire.Class {
	if c.Ports == wire.PortsSequential {
		c.Ports, c.Step = wire.PortsRandom, 0
	}
	return c
}

// disbelieve takes a NAT that claims to let anybody in to be the opposite, where the peer was not heard in spite of it: there are NATs
// that treat servers, whose ports are well known, otherwise than peers. Both sides come to it at the same time.
func (a *Agent) disbelieve(now time.Time) {
	if !core.Due(now, a.doubt) {
		return
	}
	a.doubt = time.Time{}
	if slices.ContainsFunc(a.cands, func(c *Candidate) bool { return c.Heard }) {
		return
	}
	mine, theirs := opposite(a.cfg.Mine), opposite(a.cfg.Theirs)
	if part := a.choose(mine, theirs); part == opens || part == probes {
		a.part, a.cfg.Mine, a.cfg.Theirs = part, mine, theirs
		a.plan(now)
	}
}

// opposite is what a NAT that claims to let anybody in is if that is not so.
func opposite(c wire.Class) wire.Class {
	if c.NoNAT || dependent(c) || !open(c) {
		return c
	}
	return wire.Class{Mapping: wire.AddressAndPortDependent, Filtering: wire.AddressAndPortDependent, Ports: wire.PortsRandom}
}
