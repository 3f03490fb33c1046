package soak

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/packet"
)

// Row is what one sort of datagram draws from a target that it names somebody else to, as its sender.
type Row struct {
	Target     string  `json:"target"`  // rendezvous, relay, camera
	Message    string  `json:"message"` // attack.Kinds, and what was captured
	Variant    string  `json:"variant"` // plain, replayed, cut, padded, at once
	In         int64   `json:"in"`      // datagrams sent
	BytesIn    int64   `json:"bytes_in"`
	Out        int64   `json:"out"` // packets that the target sent to the named sender, ICMP included
	BytesOut   int64   `json:"bytes_out"`
	Reflection float64 `json:"reflection"` // bytes out ÷ bytes in, IP headers counted
}

// Table is what all sorts draw.
type Table struct {
	Seed   uint64        `json:"seed"`
	Waited time.Duration `json:"waited"` // ns, for what is sent again, behind the last datagram
	Rows   []Row         `json:"rows"`
}

// Worst is the greatest reflection of a table.
func (t Table) Worst() (worst Row) {
	for _, r := range t.Rows {
		if r.Reflection >= worst.Reflection {
			worst = r
		}
	}
	return worst
}

// Reflect sends each sort of datagram, Setup.Tries of each, in the name of a host that has nothing to do with anybody, and counts what
// that host is sent, also what is sent again within wait. The camera is as open as one can be: on the internet, listening there, and
// for its own network.
func Reflect(ctx context.Context, s Setup, wait time.Duration) (Table, error) {
	t := Table{Seed: s.Seed, Waited: wait}
	if s.Tries < 1 || s.Fabric == nil {
		return t, errors.New("soak: reflect: set Tries and Fabric")
	}
	if s.Engine == "" {
		s.Engine = lab.EngineTable
	}
	c, err := openScene(s)
	if err != nil {
		return t, fmt.Errorf("soak: reflect: %w", err)
	}
	defer c.close()
	m := &mirror{scene: c, setup: s, draw: rand.New(random(s.Seed, "reflect", 0)), random: random(s.Seed, "reflect", 1), rows: map[key]*Row{}}
	if err = m.run(ctx, wait); err != nil {
		return t, fmt.Errorf("soak: reflect: %w", err)
	}
	t.Rows = m.table()
	return t, nil
}

// mirror measures.
type mirror struct {
	scene  *scene
	setup  Setup
	draw   *rand.Rand
	random *rand.ChaCha8
	camera unit
	owner  identity.Key

	mu    sync.Mutex
	order []*Row
	rows  map[key]*Row // by whom the datagrams name as their sender
}

// key is an endpoint as a target has it on its cable.
type key struct {
	target netip.Addr
	at     netip.AddrPort
}

// volley is the datagrams of one row.
type volley struct {
	target, message, variant string
	to                       netip.AddrPort
	all                      [][]byte
	from                     netip.AddrPort // zero: a port of the victim's
	out                      netip.AddrPort // where the answers go; zero: to from
}

// firstPort is the first of the victim's ports: one for each row.
const firstPort = 2000

func (m *mirror) run(ctx context.Context, wait time.Duration) error {
	c := m.scene
	if err := c.serve("rendezvous"); err != nil {
		return err
	}
	var err error
	if m.owner, err = identity.NewKey(c.random); err != nil {
		return err
	}
	if m.camera, err = c.camera("open", true); err != nil {
		return err
	}
	for _, host := range []string{"rendezvous", "open"} {
		addrs := c.lab.Host(host).Addrs
		tap, err := listenIn(c.lab.Host(host), func(out bool, b []byte) {
			if out {
				m.sent(addrs[0], b)
			}
		})
		if err != nil {
			return err
		}
		defer tap.close()
	}
	quick, slow, err := m.volleys()
	if err != nil {
		return err
	}
	if err := m.fire(ctx, quick, 1000); err != nil {
		return err
	}
	// A camera that is asked more often than 20 times a second asks for cookies, which are short.
	if err := m.fire(ctx, slow, 15); err != nil {
		return err
	}
	for _, size := range []int{wire.MinPunch, wire.DefaultPunch, wire.MaxPunch} {
		if err := m.punched(ctx, size); err != nil {
			return err
		}
	}
	crowd, err := m.crowds()
	if err != nil {
		return err
	}
	if err := m.fire(ctx, crowd, 5000); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

// fire sends volleys at a rate. The victim has a socket for each, so that it answers nothing.
func (m *mirror) fire(ctx context.Context, all []volley, rate int) error {
	victim := m.scene.lab.Host("victim")
	var shots []attack.Shot
	for _, v := range all {
		if !v.from.IsValid() {
			m.mu.Lock()
			v.from = netip.AddrPortFrom(victim.Addr(), uint16(firstPort+len(m.order)))
			m.mu.Unlock()
			conn, err := victim.ListenUDP(v.from)
			if err != nil {
				return err
			}
			m.scene.atEnd(func() { conn.Close() })
		}
		if !v.out.IsValid() {
			v.out = v.from
		}
		row := &Row{Target: v.target, Message: v.message, Variant: v.variant}
		for _, b := range v.all {
			row.In++
			row.BytesIn += int64(packet.IPv4HeaderLen + packet.UDPHeaderLen + len(b))
			shots = append(shots, attack.Shot{From: v.from, To: v.to, B: b})
		}
		m.mu.Lock()
		m.order = append(m.order, row)
		m.rows[key{v.to.Addr(), v.out}] = row
		m.mu.Unlock()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return m.scene.shoot(shots, rate)
}

// sent counts a packet that a target has sent. An ICMP message is put down to the datagram that it quotes.
func (m *mirror) sent(by netip.Addr, b []byte) {
	p, err := packet.ParseIPv4(b)
	if err != nil {
		return
	}
	to := netip.AddrPortFrom(p.Dst(), 0)
	switch p.Protocol() {
	case packet.ProtocolUDP:
		_, to, _ = datagram(b)
	case packet.ProtocolICMP:
		if quoted, err := packet.ParseIPv4(p.Payload()[packet.ICMPHeaderLen:]); err == nil && len(quoted.Payload()) >= 4 {
			q := quoted.Payload()
			to = netip.AddrPortFrom(quoted.Src(), uint16(q[0])<<8|uint16(q[1]))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if row := m.rows[key{by, to}]; row != nil {
		row.Out++
		row.BytesOut += int64(p.TotalLen())
	}
}

// table is the rows with their ratios, in order.
func (m *mirror) table() (rows []Row) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.order {
		r.Reflection = float64(r.BytesOut) / float64(r.BytesIn)
		rows = append(rows, *r)
	}
	targets := []string{"rendezvous", "relay", "camera"}
	slices.SortStableFunc(rows, func(a, b Row) int {
		return cmp.Compare(slices.Index(targets, a.Target), slices.Index(targets, b.Target))
	})
	return rows
}

// maker makes a datagram, another one each time.
type maker struct {
	target, message string
	to              netip.AddrPort
	key             identity.PublicKey // the target's
	slow            bool               // costs a camera a key agreement
	make            func() ([]byte, error)
}

// volleys are all sorts in all variants: quick ones, and those of which a camera takes few a second.
func (m *mirror) volleys() (quick, slow []volley, err error) {
	sorts, err := m.sorts()
	if err != nil {
		return nil, nil, err
	}
	for _, k := range sorts {
		all, err := m.variants(k)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", k.message, err)
		}
		if k.slow {
			slow = append(slow, all...)
		} else {
			quick = append(quick, all...)
		}
	}
	relayed, err := m.relayed()
	return append(quick, relayed...), slow, err
}

// sorts are the datagrams that an attacker can make, or has captured.
func (m *mirror) sorts() (all []maker, err error) {
	c := m.scene
	open := m.place()
	for _, k := range attack.Kinds(attack.ToRendezvous, c.key.Public(), m.random) {
		target := "rendezvous"
		if strings.HasPrefix(k.Name, "STUN") || strings.HasPrefix(k.Name, "TURN") || k.Name == "relay frame" {
			target = "relay"
		}
		all = append(all, maker{target, k.Name, c.at, c.key.Public(), false, k.Make})
	}
	departed, err := c.departed()
	if err != nil {
		return nil, err
	}
	all = append(all,
		maker{"rendezvous", "a camera's registration, held back on its way", c.at, c.key.Public(), false, func() ([]byte, error) {
			v, err := c.never(m.draw, m.random)
			return v.initiation, err
		}},
		maker{"rendezvous", "a camera's registration that was used", c.at, c.key.Public(), false, func() ([]byte, error) {
			return bytes.Clone(departed.initiation), nil
		}})
	for _, k := range attack.Kinds(attack.ToCamera, m.camera.key.Public(), m.random) {
		all = append(all, maker{"camera", k.Name, open, m.camera.key.Public(), strings.HasPrefix(k.Name, "initiation"), k.Make})
	}
	all = append(all, maker{"camera", "an owner's initiation, held back on its way", open, m.camera.key.Public(), true, func() ([]byte, error) {
		f, err := m.owners(m.hello()).begin(m.random)
		if err != nil {
			return nil, err
		}
		return f.b, nil
	}})
	return all, nil
}

// place is where the open camera listens.
func (m *mirror) place() (at netip.AddrPort) {
	m.camera.device.Node().Do(func(time.Time) { at = m.camera.camera.Stats().Reflexive })
	return at
}

// punched has the camera answer an owner whom it does not hear, and then gives it his punches from elsewhere: whoever stands on the
// way has held both back.
func (m *mirror) punched(ctx context.Context, size int) error {
	hello := m.hello()
	f, err := m.owners(hello).begin(m.random)
	if err != nil {
		return err
	}
	open := m.place()
	before := volley{target: "camera", message: "an owner's initiation, held back on its way", variant: "plain", to: open, all: [][]byte{f.b}}
	v := volley{target: "camera", message: fmt.Sprintf("his punches of %d bytes, held back on their way", size), variant: "plain", to: open}
	for i := range m.setup.Tries {
		b := wire.AppendPunch(nil, hello.PunchKey, wire.Punch{ID: hello.ID, Counter: uint32(1 + i)}, size)
		v.all = append(v.all, b)
	}
	if err := m.fire(ctx, []volley{before}, 15); err != nil {
		return err
	}
	return m.fire(ctx, []volley{v}, 15)
}

// hello is what an owner says to the camera.
func (m *mirror) hello() *wire.Hello {
	return &wire.Hello{
		Version: wire.ProtocolVersion, ID: drawID(), PunchKey: wire.PunchKey{1, byte(m.draw.Uint32())},
		Proof: identity.PairingProof(m.camera.label.Secret, m.owner.Public(), m.camera.key.Public()),
		Flags: wire.FlagStart | wire.FlagDirect, Profile: wire.ProfileAES128GCM,
	}
}

// owners are the terms of who has the camera's label.
func (m *mirror) owners(hello *wire.Hello) terms {
	public := m.camera.key.Public()
	return terms{
		prologue: core.PrologueCamera, receiver: public, public: m.owner.Public(), private: m.owner.Private(),
		stamp: uint64(time.Now().UnixNano()), payload: marshal(hello),
	}
}

// variants are a sort as it is, one of it again and again, shorter, and longer. What mac1 covers is signed anew.
func (m *mirror) variants(k maker) (all []volley, err error) {
	n := m.setup.Tries
	some := func(change func(b []byte) []byte) (bs [][]byte, err error) {
		for range n {
			b, err := k.make()
			if err != nil {
				return nil, err
			}
			if b = change(b); b[0] == session.TypeInitiation && len(b) > 2*16 && k.message != "initiation, mac1 wrong" {
				attack.Sign(k.key, b)
			}
			bs = append(bs, b)
		}
		return bs, nil
	}
	same, err := k.make()
	if err != nil {
		return nil, err
	}
	for _, v := range []struct {
		name   string
		change func(b []byte) []byte
	}{
		{"plain", func(b []byte) []byte { return b }},
		{"replayed", func([]byte) []byte { return bytes.Clone(same) }},
		{"cut", func(b []byte) []byte { return b[:max(1, len(b)-1-m.draw.IntN(len(b)))] }},
		{"padded", func(b []byte) []byte { return append(b, make([]byte, 1+m.draw.IntN(200))...) }},
	} {
		bs, err := some(v.change)
		if err != nil {
			return nil, err
		}
		all = append(all, volley{target: k.target, message: k.message, variant: v.name, to: k.to, all: bs})
	}
	return all, nil
}

// relayed are frames in the name of who has a relay: they go to the other party.
func (m *mirror) relayed() ([]volley, error) {
	c := m.scene
	keys := [2]identity.Key{}
	for i := range keys {
		var err error
		if keys[i], err = identity.NewKey(c.random); err != nil {
			return nil, err
		}
	}
	cam, err := dial(c.seat(0), c.at, c.key.Public(), keys[0], c.random, &wire.Register{Version: wire.ProtocolVersion, Keepalive: 15})
	if err != nil {
		return nil, err
	}
	c.atEnd(cam.leave)
	viewer, err := dial(c.seat(1), c.at, c.key.Public(), keys[1], c.random, &wire.Login{Version: wire.ProtocolVersion})
	if err != nil {
		return nil, err
	}
	c.atEnd(viewer.leave)
	noise1, err := stranger(keys[0].Public(), c.random)
	if err != nil {
		return nil, err
	}
	id := drawID()
	h, err := viewer.ask(&wire.Connect{ID: id, Camera: keys[0].Public().UID(), Noise1: noise1, Relay: true}, func(m wire.Message) bool {
		p, ok := m.(*wire.Peer)
		return ok && p.ID == id
	})
	if err != nil {
		return nil, err
	}
	channel := h.message.(*wire.Peer).Channel
	if channel == 0 {
		return nil, errors.New("the rendezvous gave no relay")
	}
	in, ok := cam.hear(time.Now().Add(patience), func(m wire.Message) bool { _, ok := m.(*wire.Introduce); return ok })
	if !ok {
		return nil, errors.New("the rendezvous told the camera of no viewer")
	}
	if err := cam.say(&wire.IntroduceAck{ID: in.message.(*wire.Introduce).ID}); err != nil {
		return nil, err
	}
	v := volley{
		target: "relay", message: "relay frame in the name of who has a relay", variant: "plain", to: c.at, from: viewer.reflexive, out: cam.reflexive,
	}
	for range m.setup.Tries {
		data := make([]byte, 1+m.draw.IntN(1000))
		_, _ = io.ReadFull(m.random, data)
		data[0] = 0x80
		b, err := wire.AppendChannelData(nil, channel, data)
		if err != nil {
			return nil, err
		}
		v.all = append(v.all, b)
	}
	return []volley{v}, nil
}

// crowds are so many initiations at once that cookies are asked for.
func (m *mirror) crowds() (all []volley, err error) {
	for _, k := range []struct {
		target, to string
		key        identity.PublicKey
		at         netip.AddrPort
		n          int
	}{
		{"rendezvous", attack.ToRendezvous, m.scene.key.Public(), m.scene.at, 1500},
		{"camera", attack.ToCamera, m.camera.key.Public(), m.place(), 100},
	} {
		b, err := one(attack.Kinds(k.to, k.key, m.random), "initiation, valid, by a new key")
		if err != nil {
			return nil, err
		}
		v := volley{target: k.target, message: "initiation, mac1 right, sealed part forged", variant: "at once", to: k.at}
		for range k.n {
			b := flip(b, 8*4+m.draw.IntN(32))
			attack.Sign(k.key, b)
			v.all = append(v.all, b)
		}
		all = append(all, v)
	}
	return all, nil
}

// one makes one of a kind.
func one(kinds []attack.Kind, name string) ([]byte, error) {
	for _, k := range kinds {
		if k.Name == name {
			return k.Make()
		}
	}
	return nil, fmt.Errorf("attack.Kinds has no %s", name)
}
