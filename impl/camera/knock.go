package camera

import (
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// maxKnocks is how many initiations a second the camera opens without asking for a cookie first.
const maxKnocks = 20

// knocks counts initiations that came without a rendezvous, by the second.
type knocks struct {
	second time.Time
	n      int
}

// crowded notes one at now, and says whether there are too many.
func (k *knocks) crowded(now time.Time) bool {
	if now.Sub(k.second) >= time.Second {
		k.second, k.n = now, 0
	}
	k.n++
	return k.n > maxKnocks
}

// knocked takes an initiation that a viewer has sent to the camera itself, where a router forwards a port. Nobody
// vouches for its source: it gets the handshake's answer, which is shorter, and media only once the session was heard
// from there. Who may not watch gets nothing.
func (c *Camera) knocked(now time.Time, path punch.Path, b []byte) error {
	req, cookie, err := c.responder.Open(now, path.Addr, c.knocks.crowded(now), b)
	switch {
	case err != nil:
		return err
	case cookie != nil:
		c.box.Send(path.Local, path.Addr, core.Handshake, cookie)
		return nil
	}
	for _, v := range c.viewers {
		if v.initiation == req.ID() {
			v.knockedAgain(now, path)
			return nil
		}
	}
	hello, _, err := c.admit(now, req)
	if err != nil {
		return err
	}
	v, err := c.newViewer(now, &wire.Introduce{Endpoint: wire.Endpoint{AddrPort: path.Addr}}, hello, req)
	if err != nil {
		return err
	}
	v.knocked = true
	c.accept(now, v)
	v.agent.Heard(now, path)
	v.path = path
	v.sendNoise2(path)
	return nil
}

// knockedAgain answers a repetition: the answer was lost. From elsewhere it may be a copy that somebody made, who was
// faster than the viewer: none of these addresses is trusted then without a challenge.
func (v *viewer) knockedAgain(now time.Time, path punch.Path) {
	if v.intro != 0 || v.confirmed || v.agent.Heard(now, path) == nil {
		return
	}
	if path.Addr != v.reflexive {
		v.knocked = false
	}
	v.sendNoise2(path)
}
