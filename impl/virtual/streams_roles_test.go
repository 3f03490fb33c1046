package virtual_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
)

var serverTLS = core.Over(core.TLS, netip.AddrPortFrom(serverAddr.Addr(), 443))

// acceptStreams has the rendezvous accept streams, and the peers TCP ones.
func (w *world) acceptStreams() {
	w.serverHost.Accept = []netip.AddrPort{core.Over(core.TCP, serverAddr), serverTLS}
	for _, h := range []*virtual.Host{w.cameraHost, w.viewerHost} {
		h.Accept = []netip.AddrPort{core.Over(core.TCP, h.Addrs[0])}
	}
}

// withStreams gives a role's list of rendezvous addresses TCP and TLS ones too.
func withStreams(addrs []netip.AddrPort) []netip.AddrPort {
	return append(addrs[:len(addrs):len(addrs)], core.Over(core.TCP, serverAddr), serverTLS)
}

// Where a side's UDP is blocked, it reaches the rendezvous by a stream, and the other side's media comes through the
// relay; two that have TCP meet by it. Every frame comes once.
func TestBlockedUDP(t *testing.T) {
	for _, who := range []string{"camera", "viewer", "both"} {
		for _, proto := range []core.Proto{core.TCP, core.TLS} {
			w := &world{t: t, net: virtual.New(70), cfg: worldConfig{
				seed: 70, cameraNAT: restricted, viewerNAT: restricted, classify: true,
				cameraDelay: 10 * time.Millisecond, viewerDelay: 10 * time.Millisecond, rendezvousDelay: 5 * time.Millisecond,
				camera: func(c *camera.Config) { c.Rendezvous = withStreams(c.Rendezvous) },
				viewer: func(c *viewer.Config) { c.Rendezvous = withStreams(c.Rendezvous) },
			}}
			w.build()
			w.acceptStreams()
			w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
				got, _ := core.ProtoOf(p.To)
				return from.Name == "rendezvous" || who != "both" && from.Name != who || got == proto
			}
			w.cameraHost.Do(func(now time.Time) { w.check(w.camera.Start(now)) })
			w.viewerHost.Do(func(now time.Time) { w.check(w.viewer.Start(now)) })
			w.net.Run(5*time.Second, nil)
			_, c := first[camera.Ready](w.cameraHost)
			if _, v := first[viewer.Ready](w.viewerHost); !c || !v {
				t.Errorf("%s blocked but for %v: not ready; camera %+v, viewer %+v", who, proto, w.camera.Stats(), w.viewer.Stats())
				continue
			}
			w.connect("adaptive")
			w.net.Run(5*time.Second, nil)
			want := punch.Relay
			if who == "both" && proto == core.TCP { // by simultaneous open
				want = punch.Direct
			}
			if s := w.viewer.Stats(); s.Path.Route != want || !s.Confirmed {
				t.Errorf("%s blocked but for %v: media by %v; events%s", who, proto, s.Path, events(w))
			}
			w.checkFrames(90)
		}
	}
}

// The strategy of its name meets by TCP, open or behind NATs.
func TestDirectTCP(t *testing.T) {
	for _, nat := range []*virtual.NATConfig{nil, fullCone, restricted} {
		directTCP(t, nat)
	}
}

func directTCP(t *testing.T, nat *virtual.NATConfig) {
	w := &world{t: t, net: virtual.New(71), cfg: worldConfig{
		seed: 71, cameraNAT: nat, viewerNAT: nat, cameraDelay: 10 * time.Millisecond, viewerDelay: 10 * time.Millisecond, rendezvousDelay: 5 * time.Millisecond,
		camera: func(c *camera.Config) { c.Rendezvous = []netip.AddrPort{core.Over(core.TCP, serverAddr)} },
		viewer: func(c *viewer.Config) { c.Rendezvous = []netip.AddrPort{core.Over(core.TCP, serverAddr)} },
	}}
	w.build()
	w.acceptStreams()
	w.cameraHost.Do(func(now time.Time) { w.check(w.camera.Start(now)) })
	w.viewerHost.Do(func(now time.Time) { w.check(w.viewer.Start(now)) })
	w.net.Run(2*time.Second, nil)
	w.connect("tcp")
	w.net.Run(4*time.Second, nil)
	s := w.viewer.Stats()
	if proto, _ := core.ProtoOf(s.Path.Addr); s.Path.Route != punch.Direct || !s.Confirmed || proto != core.TCP {
		t.Errorf("media by %v because %s; camera %+v; events%s", s.Path, s.NotDirect, w.camera.Stats(), events(w))
	}
	w.checkFrames(60)
}
