package viewer

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// A camera that was met before is looked for on the local network at the same time as by the rendezvous, with the same
// initiation: whichever way it comes, there is one session, and its answer is the same bytes.
//
//	viewer ──┬── Connect{Noise-1} ──► rendezvous ── Introduce{Noise-1} ──► camera
//	         └── Noise-1 ──► addresses by which it was met, multicast group ──► camera
//	                         ◄── Noise-2, by whichever way is faster ──
const (
	nearGap     = 100 * time.Millisecond // between initiations, doubling
	lastNearGap = time.Second
	// nearWait is how long the local network has to answer where the rendezvous says that there is no such camera.
	nearWait = time.Second
	// strandedAfter is how long a connection that began without the rendezvous may be silent until it is made anew with its help.
	strandedAfter = 2 * time.Second
	// maxNear is how many addresses of a camera are remembered.
	maxNear = 8
)

// near is the search on the local network.
type near struct {
	due time.Time // zero: it is over, or there is none
	gap time.Duration
	no  wire.Code      // what the rendezvous said meanwhile; 0: nothing
	met bool           // the session was made by it, as far as the viewer knows
	at  netip.AddrPort // from where the camera has answered a multicast
}

// lookNear sends the initiation to where the camera may be, and again.
func (a *attempt) lookNear(now time.Time) {
	n := &a.near
	n.due = time.Time{}
	if a.sess != nil || len(a.request.Near) == 0 || !a.policy.Direct {
		return
	}
	for _, at := range a.request.Near {
		a.v.box.Send(netip.AddrPort{}, at, core.Handshake, a.v.box.Copy(a.hs.Message()))
	}
	n.gap = min(max(2*n.gap, nearGap), lastNearGap)
	n.due = now.Add(n.gap)
}

// metNear notes by which path the camera has answered first. What comes directly before the rendezvous has said where the camera
// is comes from nearby, or has overtaken that.
func (a *attempt) metNear(path punch.Path) {
	a.near.due = time.Time{}
	if a.near.met = a.peerAt.IsZero() && len(a.request.Near) > 0 && path.Route == punch.Direct; a.near.met {
		a.near.at = path.Addr
	}
}

// refused ends what the rendezvous, or the camera by it, does not want, once the camera does not answer nearby either.
func (a *attempt) refused(now time.Time, code wire.Code) {
	switch {
	case a.sess != nil:
	case a.near.due.IsZero() || !now.Before(a.started.Add(nearWait)):
		a.fail(now, code, code.Sentence())
	default:
		a.near.no, a.again = code, time.Time{}
	}
}

// notNear ends an attempt that the rendezvous has refused before.
func (a *attempt) notNear(now time.Time) {
	a.fail(now, a.near.no, a.near.no.Sentence()+fmt.Sprintf("; nor does it answer on the local network within %v", nearWait))
}

// stranded says that a connection that was made without the rendezvous has died: the camera may know of no other way.
func (a *attempt) stranded(now time.Time) bool {
	return a.near.met && a.doubting() && !a.relayed && now.Sub(a.doubted) >= strandedAfter && a.v.link.Up()
}

// Nearby says whether an address is one of a local network: private (RFC 1918, RFC 4193), or link-local.
func Nearby(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsPrivate() || a.IsLinkLocalUnicast()
}

// nearby lists where the camera may be met next time.
func (a *attempt) nearby() (at []netip.AddrPort) {
	add := func(e netip.AddrPort) {
		e = netip.AddrPortFrom(e.Addr().Unmap(), e.Port())
		if (Nearby(e.Addr()) || e == a.near.at && e != a.endpoint) && len(at) < maxNear && !slices.Contains(at, e) {
			at = append(at, e)
		}
	}
	if p, _ := core.ProtoOf(a.path.Addr); a.path.Route == punch.Direct && p == core.UDP {
		add(a.path.Addr)
	}
	for _, e := range a.candidates {
		if p, _ := core.ProtoOf(e.AddrPort); p == core.UDP {
			add(e.AddrPort)
		}
	}
	return at
}
