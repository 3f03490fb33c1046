package rendezvous

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/punchlab/punchlab/impl/cluster"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/store"
)

// Handle is a server that runs. It is safe for concurrent use.
type Handle struct {
	opt     Options
	policy  atomic.Pointer[policy]
	core    *rendezvous.Server // inside node.Do alone
	node    *node.Node
	store   *store.Store    // nil: memory
	cluster *cluster.Node   // nil: it is alone
	nats    *cluster.Server // nil: it is another process', or there is none
	http    *http.Server    // nil: none
	at      net.Addr        // of http
	ctx     context.Context // ends with the server
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	draining atomic.Bool
	failing  atomic.Pointer[string] // the database cannot be written to

	mu   sync.Mutex
	last *rendezvous.Stats // of a server that has ended
}

// Stats is what a server has done so far.
type Stats struct {
	Core    rendezvous.Stats
	Node    node.Stats
	Cluster cluster.Stats // zero without NATS
	Records int           // in the database
}

// recheckEvery is how often certificates are looked at again, since they expire.
const recheckEvery = 10 * time.Minute

// Start opens what the server needs and serves until Close or Kill. Of Options, Ready, Reload and Drain are Run's alone.
func Start(opt Options) (*Handle, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Handle{opt: opt}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	if err := h.start(); err != nil {
		h.cancel()
		err = errors.Join(err, h.closeHTTP())
		h.wg.Wait()
		return nil, errors.Join(err, h.closeRest())
	}
	return h, nil
}

func (h *Handle) start() error {
	p, err := h.opt.policy(nil)
	if err != nil {
		return fmt.Errorf("start rendezvous: %w", err)
	}
	h.policy.Store(p)
	cfg := h.opt.Limits
	cfg.Static, cfg.Rand, cfg.Grids = h.opt.Key, h.opt.Rand, h.opt.grids()
	cfg.Trust, cfg.Standing, cfg.Account = h.camera, h.standing, h.viewer
	if h.opt.Database != "" {
		if h.store, err = store.Open(h.opt.Database, store.Options{Report: h.stored}); err != nil {
			return fmt.Errorf("start rendezvous: %w", err)
		}
		cfg.Store = h.store
	}
	if err := h.follows(p); err != nil {
		return fmt.Errorf("start rendezvous: %w", err)
	}
	if err := h.join(); err != nil {
		return err
	}
	if h.cluster != nil {
		cfg.Others = h.cluster
	}
	if h.core, err = rendezvous.New(cfg); err != nil {
		return err
	}
	return h.serve()
}

// readBuffer is asked of the kernel for each socket, in bytes: what comes while the server is busy elsewhere, as when all cameras
// come back at once. The kernel grants up to net.core.rmem_max.
const readBuffer = 8 << 20

// serve opens the sockets.
func (h *Handle) serve() error {
	socks, err := h.opt.listen()
	if err != nil {
		return err
	}
	h.node, err = node.New(h.core, socks.udp, node.Options{Observe: h.observe, Accept: socks.streams, ReadBuffer: readBuffer})
	if err != nil {
		return errors.Join(fmt.Errorf("start rendezvous: %w", err), socks.close())
	}
	if h.cluster != nil {
		if err := h.cluster.Start(h.core, h.node.Do); err != nil {
			return errors.Join(err, h.node.Close())
		}
	}
	if err := h.listenHTTP(); err != nil {
		return errors.Join(err, h.node.Close())
	}
	if len(h.opt.Makers) > 0 {
		h.wg.Go(h.recheck)
	}
	return nil
}

// recheck has certificates looked at again from time to time.
func (h *Handle) recheck() {
	tick := time.NewTicker(recheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
			h.node.Do(h.core.Recheck)
		}
	}
}

// Run serves until the context ends, and then drains. Until it returns, the process collects garbage as suits a server (see lean).
func Run(ctx context.Context, opt Options) error {
	defer lean(leanEvery)()
	h, err := Start(opt)
	if err != nil {
		return err
	}
	if opt.Ready != nil {
		opt.Ready(h)
	}
	for serving := true; serving; {
		select {
		case <-opt.Reload:
			if err := h.Reload(); err != nil {
				h.opt.Log.Error("cannot read again: what was read before stays in force", "error", err)
			}
		case <-ctx.Done():
			serving = false
		}
	}
	if h.opt.Drain > 0 {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.opt.Drain)
		defer cancel()
		if h.Drain(drain) != nil {
			h.opt.Log.Warn("relays still in use end now", "relays", h.Stats().Core.Relays)
		}
	}
	return h.Close()
}

// observe is given the core's events, on the goroutine that drives it.
func (h *Handle) observe(e any) {
	if h.cluster != nil {
		h.cluster.Observe(e)
	}
	h.log(e)
	if h.opt.Observe != nil {
		h.opt.Observe(e)
	}
}

// Addrs lists the UDP sockets' addresses.
func (h *Handle) Addrs() []netip.AddrPort { return h.node.LocalAddrs() }

// HTTP is where metrics and health are; nil: nowhere.
func (h *Handle) HTTP() net.Addr { return h.at }

// Stats returns the counts so far; after Close or Kill the last ones.
func (h *Handle) Stats() (s Stats) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Node = h.node.Stats()
	if h.cluster != nil {
		s.Cluster = h.cluster.Stats()
	}
	if h.last != nil {
		s.Core = *h.last
		return s
	}
	if h.store != nil {
		s.Records = h.store.Count()
	}
	h.node.Do(func(time.Time) { s.Core = h.core.Stats() })
	return s
}

// Do runs f with the core to itself; f must not call the Handle. After Close it does nothing.
func (h *Handle) Do(f func(now time.Time, core *rendezvous.Server)) {
	h.node.Do(func(now time.Time) { f(now, h.core) })
}

// drainStep is how often Drain looks whether anything is relayed any more.
const drainStep = 50 * time.Millisecond

// Drain asks devices to go elsewhere and returns when nothing is relayed any more, or with the context's error.
func (h *Handle) Drain(ctx context.Context) error {
	h.draining.Store(true)
	h.opt.Log.Info("draining")
	h.node.Do(h.core.Drain)
	tick := time.NewTicker(drainStep)
	defer tick.Stop()
	for {
		drained := true
		h.node.Do(func(time.Time) { drained = h.core.Drained() })
		if drained {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Kill ends the server at once, without a word to anybody. What waits to be written is written: a process that is to be killed
// altogether must be one of its own.
func (h *Handle) Kill() { _ = h.finish((*cluster.Node).Kill) }

// Close says goodbye to the cluster, closes the sockets and the database, and waits for what runs.
func (h *Handle) Close() error { return h.finish(func(n *cluster.Node) { _ = n.Close() }) }

// finish ends the server, once.
func (h *Handle) finish(leave func(*cluster.Node)) error {
	st := h.Stats().Core
	h.mu.Lock()
	ended := h.last != nil
	h.last = &st
	h.mu.Unlock()
	if ended {
		return nil
	}
	h.cancel()
	if h.cluster != nil {
		leave(h.cluster)
	}
	err := errors.Join(h.node.Close(), h.closeHTTP())
	h.wg.Wait()
	return errors.Join(err, h.closeRest())
}

// closeRest closes what is behind the core.
func (h *Handle) closeRest() error {
	var errs []error
	if h.cluster != nil {
		h.cluster.Kill()
	}
	errs = append(errs, h.closeNATS())
	if h.store != nil {
		errs = append(errs, h.store.Close())
	}
	return errors.Join(errs...)
}
