package punch

import (
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
)

// Plausible says whether an address may be a peer's at all: unicast, with a port.
func Plausible(a netip.AddrPort) bool {
	_, a = core.ProtoOf(a)
	ip := a.Addr()
	return a.IsValid() && a.Port() != 0 && !ip.IsUnspecified() && !ip.IsMulticast() &&
		ip != netip.AddrFrom4([4]byte{255, 255, 255, 255}) && ip.Zone() == ""
}

// Add makes a path a candidate, due for its first punch at now; a peer-reflexive one is only answered. It returns the
// candidate, also where it was one already, or nil for a path that is implausible, one too many, or not wanted by the policy. What a
// peer says of itself is Host: at the IP address where the rendezvous sees the peer it becomes Mapped. Private addresses are
// wanted only where both sides appear from the same IP address, or the peer appears from a private one itself.
func (a *Agent) Add(now time.Time, p Path, kind Kind) *Candidate {
	if kind == Reflexive && !a.peer.IsValid() {
		a.peer = p.Addr
	}
	if kind == Host && a.atPeer(p.Addr) {
		kind = Mapped
	}
	if c := a.Find(p); c != nil {
		return c
	}
	if !Plausible(p.Addr) || !a.cfg.Policy.Direct {
		return nil
	}
	if a.cfg.Policy.Has(MethodTURN) && (kind == Reflexive || kind == Mapped) {
		for _, local := range a.cfg.Turn {
			if p.Local != local && sameFamily(local, p.Addr) {
				a.admit(now, Between(local, p.Addr), kind)
			}
		}
	}
	if !a.wants(p, kind) {
		return nil
	}
	return a.admit(now, p, kind)
}

func (a *Agent) admit(now time.Time, p Path, kind Kind) *Candidate {
	if c := a.Find(p); c != nil {
		return c
	}
	if len(a.cands) >= MaxCandidates && !a.evict(kind) {
		return nil
	}
	c := &Candidate{Addr: p.Addr, Local: p.Local, Kind: kind, Trusted: kind == Reflexive || a.trusted(p.Addr)}
	spare := kind == Mapped && a.spared() && a.atPeer(p.Addr) // it is for the spare socket alone
	if times := a.times(c); len(times) > 0 && kind != PeerReflexive && !spare && !a.stopped {
		c.next = now.Add(times[0])
		if a.atPeer(c.Addr) && a.hush.After(c.next) {
			c.next = a.hush
		}
	}
	a.cands = append(a.cands, c)
	return c
}

// evict makes room for a path by which the peer was heard: it takes the place of another such, at an address that is still
// unconfirmed.
func (a *Agent) evict(kind Kind) bool {
	at := slices.IndexFunc(a.cands, func(c *Candidate) bool { return c.Kind == PeerReflexive && !c.Trusted })
	if kind != PeerReflexive || at < 0 {
		return false
	}
	a.cands = slices.Delete(a.cands, at, at+1)
	return true
}

// wants says whether the policy has a use for a plausible path.
func (a *Agent) wants(p Path, kind Kind) bool {
	policy := &a.cfg.Policy
	proto, addr := core.ProtoOf(p.Addr)
	family := MethodIPv6
	if addr.Addr().Unmap().Is4() {
		family = MethodIPv4
	}
	allocated := len(a.cfg.Turn) == 0 || slices.Contains(a.cfg.Turn, p.Local) || a.relayed(p.Addr, kind)
	if !policy.Has(family) || policy.Has(MethodTURN) && !policy.Has(MethodReflexive) && !allocated {
		return false
	}
	if proto != core.UDP { // only where the rendezvous vouches for it: a peer must not have connections opened to others
		return proto == core.TCP && policy.Has(MethodTCP) && (kind == Reflexive || kind == PeerReflexive)
	}
	switch kind {
	case Reflexive:
		return policy.Has(MethodReflexive)
	case Host:
		return policy.Has(MethodHost) && a.near(addr.Addr())
	case Mapped, Predicted:
		return policy.Has(MethodMapped)
	case Relayed:
		return (policy.Has(MethodTURN) || policy.Has(MethodHost)) && a.near(addr.Addr())
	}
	return policy.Has(MethodReflexive | MethodHost | MethodMapped | MethodTURN)
}

// relayed says whether an address of this kind is an allocation of the peer's, as the peer says.
func (a *Agent) relayed(addr netip.AddrPort, kind Kind) bool {
	return kind == Relayed || slices.ContainsFunc(a.cands, func(c *Candidate) bool { return c.Kind == Relayed && c.Addr == addr })
}

// sameFamily says whether packets can go from one address to the other.
func sameFamily(from, to netip.AddrPort) bool {
	_, to = core.ProtoOf(to)
	return from.Addr().Unmap().Is4() == to.Addr().Unmap().Is4()
}

// ByAllocation says whether a direct path leads over a TURN server's allocation, an own one or one of the peer's: what
// takes it is relayed, though not by the rendezvous.
func (a *Agent) ByAllocation(p Path) bool {
	only := a.cfg.Policy.Has(MethodTURN) && !a.cfg.Policy.Has(MethodReflexive)
	return p.Route == Direct && (only || slices.Contains(a.cfg.Turn, p.Local) || a.relayed(p.Addr, 0))
}

var shared = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

func private(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || shared.Contains(ip)
}

// near says whether an address that only the peer vouches for may be where the peer is: a private one, only in the same network.
func (a *Agent) near(ip netip.Addr) bool {
	_, own := core.ProtoOf(a.cfg.Own)
	_, peer := core.ProtoOf(a.peer)
	return !private(ip) || !own.IsValid() || !peer.IsValid() || own.Addr() == peer.Addr() || private(peer.Addr())
}

// atPeer says whether an address is at the IP address where the rendezvous sees the peer.
func (a *Agent) atPeer(addr netip.AddrPort) bool {
	_, addr = core.ProtoOf(addr)
	return a.peer.IsValid() && addr.Addr() == a.peerIP()
}

func (a *Agent) peerIP() netip.Addr {
	_, peer := core.ProtoOf(a.peer)
	return peer.Addr()
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

// trusted says whether the peer is known to receive at an address.
func (a *Agent) trusted(addr netip.AddrPort) bool {
	return slices.ContainsFunc(a.cands, func(c *Candidate) bool { return c.Trusted && c.Addr == addr })
}

func (a *Agent) heard(addr netip.AddrPort) bool {
	return slices.ContainsFunc(a.cands, func(c *Candidate) bool { return c.Heard && c.Addr == addr })
}
