package soak

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
	"github.com/punchlab/punchlab/lab/attack"
	"github.com/punchlab/punchlab/lab/packet"
)

// hijackLanes is how many impostors try side by side, each on a camera of its own.
const hijackLanes = 8

// victim is a camera that an impostor wants to be.
type victim struct {
	public     identity.PublicKey
	initiation []byte         // its last registration's, captured; of one that never registered: held back on its way
	said       [][]byte       // what it sent to the rendezvous since, captured
	at         netip.AddrPort // where the rendezvous sees it; zero: it is not online
	kind       string         // online, left, never
	index      uint32         // of the rendezvous, for its session; 0: unknown
}

// impostor is one lane: a socket, what it has begun, and an honest viewer who asks for the cameras.
type impostor struct {
	scene  *scene
	tally  *tally
	lane   int
	conn   *net.UDPConn
	key    identity.Key
	own    *dialog // its own registration, by another socket
	online victim
	left   []victim
	begun  []*forged // the newest last
	sent   [][]byte  // initiations, the newest last
	gains  []string
	viewer *dialog
	asked  int
	proved int    // cookies that were given back
	nobody []byte // an initiation that no camera opens
	buf    [2048]byte
}

func hijack(ctx context.Context, s Setup, t *tally) error {
	c, err := openScene(s)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.serve("rendezvous"); err != nil {
		return err
	}
	var imps []*impostor
	for i := range min(hijackLanes, s.Tries) {
		imp, err := c.impostor(t, i)
		if err != nil {
			return err
		}
		defer imp.close()
		imps = append(imps, imp)
	}
	err = crew(len(imps), func(i int) error {
		for ctx.Err() == nil {
			try, ok := t.take()
			if !ok {
				return nil
			}
			if err := imps[i].try(rand.New(random(s.Seed, Hijack, try)), try); err != nil {
				return fmt.Errorf("try %d: %w", try, err)
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	return crew(len(imps), func(i int) error { return imps[i].last() })
}

// impostor makes a lane.
func (c *scene) impostor(t *tally, lane int) (*impostor, error) {
	p := &impostor{scene: c, tally: t, lane: lane}
	var err error
	if p.key, err = identity.NewKey(c.random); err != nil {
		return nil, err
	}
	if p.conn, err = c.lab.Host("rogue").ListenUDP(netip.AddrPort{}); err != nil {
		return nil, err
	}
	register := &wire.Register{Version: wire.ProtocolVersion, Keepalive: 15}
	if p.own, err = dial(c.lab.Host("rogue"), c.at, c.key.Public(), p.key, c.random, register); err != nil {
		return nil, err
	}
	if p.online, err = c.observed(); err != nil {
		return nil, err
	}
	for range 3 {
		v, err := c.departed()
		if err != nil {
			return nil, err
		}
		p.left = append(p.left, v)
	}
	nobody, err := identity.NewKey(c.random)
	if err != nil {
		return nil, err
	}
	p.nobody, err = stranger(nobody.Public(), c.random)
	return p, err
}

// stranger is a viewer's initiation to a camera, by a key of nobody's, without a right proof.
func stranger(camera identity.PublicKey, random *rand.ChaCha8) ([]byte, error) {
	return one(attack.Kinds(attack.ToCamera, camera, random), "initiation, valid, by a new key")
}

// observed starts a camera whose traffic is captured.
func (c *scene) observed() (victim, error) {
	v := victim{kind: "online"}
	var mu sync.Mutex
	var passed [][]byte
	tap, err := listenIn(c.lab.Host("camera"), func(out bool, b []byte) {
		if payload, to, ok := datagram(b); out && ok && to == c.at {
			mu.Lock()
			defer mu.Unlock()
			if payload[0] == session.TypeInitiation || payload[0] == session.TypeTransport {
				passed = append(passed, bytes.Clone(payload))
			}
		}
	})
	if err != nil {
		return v, err
	}
	u, err := c.camera("camera", false)
	if err == nil {
		err = until("a camera's registration is captured", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(passed) >= 2
		})
	}
	if missed := tap.close(); err == nil && missed > 0 {
		err = fmt.Errorf("%d packets of a camera were missed", missed)
	}
	if err != nil {
		return v, err
	}
	v.public = u.key.Public()
	u.device.Node().Do(func(time.Time) { v.at = u.camera.Stats().Reflexive })
	for _, b := range passed { // other lanes' cameras are silent by now, but for a ping
		switch {
		case b[0] == session.TypeInitiation:
			v.initiation = b
		case v.initiation != nil:
			v.said = append(v.said, b)
		}
	}
	if v.initiation == nil || len(v.said) == 0 {
		return v, errors.New("a camera's registration was not captured")
	}
	v.index = binary.LittleEndian.Uint32(v.said[0][4:])
	return v, nil
}

// datagram is the payload of an IPv4 packet, and where it goes.
func datagram(b []byte) (payload []byte, to netip.AddrPort, ok bool) {
	p, err := packet.ParseIPv4(b)
	if err != nil || p.Protocol() != packet.ProtocolUDP || p.FragmentOffset() != 0 {
		return nil, to, false
	}
	u, err := packet.ParseUDP(p.Payload())
	if err != nil || len(u) <= packet.UDPHeaderLen {
		return nil, to, false
	}
	return u[packet.UDPHeaderLen:], netip.AddrPortFrom(p.Dst(), u.DstPort()), true
}

// departed is a camera that was online and has said goodbye.
func (c *scene) departed() (victim, error) {
	key, err := identity.NewKey(c.random)
	if err != nil {
		return victim{}, err
	}
	d, err := dial(c.lab.Host("camera"), c.at, c.key.Public(), key, c.random, &wire.Register{Version: wire.ProtocolVersion, Keepalive: 15})
	if err != nil {
		return victim{}, err
	}
	d.leave()
	return victim{kind: "left", public: key.Public(), initiation: d.initiation}, nil
}

// never is a camera that the rendezvous has not seen. Somebody has held its first registration back.
func (c *scene) never(draw *rand.Rand, random *rand.ChaCha8) (victim, error) {
	key, err := identity.NewKey(random)
	if err != nil {
		return victim{}, err
	}
	payload, err := wire.Marshal(&wire.Register{Version: wire.ProtocolVersion, Keepalive: 15})
	if err != nil {
		return victim{}, err
	}
	i, err := session.NewInitiator(session.Config{Static: key, Rand: random, Prologue: []byte(core.PrologueRendezvous)}, c.key.Public(),
		uint64(time.Now().UnixNano()), payload)
	if err != nil {
		return victim{}, err
	}
	return victim{kind: "never", public: key.Public(), initiation: bytes.Clone(i.Message())}, nil
}

func (p *impostor) close() {
	p.conn.Close()
	p.own.leave()
	if p.viewer != nil {
		p.viewer.leave()
	}
}

// try has the impostor try once, and a viewer ask for the camera.
func (p *impostor) try(draw *rand.Rand, n int) error {
	random := random(p.tally.setup.Seed, Hijack, 1<<30+n)
	v := p.online
	switch n % 3 {
	case 1:
		v = p.left[draw.IntN(len(p.left))]
	case 2:
		var err error
		if v, err = p.scene.never(draw, random); err != nil {
			return err
		}
	}
	shapes := hijackShapes(v.kind)
	shape := shapes[draw.IntN(len(shapes))]
	if err := shape.do(p, &v, draw, random); err != nil {
		return fmt.Errorf("%s: %w", shape.name, err)
	}
	gain, err := p.who(v)
	if err != nil {
		return err
	}
	proved := p.proved
	answered := p.listen()
	if p.proved > proved && gain == "" { // a cookie was asked for, and given
		if gain, err = p.who(v); err != nil {
			return err
		}
		answered = p.listen() || answered
	}
	if answered { // somebody has answered: it gets the time that a session needs
		deadline := time.Now().Add(300 * time.Millisecond)
		for time.Now().Before(deadline) {
			if b, _, ok := receive(p.conn, p.buf[:], deadline); ok {
				p.take(b)
			}
		}
		if gain == "" {
			if gain, err = p.who(v); err != nil {
				return err
			}
		}
	}
	if gain != "" {
		p.gains = append(p.gains, gain)
	}
	gain = strings.Join(p.gains, "; ")
	p.gains = nil
	p.tally.tried(shape.name+" ("+v.kind+")", gain)
	return nil
}

// who asks for a camera as a viewer does; gain says that the answer is the impostor's doing.
func (p *impostor) who(v victim) (gain string, err error) {
	for {
		if p.viewer == nil || p.asked >= 25 {
			if p.viewer != nil {
				p.viewer.leave()
			}
			key, err := identity.NewKey(p.scene.random2())
			if err != nil {
				return "", err
			}
			p.viewer, err = dial(p.scene.nextSeat(), p.scene.at, p.scene.key.Public(), key, p.scene.random2(), &wire.Login{Version: wire.ProtocolVersion})
			if err != nil {
				return "", err
			}
			p.asked = 0
		}
		p.asked++
		h, err := connect(p.viewer, v.public.UID(), p.nobody)
		if err != nil {
			return "", err
		}
		switch m := h.message.(type) {
		case *wire.Peer:
			if v.at.IsValid() && m.Endpoint.AddrPort == v.at {
				p.tally.saw("cameras that were found where they are", 1)
				return "", nil
			}
			return fmt.Sprintf("a viewer that asks for a camera (%s) is sent to %v", v.kind, m.Endpoint), nil
		case *wire.Refused:
			switch {
			case m.Code == wire.CodeRateLimited:
				p.tally.saw("questions that were put off as too many", 1)
				p.asked = 1 << 20
				time.Sleep(20 * time.Millisecond)
				continue
			case m.Code == wire.CodeUnavailable && !v.at.IsValid():
				p.tally.saw("cameras that were offline, as they are", 1)
				return "", nil
			case v.at.IsValid():
				return fmt.Sprintf("a camera that is online is refused to viewers: %v", m.Code), nil
			}
			return "", fmt.Errorf("a viewer was refused: %v", m.Code)
		}
	}
}

// connect asks for a camera.
func connect(d *dialog, camera identity.UID, noise1 []byte) (heard, error) {
	id := drawID()
	return d.ask(&wire.Connect{ID: id, Camera: camera, Noise1: noise1}, func(m wire.Message) bool {
		switch m := m.(type) {
		case *wire.Peer:
			return m.ID == id
		case *wire.Refused:
			return m.ID == id
		}
		return false
	})
}

// drawID is the id of a question. All have as many bytes.
func drawID() uint64 { return rand.Uint64() | 1<<63 }

// listen takes what has come to the impostor, and says whether there was an answer to something that it has begun.
func (p *impostor) listen() (answered bool) {
	for {
		b, ok := poll(p.conn, p.buf[:])
		if !ok {
			break
		}
		answered = p.take(b) || answered
	}
	for {
		b, ok := poll(p.own.conn, p.buf[:])
		if !ok {
			return answered
		}
		plain, err := p.own.session.Open(nil, b)
		if err != nil {
			continue
		}
		switch m, _ := wire.Unmarshal(plain); m := m.(type) {
		case *wire.Ping:
			_ = p.own.say(&wire.Pong{Sequence: m.Sequence})
		case *wire.Introduce:
			p.gains = append(p.gains, "the impostor, under his own key, was told of a viewer")
		}
	}
}

// take takes a datagram that has come to the impostor, and goes on with a session that it makes.
func (p *impostor) take(b []byte) (answered bool) {
	for _, f := range p.begun {
		if o, ok := f.finish(b); ok {
			p.gains = append(p.gains, "a registration under a key that he does not hold was answered by a session")
			if ping, err := wire.Marshal(&wire.Ping{Sequence: 1}); err == nil { // confirms it
				_, _ = p.conn.WriteToUDPAddrPort(o.Seal(nil, ping), p.scene.at)
			}
			return true
		}
	}
	for _, sent := range p.sent {
		if again, ok := cookied(p.scene.key.Public(), sent, b); ok {
			p.proved++
			p.tally.saw("impostors who proved that they receive at their address", 1)
			_, _ = p.conn.WriteToUDPAddrPort(again, p.scene.at)
			return false
		}
	}
	p.tally.saw("datagrams that came to an impostor and that he could not open", 1)
	return false
}

// send sends from the impostor's own address.
func (p *impostor) send(b []byte) error {
	if len(b) >= session.MinInitiation && b[0] == session.TypeInitiation {
		if p.sent = append(p.sent, b); len(p.sent) > 64 {
			p.sent = p.sent[1:]
		}
	}
	_, err := p.conn.WriteToUDPAddrPort(b, p.scene.at)
	return err
}

// begin sends a handshake of his.
func (p *impostor) begin(t terms, random *rand.ChaCha8) error {
	f, err := t.begin(random)
	if err != nil {
		return err
	}
	p.begun = append(p.begun, f)
	if len(p.begun) > 64 {
		p.begun = p.begun[1:]
	}
	return p.send(f.b)
}

// last has the lane end with an honest use: the camera is found where it was.
func (p *impostor) last() error {
	gain, err := p.who(p.online)
	if err == nil && gain != "" {
		err = fmt.Errorf("after all tries %s", gain)
	}
	return err
}
