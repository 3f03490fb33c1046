package punch

import (
	"encoding/binary"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// MaxCandidates is how many paths are tried for one introduction beside guesses; more are ignored.
const MaxCandidates = 10

// Role is which side of an introduction an agent plays.
type Role uint8

// The roles.
const (
	Viewer Role = iota + 1
	Camera
)

// Config is what an agent knows when it starts.
type Config struct {
	Policy Policy
	Role   Role // zero: the viewer

	Mine, Theirs wire.Class // zero: unknown; then both sides punch at once, and nothing is guessed

	Own  netip.AddrPort // own main socket as the rendezvous sees it; zero: unknown
	Peer netip.AddrPort // the peer's endpoint as the rendezvous sees it; zero: the first candidate that is Reflexive

	// Spare is an own socket that has sent nothing yet, behind a NAT that preserves ports though its mappings depend on the
	// destination: the peer was told Own's IP address with Spare's port as a candidate, and what Spare sends first has to go
	// to the peer. Zero: none.
	Spare netip.AddrPort
	Turn  []netip.AddrPort // own sockets that are allocations of a TURN server, for MethodTURN
	Rand  io.Reader        // 8 bytes are read; nil: the order of guesses is the same for everyone
}

// Probe is something to send.
type Probe struct {
	From netip.AddrPort // own socket; zero: the main one
	To   netip.AddrPort // zero where Sample
	TTL  uint8          // zero: the host's
	Size int            // bytes of the punch: room for its receiver's answer, or as few as can be
	// Bare says that a punch packet goes there, even where the owner would send more (a camera's Noise-2): it is one of many
	// guesses, or its TTL is to end it, which the packet has to say (wire.Punch.LowTTL).
	Bare bool
	// Sample says that a sample goes to the rendezvous' alternate address instead of a punch to the peer.
	Sample bool
	// Candidate is the one that is punched; nil for a guess.
	*Candidate
}

// Path is the path of a probe.
func (p Probe) Path() Path { return Between(p.From, p.To) }

// Agent looks for a direct path for one introduction. It is not safe for concurrent use.
type Agent struct {
	cfg     Config
	told    facts // of cfg, as the owner gave it
	part    part
	ledger  ledger
	start   time.Time
	until   time.Time
	stopped bool // or given up
	cands   []*Candidate
	peer    netip.AddrPort // Config.Peer

	hush    time.Time // silent until then; zero: it speaks
	doubt   time.Time // when a side that claims to be open and is not reached is doubted; zero: never
	lull    bool      // only punches that are not meant to arrive go out
	probing bool      // in Due's callback

	seed    uint64
	sockets sockets
	volleys []*volley
	resume  time.Time // guesses rest until then
	forecast
}

// NewAgent starts looking at now.
func NewAgent(cfg Config, now time.Time) *Agent {
	a := &Agent{ledger: newLedger(cfg.Policy.Budget, now)}
	a.begin(now, cfg)
	return a
}

// begin forgets all but the ledger and the sockets.
func (a *Agent) begin(now time.Time, cfg Config) {
	var seed [8]byte
	if cfg.Rand != nil {
		_, _ = io.ReadFull(cfg.Rand, seed[:]) // without, the order of guesses is the same for everyone, which does no harm
	}
	*a = Agent{
		cfg: cfg, ledger: a.ledger, sockets: a.sockets, start: now, until: now.Add(cfg.Policy.GiveUp), peer: cfg.Peer,
		told: cfg.facts(), seed: binary.LittleEndian.Uint64(seed[:]), lull: len(cfg.Policy.TTL) > 0 && cfg.Policy.Direct,
	}
	a.part = a.choose(a.cfg.Mine, a.cfg.Theirs)
	switch {
	case a.part == silent:
		a.hush = now.Add(cfg.Policy.Hush)
	case a.part == plain && cfg.Policy.Doubt > 0:
		a.doubt = now.Add(cfg.Policy.Doubt)
	}
	a.plan(now)
}

// Candidates lists them in the order they became known.
func (a *Agent) Candidates() []*Candidate { return a.cands }

// Heard notes an authentic packet of the peer by a path and returns the path's candidate, a peer-reflexive one where there was
// none; nil where Add refuses it. A side that kept silent speaks from now on, and a guess that hit is followed by punches: Due has
// something to do at once. An owner does not call it for a punch that was marked as not meant to arrive (wire.Punch.LowTTL):
// that one says nothing of the way back.
func (a *Agent) Heard(now time.Time, p Path) *Candidate {
	c := a.Add(now, p, PeerReflexive)
	if c == nil || c.Heard {
		return c
	}
	c.Heard = true
	if a.stopped {
		return c
	}
	if a.part == silent || a.part >= shows {
		c.step, c.next = 0, now
	}
	a.hush, a.lull = time.Time{}, false
	switch {
	case a.part != silent:
		a.resume = now.Add(pace.rest)
	case c.Local.IsValid():
		a.nextRound = time.Time{}
	}
	return c
}

// Silent says whether this side keeps silent for now: what it sends by itself would close the way. Spend refuses then, except for
// Due's probes and to where the peer was heard.
func (a *Agent) Silent() bool { return !a.stopped && (a.lull || !a.hush.IsZero()) }

// Echoed trusts the candidate that was challenged with n, and returns it; nil where none was.
func (a *Agent) Echoed(n Nonce) *Candidate {
	if n == (Nonce{}) {
		return nil
	}
	for _, c := range a.cands {
		if c.Challenge == n {
			c.Trusted = true
			return c
		}
	}
	return nil
}

// Spend says whether n bytes may be sent by a path in a packet now, and counts them where the address is not trusted. An owner asks
// it for each packet to a peer that it has not heard by the media's path, Due's probes included.
func (a *Agent) Spend(p Path, n int) bool {
	if p.Route != Direct {
		return true
	}
	ours := a.Find(p) != nil || a.probing
	quiet := a.Silent() && !a.probing && a.atPeer(p.Addr) && !a.heard(p.Addr)
	if !ours || quiet || a.probing && !a.ledger.affords(n) {
		return false
	}
	if !a.trusted(p.Addr) && !a.ledger.unconfirmed(p.Addr, !a.atPeer(p.Addr), n) {
		return false
	}
	if a.probing {
		a.ledger.probe(n)
	}
	if !p.Local.IsValid() && a.atPeer(p.Addr) && !a.heard(p.Addr) {
		a.ledger.toward = a.peerIP()
	}
	return true
}

// Due calls send for each probe that is due, and schedules those after. For each the owner sends one packet, if Spend allows.
func (a *Agent) Due(now time.Time, send func(Probe)) {
	if a.stopped {
		return
	}
	if core.Due(now, a.until) {
		a.rest()
		return
	}
	if core.Due(now, a.hush) {
		a.hush = time.Time{}
	}
	a.disbelieve(now)
	a.foresee(now)
	a.probing = true
	for _, c := range slices.Clone(a.cands) {
		a.punch(now, c, send)
	}
	if a.resume.IsZero() || core.Due(now, a.resume) {
		a.resume = time.Time{}
		a.fire(now, send)
	}
	a.probing = false
}

// punch sends a candidate's punch, if it is due.
func (a *Agent) punch(now time.Time, c *Candidate, send func(Probe)) {
	if !core.Due(now, c.next) {
		return
	}
	if ok, at := a.ledger.ready(now, 0); !ok {
		c.next = at
		return
	}
	if c.Kind == Relayed && !c.Trusted && !c.Heard && c.step >= len(a.times(c)) || a.keeps(c) {
		c.next = time.Time{} // what is left of the budget is for challenges
		return
	}
	p := Probe{From: c.Local, To: c.Addr, Size: wire.DefaultPunch, Candidate: c}
	if a.atPeer(c.Addr) && c.step < len(a.cfg.Policy.TTL) && !c.Heard {
		p.TTL, p.Bare = a.cfg.Policy.TTL[c.step], true
	} else if c.Kind == Reflexive {
		a.lull = false
	}
	c.step++
	c.next = a.after(c, now)
	send(p)
}

// times are when a candidate's first punches leave.
func (a *Agent) times(c *Candidate) []time.Duration {
	if proto, _ := core.ProtoOf(c.Addr); proto != core.UDP {
		return a.cfg.Policy.Stream
	}
	if c.Kind == Relayed {
		return allocation
	}
	return a.cfg.Policy.Fast
}

// allocation is when the punches to an allocation of the peer's leave: it lets none in before the peer has asked its server to.
var allocation = []time.Duration{0, 60 * time.Millisecond, 200 * time.Millisecond}

// after is when the punch after c's step-th one leaves: the first ones by the policy's list, the others by its interval.
func (a *Agent) after(c *Candidate, now time.Time) time.Time {
	times := a.times(c)
	switch {
	case c.step < len(times):
		return now.Add(times[c.step] - times[c.step-1])
	case a.cfg.Policy.Slow == 0, !a.trusted(c.Addr) && a.ledger.exhausted(c.Addr, !a.atPeer(c.Addr)):
		return time.Time{}
	}
	return now.Add(a.cfg.Policy.Slow)
}

// Deadline is when Due has something to do; zero: never.
func (a *Agent) Deadline() (d time.Time) {
	if a.stopped {
		return d
	}
	for _, c := range a.cands {
		d = core.Earliest(d, c.next)
	}
	for _, v := range a.volleys {
		at := v.at
		if at.Before(a.resume) {
			at = a.resume
		}
		d = core.Earliest(d, at)
	}
	d = core.Earliest(d, a.doubt)
	if d = core.Earliest(core.Earliest(d, a.nextRound), a.hush); d.IsZero() && len(a.sockets.open) == 0 {
		return d
	}
	return core.Earliest(d, a.until)
}

// rest ends the search: nothing more is sent, and the sockets opened for it are given back.
func (a *Agent) rest() {
	for _, c := range a.cands {
		c.next = time.Time{}
	}
	a.stopped, a.volleys, a.doubt = true, nil, time.Time{}
	a.sockets.drop(func(s netip.AddrPort) bool {
		return slices.ContainsFunc(a.cands, func(c *Candidate) bool { return c.Heard && c.Local == s })
	})
}

// Stop ends the punching: a path has been found, or none is wanted any more. All sockets opened for it are given back but that
// of keep.
func (a *Agent) Stop(keep Path) {
	a.rest()
	a.sockets.drop(func(s netip.AddrPort) bool { return s == keep.Local })
}

// Over says whether the search has ended.
func (a *Agent) Over() bool { return a.stopped }

// facts are what an owner knows of both sides.
type facts struct {
	mine, theirs wire.Class
	own, peer    netip.AddrPort
}

func (c *Config) facts() facts { return facts{c.Mine, c.Theirs, c.Own, c.Peer} }

// goesOn is how long a search has to last still to be worth going on with where a new one is asked for.
const goesOn = 500 * time.Millisecond

// Searches says whether a search goes on in which cfg has nothing new.
func (a *Agent) Searches(now time.Time, cfg Config) bool {
	return !a.stopped && a.told == cfg.facts() && now.Add(goesOn).Before(a.until)
}

// Restart looks anew at now, with what is known now: the path has died, or a side has moved. What was sent to unconfirmed
// addresses stays counted, the budget of probes is renewed; candidates are forgotten, and the owner adds those there are
// now. Sockets that are open stay so until the next Stop: the media may go by one. A search that knows
// all this goes on as it is, with its candidates: its guesses and sockets would begin again for nothing.
func (a *Agent) Restart(now time.Time, cfg Config) {
	if a.Searches(now, cfg) {
		return
	}
	a.sockets.forget()
	a.ledger.renew(cfg.Policy.Budget)
	a.begin(now, cfg)
}

// GiveUp is when the agent stops looking: as the policy says, later where guesses take longer.
func (a *Agent) GiveUp() time.Time { return a.until }

// Probes is what the agent has had sent as probes since it started or was restarted: packets and bytes of UDP payload, samples
// included.
func (a *Agent) Probes() core.Count { return a.ledger.total }
