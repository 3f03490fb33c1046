package fabric

import "fmt"

// SetDown cuts the link or mends it: while it is down, nothing enters it and nothing that is on it comes out. Faults
// are part of how the net is set up: Reset leaves them as they are.
func (u *Uplink) SetDown(down bool) { u.isDown = down }

// SetDown pulls the station's cable or plugs it in again.
func (s *Station) SetDown(down bool) { s.isDown = down }

// SetDown cuts the router's WAN, whatever it hangs on, or mends it.
func (r *Router) SetDown(down bool) {
	if r.uplink != nil {
		r.uplink.isDown = down
		return
	}
	r.wan.isDown = down
}

// hole is a pair of uplinks' names in order, or one and "" for all others.
type hole struct{ a, b string }

func holeOf(a, b string) hole {
	if b != "" && b < a {
		a, b = b, a
	}
	return hole{a, b}
}

// Blackhole lets the core drop, without a word, what goes between two uplinks in either direction, or with b "" what
// goes between a and any other; on false ends that. Names of uplinks that are not attached are refused.
func (n *Net) Blackhole(a, b string, on bool) error {
	for _, name := range []string{a, b} {
		if n.uplink(name) == nil && (name == a || name != "") {
			return fmt.Errorf("set blackhole: no uplink %q: give the name of an attached one", name)
		}
	}
	if !on {
		delete(n.holes, holeOf(a, b))
		return nil
	}
	if n.holes == nil {
		n.holes = map[hole]struct{}{}
	}
	n.holes[holeOf(a, b)] = struct{}{}
	return nil
}

// swallows tells whether a blackhole lies between the uplinks.
func (n *Net) swallows(from, to *Uplink) bool {
	for _, h := range [...]hole{holeOf(from.name, to.name), {a: from.name}, {a: to.name}} {
		if _, yes := n.holes[h]; yes {
			return true
		}
	}
	return false
}
