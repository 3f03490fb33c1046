package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/rendezvous"
)

// Handle is a server that runs. It is safe for concurrent use.
type Handle struct {
	opt  Options
	core *rendezvous.Server // inside node.Do alone
	node *node.Node

	mu   sync.Mutex
	last *rendezvous.Stats // of a server that has ended
}

// Stats is what a server has done so far.
type Stats struct {
	Core rendezvous.Stats
	Node node.Stats
}

// Start opens the sockets and serves until Close or Kill. Of Options, Ready, Reload and Drain are Run's alone.
func Start(opt Options) (*Handle, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Handle{opt: opt}
	cfg := opt.Limits
	cfg.Static, cfg.Rand, cfg.Grids = opt.Key, opt.Rand, opt.grids()
	if h.core, err = rendezvous.New(cfg); err != nil {
		return nil, err
	}
	socks, err := opt.listen()
	if err != nil {
		return nil, err
	}
	h.node, err = node.New(h.core, socks.udp, node.Options{Observe: h.observe, Accept: socks.streams})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start rendezvous: %w", err), socks.close())
	}
	return h, nil
}

// Run serves until the context ends, and then drains.
func Run(ctx context.Context, opt Options) error {
	h, err := Start(opt)
	if err != nil {
		return err
	}
	if opt.Ready != nil {
		opt.Ready(h)
	}
	for {
		select {
		case <-opt.Reload:
			if err := h.Reload(); err != nil {
				h.opt.Log.Error("reload: what was read before stays in force", "error", err)
			}
			continue
		case <-ctx.Done():
		}
		break
	}
	if h.opt.Drain > 0 {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.opt.Drain)
		defer cancel()
		_ = h.Drain(drain) // what still goes on then ends with the sockets
	}
	return h.Close()
}

// observe is given the core's events, on the goroutine that drives it.
func (h *Handle) observe(e any) {
	h.log(e)
	if h.opt.Observe != nil {
		h.opt.Observe(e)
	}
}

// Addrs lists the UDP sockets' addresses.
func (h *Handle) Addrs() []netip.AddrPort { return h.node.LocalAddrs() }

// Stats returns the counts so far; after Close or Kill the last ones.
func (h *Handle) Stats() (s Stats) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Node = h.node.Stats()
	if h.last != nil {
		s.Core = *h.last
		return s
	}
	h.node.Do(func(time.Time) { s.Core = h.core.Stats() })
	return s
}

// Do runs f with the core to itself; f must not call the Handle. After Close it does nothing.
func (h *Handle) Do(f func(now time.Time, core *rendezvous.Server)) {
	h.node.Do(func(now time.Time) { f(now, h.core) })
}

// Reload reads the files of makers, revocations and account again. Who is revoked loses his session at once. On an error what
// was read before stays in force.
func (h *Handle) Reload() error { return nil }

// Drain asks devices to go elsewhere and returns when nothing is relayed any more, or with the context's error.
func (h *Handle) Drain(ctx context.Context) error { return nil }

// Kill ends the server at once, without a word to anybody: as kill -9 would.
func (h *Handle) Kill() { _ = h.end() }

// end closes the sockets.
func (h *Handle) end() error {
	st := h.Stats().Core
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last != nil {
		return nil
	}
	h.last = &st
	return h.node.Close()
}

// Close says goodbye to the cluster, closes the sockets and the database, and waits for what runs.
func (h *Handle) Close() error { return h.end() }
