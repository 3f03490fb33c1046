package camera

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// A viewer to whom media flows reports five times a second. Silence raises doubt, of this side first:
//
//	          viewerSilence: ping to R                R pings where the camera appears from now: it has moved
//	serving ───────────────────────────► doubtful ──────────────────────────────────────────────────────────► carrying both
//	   ▲               any sign of the viewer │                                                                    │
//	   └──────────────────────────────────────┴────────────────── use, or bothLife ◄──────────────────────────────┘
//
// While a viewer's media is carried by both, it goes by the relay and by a direct path: what the viewer's doubt (use by
// the relay), its move (located) and the camera's own lead to.
const (
	// viewerSilence is how long a viewer to whom media flows, and who reports every 200 ms then, may be silent before the
	// camera asks the rendezvous whether it is heard itself. It asks again after homeGap, and after viewerSilence once
	// the viewer has been silent for longer than patient.
	viewerSilence = 700 * time.Millisecond
	homeGap       = 200 * time.Millisecond
	patient       = 5 * time.Second
	// bothLife is how long media goes by two paths until the viewer has named one.
	bothLife = time.Second
	// asleep is how much later than it wanted a camera has to be called to take it that its host has slept.
	asleep = 2 * time.Second
)

// both has the media go by another path too for a while.
func (v *viewer) both(now time.Time, also punch.Path) {
	v.also, v.alsoUntil = also, now.Add(bothLife)
}

// carried lists the paths of new media.
func (v *viewer) carried(now time.Time) (paths [2]punch.Path, n int) {
	paths[0], n = v.path, 1
	if v.also.Route != 0 && v.also != v.path && now.Before(v.alsoUntil) {
		paths[1], n = v.also, 2
	}
	return paths, n
}

// doubt is when the viewer has been silent for so long, although media flows, that the camera may be the one that is not
// heard: its NAT has rebooted or has another address. The relay, and the next viewer, need the rendezvous to know. Zero: never.
func (v *viewer) doubt() time.Time {
	s := &v.stream
	since := v.sign
	switch {
	case !v.confirmed || !s.flowing() || v.cam.link == nil:
		return time.Time{}
	case s.live && s.owed.IsZero(): // there was nothing to report
		return time.Time{}
	case s.owed.After(since):
		since = s.owed
	}
	return since.Add(v.patience)
}

// doubtful asks the rendezvous whether this camera is heard.
func (v *viewer) doubtful(now time.Time) {
	v.cam.link.Insist(now)
	v.suspicious, v.sign = true, now
	if v.patience = homeGap; now.Sub(v.heard) > patient {
		v.patience = viewerSilence
	}
}

// reachable is called when the rendezvous asks whether this camera receives where it appears from now: it has moved.
// What it sends to the rendezvous from here on arrives again; the direct paths need new punches.
func (c *Camera) reachable(now time.Time) {
	for _, v := range c.viewers {
		if v.suspicious {
			v.suspicious = false
			v.moved(now)
		}
	}
}

// moved goes on from where this camera, or the viewer, appears now.
func (v *viewer) moved(now time.Time) {
	if !v.confirmed {
		return
	}
	v.askAgain()
	if v.policy.Relay {
		v.both(now, punch.ViaRelay)
		v.again(now, punch.ViaRelay, v.newest)
	}
	v.restart(now)
}

// askAgain has the rendezvous open the relay, should it be closed, and tell both sides where the other is.
func (v *viewer) askAgain() {
	if v.intro != 0 {
		v.cam.link.Send(core.Signal, &wire.Again{ID: v.intro, Relay: v.policy.Relay})
	}
}

// classified has both sides look for a direct path again, where there is none and the camera's NAT is another than they knew.
func (v *viewer) classified() {
	if v.policy.Direct && v.confirmed && v.path.Route == punch.Relay && v.mine != v.cam.dev.Class() {
		v.askAgain()
	}
}

// located is told where a viewer is now.
func (c *Camera) located(now time.Time, m *wire.Located) error {
	ack := &wire.LocatedAck{ID: m.ID, Sequence: m.Sequence}
	v := c.byIntro(m.ID)
	if v == nil {
		ack.Code = wire.CodeExpired
		c.link.Send(core.Signal, ack)
		return errStray
	}
	c.link.Send(core.Signal, ack)
	if m.Sequence <= v.locatedSeq {
		return nil
	}
	v.locatedSeq = m.Sequence
	if m.Channel != 0 && v.policy.Relay {
		if old := c.byChannel(m.Channel); old != nil && old != v {
			old.channel = 0
		}
		v.channel = m.Channel
	}
	v.class, v.candidates = m.Class, m.Candidates
	movedFrom := v.reflexive
	v.reflexive = m.Endpoint.AddrPort
	if !v.policy.Direct || !v.confirmed {
		return nil
	}
	v.restart(now)
	if movedFrom != v.reflexive && v.stream.flowing() {
		v.follow(now, movedFrom)
	}
	return nil
}

// follow sends media where the rendezvous says that the viewer is now, and through the relay, until the viewer names a path.
func (v *viewer) follow(now time.Time, from netip.AddrPort) {
	there := punch.To(v.reflexive)
	if v.agent.Find(there) == nil || v.agent.Silent() {
		return
	}
	switch {
	case v.path.Route == punch.Relay:
		v.both(now, there)
	case v.policy.Relay:
		v.shift(now, punch.ViaRelay)
		v.both(now, there)
	case v.path.Addr == from:
		v.shift(now, there)
	}
}

// shift moves the media without the viewer's word: it has moved itself.
func (v *viewer) shift(now time.Time, path punch.Path) {
	from := v.path
	v.path = path
	v.changed(now, from)
	v.again(now, path, v.newest)
}

// restart looks for direct paths anew. The one in use stays known, and trusted.
func (v *viewer) restart(now time.Time) {
	if !v.policy.Direct {
		return
	}
	used := v.path
	v.agent.Restart(now, v.agentConfig())
	v.agent.Add(now, punch.To(v.reflexive), punch.Reflexive)
	if used.Route == punch.Direct {
		v.trust(now, used)
	}
	v.addClaimed(now)
	v.agent.Due(now, func(p punch.Probe) { v.probe(now, p) })
}

// trust keeps a path that the viewer has been shown to receive by.
func (v *viewer) trust(now time.Time, p punch.Path) {
	if cand := v.agent.Add(now, p, punch.PeerReflexive); cand != nil {
		cand.Trusted, cand.Heard = true, true
	}
}

// wake goes on after the host's sleep: the video where it stopped, and what has become of the way is asked.
func (v *viewer) wake(now time.Time, slept time.Duration) {
	v.stream.origin = v.stream.origin.Add(slept)
	v.doubtful(now)
}
