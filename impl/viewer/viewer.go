// Package viewer is the viewer's side of the protocol. A Viewer has one session with a rendezvous, and watches several
// cameras at once; for each of them:
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
// A camera that was met before is looked for on the local network too, at the same time (near.go). Its owner manages it over
// the session (manage.go). Which cameras are online, the rendezvous tells (presence.go).
//
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
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
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
	MaxCameras    int           // connections at a time; 0: 16

	// Boot grows for good with each viewer that is made with this key, where its clock may be wrong at times; 0: the clock serves. Once it
	// is used, the clock is too late (see session.Stamp).
	Boot  uint64
	Name  string // what a camera's owner sees of this viewer (see wire.ValidName); empty: nothing
	Token []byte // of the account with the rendezvous' operator, where it wants one
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
	if c.MaxCameras == 0 {
		c.MaxCameras = 16
	}
	switch {
	case c.MaxCameras < 0:
		return c, fmt.Errorf("configure viewer: %d cameras at a time; give one or more", c.MaxCameras)
	case c.Name != "" && !wire.ValidName(c.Name):
		return c, fmt.Errorf("configure viewer: the name %q is longer than %d bytes, or has control characters", c.Name, wire.MaxName)
	case len(c.Token) > wire.MaxToken:
		return c, fmt.Errorf("configure viewer: the account's token has %d bytes, at most %d fit", len(c.Token), wire.MaxToken)
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

// Viewer watches several cameras of one rendezvous. Not safe for concurrent use.
type Viewer struct {
	cfg      Config
	box      core.Outbox
	link     *uplink.Link
	dev      *self.Device
	probes   self.Probes
	stamp    session.Stamp
	watches  []*attempt  // in the order in which they were asked for
	due      []*attempt  // scratch
	last     *Connection // that was asked for
	dropped  core.Drops
	followed []identity.UID // whose presence is told
	denied   wire.Code      // why the rendezvous does not let this viewer in; 0: it does, or is silent
	closed   bool
}

// New returns a viewer. Start it.
func New(cfg Config) (*Viewer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	v := &Viewer{cfg: cfg, last: &Connection{}, dropped: core.Drops{}, stamp: session.Stamp{Boot: cfg.Boot}}
	v.link, err = uplink.New(uplink.Config{
		Session: session.Config{Static: cfg.Static, Rand: cfg.Rand, Taken: v.taken}, Rendezvous: cfg.RendezvousKey,
		Addrs: cfg.Rendezvous, Keepalive: cfg.Keepalive, Boot: cfg.Boot, Hello: &wire.Login{Version: wire.ProtocolVersion, Token: cfg.Token},
		Up: v.loggedIn, Down: func(now time.Time) { v.box.Emit(LoggedOut{At: now}) },
		Presence: v.presence, Denied: v.refusedLogin,
		Moved: func(now time.Time, _, _ netip.AddrPort) { v.dev.Moved(now) },
	}, &v.box)
	if err != nil {
		return nil, fmt.Errorf("configure viewer: %w", err)
	}
	v.dev = self.New(self.Config{
		Servers: cfg.Rendezvous, Host: cfg.Host, Relayed: cfg.Relayed, Classify: cfg.Classify, Rand: cfg.Rand,
		Classified: func(now time.Time, class wire.Class) {
			v.box.Emit(Classified{At: now, Class: class})
			for _, a := range v.live() {
				a.classified(now)
			}
		},
		Ready: func(now time.Time) { v.box.Emit(Ready{At: now}) },
	}, v.link, &v.box)
	return v, nil
}

func (v *Viewer) taken(i uint32) bool {
	return v.link != nil && v.link.Owns(i) || slices.ContainsFunc(v.watches, func(a *attempt) bool { return a.index() == i })
}

// Start logs in at the rendezvous, and again whenever the rendezvous falls silent.
func (v *Viewer) Start(now time.Time) error {
	v.box.Begin()
	return v.link.Start(now)
}

func (v *Viewer) loggedIn(now time.Time, _ wire.Message) {
	v.denied = 0
	v.box.Emit(LoggedIn{At: now, Reflexive: v.link.Reflexive(), RTT: v.link.RTT()})
	v.dev.Up(now)
	for _, a := range v.live() {
		a.sendConnect(now)
		a.reachable(now)
	}
}

// Close ends everything and says goodbye. The viewer does nothing more.
func (v *Viewer) Close(now time.Time) {
	v.box.Begin()
	for _, a := range v.live() {
		a.close(now, wire.CodeEnded)
	}
	v.dev.Shut(now)
	v.link.Close(wire.CodeShuttingDown)
	v.closed = true
}

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
		v.dropped.Count(err)
	}
	v.tend(now)
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
	for _, a := range v.live() {
		a.wake(now, 0)
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
	for _, a := range v.live() {
		a.wake(now, now.Sub(wanted))
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
	v.due = append(v.due[:0], v.watches...) // some may be gone, or replaced, then
	for _, a := range v.due {
		a.timeout(now)
	}
	clear(v.due)
	v.tend(now)
}

// Deadline is when HandleTimeout is wanted.
func (v *Viewer) Deadline() time.Time {
	if v.closed {
		return time.Time{}
	}
	d := core.Earliest(v.link.Deadline(), v.dev.Deadline())
	for _, a := range v.watches {
		d = core.Earliest(d, a.deadline())
	}
	return d
}

// Ready returns what is to be sent and was noticed.
func (v *Viewer) Ready() core.Output { return v.box.Ready() }
