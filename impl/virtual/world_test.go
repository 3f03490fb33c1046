package virtual_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
)

// worldConfig describes a camera, a viewer and a rendezvous, each with its access.
type worldConfig struct {
	seed                 uint64
	cameraNAT, viewerNAT *virtual.NATConfig
	loss                 float64 // of each access, each way
	cameraDelay          time.Duration
	viewerDelay          time.Duration
	rendezvousDelay      time.Duration
	cameraUp             int64 // bits a second; 0: no limit
	ipv6                 bool  // camera and viewer, both without a NAT, have IPv6 addresses too
	lent                 bool  // camera and viewer have an allocation each, at a TURN server on the rendezvous' site
	sameLAN              bool  // the viewer is behind the camera's NAT
	clip                 bool  // the real video, 2 Mbit/s; else a synthetic one that costs less
	classify             bool  // both find out their NATs' class before; the rendezvous has a grid of four sockets for that
	rendezvous           func(*rendezvous.Config)
	camera               func(*camera.Config)
	viewer               func(*viewer.Config)
}

// world is the three of them, running.
type world struct {
	t          testing.TB
	net        *virtual.Net
	cfg        worldConfig
	server     *rendezvous.Server
	camera     *camera.Camera
	viewer     *viewer.Viewer
	serverHost *virtual.Host
	cameraHost *virtual.Host
	viewerHost *virtual.Host
	cameraSite *virtual.Site
	viewerSite *virtual.Site
	label      identity.Label

	sent []media.Hash // access units in the order the source gave them
}

var (
	serverAddr = netip.MustParseAddrPort("203.0.113.1:3478")
	serverAlt  = netip.MustParseAddrPort("203.0.113.2:3478")
	cameraWAN  = netip.MustParseAddr("198.51.100.1")
	viewerWAN  = netip.MustParseAddr("192.0.2.1")
	cameraV6   = netip.MustParseAddrPort("[2001:db8:1::2]:5000")
	viewerV6   = netip.MustParseAddrPort("[2001:db8:2::2]:6000")
	cameraLent = netip.AddrPortFrom(serverAddr.Addr(), 50001)
	viewerLent = netip.AddrPortFrom(serverAddr.Addr(), 50002)
)

// randomness is cryptographic enough for tests and the same in each run.
func randomness(seed uint64, who byte) io.Reader {
	var s [32]byte
	for i := range 8 {
		s[i] = byte(seed >> (8 * i))
	}
	s[31] = who
	return rand.NewChaCha8(s)
}

func mustKey(r io.Reader) identity.Key {
	k, err := identity.NewKey(r)
	if err != nil {
		panic(err)
	}
	return k
}

// newWorld builds it and waits until the camera is registered and the viewer logged in.
func newWorld(t testing.TB, cfg worldConfig) *world {
	t.Helper()
	for _, d := range []*time.Duration{&cfg.cameraDelay, &cfg.viewerDelay} {
		if *d == 0 {
			*d = 10 * time.Millisecond
		}
	}
	if cfg.rendezvousDelay == 0 {
		cfg.rendezvousDelay = 5 * time.Millisecond
	}
	w := &world{t: t, cfg: cfg, net: virtual.New(cfg.seed)}
	w.build()
	w.serverHost.Do(func(time.Time) {})
	w.cameraHost.Do(func(now time.Time) { w.check(w.camera.Start(now)) })
	w.viewerHost.Do(func(now time.Time) { w.check(w.viewer.Start(now)) })
	if !w.net.Run(20*time.Second, func() bool {
		if cfg.classify {
			_, c := first[camera.Ready](w.cameraHost)
			if _, v := first[viewer.Ready](w.viewerHost); !c || !v {
				return false
			}
		}
		return w.server.Stats().Online == 1 && w.viewer.Stats().LoggedIn && w.camera.Stats().RTT > 0
	}) {
		t.Fatalf("not registered: %+v", w.server.Stats())
	}
	w.net.Run(100*time.Millisecond, nil) // let the confirming pings end
	return w
}

func (w *world) check(err error) {
	if err != nil {
		w.t.Helper()
		w.t.Fatal(err)
	}
}

func (w *world) build() {
	cfg := w.cfg
	rnd := func(who byte) io.Reader { return randomness(cfg.seed, who) }
	rkey, ckey, vkey := mustKey(rnd(1)), mustKey(rnd(2)), mustKey(rnd(3))
	secret := identity.Secret{1, 2, 3}
	addrs := []netip.AddrPort{serverAddr, serverAlt}

	rc := rendezvous.Config{Static: rkey, Rand: rnd(4)}
	if cfg.classify {
		rc.Grids = []rendezvous.Grid{{Addrs: [2]netip.Addr{serverAddr.Addr(), serverAlt.Addr()}, Ports: [2]uint16{serverAddr.Port(), serverAddr.Port() + 1}}}
	}
	if cfg.rendezvous != nil {
		cfg.rendezvous(&rc)
	}
	var err error
	w.server, err = rendezvous.New(rc)
	w.check(err)
	cameraHost, viewerHost := netip.MustParseAddrPort("10.0.0.2:5000"), netip.MustParseAddrPort("10.1.0.2:6000")
	if cfg.cameraNAT == nil {
		cameraHost = netip.AddrPortFrom(cameraWAN, 5000)
	}
	switch {
	case cfg.sameLAN:
		viewerHost = netip.MustParseAddrPort("10.0.0.3:6000")
	case cfg.viewerNAT == nil:
		viewerHost = netip.AddrPortFrom(viewerWAN, 6000)
	}
	cc := camera.Config{
		Static: ckey, Rendezvous: addrs, RendezvousKey: rkey.Public(), Secret: secret, Rand: rnd(5),
		Source: func() media.Source {
			if cfg.clip {
				return &recorder{w, media.EmbeddedClip().Loop()}
			}
			return &recorder{w, &synthetic{}}
		},
	}
	cc.Classify = cfg.classify
	if cfg.classify {
		cc.Host = []netip.AddrPort{cameraHost}
	}
	if cfg.ipv6 {
		cc.Host = []netip.AddrPort{cameraV6}
	}
	if cfg.lent {
		cc.Relayed = []netip.AddrPort{cameraLent}
	}
	if cfg.camera != nil {
		cfg.camera(&cc)
	}
	w.camera, err = camera.New(cc)
	w.check(err)
	w.label = w.camera.Label(serverAddr.String())

	vc := viewer.Config{Static: vkey, Rendezvous: addrs, RendezvousKey: rkey.Public(), Rand: rnd(6), Host: []netip.AddrPort{viewerHost}, Classify: cfg.classify}
	if cfg.ipv6 {
		vc.Host = append(vc.Host, viewerV6)
	}
	if cfg.lent {
		vc.Relayed = []netip.AddrPort{viewerLent}
	}
	if cfg.viewer != nil {
		cfg.viewer(&vc)
	}
	w.viewer, err = viewer.New(vc)
	w.check(err)

	site := w.net.Site(virtual.SiteConfig{Addr: serverAddr.Addr(), Delay: cfg.rendezvousDelay, Loss: cfg.loss})
	sockets := slices.Clone(addrs)
	if cfg.classify {
		for _, a := range addrs {
			sockets = append(sockets, netip.AddrPortFrom(a.Addr(), a.Port()+1))
		}
	}
	w.serverHost = site.Host("rendezvous", w.server, sockets...)
	w.cameraSite = w.net.Site(virtual.SiteConfig{Addr: cameraWAN, NAT: cfg.cameraNAT, Delay: cfg.cameraDelay, Loss: cfg.loss, LAN: time.Millisecond, Up: cfg.cameraUp})
	w.viewerSite = w.cameraSite
	if !cfg.sameLAN {
		w.viewerSite = w.net.Site(virtual.SiteConfig{Addr: viewerWAN, NAT: cfg.viewerNAT, Delay: cfg.viewerDelay, Loss: cfg.loss})
	}
	at := map[bool][]netip.AddrPort{false: {cameraHost}, true: {cameraHost, cameraV6}}
	w.cameraHost = w.cameraSite.Host("camera", w.camera, at[cfg.ipv6]...)
	at = map[bool][]netip.AddrPort{false: {viewerHost}, true: {viewerHost, viewerV6}}
	w.viewerHost = w.viewerSite.Host("viewer", w.viewer, at[cfg.ipv6]...)
	if cfg.lent {
		w.cameraHost.Lend(site, cameraLent)
		w.viewerHost.Lend(site, viewerLent)
	}
}

// recorder notes what a source gave.
type recorder struct {
	w *world
	s media.Source
}

func (r *recorder) Next() (media.AccessUnit, error) {
	au, err := r.s.Next()
	if au.Index == 0 {
		r.w.sent = nil // a new stream
	}
	r.w.sent = append(r.w.sent, au.Hash)
	return au, err
}

// synthetic is 25 access units a second, a key frame of 5,000 bytes and 24 others of 1,500 each.
type synthetic struct{ n int }

func (s *synthetic) Next() (media.AccessUnit, error) {
	key := s.n%25 == 0
	size, nal := 1500, byte(0x41)
	if key {
		size, nal = 5000, 0x65
	}
	data := append([]byte{0, 0, 0, 1, nal}, bytes.Repeat([]byte{byte(s.n%255) + 1, byte(s.n>>8) + 1}, size/2)...)
	au := media.AccessUnit{Index: s.n, PTS: time.Duration(s.n) * 40 * time.Millisecond, Key: key, Data: data, Hash: media.Sum(data)}
	s.n++
	return au, nil
}

// connect asks for the video.
func (w *world) connect(strategy string) {
	w.t.Helper()
	w.viewerHost.Do(func(now time.Time) { w.check(w.viewer.Connect(now, w.label, strategy)) })
}

// first returns the viewer's first event of a type.
func first[E any](h *virtual.Host) (e E, ok bool) {
	for _, ev := range h.Events {
		if e, ok := ev.E.(E); ok {
			return e, true
		}
	}
	return e, false
}

func all[E any](h *virtual.Host) (es []E) {
	for _, ev := range h.Events {
		if e, ok := ev.E.(E); ok {
			es = append(es, e)
		}
	}
	return es
}

// checkFrames demands that the frames received are the first ones sent: each once, in order, to the byte.
func (w *world) checkFrames(atLeast int) {
	w.t.Helper()
	frames := all[viewer.FrameReceived](w.viewerHost)
	if len(frames) < atLeast {
		w.t.Errorf("%d frames, want at least %d; viewer %+v", len(frames), atLeast, w.viewer.Stats())
	}
	for i, f := range frames {
		if f.Frame.Index != i || i >= len(w.sent) || f.Frame.Hash() != w.sent[i] {
			w.t.Fatalf("frame %d has index %d, key %v and another hash than was sent, or was not sent", i, f.Frame.Index, f.Frame.Key)
		}
	}
}

// possible says whether a direct path exists between two NATs, by RFC 4787's words alone. One side sends to where the
// rendezvous saw the other; the other answers to where that came from.
func possible(c, v *virtual.NATConfig) bool { return opens(c, v) || opens(v, c) }

// opens says whether b's packet to the endpoint of a that the rendezvous saw gets in, and a's answer back out.
func opens(a, b *virtual.NATConfig) bool {
	const EI, APD = virtual.EndpointIndependent, virtual.AddressAndPortDependent
	steadyA, steadyB := a == nil || a.Mapping == EI, b == nil || b.Mapping == EI
	// a has sent to b as well: by the same mapping where a's is steady, or where its filter spans its mappings.
	in := a == nil || a.Filtering == EI || (steadyA || a.PerEndpoint) && (a.Filtering != APD || steadyB)
	back := steadyA || b == nil || b.Filtering != APD
	return in && back
}

func natName(n *virtual.NATConfig) string {
	if n == nil {
		return "open"
	}
	name := fmt.Sprintf("%vM-%vF", n.Mapping, n.Filtering)
	if n.PerEndpoint {
		name += "-per-endpoint"
	}
	return name
}

// nats lists no NAT and the nine, and those of them for which it makes a difference with a filter per endpoint.
func nats() (ns []*virtual.NATConfig) {
	ns = append(ns, nil)
	for _, m := range virtual.Dependencies {
		for _, f := range virtual.Dependencies {
			ns = append(ns, &virtual.NATConfig{Mapping: m, Filtering: f})
			if m != virtual.EndpointIndependent && f != virtual.EndpointIndependent {
				ns = append(ns, &virtual.NATConfig{Mapping: m, Filtering: f, PerEndpoint: true})
			}
		}
	}
	return ns
}
