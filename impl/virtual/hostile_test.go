package virtual_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/camera"
	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/virtual"
	"github.com/punchlab/punchlab/impl/wire"
)

// bystander is a host that has nothing to do with it, and notes what it gets.
type bystander struct {
	box core.Outbox
	got core.Count
}

func (b *bystander) HandlePacket(_ time.Time, _, _ netip.AddrPort, p []byte) { b.got.Add(len(p)) }
func (b *bystander) HandleTimeout(time.Time)                                 {}
func (b *bystander) Deadline() time.Time                                     { return time.Time{} }
func (b *bystander) Ready() core.Output                                      { return b.box.Ready() }

var bystanderAddr = netip.MustParseAddrPort("203.0.113.99:9")

func (w *world) bystander() *bystander {
	b := &bystander{}
	w.net.Site(virtual.SiteConfig{Addr: bystanderAddr.Addr(), Delay: time.Millisecond}).Host("bystander", b, bystanderAddr)
	return b
}

// tap notes packets that hosts send.
type tapped struct {
	host string
	to   netip.AddrPort
	b    []byte
	at   time.Duration
}

func (w *world) tap() *[]tapped {
	var ps []tapped
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		ps = append(ps, tapped{from.Name, p.To, append([]byte(nil), p.B...), w.net.Now.Sub(virtual.Start)})
		return true
	}
	return &ps
}

// An unknown camera and one that is offline cannot be told apart: same answer, same size, same time.
func TestRefusalsAreAlike(t *testing.T) {
	answer := func(prepare func(w *world)) []tapped {
		w := newWorld(t, worldConfig{seed: 20})
		prepare(w)
		w.net.Run(time.Second, nil)
		start := w.net.Now.Sub(virtual.Start)
		ps := w.tap()
		w.connect("adaptive")
		w.net.Run(500*time.Millisecond, nil)
		if f, ok := first[viewer.Failed](w.viewerHost); !ok || f.Code != wire.CodeUnavailable {
			t.Fatalf("failed %+v", f)
		}
		var out []tapped
		for _, p := range *ps {
			if p.host == "rendezvous" {
				out = append(out, tapped{to: p.to, b: make([]byte, len(p.b)), at: p.at - start})
			}
		}
		return out
	}
	unknown := answer(func(w *world) { w.label.Key = mustKey(randomness(77, 1)).Public() })
	offline := answer(func(w *world) { w.cameraHost.Do(w.camera.Close) })
	if len(unknown) != 1 || len(offline) != 1 || unknown[0].at != offline[0].at || len(unknown[0].b) != len(offline[0].b) {
		t.Errorf("unknown %v, offline %v", unknown, offline)
	}
}

// A camera's registration cannot be taken over without its key: not by replaying its handshake, its sealed datagrams or
// a datagram that the rendezvous has not seen yet, from elsewhere.
func TestRegistrationCannotBeHijacked(t *testing.T) {
	for _, restart := range []bool{false, true} {
		w := &world{t: t, net: virtual.New(21), cfg: worldConfig{seed: 21, cameraDelay: 10 * time.Millisecond, viewerDelay: 10 * time.Millisecond}}
		w.build()
		victim := w.bystander()
		ps := w.tap()
		w.cameraHost.Do(func(now time.Time) { w.check(w.camera.Start(now)) })
		w.net.Run(20*time.Second, nil)
		if restart {
			fresh, err := rendezvous.New(rendezvous.Config{Static: mustKey(randomness(21, 1)), Rand: randomness(21, 99)})
			w.check(err)
			w.server, w.serverHost.Core = fresh, fresh
			w.cameraHost.Down(true)
		}
		for _, p := range *ps {
			if p.host == "camera" {
				w.net.Inject(w.serverHost, bystanderAddr, p.b)
			}
		}
		w.net.Run(time.Second, nil)
		online := all[rendezvous.Online](w.serverHost)
		if len(online) != 1 || len(all[rendezvous.Moved](w.serverHost)) != 0 || w.server.Stats().Online != map[bool]int{false: 1, true: 0}[restart] {
			t.Errorf("restart %v: events %+v, stats %+v", restart, w.serverHost.Events, w.server.Stats())
		}
		if limit := int64(2 * 256); victim.got.Bytes > limit {
			t.Errorf("restart %v: %d bytes sent to the attacker's address", restart, victim.got.Bytes)
		}
	}
	// A fresh datagram from elsewhere: the rendezvous asks there, and believes the answer only.
	w := newWorld(t, worldConfig{seed: 22})
	w.bystander()
	before := w.camera.Stats().Reflexive
	w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
		if from.Name == "camera" {
			w.net.Filter = nil
			w.net.Inject(w.serverHost, bystanderAddr, p.B)
			return false
		}
		return true
	}
	w.net.Run(5*time.Minute, nil)
	if w.camera.Stats().Reflexive != before || len(all[rendezvous.Moved](w.serverHost)) != 0 {
		t.Errorf("moved: %+v", w.serverHost.Events)
	}
}

// A relay serves the two parties it was bound for, within its quota, and nobody else.
func TestRelayAbuse(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 23, rendezvous: func(c *rendezvous.Config) { c.RelayRate, c.RelayBurst = 10_000, 20_000 }})
	w.bystander()
	w.connect("relay")
	w.net.Run(300*time.Millisecond, nil)
	dropped := w.server.Stats()
	for channel := wire.MinChannel; channel < wire.MinChannel+16; channel++ {
		frame, err := wire.AppendChannelData(nil, uint16(channel), []byte{7, 1, 0, 0, 1, 2, 3, 4})
		w.check(err)
		w.net.Inject(w.serverHost, bystanderAddr, frame)
	}
	s := w.server.Stats()
	if s.RelayedFrames != dropped.RelayedFrames || s.Dropped["channel is not bound to this address"] != 16 {
		t.Errorf("a stranger's frames were relayed: %+v", s)
	}
	w.net.Run(10*time.Second, nil)
	s = w.server.Stats()
	if s.OverQuota == 0 || s.RelayedBytes > 20_000+11*10_000 {
		t.Errorf("%d bytes relayed, %d frames over quota", s.RelayedBytes, s.OverQuota)
	}
	w.viewerHost.Down(true)
	w.cameraHost.Down(true)
	w.net.Run(5*time.Minute, nil)
	if s := w.server.Stats(); s.Relays != 0 {
		t.Errorf("%d relays left", s.Relays)
	}
	w = newWorld(t, worldConfig{seed: 23, rendezvous: func(c *rendezvous.Config) { c.NoRelay = true }})
	w.connect("relay")
	w.net.Run(10*time.Second, nil)
	if f, ok := first[viewer.Failed](w.viewerHost); !ok || f.Code != wire.CodeNoRelay {
		t.Errorf("without a relay: %+v", f)
	}
}

// An address that only the viewer vouches for gets 5 packets and 1 KiB at most, and no media.
func TestUnconfirmedAddressesAreSpared(t *testing.T) {
	check := func(name string, got core.Count) {
		t.Helper()
		if got.Packets == 0 || got.Packets > punch.MaxUnconfirmedPackets || got.Bytes > punch.MaxUnconfirmedBytes {
			t.Errorf("%s: the bystander got %+v", name, got)
		}
	}
	for _, strategy := range []string{"direct", "adaptive"} {
		w := newWorld(t, worldConfig{seed: 24, cameraNAT: restricted, viewerNAT: symmetric, viewer: func(c *viewer.Config) {
			c.Host = []netip.AddrPort{bystanderAddr}
		}})
		b := w.bystander()
		w.connect(strategy)
		w.net.Run(20*time.Second, nil)
		check(strategy+", named as a host candidate", b.got)

		// The viewer's own punches, as if from the bystander.
		w = newWorld(t, worldConfig{seed: 24, cameraNAT: fullCone, viewerNAT: symmetric})
		b = w.bystander()
		w.net.Filter = func(from *virtual.Host, p core.Packet) bool {
			if from.Name == "viewer" && betweenPeers(from, p) {
				w.net.Inject(w.cameraHost, bystanderAddr, p.B)
				return false
			}
			return true
		}
		w.connect(strategy)
		w.net.Run(20*time.Second, nil)
		check(strategy+", punches with its address", b.got)
	}
}

// A viewer that has not read the label is refused and sent nothing.
func TestUnpairedViewer(t *testing.T) {
	w := newWorld(t, worldConfig{seed: 25})
	w.label.Secret = identity.Secret{9}
	w.connect("adaptive")
	w.net.Run(time.Second, nil)
	f, ok := first[viewer.Failed](w.viewerHost)
	s := w.camera.Stats()
	if !ok || f.Code != wire.CodeNotPaired || s.Traffic.Of(core.Media).Packets != 0 || s.Viewers != 0 {
		t.Errorf("failed %+v, camera %+v", f, s)
	}
	paired := newWorld(t, worldConfig{seed: 25, camera: func(c *camera.Config) {
		c.Secret, c.Paired = identity.Secret{}, []identity.PublicKey{mustKey(randomness(25, 3)).Public()}
	}})
	paired.connect("direct")
	paired.net.Run(time.Second, nil)
	paired.checkFrames(20)
}

// Every datagram of a session comes again, cut short and damaged, from its own source and from elsewhere: all of it is
// counted, and the video goes on.
func TestReplayTruncationAndDamage(t *testing.T) {
	for _, strategy := range []string{"adaptive", "direct", "relay"} {
		w := newWorld(t, worldConfig{seed: 26, cameraNAT: fullCone, viewerNAT: fullCone})
		ps := w.tap()
		w.connect(strategy)
		w.net.Run(time.Second, nil)
		recorded := *ps
		w.net.Filter = nil
		hosts := []*virtual.Host{w.serverHost, w.cameraHost, w.viewerHost}
		for i, p := range recorded {
			h := hosts[i%3]
			for _, source := range []netip.AddrPort{w.camera.Stats().Reflexive, w.viewer.Stats().Reflexive, serverAddr, bystanderAddr} {
				w.net.Inject(h, source, p.b)
				w.net.Inject(h, source, p.b[:i*7%len(p.b)])
				damaged := append([]byte(nil), p.b...)
				damaged[i*13%len(damaged)] ^= 1 << (i % 8)
				w.net.Inject(h, source, damaged)
			}
		}
		w.net.Run(2*time.Second, nil)
		for name, d := range map[string]core.Drops{"rendezvous": w.server.Stats().Dropped, "camera": w.camera.Stats().Dropped, "viewer": w.viewer.Stats().Dropped} {
			total := int64(0)
			for _, n := range d {
				total += n
			}
			if total < 20 || len(d) > 40 {
				t.Errorf("%s, %s: dropped %v", strategy, name, d)
			}
		}
		w.checkFrames(70)
		if s := w.server.Stats(); s.Online != 1 || len(all[rendezvous.Moved](w.serverHost)) != 0 {
			t.Errorf("%s: rendezvous %+v", strategy, s)
		}
	}
}

// FuzzRoles throws a datagram at each role in the midst of a session.
func FuzzRoles(f *testing.F) {
	seed := newWorld(f, worldConfig{seed: 27})
	ps := seed.tap()
	seed.connect("adaptive")
	seed.net.Run(200*time.Millisecond, nil)
	for i, p := range *ps {
		if i < 30 {
			f.Add(uint8(i), p.b)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		w := newWorld(t, worldConfig{seed: 27})
		w.connect([]string{"adaptive", "direct", "relay"}[which%3])
		w.net.Run(60*time.Millisecond, nil)
		host := []*virtual.Host{w.serverHost, w.cameraHost, w.viewerHost}[which/3%3]
		for _, source := range []netip.AddrPort{w.camera.Stats().Reflexive, w.viewer.Stats().Reflexive, serverAddr, bystanderAddr} {
			w.net.Inject(host, source, b)
		}
		w.net.Run(300*time.Millisecond, nil)
		if s := w.viewer.Stats(); s.Frames == 0 {
			t.Errorf("no video after %x at %s: %+v", b, host.Name, s)
		}
		w.checkIntact()
	})
}

// A host that either side names under many ports gets, all together, what one address may have; however many it names.
func TestClaimedHostsAreSpared(t *testing.T) {
	var claims []netip.AddrPort
	for port := range uint16(8) {
		claims = append(claims, netip.AddrPortFrom(bystanderAddr.Addr(), bystanderAddr.Port()+port))
	}
	for _, who := range []string{"camera", "viewer"} {
		for _, strategy := range []string{"adaptive", "direct", "portmap"} {
			w := newWorld(t, worldConfig{seed: 28, cameraNAT: symmetric, viewerNAT: symmetric,
				camera: func(c *camera.Config) {
					if who == "camera" {
						c.Host = claims
					}
				},
				viewer: func(c *viewer.Config) {
					if who == "viewer" {
						c.Host = claims
					}
				},
			})
			b := &bystander{}
			w.net.Site(virtual.SiteConfig{Addr: bystanderAddr.Addr(), Delay: time.Millisecond}).Host("bystander", b, claims...)
			w.net.Run(time.Second, nil)
			w.connect(strategy)
			w.net.Run(10*time.Second, nil)
			if b.got.Packets > punch.MaxUnconfirmedPackets || b.got.Bytes > punch.MaxUnconfirmedBytes {
				t.Errorf("%s claims it, %s: the bystander got %+v", who, strategy, b.got)
			}
		}
	}
}
