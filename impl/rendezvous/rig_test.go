package rendezvous

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

var (
	epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	local = addr("203.0.113.1:3478")
)

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// rig is a server with devices that speak to it message by message.
type rig struct {
	t    testing.TB
	s    *Server
	now  time.Time
	out  []core.Packet // not yet taken by a device
	said []any         // events
	n    byte          // devices so far
}

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	key, err := identity.NewKey(random)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Static: key, Rand: random}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, s: s, now: epoch}
}

func (r *rig) give(from netip.AddrPort, b []byte) {
	r.s.HandlePacket(r.now, from, local, bytes.Clone(b))
	r.drain()
}

func (r *rig) drain() {
	out := r.s.Ready()
	for _, p := range out.Packets {
		p.B = bytes.Clone(p.B)
		r.out = append(r.out, p)
	}
	r.said = append(r.said, out.Events...)
}

// advance moves the clock, doing what is due on the way.
func (r *rig) advance(d time.Duration) {
	end := r.now.Add(d)
	for {
		at := r.s.Deadline()
		if at.IsZero() || at.After(end) {
			break
		}
		r.now = at
		r.s.HandleTimeout(at)
		r.drain()
	}
	r.now = end
}

// device is a camera or viewer.
type device struct {
	r    *rig
	key  identity.Key
	addr netip.AddrPort
	hs   *session.Initiator
	sess *session.Session
}

func (r *rig) device() *device {
	r.t.Helper()
	r.n++
	random := rand.NewChaCha8([32]byte{2, r.n})
	key, err := identity.NewKey(random)
	if err != nil {
		r.t.Fatal(err)
	}
	return &device{r: r, key: key, addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, r.n}), 5000)}
}

// initiation starts a handshake with a stamp.
func (d *device) initiation(hello wire.Message, stamp uint64) []byte {
	d.r.t.Helper()
	payload, err := wire.Marshal(hello)
	if err != nil {
		d.r.t.Fatal(err)
	}
	d.hs, err = session.NewInitiator(session.Config{
		Static: d.key, Rand: rand.NewChaCha8([32]byte{3, byte(stamp), d.r.n}), Prologue: []byte(core.PrologueRendezvous),
	}, d.r.s.cfg.Static.Public(), stamp, payload)
	if err != nil {
		d.r.t.Fatal(err)
	}
	return d.hs.Message()
}

// join completes the handshake and confirms it.
func (d *device) join(hello wire.Message, stamp uint64) {
	d.r.t.Helper()
	d.r.give(d.addr, d.initiation(hello, stamp))
	d.finish()
	d.send(&wire.Ping{Sequence: 1})
	if _, ok := d.read().(*wire.Pong); !ok {
		d.r.t.Fatal("no pong")
	}
}

// finish takes the response.
func (d *device) finish() {
	d.r.t.Helper()
	sess, _, err := d.hs.Finish(d.take())
	if err != nil {
		d.r.t.Fatal(err)
	}
	d.sess = sess
}

// refused begins a handshake and returns why it was denied; nil: it was not.
func (d *device) refused(hello wire.Message, stamp uint64) *wire.Denied {
	d.r.t.Helper()
	d.r.give(d.addr, d.initiation(hello, stamp))
	b := d.take()
	if b == nil {
		d.r.t.Fatal("no answer")
	}
	_, payload, err := d.hs.Finish(b)
	if err != nil {
		d.r.t.Fatal(err)
	}
	m, err := wire.Unmarshal(payload)
	if err != nil {
		d.r.t.Fatal(err)
	}
	denied, _ := m.(*wire.Denied)
	return denied
}

// discard drops what is on its way to an address.
func (r *rig) discard(to netip.AddrPort) {
	r.out = slices.DeleteFunc(r.out, func(p core.Packet) bool { return p.To == to })
}

// take returns the next datagram for the device, nil where there is none.
func (d *device) take() []byte {
	for i, p := range d.r.out {
		if p.To == d.addr {
			d.r.out = append(d.r.out[:i], d.r.out[i+1:]...)
			return p.B
		}
	}
	return nil
}

func (d *device) read() wire.Message {
	d.r.t.Helper()
	b := d.take()
	if b == nil {
		return nil
	}
	plain, err := d.sess.Open(nil, b)
	if err != nil {
		d.r.t.Fatal(err)
	}
	m, err := wire.Unmarshal(plain)
	if err != nil {
		d.r.t.Fatal(err)
	}
	return m
}

func (d *device) sealed(m wire.Message) []byte {
	d.r.t.Helper()
	b, err := wire.Marshal(m)
	if err != nil {
		d.r.t.Fatal(err)
	}
	return d.sess.Seal(nil, b)
}

func (d *device) send(m wire.Message) { d.r.give(d.addr, d.sealed(m)) }

func (r *rig) camera() *device {
	r.t.Helper()
	d := r.device()
	d.join(&wire.Register{Version: wire.ProtocolVersion}, 1)
	return d
}

func (r *rig) viewer() *device {
	r.t.Helper()
	d := r.device()
	d.join(&wire.Login{Version: wire.ProtocolVersion}, 1)
	return d
}

func connect(id uint64, camera *device) *wire.Connect {
	return &wire.Connect{ID: id, Camera: camera.key.Public().UID(), Noise1: make([]byte, 256), Relay: true}
}

func (r *rig) dropped(reason string) int64 { return r.s.Stats().Dropped[reason] }
