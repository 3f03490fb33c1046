// Package viewer is the viewer's side of the protocol.
//
//	        Start, LoggedIn                   Connect                Noise-2, by any path
//	offline ──────────────► idle or waiting ─────────► connecting ───────────────────────► watching
//	                             ▲                       │ punches to the camera's          │ Use: names the path
//	                             │                       │ endpoint, once Peer says it      │ Consent every 5 s
//	                             └──── Failed, Closed ◄──┴──────────────────────────────────┘
//
// While watching, the path is the one by which Noise-2 came first. A viewer that watches through the relay goes on
// looking for a direct path, and moves to it as soon as anything authentic comes from the camera directly:
//
//	relay ── punch, Noise-2, challenge or media from the camera directly ──► Use by that path (again after an RTO,
//	  ▲                                                                   with the camera's token once it asks)
//	  │  the relay delivers, the path does not                                        │ nothing new for a few frames
//	  └─────────────────────────── doubted: media by both ◄───────────────────────── direct ◄─┐
//	                                   └── the path, or another direct one, is heard ─────────┘
//
// Doubt (doubt.go) has the rendezvous say where the camera is now, for which the search for a direct path begins anew.
// Use needs no acknowledgement: it is repeated for as long as newer media comes by another path than the one named.
// The receiver knows the stream's first sequence number and drops duplicates, so that a move loses and repeats nothing.
//
// The package is a core (see impl/core): not safe for concurrent use.
package viewer

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/self"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/uplink"
	"github.com/punchlab/punchlab/impl/wire"
)

// Config describes a Viewer. Zero knobs take the defaults named.
type Config struct {
	Static        identity.Key
	Rendezvous    []netip.AddrPort // addresses of the rendezvous, tried in this order; streams too (core.Over)
	RendezvousKey identity.PublicKey
	Rand          io.Reader        // cryptographically random
	Host          []netip.AddrPort // the viewer's own addresses, IPv6 ones too; at most 8
	Relayed       []netip.AddrPort // sockets of the driver beside the main one that a relay of somebody else's lends (TURN)
	Classify      bool             // find out how the NAT behaves after each login (RFC 5780), and tell cameras

	Keepalive     time.Duration // between pings to the rendezvous; 0: 15 s
	ConsentEvery  time.Duration // × 0.8–1.2; 0: 5 s (RFC 7675 §5.1)
	SignalTimeout time.Duration // for an answer of the rendezvous; 0: 5 s
	AnswerTimeout time.Duration // for the camera's, where a relay is allowed; 0: 10 s
	SilentTimeout time.Duration // silence of the camera that ends the connection; 0: 10 s
	FPS           int           // the source's frames per second; 0: that of media's clip
}

func (c Config) withDefaults() (Config, error) {
	def := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Keepalive, 15*time.Second)
	def(&c.ConsentEvery, 5*time.Second)
	def(&c.SignalTimeout, 5*time.Second)
	def(&c.AnswerTimeout, 10*time.Second)
	def(&c.SilentTimeout, 10*time.Second)
	switch {
	case len(c.Host) > wire.MaxCandidates:
		return c, fmt.Errorf("configure viewer: %d host addresses, at most %d fit", len(c.Host), wire.MaxCandidates)
	case c.Keepalive < time.Second || c.ConsentEvery <= 0 || c.SignalTimeout <= 0 || c.AnswerTimeout <= 0 || c.SilentTimeout <= 0:
		return c, errors.New("configure viewer: a time is below its least value")
	}
	for _, h := range c.Host {
		if !punch.Plausible(h) {
			return c, fmt.Errorf("configure viewer: %v is no host address; give the address and port of a bound socket", h)
		}
	}
	return c, nil
}

// Viewer watches one camera at a time. Not safe for concurrent use.
type Viewer struct {
	cfg    Config
	box    core.Outbox
	link   *uplink.Link
	dev    *self.Device
	probes self.Probes
	stamp  session.Stamp
	watch  *attempt // nil: idle
	stats  Stats
	closed bool
}

// Stats counts since New, over all connections.
type Stats struct {
	Traffic     core.Traffic
	Probes      core.Count            // punches sent
	ProbesBy    map[string]core.Count // of them, by the strategy that sent them
	Before      core.Count            // of Probes, sent before the direct path stood; all of them where there is none
	Opened      int                   // sockets opened beside the first
	Class       wire.Class            // of the NATs before the viewer, as far as known
	Dropped     core.Drops            // packets, by reason
	Media       core.Count            // SRTP received, duplicates too
	MediaDirect core.Count            // of them, by the direct path
	MediaRelay  core.Count            // of them, through the relay
	PathChanges int64
	Uses        int64      // Use messages sent
	Frames      int64      // delivered
	Path        punch.Path // in use, with its local socket; after the end, the last one
	Confirmed   bool       // Path works both ways (see PathConfirmed)
	// ByAllocation: Path leads over a TURN server's allocation, the viewer's or the camera's. Its Route is Direct, since the
	// rendezvous does not relay, but somebody else does; DirectAt is not set.
	ByAllocation bool
	LoggedIn     bool
	RTT          time.Duration // to the rendezvous
	Reflexive    netip.AddrPort

	// The last connection. Zero times: it did not happen.
	Asked        time.Time // Connect was called
	ConnectSent  time.Time
	PeerKnown    time.Time
	Connected    time.Time
	FirstPacket  time.Time
	FirstFrame   time.Time
	DirectAt     time.Time // a direct path was confirmed
	NotDirect    string    // why there is no direct path, one sentence; empty: there is one, or it is still looked for
	Quality      media.Quality
	CameraSilent time.Duration // the longest silence while watching
}

// New returns a viewer. Start it.
func New(cfg Config) (*Viewer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	v := &Viewer{cfg: cfg, stats: Stats{Dropped: core.Drops{}}}
	v.link, err = uplink.New(uplink.Config{
		Session: session.Config{Static: cfg.Static, Rand: cfg.Rand, Taken: v.taken}, Rendezvous: cfg.RendezvousKey,
		Addrs: cfg.Rendezvous, Keepalive: cfg.Keepalive, Hello: &wire.Login{Version: wire.ProtocolVersion},
		Up: v.loggedIn, Down: func(time.Time) {}, Moved: func(now time.Time, _, _ netip.AddrPort) { v.dev.Moved(now) },
	}, &v.box)
	if err != nil {
		return nil, fmt.Errorf("configure viewer: %w", err)
	}
	v.dev = self.New(self.Config{
		Servers: cfg.Rendezvous, Host: cfg.Host, Relayed: cfg.Relayed, Classify: cfg.Classify, Rand: cfg.Rand,
		Classified: func(now time.Time, class wire.Class) {
			v.box.Emit(Classified{At: now, Class: class})
			if v.watch != nil {
				v.watch.classified(now)
			}
		},
		Ready: func(now time.Time) { v.box.Emit(Ready{At: now}) },
	}, v.link, &v.box)
	return v, nil
}

func (v *Viewer) taken(i uint32) bool {
	return v.link != nil && v.link.Owns(i) || v.watch != nil && v.watch.index() == i
}

// Start logs in at the rendezvous, and again whenever the rendezvous falls silent.
func (v *Viewer) Start(now time.Time) error {
	v.box.Begin()
	return v.link.Start(now)
}

func (v *Viewer) loggedIn(now time.Time, _ wire.Message) {
	v.box.Emit(LoggedIn{At: now, Reflexive: v.link.Reflexive(), RTT: v.link.RTT()})
	v.dev.Up(now)
	if v.watch != nil {
		v.watch.sendConnect(now)
		v.watch.reachable(now)
	}
}

// Connect asks for the video of the camera that the label names, by a strategy (see punch.Names). Before LoggedIn the
// request waits for it. One connection at a time.
func (v *Viewer) Connect(now time.Time, label identity.Label, strategy string) error {
	v.box.Begin()
	policy, err := punch.Lookup(strategy)
	switch {
	case err != nil:
		return fmt.Errorf("connect: %w", err)
	case v.closed || !v.link.Started():
		return errors.New("connect: the viewer is not started; call Start")
	case v.watch != nil:
		return errors.New("connect: already watching a camera; call Disconnect before")
	case label.RendezvousKey != v.cfg.RendezvousKey:
		return errors.New("connect: the label names another rendezvous; make a viewer for that one")
	}
	a, err := newAttempt(now, v, label, policy)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	v.watch = a
	v.resetStats(now)
	a.sendConnect(now)
	return nil
}

// ConnectDirect asks the camera itself, without a rendezvous: addr is where the owner's router forwards a port to it. The
// camera must listen (camera.Config.Listen). The viewer need not be started.
func (v *Viewer) ConnectDirect(now time.Time, label identity.Label, addr netip.AddrPort, strategy string) error {
	v.box.Begin()
	policy, err := punch.Lookup(strategy)
	switch {
	case err != nil:
		return fmt.Errorf("connect directly: %w", err)
	case !policy.Direct:
		return fmt.Errorf("connect directly: strategy %q uses no direct path", strategy)
	case !punch.Plausible(addr):
		return fmt.Errorf("connect directly: %v is no camera's address; give that of its router, and the port forwarded", addr)
	case v.closed:
		return errors.New("connect directly: the viewer is closed")
	case v.watch != nil:
		return errors.New("connect directly: already watching a camera; call Disconnect before")
	}
	policy.Relay = false
	a, err := newAttempt(now, v, label, policy)
	if err != nil {
		return fmt.Errorf("connect directly: %w", err)
	}
	v.watch = a
	v.resetStats(now)
	a.knock(now, addr)
	return nil
}

func (v *Viewer) resetStats(now time.Time) {
	s := &v.stats
	s.Asked, s.NotDirect, s.Quality, s.CameraSilent = now, "", media.Quality{}, 0
	for _, t := range []*time.Time{&s.ConnectSent, &s.PeerKnown, &s.Connected, &s.FirstPacket, &s.FirstFrame, &s.DirectAt} {
		*t = time.Time{}
	}
}

// Disconnect ends the connection, if there is one.
func (v *Viewer) Disconnect(now time.Time) {
	v.box.Begin()
	if v.watch != nil {
		v.watch.close(now, wire.CodeEnded)
	}
}

// Close ends everything and says goodbye. The viewer does nothing more.
func (v *Viewer) Close(now time.Time) {
	v.Disconnect(now)
	v.dev.Shut(now)
	v.link.Close(wire.CodeShuttingDown)
	v.closed = true
}

// Why packets are dropped, beside what session, wire and media say.
var (
	errKind    = errors.New("not a datagram for a viewer")
	errStray   = errors.New("from nobody who is watched")
	errUnasked = errors.New("message that nobody asked for")
	errRepeat  = errors.New("punch seen before")
	errEarly   = errors.New("too much media before the handshake's answer")
)

// HandlePacket takes a datagram.
func (v *Viewer) HandlePacket(now time.Time, from, to netip.AddrPort, b []byte) {
	v.awake(now)
	if v.closed {
		return
	}
	if v.dev.Handle(now, from, to, b) {
		return
	}
	if err := v.handle(now, punch.Between(v.dev.Local(to), from), b); err != nil {
		v.stats.Dropped.Count(err)
	}
	v.tend(now)
}

// tend opens and closes the sockets that the agent wants.
func (v *Viewer) tend(now time.Time) {
	if v.watch != nil {
		v.watch.tend(now)
	}
}

func (v *Viewer) handle(now time.Time, path punch.Path, b []byte) error {
	from := path.Addr
	if wire.Classify(b) == wire.ChannelData {
		channel, data, err := wire.ParseChannelData(b)
		if err != nil {
			return err
		}
		if v.watch == nil || !v.link.IsRemote(from) || !v.watch.mayRelay(channel) {
			return errStray
		}
		v.watch.inbound = channel
		return v.watch.handle(now, punch.ViaRelay, data)
	}
	if index, ok := session.ReceiverIndex(b); ok && v.link.Owns(index) {
		m, err := v.link.Handle(now, from, b)
		if err == nil && m != nil {
			err = v.fromRendezvous(now, m)
		}
		return err
	}
	if v.watch == nil {
		return errStray
	}
	return v.watch.handle(now, path, b)
}

func (v *Viewer) fromRendezvous(now time.Time, m wire.Message) error {
	switch m := m.(type) {
	case *wire.Peer:
		if v.watch == nil || v.watch.id != m.ID {
			return errStray
		}
		v.watch.peerKnown(now, m)
		return nil
	case *wire.Refused:
		if v.watch == nil || v.watch.id != m.ID {
			return errStray
		}
		if v.watch.sess == nil {
			v.watch.fail(now, m.Code, m.Code.Sentence())
		}
		return nil
	case *wire.Sampled:
		if v.watch == nil || v.watch.id != m.ID || v.watch.agent == nil {
			return errStray
		}
		v.watch.agent.Sampled(now, m.Endpoint.AddrPort)
		return nil
	case *wire.Located:
		if v.watch == nil || v.watch.id != m.ID {
			v.link.Send(core.Signal, &wire.LocatedAck{ID: m.ID, Sequence: m.Sequence, Code: wire.CodeEnded})
			return errStray
		}
		v.watch.located(now, m)
		return nil
	case *wire.Ping:
		if v.watch != nil {
			v.watch.reachable(now)
		}
		return nil
	case *wire.Goodbye:
		return nil
	}
	return errUnasked
}

// HandleOpened hands over the sockets that Output.Open asked for (see core.Opener).
func (v *Viewer) HandleOpened(now time.Time, socks []netip.AddrPort, err error) {
	v.box.Begin()
	if v.closed {
		v.box.Close(socks...)
		return
	}
	v.dev.HandleOpened(now, socks, err)
	v.tend(now)
}

// HandleMapped says that a router forwards external to the main socket (PCP, NAT-PMP, UPnP); zero: no longer.
func (v *Viewer) HandleMapped(now time.Time, external netip.AddrPort) {
	v.box.Begin()
	if !v.closed {
		v.dev.Mapped(now, external)
	}
}

// HandleMoved says that the host has another network or address now, as far as the driver knows: the rendezvous is
// asked at once, and paths are looked for anew. Without this hint it takes longer to notice.
func (v *Viewer) HandleMoved(now time.Time) {
	v.box.Begin()
	if v.closed {
		return
	}
	v.link.Moved(now)
	if v.watch != nil {
		v.watch.wake(now, 0)
	}
}

// awake begins a call at now, and anew where the host has slept since it should have been made.
func (v *Viewer) awake(now time.Time) {
	v.box.Begin()
	if v.closed {
		return
	}
	wanted := v.Deadline()
	if wanted.IsZero() || now.Sub(wanted) < asleep {
		return
	}
	if v.link.Started() {
		_ = v.link.Start(now) // an error comes from the source of randomness and would repeat
		v.link.Moved(now)
	}
	if v.watch != nil {
		v.watch.wake(now, now.Sub(wanted))
	}
}

// HandleTimeout does what is due.
func (v *Viewer) HandleTimeout(now time.Time) {
	v.awake(now)
	if v.closed {
		return
	}
	v.link.HandleTimeout(now)
	v.dev.HandleTimeout(now)
	if v.watch != nil {
		v.watch.timeout(now)
	}
	v.tend(now)
}

// Deadline is when HandleTimeout is wanted.
func (v *Viewer) Deadline() time.Time {
	if v.closed {
		return time.Time{}
	}
	d := core.Earliest(v.link.Deadline(), v.dev.Deadline())
	if v.watch != nil {
		d = core.Earliest(d, v.watch.deadline())
	}
	return d
}

// Ready returns what is to be sent and was noticed.
func (v *Viewer) Ready() core.Output { return v.box.Ready() }

// Stats returns the counts so far.
func (v *Viewer) Stats() Stats {
	s := v.stats
	s.Traffic = v.box.Traffic()
	s.Probes, s.ProbesBy, s.Opened, s.Class = v.probes.Total, v.probes.By(), v.dev.Opened(), v.dev.Class()
	if s.DirectAt.IsZero() {
		s.Before = s.Probes
	}
	s.Dropped = core.Drops{}
	for k, n := range v.stats.Dropped {
		s.Dropped[k] = n
	}
	s.LoggedIn, s.RTT, s.Reflexive = v.link.Up(), v.link.RTT(), v.link.Reflexive()
	if v.watch != nil {
		s.Path, s.Confirmed, s.ByAllocation = v.watch.path, v.watch.twoWay, v.watch.byAllocation()
		if v.watch.receiver != nil {
			s.Quality = v.watch.receiver.Quality()
		}
	}
	return s
}
