package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// hijackLanes is how many impostors try side by side, each on a camera of its own.
const hijackLanes = 8

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
	viewer inquirer
	proved int // cookies that were given back
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
	if err := crew(len(imps), func(i int) error { return t.each(ctx, Hijack, imps[i].try) }); err != nil {
		return err
	}
	return crew(len(imps), func(i int) error { return imps[i].last() })
}

// impostor makes a lane.
func (c *scene) impostor(t *tally, lane int) (*impostor, error) {
	p := &impostor{scene: c, tally: t, lane: lane, viewer: inquirer{scene: c, tally: t}}
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
	p.viewer.noise1, err = c.unopened()
	return p, err
}

func (p *impostor) close() {
	p.conn.Close()
	p.own.leave()
	p.viewer.leave()
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
	gain, err := p.outcome(v)
	if err != nil {
		return err
	}
	if gain != "" {
		p.gains = append(p.gains, gain)
	}
	p.tally.tried(shape.name+" ("+v.kind+")", strings.Join(p.gains, "; "))
	p.gains = nil
	return nil
}

// outcome is what a viewer is told of the camera after a try; it asks again where the impostor could go on.
func (p *impostor) outcome(v victim) (gain string, err error) {
	if gain, err = p.who(v); err != nil {
		return "", err
	}
	proved := p.proved
	answered := p.listen()
	if p.proved > proved && gain == "" { // a cookie was asked for, and given
		if gain, err = p.who(v); err != nil {
			return "", err
		}
		answered = p.listen() || answered
	}
	if !answered {
		return gain, nil
	}
	// Somebody has answered: it gets the time that a session needs.
	for deadline := time.Now().Add(300 * time.Millisecond); time.Now().Before(deadline); {
		if b, _, ok := receive(p.conn, p.buf[:], deadline); ok {
			p.take(b)
		}
	}
	if gain == "" {
		gain, err = p.who(v)
	}
	return gain, err
}

// last has the lane end with an honest use: the camera is found where it was.
func (p *impostor) last() error {
	gain, err := p.who(p.online)
	if err == nil && gain != "" {
		err = fmt.Errorf("after all tries %s", gain)
	}
	return err
}
