package capture

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/lab/capture/tap"
	"github.com/punchlab/punchlab/lab/fabric"
	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/packet"
)

const ms1 = time.Millisecond

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

var (
	viewerEnd     = ap("192.168.1.2:5000")
	cameraEnd     = ap("192.168.2.2:5001")
	rendezvousEnd = ap("192.0.2.1:4433")
	viewerWAN     = netip.MustParseAddr("203.0.113.1")
	cameraWAN     = netip.MustParseAddr("198.51.100.1")
)

// play is a small net in virtual time: viewer and camera behind a router each, and a rendezvous. What hosts do is
// scripted; they react to what they get.
type play struct {
	t       testing.TB
	f       *fabric.Fabric
	net     *fabric.Net
	senders map[string]Sender
	routers map[string]*fabric.Router
	ends    map[string]netip.AddrPort
	react   map[string]func(p *play, from netip.AddrPort, payload []byte)
	todo    []action
	now     time.Duration
	wait    time.Duration // before the camera answers an introduction
	log     tap.Log
	file    []byte
}

type action struct {
	at time.Duration
	do func()
}

type playConfig struct {
	viewer, camera nat.Behavior
	link           link.Impairment          // every uplink, both ways
	delays         map[string]time.Duration // by uplink, instead of link's
	seed           uint64
}

// newPlay makes the net; without a tap if silent.
func newPlay(t testing.TB, c playConfig) *play {
	t.Helper()
	p := &play{t: t, f: fabric.New(fabric.Config{}), senders: map[string]Sender{}, routers: map[string]*fabric.Router{}, react: map[string]func(*play, netip.AddrPort, []byte){}}
	p.ends = map[string]netip.AddrPort{"viewer": viewerEnd, "camera": cameraEnd, "rendezvous": rendezvousEnd}
	p.net = p.f.NewNet(c.seed)
	profile := func(name string) link.Profile {
		i := c.link
		if d, ok := c.delays[name]; ok {
			i.Delay = d
		}
		return link.Profile{Name: "test", Up: i, Down: i}
	}
	side := func(name, host string, end netip.AddrPort, wan netip.Addr, b nat.Behavior) {
		lan := netip.PrefixFrom(end.Addr(), 24).Masked()
		table, err := nat.NewTable(nat.Config{Behavior: b, External: []netip.Addr{wan}, LAN: []netip.Prefix{lan}})
		check(t, err)
		gw := lan.Addr().Next()
		r, err := p.net.AttachRouter(fabric.RouterConfig{Name: name, Table: table, Gateway: gw, LAN: []netip.Prefix{lan}, WAN: []netip.Prefix{single(wan)}, Profile: profile(name)})
		check(t, err)
		s, err := r.Attach(fabric.StationConfig{Name: host, Addrs: []netip.Prefix{single(end.Addr())}, Output: &output{p, host}})
		check(t, err)
		p.senders["station "+host] = s
		p.routers[name] = r
	}
	side("home", "viewer", viewerEnd, viewerWAN, c.viewer)
	side("shed", "camera", cameraEnd, cameraWAN, c.camera)
	u, err := p.net.Attach(fabric.UplinkConfig{Name: "rendezvous", Routed: []netip.Prefix{single(rendezvousEnd.Addr())}, Profile: profile("rendezvous"), Output: &output{p, "rendezvous"}})
	check(t, err)
	p.senders["uplink rendezvous"] = u
	p.net.Reset(c.seed)
	p.file = p.log.AppendHeader(nil)
	p.net.SetTap(func(e fabric.TapEvent) { p.file = p.log.AppendEvent(p.file, e) })
	return p
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func roles(c playConfig) Roles {
	return Roles{
		Viewer: "viewer", Rendezvous: "rendezvous", Camera: "camera",
		Hosts: []Host{
			{Name: "viewer", Behind: "home", Addrs: []netip.Addr{viewerEnd.Addr()}},
			{Name: "rendezvous", Addrs: []netip.Addr{rendezvousEnd.Addr()}},
			{Name: "camera", Behind: "shed", Addrs: []netip.Addr{cameraEnd.Addr()}},
		},
		Routers: []Router{
			{Name: "home", Addrs: []netip.Addr{viewerWAN}, LAN: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}, Behavior: c.viewer},
			{Name: "shed", Addrs: []netip.Addr{cameraWAN}, LAN: []netip.Prefix{netip.MustParsePrefix("192.168.2.0/24")}, Behavior: c.camera},
		},
	}
}

// output is a host that reacts to UDP at once.
type output struct {
	p    *play
	host string
}

func (o *output) Deliver(k *fabric.Packet) bool {
	h, err := packet.ParseIPv4(k.Bytes())
	if err != nil || h.Protocol() != packet.ProtocolUDP {
		return true
	}
	u, err := packet.ParseUDP(h.Payload())
	if err != nil {
		return true
	}
	from, b := netip.AddrPortFrom(h.Src(), u.SrcPort()), bytes.Clone(u.Payload())
	if f := o.p.react[o.host]; f != nil {
		o.p.at(o.p.now, func() { f(o.p, from, b) })
	}
	return true
}

// at schedules something.
func (p *play) at(t time.Duration, do func()) {
	i := len(p.todo)
	for i > 0 && p.todo[i-1].at > t {
		i--
	}
	p.todo = slices.Insert(p.todo, i, action{t, do})
}

// send lets a host send a datagram now.
func (p *play) send(host string, to netip.AddrPort, payload []byte) {
	p.sendFrom(host, p.ends[host].Port(), to, payload)
}

func (p *play) sendFrom(host string, port uint16, to netip.AddrPort, payload []byte) {
	if !to.IsValid() { // its answer never came
		return
	}
	k := p.f.Get()
	k.Set(packet.AppendUDP(nil, netip.AddrPortFrom(p.ends[host].Addr(), port), to, payload))
	s := p.senders["station "+host]
	if s == nil {
		s = p.senders["uplink "+host]
	}
	s.Send(p.now, k)
}

// run lets everything happen up to a time.
func (p *play) run(until time.Duration) {
	for {
		next, due := p.f.Deadline()
		if len(p.todo) > 0 && (!due || cmp.Less(p.todo[0].at, next)) {
			next, due = p.todo[0].at, true
		}
		if !due || next > until {
			p.now = until
			return
		}
		p.now = max(p.now, next)
		if len(p.todo) > 0 && p.todo[0].at <= p.now {
			a := p.todo[0]
			p.todo = p.todo[1:]
			a.do()
			continue
		}
		p.f.Deliver(p.now, 0)
	}
}

func (p *play) trace() *Trace {
	p.t.Helper()
	t, err := Read(bytes.NewReader(p.file))
	check(p.t, err)
	return t
}

// Datagrams that look like the protocol's.

func sized(first byte, n int) []byte {
	b := make([]byte, n)
	b[0], b[1] = first, 1
	return b
}

func punchOf(counter uint32) []byte {
	b := sized(8, 192)
	binary.LittleEndian.PutUint32(b[4:], counter)
	return b
}

func mediaOf(n uint16) []byte {
	b := make([]byte, 900)
	b[0], b[1] = 0x80, 96
	binary.BigEndian.PutUint16(b[2:], n)
	return b
}

func relayed(b []byte) []byte {
	f := []byte{0x40, 1, 0, 0}
	binary.BigEndian.PutUint16(f[2:], uint16(len(b)))
	return append(f, b...)
}

const requested = time.Second

// trial plays one flight of the protocol: registration, login, connect at one second, punches, media through both
// paths. frames is how many media packets the camera sends.
func (p *play) trial(frames int) {
	var cameraAt, viewerAt netip.AddrPort
	heard := map[string]bool{}
	stream := func(to netip.AddrPort, wrap func([]byte) []byte) {
		for i := range frames {
			p.at(p.now+time.Duration(i)*10*ms1, func() { p.send("camera", to, wrap(mediaOf(uint16(i)))) })
		}
	}
	punches := func(host string, to netip.AddrPort) {
		for i, d := range []time.Duration{0, 20, 60, 150, 350, 750, 1150} {
			p.at(p.now+d*ms1, func() { p.send(host, to, punchOf(uint32(i+1))) })
		}
	}
	p.react["rendezvous"] = func(p *play, from netip.AddrPort, b []byte) {
		switch {
		case b[0] == 4 && from.Addr() == cameraWAN:
			cameraAt = from
			p.send("rendezvous", from, sized(5, 100))
		case b[0] == 4:
			viewerAt = from
			p.send("rendezvous", from, sized(5, 100))
		case b[0] == 7 && from == viewerAt:
			intro := sized(7, 420)
			binary.BigEndian.PutUint16(intro[16:], viewerAt.Port())
			p.send("rendezvous", cameraAt, intro)
			peer := sized(7, 90)
			binary.BigEndian.PutUint16(peer[16:], cameraAt.Port())
			p.send("rendezvous", viewerAt, peer)
		case b[0] == 0x40 && from == cameraAt:
			p.send("rendezvous", viewerAt, b)
		case b[0] == 0x40:
			p.send("rendezvous", cameraAt, b)
		}
	}
	p.react["camera"] = func(p *play, from netip.AddrPort, b []byte) {
		if b[0] == 7 && len(b) == 420 && p.wait > 0 { // it has something else to do first
			wait := p.wait
			p.wait = 0
			p.at(p.now+wait, func() { p.react["camera"](p, from, b) })
			return
		}
		if b[0] == 7 && len(b) == 420 {
			viewer := netip.AddrPortFrom(viewerWAN, binary.BigEndian.Uint16(b[16:]))
			p.send("camera", viewer, sized(5, 150))
			p.send("camera", rendezvousEnd, relayed(sized(5, 150)))
			p.send("camera", rendezvousEnd, sized(7, 60))
			stream(rendezvousEnd, relayed)
			stream(viewer, bytes.Clone)
			punches("camera", viewer)
		}
		if b[0] == 8 && !heard["camera"] {
			heard["camera"] = true
			p.send("camera", from, sized(7, 57))
		}
	}
	p.react["viewer"] = func(p *play, from netip.AddrPort, b []byte) {
		if b[0] == 7 && len(b) == 90 {
			punches("viewer", netip.AddrPortFrom(cameraWAN, binary.BigEndian.Uint16(b[16:])))
		}
	}
	p.at(0, func() { p.send("camera", rendezvousEnd, sized(4, 300)) })
	p.at(100*ms1, func() { p.send("viewer", rendezvousEnd, sized(4, 300)) })
	p.at(requested, func() { p.send("viewer", rendezvousEnd, sized(7, 400)) })
	p.run(10 * time.Second)
}

func preset(t testing.TB, name string) nat.Behavior {
	t.Helper()
	b, ok := nat.Lookup(name)
	if !ok {
		t.Fatalf("no preset %s", name)
	}
	return b
}
