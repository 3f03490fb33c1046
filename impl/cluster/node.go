package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/wire"
)

// Node is one server's part in a cluster. It is safe for concurrent use.
type Node struct {
	cfg     Config
	epoch   uint64 // names this process
	secrets *secrets
	prefix  string // of subjects
	core    atomic.Pointer[rendezvous.Server]
	do      func(func(now time.Time))

	nc  *nats.Conn
	js  jetstream.JetStream
	ctx context.Context
	end context.CancelFunc
	wg  sync.WaitGroup

	asks, claims, ties, out *queue
	kick                    chan struct{} // the connection has changed

	mu      sync.Mutex
	cameras jetstream.KeyValue // nil: NATS is away
	tied    jetstream.KeyValue
	since   time.Time // of the present state of the connection
	why     string    // NATS is away
	missed  bool      // that it is not reached has been told
	double  bool      // another process has this node's name
	peers   map[string]*peer
	trunks  map[uint64]*peer // by epoch
	held    map[identity.UID]*holding
	routes  routes
	waits   map[uint64]chan *letter // for answers
	watched map[identity.UID]*watched
	asking  map[identity.PublicKey]int // what a device waits for
	ref     uint64
	failed  map[identity.UID]bool // their entries could not be written
	// suspects were sent away as copies.
	suspects map[identity.UID]bool
	buried   map[uint64]bool // epochs of other nodes' processes that have ended
	// refreshed is when entries were last looked after; until unsure the directory may not know who has registered anew.
	refreshed, unsure time.Time
	stats             Stats
}

// Stats counts since New.
type Stats struct {
	Asked      int64 // messages of devices served here for cameras elsewhere
	Unanswered int64 // of them, in vain
	Visits     int64 // messages of other nodes' devices for cameras here
	Told       int64 // messages for devices served here
	Kept       int64 // connections that were put where another node finds them
	Restored   int64 // connections that went on here after their home was lost
	Claims     int64 // cameras announced
	Conflicts  int64 // of them, held by another node that lives
	FramesOut  int64 // relay frames to other nodes
	FramesIn   int64
	Bad        int64 // letters, entries and frames that do not open
	Lost       int64 // letters that could not be sent
	Nodes      int   // others that live now
	Held       int   // cameras announced now
	Waiting    int   // claims and lookups that wait
}

// Health is how a node stands with the others.
type Health struct {
	Connected bool      // to NATS, with its buckets
	Since     time.Time // of that
	Why       string    // it is not
	Nodes     []string  // others that live
	Double    bool      // another node has the same name: give each its own
}

const (
	askWorkers, claimWorkers = 32, 32
	queued                   = 1 << 22 // at most, each with a claim or so
	tieLife                  = 24 * time.Hour
	entryLife                = 6 * time.Hour
	refresh                  = 2 * time.Hour
)

// New returns a node that is not connected yet. It may be a core's Others from now on.
func New(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, kick: make(chan struct{}, 1), since: cfg.Now(), why: "not connected yet",
		peers: map[string]*peer{}, trunks: map[uint64]*peer{}, held: map[identity.UID]*holding{}, waits: map[uint64]chan *letter{},
		watched: map[identity.UID]*watched{}, asking: map[identity.PublicKey]int{}, failed: map[identity.UID]bool{},
		suspects: map[identity.UID]bool{}, buried: map[uint64]bool{},
	}
	if n.secrets, err = newSecrets(cfg.Key); err != nil {
		return nil, err
	}
	var b [8]byte
	if _, err := io.ReadFull(cfg.Rand, b[:]); err != nil {
		return nil, fmt.Errorf("start cluster: draw epoch: %w", err)
	}
	n.epoch = max(1, binary.LittleEndian.Uint64(b[:]))
	n.ref = n.epoch
	n.prefix = "punchlab." + n.secrets.id + "."
	n.ctx, n.end = context.WithCancel(context.Background())
	n.asks, n.claims, n.ties, n.out = newQueue(4096), newQueue(queued), newQueue(1<<16), newQueue(1<<16)
	return n, nil
}

// Start connects, now or as soon as it can. do runs a function with the core to itself, as node.Node.Do does.
func (n *Node) Start(core *rendezvous.Server, do func(func(now time.Time))) error {
	n.core.Store(core)
	n.do = do
	opts := []nats.Option{
		nats.Name("punchlab rendezvous " + n.cfg.Name), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(200 * time.Millisecond), nats.ReconnectJitter(50*time.Millisecond, 50*time.Millisecond),
		nats.ReconnectBufSize(-1), // what is said while NATS is away is out of date when it is back
		nats.FlusherTimeout(2 * time.Second), nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2), nats.Timeout(2 * time.Second),
		nats.ConnectHandler(func(*nats.Conn) { n.changed() }),
		nats.ReconnectHandler(func(*nats.Conn) { n.changed() }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { n.unreachable(err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { n.changed() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { n.cfg.Log.Warn("nats", "error", err) }),
	}
	nc, err := nats.Connect(n.cfg.URL, append(opts, n.cfg.Options...)...)
	if err != nil {
		n.end()
		return fmt.Errorf("join cluster: connect to NATS at %s: %w", n.cfg.URL, err)
	}
	n.nc = nc
	if n.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(n.cfg.Timeout)); err == nil {
		err = n.subscribe()
	}
	if err != nil {
		n.end()
		nc.Close()
		return fmt.Errorf("join cluster: %w", err)
	}
	for range askWorkers {
		n.wg.Go(n.asks.work)
	}
	for range claimWorkers {
		n.wg.Go(n.claims.work)
	}
	n.wg.Go(n.ties.work)
	n.wg.Go(n.out.work)
	n.wg.Go(n.run)
	n.changed()
	return nil
}

// subscribe listens to the letters for all, and to those for this node.
func (n *Node) subscribe() error {
	for _, subject := range []string{n.prefix + "all", n.prefix + "node." + n.cfg.Name} {
		if _, err := n.nc.Subscribe(subject, func(m *nats.Msg) { n.letter(subject, m.Data) }); err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
	}
	return nil
}

// changed has run look at the connection.
func (n *Node) changed() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// run keeps the connection, and says that this node lives.
func (n *Node) run() {
	tick := time.NewTicker(n.cfg.Hello)
	defer tick.Stop()
	for {
		n.connection()
		n.hello(false)
		n.reap()
		n.refresh()
		select {
		case <-n.ctx.Done():
			return
		case <-n.kick:
		case <-tick.C:
		}
	}
}

// connection notices that NATS has come or gone.
func (n *Node) connection() {
	up := n.nc.IsConnected()
	n.mu.Lock()
	had := n.cameras != nil
	n.mu.Unlock()
	switch {
	case up && !had:
		n.arrive()
	case !up && had:
		n.depart("NATS is away")
	}
}

// arrive opens the buckets and announces everything anew.
func (n *Node) arrive() {
	cameras, err := n.bucket("punchlab_cameras_"+n.secrets.id, entryLife)
	if err == nil {
		var ties jetstream.KeyValue
		if ties, err = n.bucket("punchlab_ties_"+n.secrets.id, tieLife); err == nil {
			n.mu.Lock()
			n.cameras, n.tied, n.since, n.why, n.missed = cameras, ties, n.cfg.Now(), "", false
			n.mu.Unlock()
			n.cfg.Log.Info("joined the cluster", "node", n.cfg.Name)
			n.hello(true)
			n.announceAll()
			n.lookAtAll()
			return
		}
	}
	why := "NATS does not give its buckets yet: " + err.Error()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders) {
		why = "NATS has no JetStream leader yet: most of its servers have to be there"
	}
	n.mu.Lock()
	first := n.why != why
	n.why = why
	n.mu.Unlock()
	if first && n.ctx.Err() == nil {
		n.cfg.Log.Warn("alone for now: this node serves its own devices", "why", why)
	}
}

// unreachable notes why NATS is not reached, and tells it once until it is. What says no more than that is waited out.
func (n *Node) unreachable(err error) {
	if errors.Is(err, nats.ErrNoServers) {
		return
	}
	n.mu.Lock()
	if n.cameras != nil || n.ctx.Err() != nil {
		n.mu.Unlock()
		return
	}
	n.why = "NATS cannot be reached: " + err.Error()
	why, first := n.why, !n.missed
	n.missed = true
	n.mu.Unlock()
	if first {
		n.cfg.Log.Warn("alone for now: this node serves its own devices, and goes on trying", "why", why, "nats", redacted(n.cfg.URL))
	}
}

// redacted is URLs without their passwords.
func redacted(urls string) string {
	all := strings.Split(urls, ",")
	for i, s := range all {
		if u, err := url.Parse(strings.TrimSpace(s)); err != nil {
			all[i] = "(unreadable)"
		} else {
			all[i] = u.Redacted()
		}
	}
	return strings.Join(all, ",")
}

func (n *Node) depart(why string) {
	n.mu.Lock()
	n.cameras, n.tied, n.since, n.why, n.missed = nil, nil, n.cfg.Now(), why, true // by what follows
	n.mu.Unlock()
	if n.ctx.Err() == nil {
		n.cfg.Log.Warn("left the cluster: this node serves its own devices", "why", why)
	}
}

// bucket opens a bucket, and makes it where there is none.
func (n *Node) bucket(name string, life time.Duration) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeout(n.ctx, 2*n.cfg.Timeout)
	defer cancel()
	kv, err := n.js.KeyValue(ctx, name)
	if !errors.Is(err, jetstream.ErrBucketNotFound) {
		return kv, err
	}
	storage := jetstream.FileStorage
	if n.cfg.Memory {
		storage = jetstream.MemoryStorage
	}
	return n.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: name, TTL: life, Storage: storage, Replicas: n.cfg.Replicas})
}

// buckets are the directory and the connections; nil: NATS is away.
func (n *Node) buckets() (cameras, ties jetstream.KeyValue) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cameras, n.tied
}

// send sends a letter to a node, or to all for "".
func (n *Node) send(to string, l *letter) {
	l.Node, l.Epoch = n.cfg.Name, n.epoch
	subject := n.prefix + "all"
	if to != "" {
		subject = n.prefix + "node." + to
	}
	b, err := l.marshal()
	if err == nil {
		if b, err = n.secrets.seal(n.cfg.Rand, subject, b); err == nil {
			err = n.nc.Publish(subject, b)
		}
	}
	if err != nil {
		n.count(func(s *Stats) { s.Lost++ })
	}
}

// post sends a letter soon, in order: the core waits neither for its sealing nor for NATS.
func (n *Node) post(to string, l *letter) {
	if !n.out.push(func() { n.send(to, l) }) {
		n.count(func(s *Stats) { s.Lost++ })
	}
}

func (n *Node) count(f func(*Stats)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(&n.stats)
}

// Stats returns the counts so far.
func (n *Node) Stats() Stats {
	waiting := n.asks.len() + n.claims.len()
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.stats
	s.Nodes, s.Held, s.Waiting = len(n.alive()), len(n.held), waiting
	return s
}

// Health says how the node stands with the others.
func (n *Node) Health() Health {
	n.mu.Lock()
	defer n.mu.Unlock()
	return Health{Connected: n.cameras != nil, Since: n.since, Why: n.why, Nodes: n.alive(), Double: n.double}
}

// Close tells the others that this node ends, and ends it.
func (n *Node) Close() error {
	if n.nc != nil && n.ctx.Err() == nil {
		n.send("", &letter{Kind: kindBye})
		_ = n.nc.FlushTimeout(n.cfg.Timeout) // best effort: they notice without it, too
	}
	n.Kill()
	return nil
}

// Kill ends the node without a word to the others.
func (n *Node) Kill() {
	n.end()
	for _, q := range []*queue{n.asks, n.claims, n.ties, n.out} {
		q.close()
	}
	if n.nc != nil {
		n.nc.Close()
	}
	n.wg.Wait()
}

// refuse tells a device that is served here that what it asked for is not to be had.
func (n *Node) refuse(v rendezvous.Visit, id uint64) {
	n.count(func(s *Stats) { s.Unanswered++ })
	n.do(func(now time.Time) { n.core.Load().Refuse(now, v.Device, v.Role, id, wire.CodeUnavailable) })
}
