// Package camera is the camera's side of the protocol.
//
//	            Introduce, authentic                sealed datagram            Use
//	(nothing) ──────────────────────► answering ───────────────────► heard ──────────► serving
//	              │                     │ Noise-2 again and again       │ media: blind      │ media: on the path
//	              │                     │ media: blind, ≤ Policy.Blind  │ or by relay       │ the viewer named
//	              │                     ▼ 10 s                          └─────────┬─────────┘
//	              ▼                   gone                                        ▼ Bye, or 30 s without Consent
//	 first flight, in the call that handed over Introduce:                      gone
//	 Noise-2 + first key frame to the viewer's endpoint as the rendezvous saw it,
//	 the same through the relay where there is one, Noise-2 to the viewer's host candidates
//
// A viewer that is not heard for a while is the camera's reason to ask the rendezvous whether it has moved itself
// (doubt.go). With Config.Listen viewers may come without a rendezvous (knock.go).
//
// Without a viewer the camera sends keepalives and nothing else. It answers only viewers that know its pairing secret or an
// invitation's, or are paired already (Config.Book), and does for its owners what they ask about that (manage.go). Media goes to addresses that the rendezvous has validated or that echoed a challenge; any other
// address gets at most punch.MaxUnconfirmedPackets, none larger than what it answers.
//
// A camera serves several viewers, each with a stream, keys and a source of its own (stream.go), and sends each as much of it
// as its path carries (quality.go). The package is a core (see impl/core): not safe for concurrent use.
package camera

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/pairing"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/self"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/uplink"
	"github.com/punchlab/punchlab/impl/wire"
)

// Config describes a Camera. Zero knobs take the defaults named.
type Config struct {
	Static        identity.Key
	Rendezvous    []netip.AddrPort // addresses of the rendezvous, tried in this order; streams too (core.Over)
	RendezvousKey identity.PublicKey
	Secret        identity.Secret      // the label's pairing secret
	Paired        []identity.PublicKey // viewers admitted without a proof
	// Book says who may watch, in place of Secret and Paired; nil: those do. The camera writes in it, and tells by PairingsChanged.
	Book *pairing.Book
	// Keep stores Book's bytes for good, within the call that has changed it and before anybody relies on that. An error undoes the
	// change, and who wanted it is told so (wire.CodeNotStored). nil: whoever drives the camera stores Book on PairingsChanged.
	Keep        func(book []byte) error
	Certificate []byte    // the maker's for Static, shown to the rendezvous; nil: none
	Rand        io.Reader // cryptographically random
	// Boot is how often the camera has started, for cameras without a reliable clock: it must grow with each start for
	// good. 0: the clock serves.
	Boot uint64

	Host     []netip.AddrPort // the camera's own addresses, IPv6 ones too, told to viewers by the rendezvous; at most 8
	Relayed  []netip.AddrPort // sockets of the driver beside the main one that a relay of somebody else's lends (TURN)
	Classify bool             // find out how the NAT behaves after each registration (RFC 5780), and tell it
	// Listen lets viewers that know the camera's address come without a rendezvous: a forwarded port. Nothing longer than
	// what it answers goes to an address that has not been validated.
	Listen bool
	// LAN lets viewers that are paired already come without a rendezvous, by the main socket or by HandleLAN, wherever they are.
	LAN bool

	// Estimator makes what finds out how much the path to one viewer carries; nil: nothing does, and every viewer gets what the
	// source has. See media.Adaptive for what is done about it.
	Estimator func() media.Estimator
	Source    func() media.Source // the video, from a key frame on, for one viewer
	// Sent is told of each access unit that is given to the network, once for each viewer that gets it; nil: nobody is.
	Sent       func(now time.Time, viewer identity.UID, au media.AccessUnit)
	Keepalive  time.Duration // between pings; 0: 15 s (RFC 8085 §3.5)
	Consent    time.Duration // silence of a viewer that ends its stream; 0: 30 s (RFC 7675 §5.1), never more
	MaxViewers int           // at a time; 0: 8
	MTU        int           // bytes of the largest SRTP packet; 0: media.DefaultMTU
}

func (c Config) withDefaults() (Config, error) {
	if c.Keepalive == 0 {
		c.Keepalive = 15 * time.Second
	}
	if c.Consent == 0 {
		c.Consent = consentLimit
	}
	if c.MaxViewers == 0 {
		c.MaxViewers = 8
	}
	switch {
	case c.Source == nil:
		return c, errors.New("configure camera: no source of video; media.EmbeddedClip has one")
	case len(c.Certificate) > wire.MaxCertificate:
		return c, fmt.Errorf("configure camera: a certificate of %d bytes: at most %d are one", len(c.Certificate), wire.MaxCertificate)
	case c.Book == nil && c.Secret == identity.Secret{} && len(c.Paired) == 0:
		return c, errors.New("configure camera: neither a pairing secret nor a paired viewer: nobody could watch")
	case len(c.Host) > wire.MaxCandidates:
		return c, fmt.Errorf("configure camera: %d host addresses, at most %d fit", len(c.Host), wire.MaxCandidates)
	case c.Keepalive < time.Second || c.MaxViewers < 0:
		return c, fmt.Errorf("configure camera: keepalive %v, %d viewers: use at least 1 s and 1", c.Keepalive, c.MaxViewers)
	case c.Consent < 0 || c.Consent > consentLimit:
		return c, fmt.Errorf("configure camera: consent lasts %v: use at most %v (RFC 7675 §5.1)", c.Consent, consentLimit)
	}
	return c, nil
}

const (
	consentLimit = 30 * time.Second
	unheardLife  = 10 * time.Second // of a viewer that was answered and never heard
	history      = 1024             // packets kept for a viewer that is cut off: more than 4 s of 2 Mbit/s
	maxStamps    = 1024             // viewers whose last timestamp is remembered; the oldest makes room
)

// Camera serves video to the viewers that a rendezvous introduces.
type Camera struct {
	cfg       Config
	box       core.Outbox
	link      *uplink.Link
	dev       *self.Device
	probes    self.Probes
	responder *session.Responder
	knocks    knocks

	viewers []*viewer
	due     []*viewer // HandleTimeout's
	byIndex map[uint32]*viewer
	stamps  map[identity.PublicKey]uint64
	order   []identity.PublicKey // of stamps, oldest first
	stats   Stats
	private time.Time // since then no media leaves; zero: it does
	closed  bool
}

// Stats counts since New.
type Stats struct {
	Traffic     core.Traffic
	Probes      core.Count            // punches sent
	ProbesBy    map[string]core.Count // of them, by the strategy that sent them
	Opened      int                   // sockets opened beside the first
	Class       wire.Class            // of the NATs before the camera, as far as known
	Idle        core.Count            // of Traffic, sent while there was no viewer
	Dropped     core.Drops            // packets, by reason
	Viewers     int                   // now
	Streams     int64                 // started
	FramesSent  int64                 // access units, each counted once a stream
	Thinned     int64                 // access units left out because a path carries less
	Resent      int64                 // packets
	PathChanges int64
	KeyFrames   int64 // asked for by viewers
	Registered  bool
	RTT         time.Duration // to the rendezvous
	Reflexive   netip.AddrPort
}

// New returns a camera. Start it.
func New(cfg Config) (*Camera, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Camera{
		cfg: cfg, byIndex: map[uint32]*viewer{}, stamps: map[identity.PublicKey]uint64{},
		stats: Stats{Dropped: core.Drops{}},
	}
	sc := session.Config{Static: cfg.Static, Rand: cfg.Rand, Taken: c.taken}
	c.link, err = uplink.New(uplink.Config{
		Session: sc, Rendezvous: cfg.RendezvousKey, Addrs: cfg.Rendezvous, Keepalive: cfg.Keepalive, Boot: cfg.Boot,
		Hello: &wire.Register{
			Version: wire.ProtocolVersion, Keepalive: uint16(cfg.Keepalive / time.Second), Boot: cfg.Boot, Certificate: cfg.Certificate,
		},
		Up: func(now time.Time, m wire.Message) {
			c.box.Emit(Registered{At: now, Reflexive: c.link.Reflexive()})
			c.dev.Up(now)
			c.reachable(now)
		},
		Down: func(now time.Time) { c.box.Emit(Unregistered{At: now}) },
		Denied: func(now time.Time, code wire.Code, retry time.Duration) {
			c.box.Emit(Denied{At: now, Code: code, Retry: retry})
		},
		Moved: func(now time.Time, _, _ netip.AddrPort) { c.dev.Moved(now) },
	}, &c.box)
	if err != nil {
		return nil, fmt.Errorf("configure camera: %w", err)
	}
	c.dev = self.New(self.Config{
		Servers: cfg.Rendezvous, Host: cfg.Host, Relayed: cfg.Relayed, Classify: cfg.Classify, Rand: cfg.Rand,
		Classified: func(now time.Time, class wire.Class) {
			c.box.Emit(Classified{At: now, Class: class})
			for _, v := range c.viewers {
				v.classified()
			}
		},
		Ready: func(now time.Time) { c.box.Emit(Ready{At: now}) },
	}, c.link, &c.box)
	sc.Prologue = []byte(core.PrologueCamera)
	c.responder, err = session.NewResponder(sc)
	return c, err
}

func (c *Camera) taken(i uint32) bool {
	return c.byIndex[i] != nil || c.link != nil && c.link.Owns(i)
}

// Start registers at the rendezvous, and again whenever the rendezvous falls silent.
func (c *Camera) Start(now time.Time) error {
	c.begin()
	return c.link.Start(now)
}

// Close says goodbye to everybody. The camera does nothing more.
func (c *Camera) Close(now time.Time) {
	c.begin()
	for _, v := range slices.Clone(c.viewers) {
		v.sendControl(&wire.Bye{Code: wire.CodeShuttingDown})
		c.drop(now, v, wire.CodeShuttingDown)
	}
	c.dev.Shut(now)
	c.link.Close(wire.CodeShuttingDown)
	c.closed = true
}

// begin starts a call into the core.
func (c *Camera) begin() {
	c.box.Begin()
	c.box.Quiet(len(c.viewers) == 0)
}

// HandlePacket takes a datagram.
func (c *Camera) HandlePacket(now time.Time, from, to netip.AddrPort, b []byte) {
	c.awake(now)
	if c.closed {
		return
	}
	if c.dev.Handle(now, from, to, b) {
		return
	}
	if err := c.handle(now, punch.Between(c.dev.Local(to), from), b); err != nil {
		c.stats.Dropped.Count(err)
	}
	c.tend(now)
}

// tend opens and closes the sockets that the viewers' agents want.
func (c *Camera) tend(now time.Time) {
	for _, v := range c.viewers {
		v.tend(now)
	}
}

// Why packets are dropped, beside what session, wire and media say.
var (
	errKind    = errors.New("not a datagram for a camera")
	errStray   = errors.New("from nobody who is served")
	errSession = errors.New("unknown session")
	errOld     = errors.New("initiation is not newer than the viewer's last")
	errUnasked = errors.New("message that nobody asked for")
	errRepeat  = errors.New("punch seen before")
)

func (c *Camera) handle(now time.Time, path punch.Path, b []byte) error {
	from := path.Addr
	if wire.Classify(b) == wire.ChannelData {
		channel, data, err := wire.ParseChannelData(b)
		if err != nil {
			return err
		}
		v := c.byChannel(channel)
		if v == nil || !c.link.IsRemote(from) || wire.Classify(data) == wire.ChannelData {
			return errStray
		}
		return c.fromViewer(now, punch.ViaRelay, v, data)
	}
	if index, ok := session.ReceiverIndex(b); ok && c.link.Owns(index) {
		m, err := c.link.Handle(now, from, b)
		if err == nil && m != nil {
			err = c.fromRendezvous(now, m)
		}
		return err
	}
	if (c.cfg.Listen || c.cfg.LAN) && wire.Classify(b) == wire.Initiation {
		return c.knocked(now, path, b)
	}
	return c.fromViewer(now, path, nil, b)
}

// HandleOpened hands over the sockets that Output.Open asked for (see core.Opener).
func (c *Camera) HandleOpened(now time.Time, socks []netip.AddrPort, err error) {
	c.begin()
	if c.closed {
		c.box.Close(socks...)
		return
	}
	c.dev.HandleOpened(now, socks, err)
	c.tend(now)
}

// HandleMapped says that a router forwards external to the main socket (PCP, NAT-PMP, UPnP); zero: no longer.
func (c *Camera) HandleMapped(now time.Time, external netip.AddrPort) {
	c.begin()
	if !c.closed {
		c.dev.Mapped(now, external)
	}
}

// HandleMoved says that the host has another network or address now, as far as the driver knows: the rendezvous is
// asked at once, and paths are looked for anew. Without this hint it takes longer to notice.
func (c *Camera) HandleMoved(now time.Time) {
	c.begin()
	if c.closed {
		return
	}
	c.link.Moved(now)
	for _, v := range c.viewers {
		v.suspicious = true
	}
}

// HandleFrames looks again at sources that had nothing (media.ErrPending): one of them has something now.
func (c *Camera) HandleFrames(now time.Time) {
	c.awake(now)
	if c.closed {
		return
	}
	for _, v := range c.viewers {
		v.look(now)
	}
}

// HandleLAN takes a datagram that came by a socket which the driver has beside those of the core, such as one in the multicast
// groups of the local network. What answers it leaves by the main socket.
func (c *Camera) HandleLAN(now time.Time, from netip.AddrPort, b []byte) {
	c.awake(now)
	if c.closed {
		return
	}
	err := errKind
	if c.cfg.LAN && wire.Classify(b) == wire.Initiation {
		err = c.knocked(now, punch.To(from), b)
	}
	if err != nil {
		c.stats.Dropped.Count(err)
	}
	c.tend(now)
}

// HandlePairings says that Config.Book was changed by somebody else than this camera: who may no longer watch is sent away.
func (c *Camera) HandlePairings(now time.Time) {
	c.begin()
	if !c.closed && c.cfg.Book != nil {
		c.recheck(now, nil)
	}
}

// awake begins a call at now, and anew where the host has slept since it should have been made.
func (c *Camera) awake(now time.Time) {
	c.begin()
	if c.closed {
		return
	}
	wanted := c.Deadline()
	if wanted.IsZero() || now.Sub(wanted) < asleep {
		return
	}
	_ = c.link.Start(now) // an error comes from the source of randomness and would repeat
	c.link.Moved(now)
	for _, v := range c.viewers {
		v.wake(now, now.Sub(wanted))
	}
}

// HandleTimeout does what is due.
func (c *Camera) HandleTimeout(now time.Time) {
	c.awake(now)
	if c.closed {
		return
	}
	c.link.HandleTimeout(now)
	c.dev.HandleTimeout(now)
	c.due = append(c.due[:0], c.viewers...) // some may be gone then
	for _, v := range c.due {
		v.timeout(now)
	}
	clear(c.due)
	c.tend(now)
}

// Deadline is when HandleTimeout is wanted.
func (c *Camera) Deadline() time.Time {
	if c.closed {
		return time.Time{}
	}
	d := core.Earliest(c.link.Deadline(), c.dev.Deadline())
	for _, v := range c.viewers {
		d = core.Earliest(d, v.deadline())
	}
	return d
}

// Ready returns what is to be sent and was noticed.
func (c *Camera) Ready() core.Output { return c.box.Ready() }

// Stats returns the counts so far.
func (c *Camera) Stats() Stats {
	s := c.stats
	s.Traffic, s.Idle = c.box.Traffic(), c.box.Idle()
	s.Dropped = core.Drops{}
	for k, n := range c.stats.Dropped {
		s.Dropped[k] = n
	}
	s.Viewers, s.Registered = len(c.viewers), c.link.Up()
	s.RTT, s.Reflexive = c.link.RTT(), c.link.Reflexive()
	s.Probes, s.ProbesBy, s.Opened, s.Class = c.probes.Total, c.probes.By(), c.dev.Opened(), c.dev.Class()
	return s
}

// Label is what the camera's maker prints, given the rendezvous' names.
func (c *Camera) Label(hosts ...string) identity.Label {
	return identity.Label{Key: c.cfg.Static.Public(), RendezvousKey: c.cfg.RendezvousKey, Rendezvous: hosts, Secret: c.cfg.Secret}
}

func (c *Camera) byIntro(id uint64) *viewer {
	for _, v := range c.viewers {
		if v.intro == id {
			return v
		}
	}
	return nil
}

func (c *Camera) byInitiation(id [16]byte) *viewer {
	for _, v := range c.viewers {
		if v.initiation == id {
			return v
		}
	}
	return nil
}

func (c *Camera) byChannel(channel uint16) *viewer {
	for _, v := range c.viewers {
		if v.channel == channel && channel != 0 {
			return v
		}
	}
	return nil
}
