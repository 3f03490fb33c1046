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
	for _, v := range c.viewers {
		if v.initiation == id { // a repetition: the acknowledgement was lost
			c.acknowledge(m.ID, 0)
			return nil
		}
	}
	req, _, err := c.responder.Open(now, m.Endpoint.AddrPort, false, m.Noise1)
	if err != nil {
		c.refuse(now, m.ID, nil, wire.CodeMalformed)
		return err
	}
	hello, code, err := c.admit(now, req)
	if code != 0 {
		c.refuse(now, m.ID, req, code)
		return err
	}
	v, err := c.newViewer(now, m, hello, req)
	if err != nil {
		c.acknowledge(m.ID, wire.CodeInternal)
		return err
	}
	if old := c.byChannel(m.Channel); old != nil {
		old.channel = 0 // the rendezvous gave the number away: it has closed that relay, or was restarted
	}
	c.accept(now, v)
	v.firstFlight(now, m, hello)
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

// accept begins to serve a viewer.
func (c *Camera) accept(now time.Time, v *viewer) {
	c.box.Quiet(false)
	c.viewers = append(c.viewers, v)
	c.byIndex[v.sess.LocalIndex()] = v
	c.box.Emit(ViewerAccepted{At: now, Viewer: v.key.UID(), Policy: v.policy.Name})
}

func (c *Camera) acknowledge(id uint64, code wire.Code) {
	c.link.Send(core.Signal, &wire.IntroduceAck{ID: id, Code: code})
}

// admit says whether a viewer may watch. A code other than 0 says why not.
func (c *Camera) admit(now time.Time, req *session.Request) (*wire.Hello, wire.Code, error) {
	parsed, err := wire.Unmarshal(req.Payload())
	hello, ok := parsed.(*wire.Hello)
	known := slices.Contains(c.cfg.Paired, req.Peer())
	proof := identity.PairingProof(c.cfg.Secret, req.Peer(), c.cfg.Static.Public())
	switch {
	case err != nil:
		return nil, wire.CodeMalformed, err
	case !ok:
		return nil, wire.CodeMalformed, errUnasked
	case hello.Version != wire.ProtocolVersion:
		return nil, wire.CodeVersion, wire.CodeVersion
	case !known && (c.cfg.Secret == identity.Secret{} || !proof.Equal(hello.Proof)):
		return nil, wire.CodeNotPaired, wire.CodeNotPaired
	case hello.Profile != wire.ProfileAES128GCM:
		return nil, wire.CodeProfile, wire.CodeProfile
	case req.Timestamp() <= c.stamps[req.Peer()]:
		return nil, wire.CodeMalformed, errOld
	case len(c.viewers) >= c.cfg.MaxViewers:
		return nil, wire.CodeBusy, wire.CodeBusy
	}
	c.remember(req.Peer(), req.Timestamp())
	return hello, 0, nil
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

func (c *Camera) newViewer(now time.Time, m *wire.Introduce, hello *wire.Hello, req *session.Request) (*viewer, error) {
	source := c.cfg.Source()
	v := &viewer{
		cam: c, key: req.Peer(), initiation: req.ID(), conn: hello.ID, punchKey: hello.PunchKey,
		policy: punch.ForHello(hello.Flags, string(hello.Strategy)), channel: m.Channel, started: now, heard: now,
		intro: m.ID, reflexive: m.Endpoint.AddrPort, class: hello.Class, candidates: hello.Candidates,
	}
	if m.Channel == 0 { // the rendezvous does not relay, or there is none
		v.policy.Relay = false
	}
	welcome, err := wire.Marshal(&wire.Welcome{Profile: wire.ProfileAES128GCM, PayloadType: media.DefaultPayloadType, ClockRate: 90000})
	if err != nil {
		return nil, err
	}
	if v.sess, v.noise2, err = req.Accept(welcome); err != nil {
		return nil, err
	}
	keys := media.NewKeys(v.sess.Export)
	sender, err := media.NewSender(media.SenderConfig{Keys: keys, MTU: c.cfg.MTU, HistoryPackets: history})
	if err != nil {
		return nil, err
	}
	v.stream = stream{source: source, sender: sender, wanted: hello.Flags&wire.FlagStart != 0}
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
func (v *viewer) firstFlight(now time.Time, m *wire.Introduce, hello *wire.Hello) {
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
		v.begin(now, direct)
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

// begin starts the stream.
func (v *viewer) begin(now time.Time, direct bool) {
	v.cam.stats.Streams++
	v.cam.box.Emit(StreamStarted{At: now, Viewer: v.key.UID()})
	v.startStream(now, direct)
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
