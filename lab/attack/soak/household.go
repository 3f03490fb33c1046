package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/viewer"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
)

// householdLanes is how many cameras are attacked side by side.
const householdLanes = 6

// household is a lane: a camera and its owner, whose rendezvous is the attacker's, and the attacker's socket to which it sends both.
//
//	owner ── Connect{Noise-1} ──► rogue rendezvous ── Introduce{what the plan makes of it, at the socket} ──► camera
//	  │ ▲                                                                                                      │
//	  │ └──────────────────────── the attacker's socket ◄───────────────── Noise-2, media ────────────────────┘
//	  └── punches ───────────────►
type household struct {
	scene  *scene
	tally  *tally
	lane   int
	camera unit
	paired bool         // with its owner; else its label still makes one
	own    identity.Key // the owner's
	owner  *actor
	conn   *net.UDPConn
	at     netip.AddrPort // conn's
	buf    [2048]byte

	captured [][]byte // what he was handed, the newest last
	older    []byte   // an initiation of the owner's from before
	answer   []byte   // the camera's last response, as it came

	mu        sync.Mutex
	plan      plan // nil: the rendezvous tells the truth
	noise1    []byte
	index     [4]byte        // of the initiation that the camera was given: its answer bears it
	reflexive netip.AddrPort // the owner's
	asked     uint64         // the introduction that is on its way
	acked     chan wire.Code
}

// street is where the households are: what their rendezvous knows them by. It is safe for concurrent use.
type street struct {
	mu      sync.Mutex
	byKey   map[identity.PublicKey]*household // of the camera
	byPlace map[netip.AddrPort]*household     // where the camera is seen
}

func (s *street) add(h *household) {
	key, place := h.camera.key.Public(), h.place()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byKey[key], s.byPlace[place] = h, h
}

func (s *street) of(camera identity.PublicKey) *household {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byKey[camera]
}

func (s *street) at(camera netip.AddrPort) *household {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byPlace[camera]
}

// rogue is the rendezvous that does as each household's plan is: the owner is told the attacker's socket, and so is the camera.
func (s *street) rogue(key identity.Key, seed uint64) *attack.RogueRendezvous {
	return &attack.RogueRendezvous{
		Key: key, Seed: seed,
		Lie: func(camera, _ identity.PublicKey, truth wire.Introduce, _ io.Reader) ([]attack.Told, error) {
			if h := s.of(camera); h != nil {
				return h.lie(truth)
			}
			return []attack.Told{{To: camera, Introduce: truth}}, nil
		},
		Peer: func(truth wire.Peer) wire.Peer {
			if h := s.at(truth.Endpoint.AddrPort); h != nil && h.lying() {
				truth.Endpoint = wire.At(h.at)
			}
			return truth
		},
		Hear: func(from identity.PublicKey, m wire.Message) {
			if ack, ok := m.(*wire.IntroduceAck); ok {
				if h := s.of(from); h != nil {
					h.acknowledged(ack)
				}
			}
		},
	}
}

// households opens a scene whose rendezvous is an attacker's, and has some cameras claimed by their owners.
func households(ctx context.Context, s Setup, t *tally) (*scene, []*household, error) {
	c, err := openScene(s)
	if err != nil {
		return nil, nil, err
	}
	lanes, err := c.settle(ctx, s, t)
	if err != nil {
		c.close()
		return nil, nil, err
	}
	return c, lanes, nil
}

// settle has households move in.
func (c *scene) settle(ctx context.Context, s Setup, t *tally) (lanes []*household, err error) {
	all := &street{byKey: map[identity.PublicKey]*household{}, byPlace: map[netip.AddrPort]*household{}}
	if err := errors.Join(c.provide(ctx, all.rogue(c.key, s.Seed)), c.serve("open")); err != nil {
		return nil, err
	}
	for i := range min(householdLanes, s.Tries) {
		h, err := c.household(t, i)
		if err != nil {
			return nil, err
		}
		all.add(h)
		if i%2 == 0 { // the others' labels have paired nobody yet
			if err := watches(h.owner, h.camera.label); err != nil {
				return nil, err
			}
			h.paired = true
		}
		lanes = append(lanes, h)
	}
	return lanes, nil
}

// household makes a lane, whose owner is not paired yet.
func (c *scene) household(t *tally, lane int) (*household, error) {
	h := &household{scene: c, tally: t, lane: lane, acked: make(chan wire.Code, 1)}
	var err error
	if h.camera, err = c.camera("camera", false); err != nil {
		return nil, err
	}
	if h.own, err = identity.NewKey(c.random); err != nil {
		return nil, err
	}
	if h.owner, err = c.viewer("viewer", h.own); err != nil {
		return nil, err
	}
	seat := c.seat(lane)
	if h.conn, err = seat.ListenUDP(netip.AddrPort{}); err != nil {
		return nil, err
	}
	c.atEnd(func() { h.conn.Close() })
	h.at = netip.AddrPortFrom(seat.Addr(), uint16(h.conn.LocalAddr().(*net.UDPAddr).Port))
	return h, nil
}

// provide starts a rendezvous that is an attacker's.
func (c *scene) provide(ctx context.Context, r *attack.RogueRendezvous) error {
	ctx, cancel := context.WithCancel(ctx)
	ready, over := make(chan struct{}), make(chan error, 1)
	r.Ready = func() { close(ready) }
	go func() {
		report, err := r.Run(ctx, c.lab.Host("rendezvous"), attack.Budget{Packets: attack.MaxPackets, Duration: attack.MaxDuration})
		if err == nil && len(report.Gained) > 0 {
			err = errors.New(strings.Join(report.Gained, "; "))
		}
		over <- err
	}()
	c.atEnd(func() { cancel(); <-over })
	select {
	case <-ready:
		return nil
	case err := <-over:
		over <- nil
		return fmt.Errorf("the rogue rendezvous ended: %w", err)
	}
}

// state names it.
func (h *household) state() string {
	if h.paired {
		return "paired"
	}
	return "not yet paired"
}

// control has the attacker begin as he could who had the owner's key: the camera answers, and the answer gives a session. So what is
// refused later is not refused for being badly made. An initiation of the owner's is kept for later.
func (h *household) control() error {
	draw := rand.New(random(h.tally.setup.Seed, "control", h.lane))
	if _, err := h.visit(func(b []byte) ([]byte, error) { return b, nil }); err != nil {
		return err
	}
	h.older = bytes.Clone(h.captured[0])
	f, err := h.owners(draw).begin(random(h.tally.setup.Seed, "control", 1<<30+h.lane))
	if err != nil {
		return err
	}
	code, err := h.visit(func([]byte) ([]byte, error) { return f.b, nil })
	if err != nil {
		return err
	}
	if _, ok := f.finish(h.answer); code != 0 || !ok {
		return fmt.Errorf("a camera does not take a handshake as the protocol has it: %v", code)
	}
	h.tally.saw("handshakes of the attacker's make that were taken with the right key and terms", 1)
	return nil
}

// owners are the terms of the owner himself.
func (h *household) owners(draw *rand.Rand) terms {
	proof := identity.PairingProof(h.camera.label.Secret, h.own.Public(), h.camera.key.Public())
	return terms{
		prologue: core.PrologueCamera, receiver: h.camera.key.Public(), public: h.own.Public(), private: h.own.Private(),
		stamp: uint64(time.Now().UnixNano()), payload: marshal(h.hello(proof, draw)),
	}
}

// place is where the camera is seen.
func (h *household) place() (at netip.AddrPort) {
	h.camera.device.Node().Do(func(time.Time) { at = h.camera.camera.Stats().Reflexive })
	return at
}

// last has the lane end honestly: the owner sees the camera, and is the only one on its list.
func (h *household) last() error {
	h.mu.Lock()
	h.plan = nil
	h.mu.Unlock()
	h.owner.leave(h.camera.label.UID())
	h.owner.forget()
	if err := h.owner.ask(h.camera.label); err != nil {
		return err
	}
	err := until("an owner sees a picture in the end", func() bool {
		if saw[viewer.Failed](h.owner) { // a busy machine may be too late for a punch; patience ends it
			h.owner.forget()
			_ = h.owner.ask(h.camera.label)
		}
		return saw[viewer.FrameReceived](h.owner)
	})
	if err != nil {
		return err
	}
	h.owner.device.Node().Do(func(now time.Time) {
		_, err = h.owner.viewer.Manage(now, h.camera.label.UID(), wire.Manage{Op: wire.OpList})
	})
	if err != nil {
		return err
	}
	if err := until("a camera tells its owner who may watch", func() bool { return saw[viewer.Managed](h.owner) }); err != nil {
		return err
	}
	members := all[viewer.Managed](h.owner)[0].Members
	if len(members) != 1 || members[0].Key != h.own.Public() || members[0].Role != wire.RoleOwner {
		return fmt.Errorf("a camera has other viewers than its owner: %+v", members)
	}
	h.tally.saw("owners who watch in the end, and are alone on their camera's list", 1)
	return nil
}

// hello is what an owner says to its camera.
func (h *household) hello(proof identity.Proof, draw *rand.Rand) *wire.Hello {
	m := &wire.Hello{
		Version: wire.ProtocolVersion, ID: drawID(), Proof: proof, Flags: wire.FlagStart | wire.FlagDirect, Profile: wire.ProfileAES128GCM,
	}
	for i := range m.PunchKey {
		m.PunchKey[i] = byte(1 + draw.IntN(255))
	}
	return m
}

// siege runs the lanes of a scene whose rendezvous is an attacker's.
func siege(ctx context.Context, s Setup, t *tally, a Attack, prepare func(*household) error, try func(*household, *rand.Rand, int) error) error {
	c, lanes, err := households(ctx, s, t)
	if err != nil {
		return err
	}
	defer c.close()
	err = crew(len(lanes), func(i int) error {
		if err := prepare(lanes[i]); err != nil {
			return err
		}
		return t.each(ctx, a, func(draw *rand.Rand, n int) error { return try(lanes[i], draw, n) })
	})
	if err != nil {
		return err
	}
	return crew(len(lanes), func(i int) error { return lanes[i].last() })
}
