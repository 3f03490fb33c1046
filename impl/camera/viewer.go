package camera

import (
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/pairing"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/self"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/wire"
)

// Noise-2 is repeated through the relay with these gaps until the viewer is heard.
const (
	firstRepeat = 60 * time.Millisecond
	lastRepeat  = time.Second
	// answerGap spreads the answers to punches, so that the budget of an unconfirmed address outlives a burst of loss.
	answerGap = 100 * time.Millisecond
)

// viewer is one that is served, or about to be.
type viewer struct {
	cam        *Camera
	key        identity.PublicKey
	initiation [16]byte
	sess       *session.Session
	noise2     []byte
	conn       uint64 // the connection's id
	punchKey   wire.PunchKey
	punches    uint32 // counter of the last punch accepted
	punched    uint32 // counter of the last punch sent

	grant      pairing.Grant
	name       string       // as it calls itself
	ends       time.Time    // when the book's grant does; zero: never
	wished     punch.Policy // by its Hello
	policy     punch.Policy // as far as there is a relay
	agent      *punch.Agent
	intro      uint64 // the introduction's id
	reflexive  netip.AddrPort
	class      wire.Class      // of the viewer's NAT
	mine       wire.Class      // of the camera's, when a path was last looked for
	candidates []wire.Endpoint // the viewer's other addresses
	locatedSeq uint32
	channel    uint16
	knocked    netip.AddrPort // where it came from without a rendezvous, and from nowhere else
	gone       bool
	path       punch.Path // of the media
	nominated  bool       // by Use
	use        uint32     // sequence of the last Use
	confirmed  bool       // the session was heard
	started    time.Time
	heard      time.Time // sealed, that is consenting
	sign       time.Time // anything authentic, or the last doubt
	patience   time.Duration
	suspicious bool       // the rendezvous was asked because of this viewer's silence
	also       punch.Path // of the media too, until alsoUntil
	alsoUntil  time.Time
	newest     uint64    // extended sequence number of the newest packet that the viewer has reported
	repeat     time.Time // of Noise-2 through the relay
	repeatGap  time.Duration

	managing managing
	stream   stream
}

// fromViewer takes a datagram that came by a path. v is known where it came through the relay.
func (c *Camera) fromViewer(now time.Time, path punch.Path, v *viewer, b []byte) error {
	switch wire.Classify(b) {
	case wire.Transport:
		index, _ := session.ReceiverIndex(b)
		u := c.byIndex[index]
		if u == nil || v != nil && u != v {
			return errSession
		}
		return u.sealed(now, path, b)
	case wire.PunchPacket:
		if path.Route != punch.Direct {
			return errKind
		}
		return c.punch(now, path, b)
	case wire.RTCP:
		if v == nil {
			v = c.byPath(path)
		}
		if v == nil {
			return errStray
		}
		return v.rtcp(now, b)
	}
	return errKind
}

// byPath finds the viewer that was heard by a path.
func (c *Camera) byPath(path punch.Path) *viewer {
	for _, v := range c.viewers {
		if cand := v.agent.Find(path); cand != nil && cand.Heard {
			return v
		}
	}
	return nil
}

// punch takes a punch packet: its source is where the viewer appears from. Each is answered at most once, with no more
// bytes than it had.
func (c *Camera) punch(now time.Time, path punch.Path, b []byte) error {
	p, err := wire.ParsePunch(b)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(c.viewers, func(v *viewer) bool { return v.conn == p.ID })
	if at < 0 || p.FromCamera {
		return errStray
	}
	v := c.viewers[at]
	if _, err := wire.OpenPunch(v.punchKey, b); err != nil {
		return err
	}
	if p.Counter <= v.punches {
		return errRepeat
	}
	v.punches = p.Counter
	if p.LowTTL { // the way back is not proved by what was meant to die
		return nil
	}
	cand := v.agent.Heard(now, path)
	if cand == nil {
		return nil
	}
	if v.nominated && v.path.Route == punch.Direct || !cand.Answer(now, answerGap) {
		return nil
	}
	room := len(b)
	if !v.confirmed && len(v.noise2) <= room {
		v.sendNoise2(path)
		room -= len(v.noise2)
	}
	if !cand.Trusted {
		return v.challenge(now, cand, room)
	}
	if v.confirmed && v.agent.Over() { // the viewer looks on: it names the path once it hears of it
		v.probe(now, punch.Probe{From: cand.Local, To: cand.Addr, Candidate: cand})
	}
	return nil
}

// sealed takes a datagram of the session.
func (v *viewer) sealed(now time.Time, path punch.Path, b []byte) error {
	if now.Sub(v.started) >= session.RejectAfterTime {
		return session.ErrExpired
	}
	plain, err := v.sess.Open(nil, b)
	if err != nil {
		return err
	}
	m, err := wire.Unmarshal(plain)
	if err != nil {
		return err
	}
	v.heard = now
	v.alive(now)
	if !v.confirmed {
		v.confirmed = true
		v.repeat = time.Time{}
		if err := v.confirm(now); err != nil {
			return err
		}
		v.cam.replace(now, v)
	}
	var cand *punch.Candidate
	if path.Route == punch.Direct {
		if cand = v.agent.Heard(now, path); cand == nil {
			return errStray
		}
		if path.Addr == v.knocked {
			cand.Trusted = true // nobody else was told the session's keys
		}
	}
	return v.message(now, path, cand, m, len(b))
}

// message does what the viewer asks for.
func (v *viewer) message(now time.Time, path punch.Path, cand *punch.Candidate, m wire.Message, size int) error {
	switch m := m.(type) {
	case *wire.PathResponse:
		v.agent.Echoed(punch.Nonce(m.Token))
	case *wire.Use:
		return v.used(now, path, cand, m, size)
	case *wire.Consent:
		return v.consent(now, path, cand, m, size)
	case *wire.Manage:
		return v.manage(now, path, cand, m, size)
	case *wire.Bye:
		v.cam.drop(now, v, wire.CodeEnded)
	default:
		return errUnasked
	}
	return nil
}

// alive notes a sign of the viewer.
func (v *viewer) alive(now time.Time) {
	v.sign, v.patience, v.suspicious = now, viewerSilence, false
	v.stream.owed = time.Time{}
}

// replace ends older connections of the same viewer once a newer one is heard.
func (c *Camera) replace(now time.Time, v *viewer) {
	for _, old := range slices.Clone(c.viewers) {
		if old != v && old.key == v.key && old.started.Before(v.started) {
			c.drop(now, old, wire.CodeReplaced)
		}
	}
}

// used moves the media to the path that the viewer names, if the viewer is known to receive there. A token names the
// address that was challenged with it, wherever the answer comes from: behind endpoint-dependent mappings a peer may
// receive at one address and send from another.
func (v *viewer) used(now time.Time, path punch.Path, cand *punch.Candidate, m *wire.Use, size int) error {
	if m.Sequence <= v.use {
		return nil // late, or a repetition
	}
	if named := v.agent.Echoed(punch.Nonce(m.Token)); named != nil {
		cand, path = named, named.Path()
	}
	switch {
	case path.Route == punch.Relay && !v.policy.Relay, path.Route == punch.Direct && !v.policy.Direct:
		return errUnasked
	case cand != nil && !cand.Trusted:
		return v.challenge(now, cand, size)
	}
	v.use, v.newest = m.Sequence, max(v.newest, max(m.Next, 1)-1)
	v.moveTo(now, path, m.Next)
	return nil
}

// consent is answered where the viewer is known to receive, and never by another direct path than the media's: the answer tells the viewer
// that what comes by a path comes still. A viewer whose consent comes from elsewhere has moved, and is asked there: its use names the path.
func (v *viewer) consent(now time.Time, path punch.Path, cand *punch.Candidate, m *wire.Consent, size int) error {
	to, ok := v.receives(path, cand)
	if !ok {
		return v.challenge(now, cand, size)
	}
	var err error
	if v.nominated && path.Route == punch.Direct && v.path.Route == punch.Direct && path != v.path {
		to, err = v.path, v.challenge(now, cand, size)
	}
	v.sealTo(to, &wire.ConsentAck{Sequence: m.Sequence})
	return err
}

// receives is where to answer what came by a path: there, if the viewer is known to receive there, else by the direct path in use.
func (v *viewer) receives(path punch.Path, cand *punch.Candidate) (punch.Path, bool) {
	switch {
	case cand == nil || cand.Trusted:
		return path, true
	case v.nominated && v.path.Route == punch.Direct:
		return v.path, true
	}
	return punch.Path{}, false
}

// challenge asks whether the viewer receives at an address, in no more bytes than room.
func (v *viewer) challenge(now time.Time, cand *punch.Candidate, room int) error {
	if !cand.Ask(now, answerGap/5) { // Use and Consent come together: one challenge answers both
		return nil
	}
	if cand.Challenge == (punch.Nonce{}) {
		t, err := v.cam.token()
		if err != nil {
			return err
		}
		cand.Challenge = t
	}
	b := v.seal(&wire.PathChallenge{Token: wire.Token(cand.Challenge)})
	if len(b) <= room && v.agent.Spend(cand.Path(), len(b)) {
		v.send(cand.Path(), core.Control, b)
	}
	return nil
}

// timeout does what is due.
func (v *viewer) timeout(now time.Time) {
	switch {
	case !v.confirmed && now.Sub(v.started) >= unheardLife:
		v.cam.drop(now, v, wire.CodeExpired)
		return
	case now.Sub(v.heard) >= v.cam.cfg.Consent, now.Sub(v.started) >= session.RejectAfterTime:
		v.cam.drop(now, v, wire.CodeExpired)
		return
	case core.Due(now, v.ends), core.Due(now, v.managing.leave):
		v.sendAway(now, wire.CodeRevoked)
		return
	}
	if core.Due(now, v.repeat) {
		v.repeatGap = min(2*v.repeatGap, lastRepeat)
		v.repeat = now.Add(v.repeatGap)
		if v.policy.Relay {
			v.sendNoise2(punch.ViaRelay)
		}
	}
	if core.Due(now, v.doubt()) {
		v.doubtful(now)
	}
	v.agent.Due(now, func(p punch.Probe) { v.probe(now, p) })
	v.streamTimeout(now)
}

// probe does what the agent wants: it repeats Noise-2 until the viewer is heard, and then punches until it has nominated
// a direct path. Guesses, and what is not meant to arrive, are punches always.
func (v *viewer) probe(now time.Time, p punch.Probe) {
	switch {
	case p.Sample:
		v.cam.probes.Add(v.policy.Name, v.cam.link.Sample(p.From, v.intro))
	case !v.confirmed && !p.Bare:
		v.sendNoise2(p.Path())
		// The answer to both names the path, a round trip sooner.
		if cand := p.Candidate; cand != nil && !cand.Trusted && cand.Kind != punch.Relayed {
			_ = v.challenge(now, cand, session.MaxDatagram)
		}
	default:
		v.punched++
		m := wire.Punch{ID: v.conn, Counter: v.punched, FromCamera: true, LowTTL: p.TTL != 0}
		b := wire.AppendPunch(nil, v.punchKey, m, wire.MinPunch)
		if v.agent.Spend(p.Path(), len(b)) {
			v.cam.probes.Add(v.policy.Name, len(b))
			v.cam.box.SendTTL(p.From, p.To, p.TTL, core.Punch, b)
		}
	}
}

// tend opens and closes the sockets that the agent wants.
func (v *viewer) tend(now time.Time) {
	open, closed := v.agent.Wants()
	v.cam.dev.Close(closed)
	if open == 0 {
		return
	}
	v.cam.dev.Open(open, func(now time.Time, socks []netip.AddrPort, err error) {
		if v.gone {
			v.cam.dev.Close(socks)
			return
		}
		v.agent.Opened(now, socks, err)
	})
}

// addClaimed makes the addresses that the viewer says of itself candidates.
func (v *viewer) addClaimed(now time.Time) {
	for _, e := range v.candidates {
		v.agent.Add(now, punch.To(e.AddrPort), self.Claimed(v.policy, e.AddrPort, v.reflexive))
	}
}

func (v *viewer) deadline() time.Time {
	d := core.Earliest(v.heard.Add(v.cam.cfg.Consent), v.started.Add(session.RejectAfterTime))
	if !v.confirmed {
		d = core.Earliest(d, v.started.Add(unheardLife))
	}
	d = core.Earliest(d, core.Earliest(v.repeat, v.doubt()))
	d = core.Earliest(d, core.Earliest(v.ends, v.managing.leave))
	d = core.Earliest(d, v.agent.Deadline())
	return core.Earliest(d, v.streamDeadline())
}

// sendNoise2 sends the handshake's answer by a path.
func (v *viewer) sendNoise2(path punch.Path) {
	if path.Route == punch.Relay || v.agent.Spend(path, len(v.noise2)) {
		v.send(path, core.Handshake, v.noise2)
	}
}

func (v *viewer) seal(m wire.Message) []byte {
	b, err := wire.Marshal(m)
	if err != nil {
		return nil
	}
	return v.sess.Seal(nil, b)
}

// sealTo answers by the path of what is answered; an address that is not trusted has its budget.
func (v *viewer) sealTo(path punch.Path, m wire.Message) {
	b := v.seal(m)
	if path.Route == punch.Relay || v.agent.Spend(path, len(b)) {
		v.send(path, core.Control, b)
	}
}

// sendControl sends by the media's path.
func (v *viewer) sendControl(m wire.Message) {
	if v.path.Route != 0 {
		v.sealTo(v.path, m)
	}
}

// send is the only way to a viewer. Nothing is sent where a message could not be sealed.
func (v *viewer) send(path punch.Path, p core.Purpose, b []byte) {
	if len(b) == 0 {
		return
	}
	box := &v.cam.box
	if path.Route == punch.Direct {
		box.Send(path.Local, path.Addr, p, b)
		return
	}
	framed, err := wire.AppendChannelData(box.Room(wire.ChannelOverhead+len(b)), v.channel, b)
	if err == nil && v.cam.link.Up() {
		box.Relay(noAddr, v.cam.link.Remote(), p, framed)
	}
}
