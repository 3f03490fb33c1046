package punch

import (
	"io"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/wire"
)

// Limits of what is sent to an address that may not be the peer's.
const (
	MaxUnconfirmedPackets = 5
	MaxUnconfirmedBytes   = 1024
	MaxCandidates         = 10 // an introduction; more are ignored
	maxBurst              = 32 // probes that leave at one moment
)

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

	Mine, Theirs wire.Class // zero: unknown

	Own  netip.AddrPort // own main socket as the rendezvous sees it; zero: unknown
	Peer netip.AddrPort // the peer's endpoint as the rendezvous sees it; zero: unknown, then nothing is guessed

	Turn []netip.AddrPort // own sockets that are allocations of a TURN server
	Rand io.Reader        // 8 bytes are read; nil: the order of guesses is the same for everyone
}

// Probe is something to send.
type Probe struct {
	From netip.AddrPort // own socket; zero: the main one
	To   netip.AddrPort // zero where Sample
	TTL  uint8          // zero: the host's
	Size int            // bytes of the punch, as its receiver's answer may need; nothing else goes out where Bare
	// Bare says that a punch packet goes there, even where the owner would send more (a camera's Noise-2): one of many
	// guesses, or one that is not meant to arrive.
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
	cfg   Config
	start time.Time
	until time.Time
	cands []*Candidate
	sent  map[netip.AddrPort]*core.Count // to unconfirmed addresses
}

// NewAgent starts looking at now.
func NewAgent(cfg Config, now time.Time) *Agent {
	return &Agent{cfg: cfg, start: now, until: now.Add(cfg.Policy.GiveUp), sent: map[netip.AddrPort]*core.Count{}}
}

// Plausible says whether an address may be a peer's at all: unicast, with a port.
func Plausible(a netip.AddrPort) bool {
	ip := a.Addr()
	return a.IsValid() && a.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast() &&
		ip != netip.AddrFrom4([4]byte{255, 255, 255, 255}) && ip.Zone() == ""
}

// Add makes a path a candidate, due for its first punch at now; a peer-reflexive one is only answered. It returns the
// candidate, also where it was one already, or nil for a path that is implausible, one too many, or not wanted by the policy.
func (a *Agent) Add(now time.Time, p Path, kind Kind) *Candidate {
	if c := a.Find(p); c != nil {
		return c
	}
	if !a.cfg.Policy.Direct || !Plausible(p.Addr) || len(a.cands) >= MaxCandidates {
		return nil
	}
	c := &Candidate{Addr: p.Addr, Local: p.Local, Kind: kind, Trusted: kind == Reflexive}
	if len(a.cfg.Policy.Fast) > 0 && kind != PeerReflexive {
		c.next = now.Add(a.cfg.Policy.Fast[0])
	}
	a.cands = append(a.cands, c)
	return c
}

// Find returns the candidate of a path, or nil.
func (a *Agent) Find(p Path) *Candidate {
	for _, c := range a.cands {
		if c.Addr == p.Addr && c.Local == p.Local {
			return c
		}
	}
	return nil
}

// Candidates lists them in the order they became known.
func (a *Agent) Candidates() []*Candidate { return a.cands }

// Heard notes an authentic packet of the peer by a path and returns the path's candidate, a peer-reflexive one where there was
// none; nil where Add refuses it. A side that kept silent speaks from now on: Due has something to do at once. An owner does not
// call it for a punch that was marked as not meant to arrive (low TTL): that one says nothing of the way back.
func (a *Agent) Heard(now time.Time, p Path) *Candidate {
	c := a.Add(now, p, PeerReflexive)
	if c != nil {
		c.Heard = true
	}
	return c
}

// Silent says whether this side keeps silent until it hears the peer: what it sends by itself would close the way. Spend
// refuses then, too, except to where the peer was heard.
func (a *Agent) Silent() bool { return false }

// Sampled notes where the peer's newest mapping was seen by the rendezvous, and that the peer is about to make the next one:
// the guesses of a prediction start from there.
func (a *Agent) Sampled(now time.Time, at netip.AddrPort) {}

// Wants says how many further sockets are to be opened, and which of those opened before are to be closed. It says each once: an
// owner asks after every call that may change it (Due, Opened, Sampled, Heard, Stop, Restart).
func (a *Agent) Wants() (open int, closed []netip.AddrPort) { return 0, nil }

// Opened hands over sockets that Wants asked for, or says that there are none.
func (a *Agent) Opened(now time.Time, socks []netip.AddrPort, err error) {}

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

// Spend says whether n bytes may be sent by a path in a packet now, and counts them where the address is not trusted.
func (a *Agent) Spend(p Path, n int) bool {
	c := a.Find(p)
	switch {
	case c == nil:
		return false
	case c.Trusted:
		return true
	}
	sent := a.sent[p.Addr]
	if sent == nil {
		sent = &core.Count{}
		a.sent[p.Addr] = sent
	}
	if sent.Packets >= MaxUnconfirmedPackets || sent.Bytes+int64(n) > MaxUnconfirmedBytes {
		return false
	}
	sent.Add(n)
	return true
}

// Due calls send for each probe that is due, and schedules those after.
func (a *Agent) Due(now time.Time, send func(Probe)) {
	for _, c := range a.cands {
		if !core.Due(now, c.next) {
			continue
		}
		if core.Due(now, a.until) {
			c.next = time.Time{}
			continue
		}
		c.step++
		c.next = a.after(c, now)
		send(Probe{From: c.Local, To: c.Addr, Size: wire.DefaultPunch, Candidate: c})
	}
}

// after is when the punch after c's step-th one leaves: the fast ones by the policy's list, the others by its interval.
func (a *Agent) after(c *Candidate, now time.Time) time.Time {
	fast := a.cfg.Policy.Fast
	switch {
	case c.step < len(fast):
		return now.Add(fast[c.step] - fast[c.step-1])
	case a.cfg.Policy.Slow == 0 || !c.Trusted && a.sent[c.Addr] != nil && a.sent[c.Addr].Packets >= MaxUnconfirmedPackets:
		return time.Time{}
	}
	return now.Add(a.cfg.Policy.Slow)
}

// Deadline is when Due has something to do; zero: never.
func (a *Agent) Deadline() (d time.Time) {
	for _, c := range a.cands {
		d = core.Earliest(d, c.next)
	}
	return d
}

// Stop ends the punching: a path has been found, or none is wanted any more. All sockets opened for it are given back but that
// of keep.
func (a *Agent) Stop(keep Path) {
	for _, c := range a.cands {
		c.next = time.Time{}
	}
}

// Restart looks anew at now, with what is known now: the path has died, or a side has moved. What was sent to unconfirmed addresses
// stays counted; candidates are forgotten, and the owner adds those there are now.
func (a *Agent) Restart(now time.Time, cfg Config) {
	a.cfg, a.start, a.until, a.cands = cfg, now, now.Add(cfg.Policy.GiveUp), nil
}

// GiveUp is when the agent stops looking.
func (a *Agent) GiveUp() time.Time { return a.until }

// Probes is what the agent has had sent as probes so far: packets and bytes of UDP payload.
func (a *Agent) Probes() core.Count { return core.Count{} }

// Plan says in words what the agent has chosen to try, for records and logs.
func (a *Agent) Plan() string { return a.cfg.Policy.Name }
