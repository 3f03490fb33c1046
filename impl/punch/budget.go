package punch

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// Limits of what is sent to an address that may not be the peer's.
const (
	// MaxUnconfirmedPackets and MaxUnconfirmedBytes bound what goes to an address and port before the peer is known to receive
	// there; and to all ports together of an IP address at which the rendezvous has not seen the peer.
	MaxUnconfirmedPackets = 5
	MaxUnconfirmedBytes   = 1024

	maxClaimed = 10 // such IP addresses an introduction
	maxBurst   = 64 // probes that leave at one moment
	reserved   = 64 // packets of the policy's budget that guesses leave to the candidates
)

// ledger counts what one agent has had sent, and bounds it.
type ledger struct {
	limit   Budget
	spent   map[netip.AddrPort]*core.Count // by unconfirmed address; by IP address, with port 0, where the peer only claims it
	claimed int
	total   core.Count // probes
	toward  netip.Addr // of the peer to which the main socket has sent unasked

	tokens float64
	filled time.Time
}

func newLedger(limit Budget, now time.Time) ledger {
	return ledger{limit: limit, spent: map[netip.AddrPort]*core.Count{}, tokens: maxBurst, filled: now}
}

// renew begins a new budget of probes. What went to unconfirmed addresses stays counted.
func (l *ledger) renew(limit Budget) { l.limit, l.total = limit, core.Count{} }

// unconfirmed says whether n bytes may go to an address that is not known to be the peer's, and counts them.
func (l *ledger) unconfirmed(addr netip.AddrPort, claimed bool, n int) bool {
	addr = book(addr, claimed)
	c := l.spent[addr]
	if c == nil {
		if claimed && l.claimed >= maxClaimed {
			return false
		}
		c = &core.Count{}
	}
	if c.Packets >= MaxUnconfirmedPackets || c.Bytes+int64(n) > MaxUnconfirmedBytes {
		return false
	}
	if c.Packets == 0 {
		l.spent[addr] = c
		if claimed {
			l.claimed++
		}
	}
	c.Add(n)
	return true
}

// book is under what packets to an address are counted: a claimed IP address has one count for all its ports and protocols.
func book(addr netip.AddrPort, claimed bool) netip.AddrPort {
	if !claimed {
		return addr
	}
	_, bare := core.ProtoOf(addr)
	return netip.AddrPortFrom(bare.Addr().Unmap(), 0)
}

// exhausted says whether an unconfirmed address has had what it may have.
func (l *ledger) exhausted(addr netip.AddrPort, claimed bool) bool {
	c := l.spent[book(addr, claimed)]
	return c != nil && c.Packets >= MaxUnconfirmedPackets
}

// ready says whether a probe may leave at now, that is within rate; if not, when. Keep is what the budget of packets has to have left
// beside.
func (l *ledger) ready(now time.Time, keep int) (ok bool, at time.Time) {
	if l.limit.Packets > 0 && int(l.total.Packets)+keep >= l.limit.Packets {
		return false, time.Time{}
	}
	if l.limit.Rate == 0 {
		return true, now
	}
	if now.After(l.filled) {
		l.tokens = min(maxBurst, l.tokens+now.Sub(l.filled).Seconds()*float64(l.limit.Rate))
		l.filled = now
	}
	if l.tokens >= 1 {
		return true, now
	}
	return false, now.Add(time.Duration((1-l.tokens)/float64(l.limit.Rate)*float64(time.Second)) + time.Millisecond)
}

// affords says whether a probe of n bytes fits the budget of bytes.
func (l *ledger) affords(n int) bool {
	return l.limit.Bytes == 0 || int(l.total.Bytes)+n <= l.limit.Bytes
}

// probe counts one.
func (l *ledger) probe(n int) {
	l.total.Add(n)
	l.tokens--
}
