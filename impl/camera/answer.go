package camera

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// fromRendezvous takes what the rendezvous says.
func (c *Camera) fromRendezvous(now time.Time, m wire.Message) error {
	switch m := m.(type) {
	case *wire.Introduce:
		return c.introduced(now, m)
	case *wire.Sampled:
		if v := c.byIntro(m.ID); v != nil {
			v.agent.Sampled(now, m.Endpoint.AddrPort)
			return nil
		}
		return errStray
	case *wire.Refused: // again came too late: the other side is gone, or the tie
		return nil
	case *wire.Located:
		return c.located(now, m)
	case *wire.Ping:
		c.reachable(now)
		return nil
	case *wire.Goodbye:
		return nil
	}
	return errUnasked
}

// introduced answers a viewer at once: everything of the first flight is queued before it returns.
func (c *Camera) introduced(now time.Time, m *wire.Introduce) error {
	id, _ := session.InitiationID(m.Noise1)
	if v := c.byInitiation(id); v != nil {
		if v.intro == 0 { // it came without the rendezvous before
			v.adopt(now, m)
		} else { // the acknowledgement was lost
			c.acknowledge(m.ID, 0)
		}
		return nil
	}
	req, _, err := c.responder.Open(now, m.Endpoint.AddrPort, false, m.Noise1)
	if err != nil {
		c.refuse(now, m.ID, nil, wire.CodeMalformed)
		return err
	}
	adm, code, err := c.admit(now, req)
	if code != 0 {
		c.refuse(now, m.ID, req, code)
		return err
	}
	v, err := c.newViewer(now, m, adm, req)
	if err != nil {
		c.acknowledge(m.ID, wire.CodeInternal)
		return err
	}
	c.giveChannel(v, m.Channel)
	c.accept(now, v)
	v.firstFlight(now, m)
	return nil
}

// refuse tells the rendezvous why a viewer is not answered.
func (c *Camera) refuse(now time.Time, intro uint64, req *session.Request, code wire.Code) {
	c.acknowledge(intro, code)
	refused := ViewerRefused{At: now, Code: code}
	if req != nil {
		refused.Viewer = req.Peer().UID()
	}
	c.box.Emit(refused)
}

// giveChannel makes a relay's channel a viewer's. Where an older viewer had the number, the rendezvous has closed that relay, or was
// restarted.
func (c *Camera) giveChannel(v *viewer, channel uint16) {
	if old := c.byChannel(channel); old != nil && old != v {
		old.channel = 0
	}
	v.channel = channel
}

// accept begins to serve a viewer, in place of an older connection of its that was not heard yet.
func (c *Camera) accept(now time.Time, v *viewer) {
	for _, old := range slices.Clone(c.viewers) {
		if old.key == v.key && !old.confirmed {
			c.drop(now, old, wire.CodeReplaced)
		}
	}
	c.box.Quiet(false)
	c.viewers = append(c.viewers, v)
	c.byIndex[v.sess.LocalIndex()] = v
	c.box.Emit(ViewerAccepted{At: now, Viewer: v.key.UID(), Policy: v.policy.Name, Role: wire.Role(v.grant.Role), LAN: v.intro == 0})
}

func (c *Camera) acknowledge(id uint64, code wire.Code) {
	c.link.Send(core.Signal, &wire.IntroduceAck{ID: id, Code: code})
}

// remember keeps a viewer's timestamp, so that its initiation cannot be replayed.
func (c *Camera) remember(k identity.PublicKey, stamp uint64) {
	if at := slices.Index(c.order, k); at >= 0 {
		c.order = slices.Delete(c.order, at, at+1)
	} else if len(c.order) >= maxStamps {
		delete(c.stamps, c.order[0])
		c.order = slices.Delete(c.order, 0, 1)
	}
	c.order = append(c.order, k)
	c.stamps[k] = stamp
}

func (c *Camera) newViewer(now time.Time, m *wire.Introduce, adm admission, req *session.Request) (*viewer, error) {
	hello := adm.hello
	v := &viewer{
		cam: c, key: req.Peer(), initiation: req.ID(), conn: hello.ID, punchKey: hello.PunchKey, grant: adm.grant, name: string(hello.Name),
		policy: punch.ForHello(hello.Flags, string(hello.Strategy)), channel: m.Channel, started: now, heard: now,
		intro: m.ID, reflexive: m.Endpoint.AddrPort, class: hello.Class, candidates: hello.Candidates,
	}
	v.wished = v.policy
	if m.Channel == 0 { // the rendezvous does not relay, or there is none
		v.policy.Relay = false
	}
	welcome, err := wire.Marshal(&wire.Welcome{
		Profile: wire.ProfileAES128GCM, PayloadType: media.DefaultPayloadType, ClockRate: 90000, Role: wire.Role(adm.grant.Role),
	})
	if err != nil {
		return nil, err
	}
	if v.sess, v.noise2, err = req.Accept(welcome); err != nil {
		return nil, err
	}
	sender, err := media.NewSender(media.SenderConfig{
		Keys: media.NewKeys(v.sess.Export), MTU: c.cfg.MTU, HistoryPackets: history, TransportCC: c.cfg.Estimator != nil,
	})
	if err != nil {
		return nil, err
	}
	v.stream = stream{source: c.cfg.Source(), sender: sender, wanted: hello.Flags&wire.FlagStart != 0}
	v.agent = punch.NewAgent(v.agentConfig(), now)
	return v, nil
}

// agentConfig is what is known of both sides now.
func (v *viewer) agentConfig() punch.Config {
	c := v.cam
	v.mine = c.dev.Class()
	return punch.Config{
		Policy: v.policy, Role: punch.Camera, Mine: c.dev.Class(), Theirs: v.class, Own: c.link.Reflexive(), Peer: v.reflexive,
		Turn: c.cfg.Relayed, Rand: c.cfg.Rand,
	}
}

// firstFlight sends Noise-2 and the first access unit: to the viewer's endpoint, which the rendezvous has validated, and
// through the relay. The acknowledgement goes before the bulk, and Noise-2 to the host candidates after it.
func (v *viewer) firstFlight(now time.Time, m *wire.Introduce) {
	c := v.cam
	direct := v.agent.Add(now, punch.To(v.reflexive), punch.Reflexive) != nil
	if direct {
		v.path = punch.To(v.reflexive)
		// What a silent camera sends first would close the way. What is not going to arrive would only keep the relay's copy waiting.
		direct = !v.agent.Silent() && (v.agent.Meets() || !v.policy.Relay)
		v.sendNoise2(v.path)
	}
	if v.policy.Relay {
		v.sendNoise2(punch.ViaRelay)
		v.path = punch.ViaRelay
	}
	c.acknowledge(m.ID, 0)
	if v.stream.wanted && v.path.Route != 0 {
		v.startStream(now, direct)
	}
	v.addClaimed(now)
	v.agent.Due(now, func(p punch.Probe) {
		if p.To != v.reflexive || p.From.IsValid() {
			v.probe(now, p)
		}
	})
	v.repeatGap = firstRepeat
	v.repeat = now.Add(v.repeatGap)
}

// drop ends a viewer.
func (c *Camera) drop(now time.Time, v *viewer, code wire.Code) {
	at := slices.Index(c.viewers, v)
	if at < 0 {
		return
	}
	c.viewers = slices.Delete(c.viewers, at, at+1)
	v.gone = true
	v.agent.Stop(punch.Path{})
	v.tend(now)
	delete(c.byIndex, v.sess.LocalIndex())
	v.stream.close()
	if v.stream.begun {
		c.box.Emit(StreamStopped{At: now, Viewer: v.key.UID(), Code: code, Frames: v.stream.frames})
	}
}

// token draws a path challenge.
func (c *Camera) token() (t punch.Nonce, err error) {
	if _, err := io.ReadFull(c.cfg.Rand, t[:]); err != nil {
		return t, fmt.Errorf("draw path challenge: %w", err)
	}
	return t, nil
}

var noAddr netip.AddrPort
