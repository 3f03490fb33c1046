package rendezvous

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// relayed is a pair with a relay.
type relayed struct {
	pair
	channels [2]uint16 // the viewer's, the camera's
}

func (r *rig) relayed(v, c *device, id uint64) relayed {
	r.t.Helper()
	p := r.introduce(v, c, id, true)
	ends := r.s.known(v.key.Public(), Viewer).ends()
	e := ends[len(ends)-1]
	return relayed{p, [2]uint16{e.channel, e.other.channel}}
}

func frame(t testing.TB, channel uint16, size int) []byte {
	t.Helper()
	b, err := wire.AppendChannelData(nil, channel, make([]byte, size-wire.ChannelOverhead))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// pass sends n frames of a size from the camera and returns how many bytes come out.
func (p relayed) pass(n, size int) (bytes int) {
	p.r.t.Helper()
	for range n {
		p.r.give(p.c.addr, frame(p.r.t, p.channels[1], size))
	}
	for b := p.v.take(); b != nil; b = p.v.take() {
		bytes += len(b)
	}
	return bytes
}

// Each quota holds by itself: that of one relay, that of a device with several, that of all.
func TestRelayQuotas(t *testing.T) {
	const size = 1000
	for name, c := range map[string]struct {
		change        func(*Config)
		first, second int // bytes at once by a relay, then by another of the same camera
		stranger      int // then by one of others
		refilled      int // by the first, a second later
	}{
		"relay":  {func(c *Config) { c.RelayRate, c.RelayBurst = 5000, 20_000 }, 20_000, 20_000, 20_000, 5000},
		"device": {func(c *Config) { c.RelayRate, c.RelayBurst, c.DeviceRate = 5000, 20_000, 30_000 }, 20_000, 10_000, 20_000, 5000},
		"all":    {func(c *Config) { c.RelayRate, c.RelayBurst, c.TotalRate = 5000, 20_000, 45_000 }, 20_000, 20_000, 5000, 5000},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, c.change)
			camera, other := r.camera(), r.camera()
			a, b, s := r.relayed(r.viewer(), camera, 1), r.relayed(r.viewer(), camera, 2), r.relayed(r.viewer(), other, 3)
			first, second, stranger := a.pass(50, size), b.pass(50, size), s.pass(50, size)
			r.advance(time.Second)
			refilled := a.pass(50, size)
			if first != c.first || second != c.second || stranger != c.stranger || refilled != c.refilled {
				t.Errorf("%d, %d, %d and %d bytes; want %d, %d, %d and %d",
					first, second, stranger, refilled, c.first, c.second, c.stranger, c.refilled)
			}
			if n := r.s.Stats().OverQuota; n != 200-int64(first+second+stranger+refilled)/size {
				t.Errorf("%d frames over quota", n)
			}
		})
	}
}

// The quota of a device counts what it receives as well as what it sends.
func TestReceivingDeviceHasAQuota(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RelayRate, c.RelayBurst, c.DeviceRate = 5000, 20_000, 30_000 })
	v := r.viewer()
	a, b := r.relayed(v, r.camera(), 1), r.relayed(v, r.camera(), 2)
	if first, second := a.pass(50, 1000), b.pass(50, 1000); first != 20_000 || second != 10_000 {
		t.Errorf("%d and %d bytes to one viewer", first, second)
	}
}

// A clock that steps back neither fills a bucket nor empties it.
func TestBucketInTime(t *testing.T) {
	var b bucket
	take := func(at time.Duration, n float64) bool { return b.take(epoch.Add(at), 1, 10, n) }
	if !take(time.Hour, 8) || take(0, 3) || !take(0, 1) || take(time.Hour+time.Second, 3) || !take(time.Hour+time.Second, 2) {
		t.Errorf("left %v", b.tokens)
	}
}

// A frame that one quota refuses costs the others nothing: a relay beyond its own does not eat up its device's.
// And small ones cost more than their bytes.
func TestFrameCosts(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RelayRate, c.RelayBurst, c.DeviceRate = 1, 1000, 2000 })
	c := r.camera()
	a, b := r.relayed(r.viewer(), c, 1), r.relayed(r.viewer(), c, 2)
	a.pass(100, 1000)
	if n := b.pass(1, 1000); n != 1000 {
		t.Errorf("%d bytes by the other relay", n)
	}
	r = newRig(t, func(c *Config) { c.RelayRate, c.RelayBurst = 1, 1000 })
	if n := r.relayed(r.viewer(), r.camera(), 1).pass(100, wire.ChannelOverhead); n != 10*wire.ChannelOverhead {
		t.Errorf("%d bytes of frames that have nothing in them", n)
	}
}

// Relays outlive their introductions, and are bounded like them.
func TestRelaysInAllAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxIntroductions = 2; c.RelayIdle = time.Hour; c.Expiry = time.Hour })
	var last pair
	for i := range 3 {
		last = r.introduce(r.viewer(), r.camera(), uint64(i+1), true)
		r.advance(introMemory)
	}
	last.v.send(&wire.Again{ID: last.vid, Relay: true})
	if m := last.v.located(); m == nil || m.Channel != 0 || r.s.Stats().Relays != 2 || len(r.s.intros) != 0 {
		t.Errorf("%d relays, %d introductions; told %+v", r.s.Stats().Relays, len(r.s.intros), m)
	}
}

// Between a datagram's endpoint and a stream's, both ways.
func TestRelayOverStreams(t *testing.T) {
	r := newRig(t, nil)
	c, v := r.camera(), r.device()
	v.addr = core.Over(core.TLS, v.addr)
	v.join(&wire.Login{Version: wire.ProtocolVersion}, 1)
	p := r.relayed(v, c, 1)
	if n := p.pass(3, 1200); n != 3600 {
		t.Errorf("%d bytes to the stream", n)
	}
	r.give(v.addr, frame(t, p.channels[0], 1200))
	if b := c.take(); len(b) != 1200 {
		t.Errorf("%d bytes from the stream", len(b))
	}
	_, bare := core.ProtoOf(v.addr)
	r.give(bare, frame(t, p.channels[0], 1200)) // the same address and port, but no stream
	if r.dropped(errChannel.Error()) != 1 || len(r.out) != 0 {
		t.Errorf("sent %v, dropped %v", r.out, r.s.Stats().Dropped)
	}
}

// Frames go nowhere but to the party's validated endpoint: from a forged source, with another's channel, from an address
// that is being probed, to a party that is away, or with a frame inside.
func TestForgedFrames(t *testing.T) {
	r := newRig(t, nil)
	c := r.camera()
	p, q := r.relayed(r.viewer(), c, 1), r.relayed(r.viewer(), c, 2)
	stranger := r.viewer()
	for from, channel := range map[netip.AddrPort]uint16{
		stranger.addr:      p.channels[0],
		port(p.v.addr, 9):  p.channels[0],
		q.v.addr:           p.channels[0] + 1,
		local:              p.channels[0],
		netip.AddrPort{}:   p.channels[0],
		port(p.c.addr, 99): p.channels[1],
	} {
		r.give(from, frame(t, channel, 100))
	}
	away := addr("198.51.100.77:7")
	r.give(away, p.v.sealed(&wire.Ping{Sequence: 1 << 40})) // is probed, not believed
	r.out = nil
	r.give(away, frame(t, p.channels[0], 100))
	p.c.send(&wire.Goodbye{})
	r.give(p.v.addr, frame(t, p.channels[0], 100))
	if len(r.out) != 0 || r.s.Stats().RelayedFrames != 0 {
		t.Errorf("sent %v; stats %+v", r.out, r.s.Stats())
	}
}

// What a relay passes on it has rewritten in place: no byte but the channel's is another, and nothing is allocated.
func TestRelayAllocatesNothing(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RelayRate, c.DeviceRate, c.TotalRate = 1<<40, 1<<40, 1<<40; c.RelayBurst = 1 << 40 })
	p := r.relayed(r.viewer(), r.camera(), 1)
	b := frame(t, p.channels[1], 1200)
	for i := range b[wire.ChannelOverhead:] {
		b[wire.ChannelOverhead+i] = byte(i)
	}
	want := bytes.Clone(b)
	binary.BigEndian.PutUint16(want, p.channels[0])
	sent := 0
	one := func() {
		binary.BigEndian.PutUint16(b, p.channels[1])
		r.s.HandlePacket(r.now, p.c.addr, local, b)
		for _, o := range r.s.Ready().Packets {
			if o.To == p.v.addr && bytes.Equal(o.B, want) {
				sent++
			}
		}
	}
	if n := testing.AllocsPerRun(1000, one); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
	if sent != 1001 {
		t.Errorf("%d of 1001 frames sent as they came", sent)
	}
}

// BenchmarkRelay passes frames of video packets' size on, 64 to a batch, for as many viewers.
func BenchmarkRelay(b *testing.B) {
	r := newRig(b, func(c *Config) { c.RelayRate, c.DeviceRate, c.TotalRate = 1<<40, 1<<40, 1<<40; c.RelayBurst = 1 << 40 })
	c := r.camera()
	var pairs []relayed
	var frames [][]byte
	for i := range 64 {
		p := r.relayed(r.viewer(), c, uint64(i+1))
		pairs, frames = append(pairs, p), append(frames, frame(b, p.channels[1], 1200))
	}
	b.SetBytes(1200)
	b.ReportAllocs()
	now := r.now
	for i := 0; b.Loop(); i++ {
		k := i % len(frames)
		binary.BigEndian.PutUint16(frames[k], pairs[k].channels[1])
		r.s.HandlePacket(now, c.addr, local, frames[k])
		if k == len(frames)-1 {
			now = now.Add(time.Microsecond)
			if n := len(r.s.Ready().Packets); n != len(frames) {
				b.Fatalf("%d of %d frames passed", n, len(frames))
			}
		}
	}
}
