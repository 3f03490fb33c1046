package punch

import (
	"net/netip"
	"time"
)

// Kind says where a candidate address comes from.
type Kind uint8

// The kinds.
const (
	Reflexive     Kind = iota + 1 // as the rendezvous saw the peer
	Host                          // the peer's own, as it says
	PeerReflexive                 // learned from an authentic packet
	Mapped                        // got from the peer's router by a port mapping protocol, as the peer says
	Predicted                     // where the peer's next mapping is expected: at its reflexive IP address
	Relayed                       // allocated for the peer by a TURN server, as the peer says
)

// String names the kind.
func (k Kind) String() string {
	return [...]string{"unknown", "reflexive", "host", "peer-reflexive", "mapped", "predicted", "relayed"}[k]
}

// Nonce is what a challenged peer has to echo.
type Nonce [8]byte

// Candidate is a path that the peer may be reached by: an own socket and an address that the peer may have.
type Candidate struct {
	Addr    netip.AddrPort // the peer's
	Local   netip.AddrPort // own socket; zero: the main one
	Kind    Kind
	Trusted bool // the peer is known to receive there
	Heard   bool // an authentic packet came from there, by that socket

	Challenge Nonce // zero: none yet
	answered  time.Time
	asked     time.Time
	step      int
	next      time.Time // zero: no more punches
}

// Path is the path to the candidate.
func (c *Candidate) Path() Path { return Between(c.Local, c.Addr) }

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
