package lab

import (
	"fmt"
	"slices"

	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
)

// What realises a router.
const (
	EngineNetfilter = "netfilter" // the kernel's nftables in a namespace of its own
	EngineTable     = "table"     // a nat.Table in the fabric
	EngineSim       = "sim"       // the same tables, with the hosts in memory too and time virtual (lab/sim): a whole run's, never one site's
)

// Engines lists what a run can be on, the default one first.
func Engines() []string { return append(RouterEngines(), EngineSim) }

// RouterEngines lists the values of Site.Engine, which has a router realised in real time, the default one first.
func RouterEngines() []string { return []string{EngineNetfilter, EngineTable} }

// EngineOf is the engine of a site's router: its own, or else the run's.
func (s *Site) EngineOf(run string) string {
	switch {
	case s.Engine != "":
		return s.Engine
	case run != "":
		return run
	}
	return EngineNetfilter
}

// CheckEngines says which routers their engine can't realise exactly, run being the engine of those that name none (empty:
// netfilter). The error, Problems, names each site, its engine and the behaviour.
func (t *Topology) CheckEngines(run string) error {
	var ps Problems
	if run != "" && !slices.Contains(Engines(), run) {
		ps = append(ps, Unknown("engine", "engine", run, Engines()))
		return ps
	}
	for i := range t.Sites {
		switch s := &t.Sites[i]; {
		case s.Engine == "":
			checkEngine(&ps, sitePath(i, "engine"), s, s.EngineOf(run))
		case run == EngineSim && s.Engine == EngineNetfilter:
			ps.add(sitePath(i, "engine"), fmt.Sprintf("site %s: engine sim has no kernel: leave out the site's engine netfilter, or run on engine netfilter",
				quote(s.Name)))
		}
	}
	return ps.Err()
}

// checkEngines holds the sites that name an engine to it.
func (t *Topology) checkEngines(ps *Problems) {
	for i := range t.Sites {
		switch s := &t.Sites[i]; {
		case s.Engine == "":
		case s.Engine == EngineSim:
			ps.add(sitePath(i, "engine"), fmt.Sprintf("site %s: engine sim is a whole run's, not one site's: leave it out, and run on engine sim",
				quote(s.Name)))
		case !slices.Contains(RouterEngines(), s.Engine):
			*ps = append(*ps, Unknown(sitePath(i, "engine"), "engine", s.Engine, RouterEngines()))
		default:
			checkEngine(ps, sitePath(i, "engine"), s, s.Engine)
		}
	}
}

func checkEngine(ps *Problems, path string, s *Site, engine string) {
	if s.Behavior.Validate() != nil {
		return // reported already
	}
	if err := engineSupports(engine, s.Behavior); err != nil {
		other := EngineTable
		if engine == EngineTable {
			other = EngineNetfilter
		}
		msg := fmt.Sprintf("site %s: %v", quote(s.Name), err)
		if engineSupports(other, s.Behavior) == nil {
			msg += "; engine " + other + " can"
		}
		ps.add(path, msg)
	}
}

func engineSupports(engine string, b nat.Behavior) error {
	if engine == EngineNetfilter {
		return netfilter.Supports(b)
	}
	return nil
}
