package camera

import (
	"net/netip"
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

// knocked takes an initiation that a viewer has sent to the camera itself: to a port that a router forwards (Config.Listen), or in
// the local network, where it may reach every camera that there is (Config.LAN). Nobody vouches for its source: it gets the
// handshake's answer, which is shorter, and media only once the session was heard from there. Who may not watch gets nothing.
func (c *Camera) knocked(now time.Time, path punch.Path, b []byte) error {
	req, cookie, err := c.responder.Open(now, path.Addr, c.knocks.crowded(now), b)
	switch {
	case err != nil:
		return err
	case cookie != nil:
		c.box.Send(path.Local, path.Addr, core.Handshake, cookie)
		return nil
	}
	if v := c.byInitiation(req.ID()); v != nil {
		v.knockedAgain(now, path)
		return nil
	}
	if !c.cfg.Listen {
		if g, code := c.grant(now, req.Peer(), [16]byte{}); code != 0 || !g.Paired {
			return wire.CodeNotPaired
		}
	}
	adm, _, err := c.admit(now, req)
	if err != nil {
		return err
	}
	v, err := c.newViewer(now, &wire.Introduce{Endpoint: wire.Endpoint{AddrPort: path.Addr}}, adm, req)
	if err != nil {
		return err
	}
	v.knocked = path.Addr
	c.accept(now, v)
	v.agent.Heard(now, path)
	v.path = path
	v.sendNoise2(path)
	return nil
}

// knockedAgain answers a copy of an initiation: the answer was lost, or the rendezvous has brought the first one. From elsewhere it
// may be a copy that somebody made, who was faster than the viewer: none of these addresses is trusted then without a challenge.
func (v *viewer) knockedAgain(now time.Time, path punch.Path) {
	if v.confirmed || v.agent.Heard(now, path) == nil {
		return
	}
	if path.Addr != v.knocked {
		v.knocked = netip.AddrPort{}
	}
	v.sendNoise2(path)
}

// adopt takes an introduction of a viewer that has come without the rendezvous before: it may be reached by more paths, and the
// rendezvous tells from now on where it is. Where it has been heard already, that is all. Else it is answered as any that is
// introduced; since the session's keys may then be had elsewhere than at the knock's source, that one is no longer trusted for them.
func (v *viewer) adopt(now time.Time, m *wire.Introduce) {
	v.intro, v.reflexive = m.ID, m.Endpoint.AddrPort
	v.policy = v.wished
	if v.cam.giveChannel(v, m.Channel); m.Channel == 0 {
		v.policy.Relay = false
	}
	if v.confirmed {
		v.cam.acknowledge(m.ID, 0)
		return
	}
	near := v.path
	v.knocked = netip.AddrPort{}
	v.agent.Restart(now, v.agentConfig())
	v.agent.Heard(now, near)
	v.firstFlight(now, m)
}
