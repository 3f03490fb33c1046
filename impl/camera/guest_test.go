package camera

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

var (
	epoch      = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rendezvous = netip.MustParseAddrPort("203.0.113.1:3478")
	seen       = netip.MustParseAddrPort("192.0.2.1:20000") // where the rendezvous saw the viewer
	elsewhere  = netip.MustParseAddrPort("192.0.2.1:30000") // another mapping of the viewer's
	local      = netip.MustParseAddrPort("10.0.0.2:5000")
)

func random(n byte) io.Reader { return rand.NewChaCha8([32]byte{n}) }

func key(t testing.TB, n byte) identity.Key {
	k, err := identity.NewKey(random(n))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// frames is a source of n access units.
type frames struct{ i, n int }

func (f *frames) Next() (media.AccessUnit, error) {
	if f.i >= f.n {
		return media.AccessUnit{}, io.EOF
	}
	au := media.AccessUnit{Index: f.i, PTS: time.Duration(f.i) * 40 * time.Millisecond, Key: f.i%25 == 0, Data: append([]byte{0, 0, 0, 1, 0x65}, bytes.Repeat([]byte{byte(f.i) + 1}, 3000)...)}
	f.i++
	return au, nil
}

func newCamera(t testing.TB, change func(*Config)) *Camera {
	t.Helper()
	cfg := Config{
		Static: key(t, 1), Rendezvous: []netip.AddrPort{rendezvous}, RendezvousKey: key(t, 2).Public(),
		Secret: identity.Secret{1}, Rand: random(3), Source: func() media.Source { return &frames{n: 1000} },
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// guest is a viewer that does as the test says.
type guest struct {
	t     testing.TB
	c     *Camera
	key   identity.Key
	hello wire.Hello
	hs    *session.Initiator
	sess  *session.Session
}

func newGuest(t testing.TB, c *Camera, n byte, flags wire.Flags) *guest {
	k := key(t, n)
	return &guest{t: t, c: c, key: k, hello: wire.Hello{
		Version: wire.ProtocolVersion, ID: uint64(n), PunchKey: wire.PunchKey{n}, Flags: flags | wire.FlagStart, Profile: wire.ProfileAES128GCM,
		Proof: identity.PairingProof(identity.Secret{1}, k.Public(), key(t, 1).Public()),
	}}
}

// introduction is what the rendezvous would bring.
func (g *guest) introduction(id, stamp uint64, channel uint16) *wire.Introduce {
	g.t.Helper()
	payload, err := wire.Marshal(&g.hello)
	if err != nil {
		g.t.Fatal(err)
	}
	g.hs, err = session.NewInitiator(session.Config{Static: g.key, Rand: random(byte(stamp) + 100), Prologue: []byte(core.PrologueCamera)},
		g.c.cfg.Static.Public(), stamp, payload)
	if err != nil {
		g.t.Fatal(err)
	}
	return &wire.Introduce{ID: id, Endpoint: wire.At(seen), Noise1: g.hs.Message(), Channel: channel}
}

// introduce hands it over and returns the camera's first flight.
func (g *guest) introduce(now time.Time, m *wire.Introduce) ([]core.Packet, error) {
	g.c.begin()
	err := g.c.introduced(now, m)
	return packets(g.c), err
}

func packets(c *Camera) (ps []core.Packet) {
	for _, p := range c.Ready().Packets {
		p.B = bytes.Clone(p.B)
		ps = append(ps, p)
	}
	return ps
}

// finish completes the handshake by the first response among the packets.
func (g *guest) finish(ps []core.Packet) {
	g.t.Helper()
	for _, p := range ps {
		if wire.Classify(p.B) == wire.Response {
			sess, _, err := g.hs.Finish(p.B)
			if err != nil {
				g.t.Fatal(err)
			}
			g.sess = sess
			return
		}
	}
	g.t.Fatal("no response")
}

func (g *guest) send(now time.Time, from netip.AddrPort, m wire.Message) []core.Packet {
	g.t.Helper()
	b, err := wire.Marshal(m)
	if err != nil {
		g.t.Fatal(err)
	}
	g.c.HandlePacket(now, from, local, g.sess.Seal(nil, b))
	return packets(g.c)
}

// kinds counts packets by destination and kind.
func kinds(ps []core.Packet) map[netip.AddrPort]map[wire.Kind]int {
	out := map[netip.AddrPort]map[wire.Kind]int{}
	for _, p := range ps {
		if out[p.To] == nil {
			out[p.To] = map[wire.Kind]int{}
		}
		out[p.To][wire.Classify(p.B)]++
	}
	return out
}

// advance runs the camera's timers and returns what it sent.
func advance(c *Camera, now *time.Time, d time.Duration) (ps []core.Packet) {
	end := now.Add(d)
	for {
		at := c.Deadline()
		if at.IsZero() || at.After(end) {
			break
		}
		*now = at
		c.HandleTimeout(at)
		ps = append(ps, packets(c)...)
	}
	*now = end
	return ps
}
