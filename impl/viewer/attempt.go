package viewer

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/media"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/self"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// maxEarly is how many media packets are kept that overtook Noise-2: a key frame of the clip and more.
const maxEarly = 128

// lastConnect is the longest gap between repetitions of connect, in the time in which the rendezvous has to answer.
const lastConnect = 500 * time.Millisecond

// attempt is one connection, from Connect to its end.
type attempt struct {
	v       *Viewer
	c       *Connection
	id      uint64
	uid     identity.UID
	request Request
	policy  punch.Policy
	agent   *punch.Agent
	theirs  wire.Class // of the camera's NAT
	mine    wire.Class // of the viewer's, when a path was last looked for
	hs      *session.Initiator
	connect *wire.Connect
	started time.Time

	// Connecting.
	again    time.Time // Connect is repeated
	gap      time.Duration
	peerAt   time.Time // Peer came
	endpoint netip.AddrPort
	knocking bool // at the camera itself: there is no rendezvous
	channel  uint16
	inbound  uint16 // channel of the frame being handled
	punchKey wire.PunchKey
	punches  uint32 // counter of the last punch sent
	seen     uint32 // counter of the camera's last punch
	early    []earlyPacket
	near     near
	gaveUp   bool // looking for a direct path
	over     bool

	candidates []wire.Endpoint // the camera's own addresses, as the rendezvous says

	// Watching.
	sess     *session.Session
	since    time.Time // of sess
	ssrc     uint32    // of its stream
	noise2   []byte
	receiver *media.Receiver
	path     punch.Path   // named by Use
	shown    punch.Path   // by which the newest media came
	named    time.Time    // when path was chosen
	twoWay   bool         // the camera has answered on path
	oneWay   []punch.Path // direct paths that the camera does not hear
	token    wire.Token   // of path, where the camera asked for it
	use      uint32
	useDue   time.Time
	useSent  time.Time
	useGap   time.Duration
	onPath   time.Time // newer media last came by path
	alive    time.Time // anything authentic did
	heard    time.Time // anything authentic
	consent  time.Time
	consents uint32
	asking   asking     // the last one by path
	rttOf    punch.Path // of which the round trip is known

	manage manage

	// Doubt, see doubt.go.
	rhythm     rhythm
	doubted    time.Time // since then path is doubted; zero: it is not
	assuredAt  time.Time // the last doubt ended, or the camera answered by path
	elsewhere  time.Time // newer media last came by another path
	idle       int       // questions answered by path since newer media came by it, at most maxIdle
	relayed    bool      // new media has come through the relay since
	asks       int       // how often again was sent for one reason
	askDue     time.Time
	askGap     time.Duration
	locatedSeq uint32
	lostDirect bool      // a direct path worked both ways and died
	retryAt    time.Time // a direct path is looked for again
	retryGap   time.Duration
}

type earlyPacket struct {
	path punch.Path
	b    []byte
}

func newAttempt(now time.Time, v *Viewer, r Request, policy punch.Policy) (*attempt, error) {
	label := r.Label
	a := &attempt{v: v, uid: label.UID(), request: r, policy: policy, started: now}
	var idBytes [8]byte
	for a.id == 0 {
		if _, err := io.ReadFull(v.cfg.Rand, idBytes[:]); err != nil {
			return nil, fmt.Errorf("draw connection id: %w", err)
		}
		a.id = binary.LittleEndian.Uint64(idBytes[:])
	}
	if _, err := io.ReadFull(v.cfg.Rand, a.punchKey[:]); err != nil {
		return nil, fmt.Errorf("draw punch key: %w", err)
	}
	hello := &wire.Hello{
		Version: wire.ProtocolVersion, ID: a.id, PunchKey: a.punchKey, Flags: policy.Flags(), Profile: wire.ProfileAES128GCM,
		Proof: identity.PairingProof(label.Secret, v.cfg.Static.Public(), label.Key), Name: []byte(v.cfg.Name),
	}
	if !r.Quiet {
		hello.Flags |= wire.FlagStart
	}
	if policy.Direct {
		hello.Candidates, hello.Class = wire.Ats(v.dev.Candidates()), v.dev.Class()
	}
	if name := policy.Name; punch.ForFlags(hello.Flags).Name != name {
		hello.Strategy = []byte(name)
	}
	payload, err := wire.Marshal(hello)
	if err != nil {
		return nil, err
	}
	a.hs, err = session.NewInitiator(session.Config{
		Static: v.cfg.Static, Rand: v.cfg.Rand, Prologue: []byte(core.PrologueCamera), Taken: v.taken,
	}, label.Key, v.stamp.Next(now), payload)
	if err != nil {
		return nil, err
	}
	a.connect = &wire.Connect{ID: a.id, Camera: a.uid, Noise1: a.hs.Message(), Relay: policy.Relay}
	return a, nil
}

func (a *attempt) index() uint32 {
	if a.sess != nil {
		return a.sess.LocalIndex()
	}
	return a.hs.LocalIndex()
}

// sendConnect asks the rendezvous, once logged in, and again until it answers.
func (a *attempt) sendConnect(now time.Time) {
	link := a.v.link
	a.again = time.Time{}
	if !link.Up() || !a.needsPeer() {
		return
	}
	if a.c.ConnectSent.IsZero() {
		a.c.ConnectSent = now
	}
	a.gap = max(2*a.gap, link.RTO())
	if now.Sub(a.started) < a.v.cfg.SignalTimeout {
		a.gap = min(a.gap, max(link.RTO(), lastConnect))
	} else {
		a.gap = max(a.gap, firstRetry)
	}
	link.Send(core.Signal, a.connect)
	a.again = now.Add(a.gap)
}

// needsPeer says whether the camera's endpoint is still of use: also to one that was met nearby, which may move.
func (a *attempt) needsPeer() bool {
	return !a.knocking && a.peerAt.IsZero() && a.near.no == 0 && (a.sess == nil || a.policy.Direct && (a.path.Route != punch.Direct || a.near.met))
}

// peerKnown begins the punching.
func (a *attempt) peerKnown(now time.Time, m *wire.Peer) {
	if !a.peerAt.IsZero() {
		return
	}
	a.peerAt, a.again = now, time.Time{}
	a.c.PeerKnown = now
	a.endpoint, a.candidates = m.Endpoint.AddrPort, m.Candidates
	if a.policy.Relay {
		a.channel = m.Channel
	}
	if a.path.Route == punch.Direct { // Noise-2 was faster
		a.agent = punch.NewAgent(a.agentConfig(m.Class), now)
		return
	}
	a.restart(now, m.Class, m.Candidates)
}

// agentConfig is what is known of both sides now.
func (a *attempt) agentConfig(theirs wire.Class) punch.Config {
	a.theirs, a.mine = theirs, a.v.dev.Class()
	return punch.Config{
		Policy: a.policy, Role: punch.Viewer, Mine: a.v.dev.Class(), Theirs: theirs, Own: a.v.link.Reflexive(), Peer: a.endpoint,
		Turn: a.v.cfg.Relayed, Rand: a.v.cfg.Rand,
	}
}

// addCandidates gives the agent the camera's endpoint and its other addresses.
func (a *attempt) addCandidates(now time.Time, others []wire.Endpoint) {
	a.agent.Add(now, punch.To(a.endpoint), punch.Reflexive)
	for _, e := range others {
		a.agent.Add(now, punch.To(e.AddrPort), self.Claimed(a.policy, e.AddrPort, a.endpoint))
	}
}

// probe sends a punch, or a sample. A punch's size leaves the camera room for an answer.
func (a *attempt) probe(p punch.Probe) {
	if p.Sample {
		a.probed(a.v.link.Sample(p.From, a.id))
		return
	}
	b := wire.AppendPunch(nil, a.punchKey, wire.Punch{ID: a.id, Counter: a.punches + 1, LowTTL: p.TTL != 0}, p.Size)
	if a.agent.Spend(p.Path(), len(b)) {
		a.punches++
		a.probed(len(b))
		a.v.box.SendTTL(p.From, p.To, p.TTL, core.Punch, b)
	}
}

// probed counts a probe of n bytes; one of 0 was not sent.
func (a *attempt) probed(n int) {
	a.v.probes.Add(a.policy.Name, n)
	if n > 0 {
		a.c.Probed.Add(n)
	}
}

// sampled takes where a sample of the camera's came from.
func (a *attempt) sampled(now time.Time, m *wire.Sampled) {
	if a.agent != nil {
		a.agent.Sampled(now, m.Endpoint.AddrPort)
	}
}

// tend opens and closes the sockets that the agent wants.
func (a *attempt) tend(now time.Time) {
	if a.agent == nil {
		return
	}
	open, closed := a.agent.Wants()
	a.v.dev.Close(closed)
	if open == 0 {
		return
	}
	a.v.dev.Open(open, func(now time.Time, socks []netip.AddrPort, err error) {
		if a.over {
			a.v.dev.Close(socks)
			return
		}
		a.agent.Opened(now, socks, err)
	})
}

// mayRelay says whether frames of a channel are taken: before Peer says which one, any, since only an authentic
// datagram inside has an effect.
func (a *attempt) mayRelay(channel uint16) bool {
	return a.policy.Relay && (a.channel == channel || a.peerAt.IsZero() && a.channel == 0)
}

// handle takes a datagram that came by a path.
func (a *attempt) handle(now time.Time, path punch.Path, b []byte) error {
	if path.Route == punch.Direct && !a.policy.Direct {
		return errStray
	}
	switch wire.Classify(b) {
	case wire.Cookie:
		return a.cookie(now, path, b)
	case wire.Response:
		return a.response(now, path, b)
	case wire.Transport:
		return a.sealed(now, path, b)
	case wire.PunchPacket:
		return a.punched(now, path, b)
	case wire.RTP, wire.RTCP:
		return a.media(now, path, b)
	}
	return errKind
}

// response takes Noise-2: the camera's answer. Copies of it say that a path works.
func (a *attempt) response(now time.Time, path punch.Path, b []byte) error {
	if a.sess != nil {
		if string(b) != string(a.noise2) {
			return session.ErrReplay
		}
		a.directHeard(now, path)
		return nil
	}
	sess, payload, err := a.hs.Finish(b)
	if err != nil {
		return err
	}
	m, err := wire.Unmarshal(payload)
	if err != nil {
		return err
	}
	welcome, ok := m.(*wire.Welcome)
	if !ok || welcome.Profile != wire.ProfileAES128GCM {
		return wire.CodeProfile
	}
	rtt := max(2*a.v.link.RTT(), minRTO)
	keys := media.NewKeys(sess.Export)
	a.receiver, err = media.NewReceiver(media.ReceiverConfig{
		Keys: keys, PayloadType: welcome.PayloadType, FPS: a.v.cfg.FPS, RTT: rtt,
		ReportEvery: reportEvery,
	})
	if err != nil {
		return err
	}
	a.ssrc = keys.SSRC()
	a.sess, a.noise2 = sess, append([]byte(nil), b...)
	a.since, a.heard, a.alive, a.named = now, now, now, now
	if path.Route == punch.Relay && a.channel == 0 { // Peer is late or lost
		a.channel = a.inbound
	}
	a.metNear(path)
	a.path, a.shown, a.useGap = path, path, a.rto()
	a.useDue = now.Add(useWait)
	a.armConsent(now)
	a.c.Connected, a.c.Role = now, welcome.Role
	a.v.box.Emit(Connected{Camera: a.uid, At: now, Path: path, Role: welcome.Role})
	if path.Route == punch.Direct {
		a.settle()
	}
	early := a.early
	a.early = nil
	for _, e := range early {
		_ = a.media(now, e.path, e.b) // a bad one is counted by the receiver
	}
	return nil
}

// tricky says whether a side's mappings depend on the destination: the camera may be heard then by a path by which it
// does not hear, and the search that lets it goes on until it does.
func (a *attempt) tricky() bool {
	return a.agent != nil && (a.theirs.Mapping > wire.EndpointIndependent || a.v.dev.Class().Mapping > wire.EndpointIndependent)
}

// settle ends the search for a path where the one found is as good as confirmed.
func (a *attempt) settle() {
	if !a.tricky() {
		a.stopPunching()
	}
}

func (a *attempt) stopPunching() {
	if a.agent != nil {
		a.agent.Stop(a.path)
	}
}

// timeout does what is due.
func (a *attempt) timeout(now time.Time) {
	switch {
	case !core.Due(now, a.again):
	case a.knocking:
		a.sendKnock(now)
	default:
		a.sendConnect(now)
	}
	if core.Due(now, a.near.due) {
		a.lookNear(now)
	}
	if a.agent != nil {
		a.agent.Due(now, a.probe)
	}
	if a.sess != nil {
		if core.Due(now, a.since.Add(session.RejectAfterTime)) {
			a.sess = nil // seals nothing more
			a.fail(now, wire.CodeExpired, fmt.Sprintf("the session has lasted %v, the longest a session may: connect again", session.RejectAfterTime))
			return
		}
		if a.watchTimeout(now); a.over {
			return
		}
	}
	if at, end := a.expiry(); core.Due(now, at) {
		end(a, now)
	}
}

// expiry is when the attempt's patience ends, and what happens then: a function of nothing but its arguments, since it is asked
// for with each packet.
func (a *attempt) expiry() (time.Time, func(a *attempt, now time.Time)) {
	cfg := &a.v.cfg
	switch {
	case a.sess != nil:
		if at := a.giveUpDirect(); !at.IsZero() {
			return at, (*attempt).directFailed
		}
		if a.channel == 0 && !a.twoWay && a.agent != nil {
			return a.agent.GiveUp(), func(a *attempt, now time.Time) {
				a.fail(now, wire.CodeCameraSilent, fmt.Sprintf("the camera is heard by %s, but does not hear the viewer: its NAT filters by port", name(a.path)))
			}
		}
		return a.heard.Add(cfg.SilentTimeout), func(a *attempt, now time.Time) {
			a.fail(now, wire.CodePathLost, fmt.Sprintf("%s: nothing for %v by %s", wire.CodePathLost.Sentence(), a.v.cfg.SilentTimeout, name(a.path)))
		}
	case a.knocking:
		return a.started.Add(cfg.SignalTimeout), func(a *attempt, now time.Time) {
			a.fail(now, wire.CodeCameraSilent, fmt.Sprintf("%s %v for %v: no port is forwarded there, or the camera does not listen",
				wire.CodeCameraSilent.Sentence(), a.endpoint, a.v.cfg.SignalTimeout))
		}
	case a.near.no != 0:
		return a.started.Add(nearWait), (*attempt).notNear
	case a.peerAt.IsZero() && a.v.denied != 0:
		patience := cfg.SignalTimeout
		if hopeless(a.v.denied) {
			patience = 0
			if !a.near.due.IsZero() {
				patience = nearWait
			}
		}
		return a.started.Add(patience), (*attempt).deniedLogin
	case a.peerAt.IsZero():
		return a.started.Add(cfg.SignalTimeout), func(a *attempt, now time.Time) {
			a.fail(now, wire.CodeRendezvousSilent, fmt.Sprintf("%s %v for %v", wire.CodeRendezvousSilent.Sentence(), a.v.link.Remote(), a.v.cfg.SignalTimeout))
		}
	case !a.policy.Relay:
		return a.agent.GiveUp(), func(a *attempt, now time.Time) {
			a.fail(now, wire.CodeCameraSilent, a.silence())
		}
	case a.channel == 0:
		return a.peerAt.Add(max(a.policy.GiveUp, cfg.SignalTimeout)), func(a *attempt, now time.Time) {
			a.fail(now, wire.CodeNoRelay, wire.CodeNoRelay.Sentence()+", and "+a.silence())
		}
	}
	return a.peerAt.Add(cfg.AnswerTimeout), func(a *attempt, now time.Time) {
		a.fail(now, wire.CodeRelaySilent, fmt.Sprintf("%s for %v, nor from the camera's endpoint %v", wire.CodeRelaySilent.Sentence(), a.v.cfg.AnswerTimeout, a.endpoint))
	}
}

// deniedLogin ends an attempt because the rendezvous does not let this viewer in.
func (a *attempt) deniedLogin(now time.Time) { a.fail(now, a.v.denied, a.v.denied.Sentence()) }

// silence is why there is no direct path.
func (a *attempt) silence() string {
	if !a.policy.Direct {
		return fmt.Sprintf("strategy %s looks for no direct path", a.policy.Name)
	}
	return fmt.Sprintf("%s: nothing from %v in %v after %d punches, so %s",
		wire.CodeCameraSilent.Sentence(), a.endpoint, a.policy.GiveUp, a.punches, a.agent.Obstacle())
}

// giveUpDirect is when the search for a direct path ends without one; zero: it has ended, or there is one.
func (a *attempt) giveUpDirect() time.Time {
	if a.gaveUp || a.agent == nil || !a.policy.Direct || a.path.Route == punch.Direct {
		return time.Time{}
	}
	return a.agent.GiveUp()
}

func (a *attempt) directFailed(now time.Time) {
	a.gaveUp = true
	cause, said := a.silence(), a.c.NotDirect != "" && !a.lostDirect
	if a.lostDirect {
		cause = a.c.NotDirect
	}
	a.c.NotDirect = cause
	if a.retryAt.IsZero() {
		a.searchAgain(now)
	}
	if !said {
		a.v.box.Emit(DirectFailed{Camera: a.uid, At: now, Cause: cause})
	}
}

func (a *attempt) deadline() time.Time {
	d, _ := a.expiry()
	d = core.Earliest(d, core.Earliest(a.again, a.near.due))
	if a.agent != nil {
		d = core.Earliest(d, a.agent.Deadline())
	}
	if a.sess != nil {
		d = core.Earliest(d, a.watchDeadline())
		d = core.Earliest(d, a.since.Add(session.RejectAfterTime))
	}
	return d
}

// fail ends the attempt. A camera that hears the viewer nevertheless need not wait for its consent to expire.
func (a *attempt) fail(now time.Time, code wire.Code, cause string) {
	if a.sess != nil {
		a.sendControl(&wire.Bye{Code: wire.CodeEnded})
	}
	a.finish()
	a.c.NotDirect = cause
	a.v.box.Emit(Failed{Camera: a.uid, At: now, Code: code, Cause: cause})
}

// close ends it as one side wishes.
func (a *attempt) close(now time.Time, code wire.Code) {
	if a.sess != nil {
		a.sendControl(&wire.Bye{Code: code})
	}
	a.finish()
	a.v.box.Emit(Closed{Camera: a.uid, At: now, Code: code})
}

func (a *attempt) finish() {
	a.connection()
	if a.agent != nil {
		a.agent.Stop(punch.Path{})
		a.tend(a.started)
	}
	a.over = true
	a.v.watches = slices.DeleteFunc(a.v.watches, func(x *attempt) bool { return x == a })
}

func name(p punch.Path) string {
	if p.Route == punch.Direct {
		return p.Addr.String()
	}
	return "the relay"
}
