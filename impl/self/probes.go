package self

import (
	"maps"

	"github.com/punchlab/punchlab/impl/core"
)

// Probes counts what was sent to find direct paths: punches and samples, by strategy.
type Probes struct {
	Total core.Count
	by    map[string]core.Count
}

// Add counts a probe of n bytes; one of 0 was not sent.
func (p *Probes) Add(strategy string, n int) {
	if n == 0 {
		return
	}
	if p.by == nil {
		p.by = map[string]core.Count{}
	}
	p.Total.Add(n)
	c := p.by[strategy]
	c.Add(n)
	p.by[strategy] = c
}

// By returns the counts by strategy.
func (p *Probes) By() map[string]core.Count { return maps.Clone(p.by) }
