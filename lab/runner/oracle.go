package runner

import (
	"sync"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/record"
)

// oracle says what theory allows on each topology, asking once: the answer is the same for all its trials. It is safe for
// concurrent use.
type oracle struct {
	mu    sync.Mutex
	known map[*lab.Topology]nat.Chance
}

// of returns a trial's Oracle and Possible.
func (o *oracle) of(t *lab.Topology) (string, *record.Possible) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c, ok := o.known[t]
	if !ok {
		c = t.Chance(Camera, Viewer)
		if o.known == nil {
			o.known = map[*lab.Topology]nat.Chance{}
		}
		o.known[t] = c
	}
	p := &record.Possible{Via: c.Via, Sockets: c.Sockets, Probes: c.Probes, Ports: c.Ports, P: c.P}
	switch c.Silent {
	case 1:
		p.Silent = Camera
	case 2:
		p.Silent = Viewer
	}
	return c.Prospect.String(), p
}
