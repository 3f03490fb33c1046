// Package punch finds a direct path between two peers that the rendezvous has introduced: when to punch, where, how
// much an address may be sent before it is known to be the peer's, and when to give up.
//
//	             Add                    Heard               Trust (the rendezvous saw the peer there,
//	candidate ─────────► scheduled ───────────────► alive     or it echoed a challenge from there)
//	                        │  ≤ 5 packets, ≤ 1 KiB unless trusted      │
//	                        │  Fast[0], Fast[1], … then every Slow      ▼
//	                        └──────────── GiveUp ──► silent         any amount
//
// An Agent decides; what is sent as a punch is its owner's matter: a viewer sends punch packets, a camera repeats
// Noise-2 for as long as it has not heard the viewer's session. Strategies are data, a file each: see Policy.
//
// Known to be missed: where one side's mappings depend on the destination but its filter does not, and the other side's
// filter depends on ports, a path exists only if the first side keeps silent until it hears the other; here both punch at
// once, and the pair is left to the relay.
//
// The package is a core: time is an argument, and it sends nothing itself.
package punch

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// Limits of what is sent to an address that may not be the peer's.
const (
	MaxUnconfirmedPackets = 5
	MaxUnconfirmedBytes   = 1024
	MaxCandidates         = 10 // an introduction; more are ignored
)

// Kind says where a candidate address comes from.
type Kind uint8

// The kinds.
const (
	Reflexive     Kind = iota + 1 // as the rendezvous saw the peer
	Host                          // the peer's own, as it says
	PeerReflexive                 // learned from an authentic packet
)

// String names the kind.
func (k Kind) String() string {
	return [...]string{"unknown", "reflexive", "host", "peer-reflexive"}[k]
}

// Nonce is what a challenged peer has to echo.
type Nonce [8]byte

// Candidate is an address the peer may have.
type Candidate struct {
	Addr    netip.AddrPort
	Kind    Kind
	Trusted bool // the peer is known to receive there
	Heard   bool // an authentic packet came from there

	Challenge Nonce // zero: none yet
	sent      core.Count
	answered  time.Time
	asked     time.Time
	step      int
	next      time.Time // zero: no more punches
}

// Answer says whether the candidate's punch is answered at now: one in a gap is, so that the budget of an unconfirmed
// address outlives a burst of loss.
func (c *Candidate) Answer(now time.Time, gap time.Duration) bool {
	if !c.answered.IsZero() && now.Sub(c.answered) < gap {
		return false
	}
	c.answered = now
	return true
}

// Ask says whether the candidate is challenged at now: once in a gap.
func (c *Candidate) Ask(now time.Time, gap time.Duration) bool {
	if !c.asked.IsZero() && now.Sub(c.asked) < gap {
		return false
	}
	c.asked = now
	return true
}

// Agent looks for a direct path for one introduction. It is not safe for concurrent use.
type Agent struct {
	policy Policy
	start  time.Time
	until  time.Time
	cands  []*Candidate
}

// NewAgent starts looking at now.
func NewAgent(p Policy, now time.Time) *Agent {
	return &Agent{policy: p, start: now, until: now.Add(p.GiveUp)}
}

// Plausible says whether an address may be a peer's at all: unicast, with a port.
func Plausible(a netip.AddrPort) bool {
	ip := a.Addr()
	return a.IsValid() && a.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast() &&
		ip != netip.AddrFrom4([4]byte{255, 255, 255, 255}) && ip.Zone() == ""
}

// Add makes addr a candidate, due for its first punch at now; a peer-reflexive one is only answered. It returns the candidate, also where it was one already,
// or nil for an address that is implausible, one too many, or not wanted by the policy.
func (a *Agent) Add(now time.Time, addr netip.AddrPort, kind Kind) *Candidate {
	if c := a.Find(addr); c != nil {
		return c
	}
	if !a.policy.Direct || !Plausible(addr) || len(a.cands) >= MaxCandidates {
		return nil
	}
	c := &Candidate{Addr: addr, Kind: kind, Trusted: kind == Reflexive}
	if len(a.policy.Fast) > 0 && kind != PeerReflexive {
		c.next = now.Add(a.policy.Fast[0])
	}
	a.cands = append(a.cands, c)
	return c
}

// Find returns the candidate with this address, or nil.
func (a *Agent) Find(addr netip.AddrPort) *Candidate {
	for _, c := range a.cands {
		if c.Addr == addr {
			return c
		}
	}
	return nil
}

// Candidates lists them in the order they became known.
func (a *Agent) Candidates() []*Candidate { return a.cands }

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

// Spend says whether n bytes may be sent to addr in a packet now, and counts them where the address is not trusted.
func (a *Agent) Spend(addr netip.AddrPort, n int) bool {
	c := a.Find(addr)
	switch {
	case c == nil:
		return false
	case c.Trusted:
		return true
	case c.sent.Packets >= MaxUnconfirmedPackets || c.sent.Bytes+int64(n) > MaxUnconfirmedBytes:
		return false
	}
	c.sent.Add(n)
	return true
}

// Due calls punch for each candidate whose next punch is due, and schedules the one after.
func (a *Agent) Due(now time.Time, punch func(*Candidate)) {
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
		punch(c)
	}
}

// after is when the punch after c's step-th one leaves: the fast ones by the policy's list, the others by its interval.
func (a *Agent) after(c *Candidate, now time.Time) time.Time {
	fast := a.policy.Fast
	switch {
	case c.step < len(fast):
		return now.Add(fast[c.step] - fast[c.step-1])
	case a.policy.Slow == 0 || !c.Trusted && c.sent.Packets >= MaxUnconfirmedPackets:
		return time.Time{}
	}
	return now.Add(a.policy.Slow)
}

// Deadline is when Due has something to do; zero: never.
func (a *Agent) Deadline() (d time.Time) {
	for _, c := range a.cands {
		d = core.Earliest(d, c.next)
	}
	return d
}

// Stop ends the punching: a path has been found, or none is wanted any more.
func (a *Agent) Stop() {
	for _, c := range a.cands {
		c.next = time.Time{}
	}
}

// GiveUp is when the agent stops looking.
func (a *Agent) GiveUp() time.Time { return a.until }
