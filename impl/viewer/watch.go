package viewer

import (
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/session"
	"github.com/punchlab/punchlab/impl/uplink"
	"github.com/punchlab/punchlab/impl/wire"
)

const (
	minRTO = 50 * time.Millisecond
	// answerGap is how often a punch by a new path is answered while the camera's handshake has not come.
	answerGap = 100 * time.Millisecond
	// useWait is how long after Noise-2 the first media packet is waited for before Use says that nothing came: they
	// leave together, so that all but the slowest links deliver them together.
	useWait = 30 * time.Millisecond
	maxUse  = 2 * time.Second // longest gap between repetitions of Use
	// oneWayLife is how long a direct path that was named may not have been answered on before it is left for the relay.
	oneWayLife = 2 * time.Second
	// reportEvery is how often the camera hears how far its media has come, so that it notices soon that it is not heard.
	reportEvery = 200 * time.Millisecond
)

// rto is how long an answer of the camera is waited for. The way by the rendezvous bounds the direct one on most paths.
func (a *attempt) rto() time.Duration { return max(2*a.v.link.RTT(), a.v.link.RTO(), minRTO) }

// sealed takes a datagram of the session.
func (a *attempt) sealed(now time.Time, path punch.Path, b []byte) error {
	if a.sess == nil {
		return session.ErrIndex
	}
	if now.Sub(a.since) >= session.RejectAfterTime {
		return session.ErrExpired
	}
	plain, err := a.sess.Open(nil, b)
	if err != nil {
		return err
	}
	m, err := wire.Unmarshal(plain)
	if err != nil {
		return err
	}
	a.authentic(now, path)
	switch m := m.(type) {
	case *wire.PathChallenge:
		a.challenged(now, path, m.Token)
	case *wire.ConsentAck:
		a.roundTrip(now, path, m.Sequence)
		a.directHeard(now, path)
		if path == a.path {
			a.answered(now)
			a.confirm(now)
		}
	case *wire.Managed:
		return a.managed(now, m)
	case *wire.Bye:
		a.finish()
		a.v.box.Emit(Closed{Camera: a.uid, At: now, Code: m.Code})
	default:
		return errUnasked
	}
	return nil
}

func (a *attempt) authentic(now time.Time, path punch.Path) {
	a.c.CameraSilent = max(a.c.CameraSilent, now.Sub(a.heard))
	a.heard = now
	if path == a.path {
		a.alive = now
	}
}

// challenged answers on the path by which the camera asks: with Use where that path is wanted.
func (a *attempt) challenged(now time.Time, path punch.Path, token wire.Token) {
	if path.Route != punch.Direct {
		return
	}
	asked := a.twoWay || a.token != (wire.Token{}) // the camera hears by the path in use
	if a.path.Route == punch.Direct && asked && a.path != path && !a.doubting() {
		a.send(path, core.Control, a.seal(&wire.PathResponse{Token: token}))
		return
	}
	if a.doubting() { // this side has moved, and is found
		a.doubted, a.assuredAt = time.Time{}, now
	}
	a.name(now, path, token)
	a.settle()
	a.sendUse(now)
}

// punched takes the camera's punch.
func (a *attempt) punched(now time.Time, path punch.Path, b []byte) error {
	if path.Route != punch.Direct {
		return errKind
	}
	p, err := wire.OpenPunch(a.punchKey, b)
	switch {
	case err != nil:
		return err
	case p.ID != a.id, !p.FromCamera:
		return errStray
	case p.Counter <= a.seen:
		return errRepeat
	}
	a.seen = p.Counter
	if p.LowTTL || a.agent == nil { // the way back is not proved by what was meant to die
		return nil
	}
	cand := a.agent.Heard(now, path)
	switch {
	case a.sess != nil && path == a.path && !a.twoWay: // the camera's filter may be open now
		a.useGap = a.rto()
		a.sendUse(now)
	case a.sess != nil:
		a.directHeard(now, path)
	case cand != nil && cand.Answer(now, answerGap): // the camera's answer comes by this path
		a.probe(punch.Probe{From: path.Local, To: path.Addr, Size: wire.DefaultPunch, Candidate: cand})
	}
	return nil
}

// directHeard moves to a direct path by which something authentic has come, from the relay or from one that is doubted.
func (a *attempt) directHeard(now time.Time, path punch.Path) {
	switch {
	case path.Route != punch.Direct || slices.Contains(a.oneWay, path):
		return
	case path == a.path && a.doubting():
		a.assured(now)
		a.sendUse(now) // the camera carries both
		return
	case a.path.Route == punch.Direct && !a.doubting():
		return
	}
	a.name(now, path, wire.Token{})
	a.settle()
	a.sendUse(now)
}

// name chooses the path that Use names.
func (a *attempt) name(now time.Time, path punch.Path, token wire.Token) {
	if path != a.path {
		a.twoWay, a.doubted = false, time.Time{}
		a.alive, a.named = now, now
		a.useGap = a.rto()
	}
	a.path, a.token = path, token
}

// media takes an SRTP or SRTCP packet. What overtook Noise-2 waits for it.
func (a *attempt) media(now time.Time, path punch.Path, b []byte) error {
	if a.sess == nil {
		if len(a.early) >= maxEarly {
			return errEarly
		}
		a.early = append(a.early, earlyPacket{path, append([]byte(nil), b...)})
		return nil
	}
	before, had := a.receiver.HighestSeq()
	copies := a.receiver.Quality().Duplicate
	err := a.receiver.HandlePacket(now, b)
	if err != nil {
		return err
	}
	if a.receiver.Quality().Duplicate == copies { // a copy may be anybody's
		a.authentic(now, path)
		a.directHeard(now, path)
	}
	if wire.Classify(b) == wire.RTP {
		a.count(path, len(b))
		if highest, ok := a.receiver.HighestSeq(); ok && (!had || highest > before) {
			a.newest(now, path, !had)
		}
	}
	a.deliver(now, path)
	return nil
}

func (a *attempt) count(path punch.Path, n int) {
	s := a.c
	s.Media.Add(n)
	if path.Route == punch.Direct {
		s.MediaDirect.Add(n)
	} else {
		s.MediaRelay.Add(n)
	}
}

// newest notices by which path the newest media comes.
func (a *attempt) newest(now time.Time, path punch.Path, first bool) {
	if first {
		a.c.FirstPacket = now
		a.v.box.Emit(FirstPacket{Camera: a.uid, At: now, Path: path})
	}
	a.rhythm.beat(now)
	if path != a.path {
		a.elsewhere = now
	}
	switch {
	case path == a.path:
		a.onPath, a.idle = now, 0
		a.useGap = a.rto()
		a.rhythm.calm(now)
	case path.Route == punch.Relay:
		a.relayed = true
	case a.path.Route == punch.Direct && now.Sub(a.quietSince()) > a.rhythm.gap+4*a.rhythm.dev:
		a.name(now, path, wire.Token{}) // the camera appears from elsewhere
		a.sendUse(now)
	}
	if a.use == 0 {
		a.sendUse(now) // the first flight has arrived
	}
	if path != a.path || path == a.shown {
		return
	}
	a.c.PathChanges++
	a.v.box.Emit(PathChanged{Camera: a.uid, At: now, From: a.shown, To: path})
	a.shown = path
}

// confirm notes that the camera has answered on the path.
func (a *attempt) confirm(now time.Time) {
	if a.twoWay {
		return
	}
	a.twoWay = true
	if a.path.Route == punch.Direct {
		a.stopPunching()
		if a.c.DirectAt.IsZero() && !a.byAllocation() {
			a.c.DirectAt, a.c.Before = now, a.c.Probed
		}
		a.c.NotDirect, a.retryAt, a.retryGap = "", time.Time{}, 0
	}
	a.v.box.Emit(PathConfirmed{Camera: a.uid, At: now, Path: a.path})
}

// byAllocation says whether the path in use leads over a TURN server's allocation.
func (a *attempt) byAllocation() bool {
	if a.agent == nil {
		return slices.Contains(a.v.cfg.Relayed, a.path.Local)
	}
	return a.agent.ByAllocation(a.path)
}

// deliver hands over what the receiver has.
func (a *attempt) deliver(now time.Time, path punch.Path) {
	out := a.receiver.Ready()
	for _, b := range out.RTCP {
		a.send(a.path, core.RTCP, append([]byte(nil), b...))
	}
	for _, f := range out.Frames {
		if a.c.FirstFrame.IsZero() {
			a.c.FirstFrame = now
		}
		a.c.Frames++
		a.v.box.Emit(FrameReceived{Camera: a.uid, Frame: f, Path: path})
	}
}

// sendUse names the path and says what the receiver waits for. Of a doubted path the relay is told: the camera then carries the
// media by both.
func (a *attempt) sendUse(now time.Time) {
	a.use++
	by, token := a.path, a.token
	if a.doubting() {
		a.sendConsent(now, a.path)
		if a.channel != 0 {
			by, token = punch.ViaRelay, wire.Token{}
		}
	}
	m := &wire.Use{Sequence: a.use, Token: token}
	m.Next, _ = a.receiver.Wanted()
	a.send(by, core.Control, a.seal(m))
	if !a.twoWay { // the camera may not hear this path, though the viewer does
		a.sendConsent(now, a.path)
		if a.path.Route == punch.Direct && a.channel != 0 {
			a.sendConsent(now, punch.ViaRelay)
		}
	}
	a.c.Uses++
	a.useSent = now
	a.useDue = now.Add(a.useGap)
	if dead := a.deadAt(); now.Before(dead) {
		a.useDue = core.Earliest(a.useDue, dead)
	}
	a.useGap = min(2*a.useGap, maxUse)
	if a.doubting() || !a.twoWay {
		a.useGap = min(a.useGap, max(doubtGap, a.rto()))
	}
}

// watchTimeout repeats Use while it has no effect, falls back to the relay, keeps the consent fresh, and lets the
// receiver ask for what is missing.
func (a *attempt) watchTimeout(now time.Time) {
	if core.Due(now, a.askDue) {
		a.sendAgain(now)
	}
	if core.Due(now, a.retryAt) {
		a.retryAt = time.Time{}
		a.askAgain(now)
	}
	if core.Due(now, a.useDue) {
		if a.checkPath(now); a.over {
			return
		}
	}
	if core.Due(now, a.manage.due) {
		a.sendManage(now)
	}
	if core.Due(now, a.consent) {
		a.sendConsent(now, a.path)
		a.armConsent(now)
	}
	if core.Due(now, a.receiver.Deadline()) {
		a.receiver.HandleTimeout(now)
		a.deliver(now, a.shown)
	}
}

// checkPath looks whether the path that Use named serves: the camera answers on it, and new media comes by it, from the stream's
// beginning on.
func (a *attempt) checkPath(now time.Time) {
	switch {
	case a.stranded(now):
		a.anew(now)
		return
	case core.Due(now, a.deadAt()):
		a.toRelay(now)
	case a.doubting(): // still
		a.v.link.Insist(now)
	case a.twoWay && a.request.Quiet: // consent alone tells whether the path lives
		a.useDue = time.Time{}
		return
	case a.twoWay && a.asked() && !now.Before(a.silentAt()) && !now.Before(a.asking.at.Add(a.patience())):
		a.doubt(now)
		return
	case a.twoWay && a.receiver.Headless(): // the camera is to send it again
	case a.twoWay && a.onPath.After(a.useSent):
		a.ask(now)
		return
	case a.twoWay && a.use > 0:
		a.sendConsent(now, a.path) // the answer tells a dead path from a source that has nothing to send
	}
	a.sendUse(now)
}

// ask asks the camera whether the path in use lives, once it is time to, and waits for what becomes of that.
func (a *attempt) ask(now time.Time) {
	if !a.asked() {
		if a.useDue = a.question(); now.Before(a.useDue) {
			return
		}
		a.sendConsent(now, a.path)
	}
	a.useDue = a.silentAt()
	if answer := a.asking.at.Add(a.patience()); answer.After(a.useDue) {
		a.useDue = answer
	}
}

// deadAt is when a direct path is left for the relay, unless it shows that it serves; zero: there is no such choice.
func (a *attempt) deadAt() time.Time {
	switch {
	case a.path.Route != punch.Direct || a.channel == 0:
		return time.Time{}
	case a.twoWay:
		return a.verdictAt()
	}
	dead := core.Earliest(a.alive, a.named).Add(max(oneWayLife, time.Second+a.rto()))
	if a.tricky() && dead.Before(a.agent.GiveUp()) {
		return a.agent.GiveUp()
	}
	return dead
}

// asking is a Consent whose answer tells the round trip.
type asking struct {
	sequence uint32
	path     punch.Path
	at       time.Time
}

// roundTrip measures the way to the camera and back, smoothed as RFC 6298 §2 does.
func (a *attempt) roundTrip(now time.Time, path punch.Path, sequence uint32) {
	c := a.asking
	if sequence != c.sequence || path != c.path || path != a.path {
		return
	}
	rtt := now.Sub(c.at)
	if a.rttOf != path {
		a.rttOf, a.c.RTT = path, rtt
		return
	}
	a.c.RTT += (rtt - a.c.RTT) / 8
}

func (a *attempt) sendConsent(now time.Time, path punch.Path) {
	a.consents++
	if path == a.path {
		a.asking = asking{a.consents, path, now}
	}
	a.send(path, core.Control, a.seal(&wire.Consent{Sequence: a.consents}))
}

func (a *attempt) armConsent(now time.Time) {
	every := a.v.cfg.ConsentEvery
	a.consent = now.Add(every*4/5 + uplink.Jitter(a.v.cfg.Rand, every*2/5))
}

func (a *attempt) watchDeadline() time.Time {
	d := core.Earliest(core.Earliest(a.useDue, a.consent), core.Earliest(a.askDue, core.Earliest(a.retryAt, a.manage.due)))
	return core.Earliest(d, a.receiver.Deadline())
}

func (a *attempt) seal(m wire.Message) []byte {
	b, err := wire.Marshal(m)
	if err != nil {
		return nil
	}
	return a.sess.Seal(nil, b)
}

// send is the only way to the camera. Nothing is sent where a message could not be sealed.
func (a *attempt) send(path punch.Path, p core.Purpose, b []byte) {
	if len(b) == 0 {
		return
	}
	if path.Route == punch.Direct {
		a.v.box.Send(path.Local, path.Addr, p, b)
		return
	}
	framed, err := wire.AppendChannelData(a.v.box.Room(wire.ChannelOverhead+len(b)), a.channel, b)
	if err == nil && a.v.link.Up() {
		a.v.box.Relay(netip.AddrPort{}, a.v.link.Remote(), p, framed)
	}
}
