package punch

import (
	"net/netip"
	"time"
)

// A side whose mappings depend on the destination, and whose filter lets anybody in, has to be silent towards a peer that filters by
// port. Silence may come too late: it was classified after it had punched, or it has answered an earlier connection of that peer's
// network. What the peer sends then comes in by the mapping that it knows, and the answer leaves by another one. A fresh socket has sent
// nothing there: it shows the rendezvous its mapping by a sample, the peer punches that, and the answer leaves by it.
//
//	X  fresh socket ── sample ──► R ── sampled ──► Y ── punch ──► X's fresh mapping     X answers from there
const (
	// unspoilt is how long a silent side waits to be heard by its main socket before it shows a fresh one.
	unspoilt = 400 * time.Millisecond
	// mainShare is how many of the packets to an address that is not validated a silent side sends by its main socket.
	mainShare = 2
)

// spoilt says whether this side's main socket has sent to the peer before it had heard it.
func (a *Agent) spoilt() bool { return a.peer.IsValid() && a.ledger.toward == a.peerIP() }

// keeps says whether what is left of a candidate's budget is for a fresh socket.
func (a *Agent) keeps(c *Candidate) bool {
	return a.part == silent && !c.Local.IsValid() && !a.trusted(c.Addr) && c.step >= mainShare
}

// awaited makes a sample of a silent peer's a candidate.
func (a *Agent) awaited(now time.Time, at netip.AddrPort) {
	if theirs := a.cfg.Theirs; dependent(theirs) && open(theirs) && a.cfg.Policy.Has(MethodSilence) {
		a.Add(now, To(at), Predicted)
	}
}
