package soak

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/packet"
)

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
