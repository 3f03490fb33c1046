package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/punchlab/punchlab/lab/live"
	"golang.org/x/sys/unix"
)

// Pool keeps labs wired between trials. Making a lab costs milliseconds and a dozen namespaces; giving one other NATs
// costs a few transactions; resetting one costs well under a millisecond. It is safe for concurrent use.
type Pool struct {
	Fabric *live.Fabric

	mu     sync.Mutex
	idle   []*Lab          // the last one was used last
	shapes map[*Lab]string // of the idle ones
	closed bool
}

// Get returns a lab that realises t, reset to seed and with its NATs classified. Give it back with Put, or Close it.
func (p *Pool) Get(ctx context.Context, t *Topology, seed uint64) (*Lab, error) {
	l, err := p.fit(t, seed)
	if err != nil {
		return nil, err
	}
	if l.proved != l.digest {
		if err := l.Prove(ctx); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		if err := l.Reset(seed); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// fit finds or makes a lab for t, without proof.
func (p *Pool) fit(t *Topology, seed uint64) (*Lab, error) {
	l, exact := p.take(t)
	switch {
	case l == nil:
		l, err := Up(p.Fabric, t, seed)
		if errors.Is(err, unix.EMFILE) && p.evict() > 0 {
			return Up(p.Fabric, t, seed)
		}
		return l, err
	case exact:
		if err := l.Reset(seed); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	default:
		if err := l.Configure(t, seed); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// take removes the idle lab that is nearest to t: the same topology, else the same shape, else none.
func (p *Pool) take(t *Topology) (l *Lab, exact bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	best, want, wantShape := -1, t.Digest(), shape(t)
	for i := len(p.idle) - 1; i >= 0 && !exact; i-- {
		switch {
		case p.idle[i].digest == want:
			best, exact = i, true
		case best < 0 && p.shapes[p.idle[i]] == wantShape:
			best = i
		}
	}
	if best < 0 {
		return nil, false
	}
	l = p.idle[best]
	delete(p.shapes, l)
	p.idle = append(p.idle[:best], p.idle[best+1:]...)
	return l, exact
}

// evict closes the idle labs, for want of descriptors, and returns how many there were.
func (p *Pool) evict() int {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.shapes = nil, nil
	p.mu.Unlock()
	for _, l := range idle {
		_ = l.Close() // its descriptors are free in any case
	}
	return len(idle)
}

// Put gives a lab back. Its sockets must be closed.
func (p *Pool) Put(l *Lab) error {
	s := shape(l.topo)
	p.mu.Lock()
	if !p.closed {
		if p.shapes == nil {
			p.shapes = map[*Lab]string{}
		}
		p.idle, p.shapes[l] = append(p.idle, l), s
		p.mu.Unlock()
		return nil
	}
	p.mu.Unlock()
	return l.Close()
}

// Close closes the idle labs; labs that are out are closed as they come back.
func (p *Pool) Close() error {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	var errs []error
	for _, l := range idle {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// shape says what of a topology Configure can't change: all but NATs and links.
func shape(t *Topology) string {
	var b strings.Builder
	for _, s := range t.Sites {
		fmt.Fprintf(&b, "site %s behind %s engine %s wan %v %v lan %v %v routed %v inside %v port mapping %s hosts %v\n", s.Name, s.Behind,
			s.EngineOf(""), s.WAN, s.WAN6, s.LAN, s.LAN6, s.routed(), s.Inside6, s.PortMap, s.Hosts)
	}
	for _, h := range t.Public {
		fmt.Fprintf(&b, "public %s %v\n", h.Name, h.Addrs)
	}
	return b.String()
}
