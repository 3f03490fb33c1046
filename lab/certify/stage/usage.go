package stage

import (
	"fmt"
	"os"

	"github.com/punchlab/punchlab/lab/certify"
)

// Usage is what a program, and all that it has started, holds at a moment.
type Usage struct {
	Memory    int64 // bytes that they have to themselves
	Files     int   // open descriptors: files, sockets, pipes
	Processes int
}

// Usage is what the running program holds now, by /proc.
func (p *Program) Usage() (u Usage, err error) {
	if u.Memory, err = p.Memory(); err != nil {
		return u, err
	}
	p.mu.Lock()
	warden := p.warden
	p.mu.Unlock()
	pids, err := below(warden)
	if err != nil {
		return u, err
	}
	for _, pid := range pids {
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			continue // gone meanwhile
		}
		u.Files, u.Processes = u.Files+len(files), u.Processes+1
	}
	return u, nil
}

// Usage is what its program holds now. Of a box the error is *Unsupported.
func (c *Camera) Usage() (Usage, error) {
	if c.p == nil {
		return Usage{}, &Unsupported{certify.RoleCamera, "memory", "what a box holds cannot be seen"}
	}
	return c.p.Usage()
}
