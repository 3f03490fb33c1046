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
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/session"
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

// plan makes of an owner's initiation what the camera is given.
type plan func(noise1 []byte) ([]byte, error)

// households opens a scene whose rendezvous is an attacker's, and has some cameras claimed by their owners.
func households(ctx context.Context, s Setup, t *tally) (c *scene, lanes []*household, err error) {
	if c, err = openScene(s); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	var mu sync.Mutex
	byKey, byPlace := map[identity.PublicKey]*household{}, map[netip.AddrPort]*household{}
	find := func(k identity.PublicKey) *household {
		mu.Lock()
		defer mu.Unlock()
		return byKey[k]
	}
	rogue := &attack.RogueRendezvous{
		Key: c.key, Seed: s.Seed,
		Lie: func(camera, _ identity.PublicKey, truth wire.Introduce, _ io.Reader) ([]attack.Told, error) {
			if h := find(camera); h != nil {
				return h.lie(truth)
			}
			return []attack.Told{{To: camera, Introduce: truth}}, nil
		},
		Peer: func(truth wire.Peer) wire.Peer {
			mu.Lock()
			h := byPlace[truth.Endpoint.AddrPort]
			mu.Unlock()
			if h != nil && h.lying() {
				truth.Endpoint = wire.At(h.at)
			}
			return truth
		},
		Hear: func(from identity.PublicKey, m wire.Message) {
			if ack, ok := m.(*wire.IntroduceAck); ok {
				if h := find(from); h != nil {
					h.acknowledged(ack)
				}
			}
		},
	}
	if err := errors.Join(c.provide(ctx, rogue), c.serve("open")); err != nil {
		return c, nil, err
	}
	for i := range min(householdLanes, s.Tries) {
		h := &household{scene: c, tally: t, lane: i, acked: make(chan wire.Code, 1)}
		if h.camera, err = c.camera("camera", false); err != nil {
			return c, nil, err
		}
		if h.own, err = identity.NewKey(c.random); err != nil {
			return c, nil, err
		}
		if h.owner, err = c.viewer("viewer", h.own); err != nil {
			return c, nil, err
		}
		seat := c.seat(i)
		if h.conn, err = seat.ListenUDP(netip.AddrPort{}); err != nil {
			return c, nil, err
		}
		c.atEnd(func() { h.conn.Close() })
		h.at = netip.AddrPortFrom(seat.Addr(), uint16(h.conn.LocalAddr().(*net.UDPAddr).Port))
		var place netip.AddrPort
		h.camera.device.Node().Do(func(time.Time) { place = h.camera.camera.Stats().Reflexive })
		mu.Lock()
		byKey[h.camera.key.Public()], byPlace[place] = h, h
		mu.Unlock()
		if i%2 == 0 { // the others' labels have paired nobody yet
			if err := watches(h.owner, h.camera.label); err != nil {
				return c, nil, err
			}
			h.paired = true
		}
		lanes = append(lanes, h)
	}
	return c, lanes, nil
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
	c.mu.Lock()
	c.closers = append(c.closers, func() { cancel(); <-over })
	c.mu.Unlock()
	select {
	case <-ready:
		return nil
	case err := <-over:
		over <- nil
		return fmt.Errorf("the rogue rendezvous ended: %w", err)
	}
}

func (h *household) lying() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.plan != nil
}

// lie is what the camera is told of the owner.
func (h *household) lie(truth wire.Introduce) ([]attack.Told, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.noise1, h.reflexive = truth.Noise1, truth.Endpoint.AddrPort
	if h.plan != nil {
		b, err := h.plan(truth.Noise1)
		if err != nil {
			return nil, err
		}
		truth.Noise1, truth.Endpoint, truth.ID = b, wire.At(h.at), drawID()
		h.asked, h.index = truth.ID, [4]byte(b[4:8])
	}
	return []attack.Told{{To: h.camera.key.Public(), Introduce: truth}}, nil
}

func (h *household) acknowledged(m *wire.IntroduceAck) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m.ID == h.asked {
		select {
		case h.acked <- m.Code:
		default:
		}
	}
}

// visit has the owner ask for the camera, and waits for what the camera says of the plan: 0, it takes it.
func (h *household) visit(p plan) (wire.Code, error) {
	for range 5 { // a busy lab may lose a packet
		select {
		case <-h.acked:
		default:
		}
		h.mu.Lock()
		h.plan, h.asked, h.noise1 = p, 0, nil
		h.mu.Unlock()
		h.owner.leave(h.camera.label.UID())
		h.owner.forget()
		if err := h.owner.ask(h.camera.label); err != nil {
			return 0, err
		}
		select {
		case code := <-h.acked:
			h.mu.Lock()
			h.captured = append(h.captured, bytes.Clone(h.noise1))
			h.mu.Unlock()
			h.listen(code == 0)
			return code, nil
		case <-time.After(2 * time.Second):
		}
	}
	return 0, errors.New("a camera does not say whether it takes a viewer")
}

// listen takes what has come to the attacker's socket. Where the camera has answered it is waited for.
func (h *household) listen(answered bool) {
	end := time.Now().Add(250 * time.Millisecond)
	h.answer = nil
	h.mu.Lock()
	index := h.index
	h.mu.Unlock()
	for {
		b, ok := poll(h.conn, h.buf[:])
		if !ok {
			if !answered || h.answer != nil {
				return
			}
			if b, _, ok = receive(h.conn, h.buf[:], end); !ok {
				return
			}
		}
		if len(h.captured) < 64 || b[0] == session.TypeResponse {
			h.captured = append(h.captured, bytes.Clone(b))
		}
		if len(b) > header && b[0] == session.TypeResponse && [4]byte(b[4:8]) == index { // else it is an older one's, once more
			h.answer = bytes.Clone(b)
		}
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

// opened says that the camera's answer gives a session to who began with it in the attacker's place.
func (h *household) opened(f *forged) bool {
	if h.answer == nil || f == nil {
		return false
	}
	o, ok := f.finish(h.answer)
	if !ok {
		return false
	}
	if ping, err := wire.Marshal(&wire.Consent{Sequence: 1}); err == nil { // confirms it, so that the camera writes it down
		_, _ = h.conn.WriteToUDPAddrPort(o.Seal(nil, ping), h.place())
	}
	return true
}

// place is where the camera is seen.
func (h *household) place() (at netip.AddrPort) {
	h.camera.device.Node().Do(func(time.Time) { at = h.camera.camera.Stats().Reflexive })
	return at
}

// tell sends the owner something from where it looks for the camera.
func (h *household) tell(b []byte) error {
	h.mu.Lock()
	to := h.reflexive
	h.mu.Unlock()
	_, err := h.conn.WriteToUDPAddrPort(b, to)
	return err
}

// dropped is how many datagrams the owner's viewer has dropped: by that it is known that one came.
func (h *household) dropped() (n int64) {
	h.owner.device.Node().Do(func(time.Time) {
		for _, k := range h.owner.viewer.Stats().Dropped {
			n += k
		}
	})
	return n
}

// refuses sends the owner what must not connect it, one after the other; false: it is connected, or shows something.
func (h *household) refuses(all ...[]byte) (bool, error) {
	for _, b := range all {
		before := h.dropped()
		if err := h.tell(b); err != nil {
			return false, err
		}
		for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end) && h.dropped() == before && !h.connected(); {
			time.Sleep(500 * time.Microsecond)
		}
		if h.dropped() > before {
			h.tally.saw("forged answers that an owner's viewer dropped", 1)
		}
	}
	return !h.connected(), nil
}

func (h *household) connected() bool {
	return saw[viewer.Connected](h.owner) || saw[viewer.FrameReceived](h.owner)
}

// readable says which secret can be read in what the attacker was handed.
func (h *household) readable() string {
	proof := identity.PairingProof(h.camera.label.Secret, h.own.Public(), h.camera.key.Public())
	data := media.EmbeddedClip().At(0).Data
	secrets := map[string][]byte{"the pairing secret": h.camera.label.Secret[:], "the pairing proof": proof[:], "a picture": data[len(data)/2:][:12]}
	for name, secret := range secrets {
		for _, b := range h.captured {
			if bytes.Contains(b, secret) {
				return name + " is readable in what the impostor was handed"
			}
		}
	}
	return ""
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
	if err := until("an owner sees a picture in the end", func() bool { return saw[viewer.FrameReceived](h.owner) }); err != nil {
		return err
	}
	var err error
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
		for ctx.Err() == nil {
			n, ok := t.take()
			if !ok {
				return nil
			}
			if err := try(lanes[i], rand.New(random(s.Seed, a, n)), n); err != nil {
				return fmt.Errorf("try %d: %w", n, err)
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	return crew(len(lanes), func(i int) error { return lanes[i].last() })
}
