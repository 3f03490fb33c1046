package viewer

import (
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/session"
)

// knockGap is when an initiation to the camera itself is sent again at first, doubling.
const knockGap = 250 * time.Millisecond

// knock sends the initiation to the camera itself.
func (a *attempt) knock(now time.Time, addr netip.AddrPort) {
	a.knocking, a.endpoint, a.gap = true, addr, knockGap
	a.c.ConnectSent = now
	a.sendKnock(now)
}

// sendKnock sends it, and again until there is an answer.
func (a *attempt) sendKnock(now time.Time) {
	a.again = time.Time{}
	if a.sess != nil {
		return
	}
	a.v.box.Send(netip.AddrPort{}, a.endpoint, core.Handshake, a.v.box.Copy(a.hs.Message()))
	a.again = now.Add(a.gap)
	a.gap *= 2
}

// cookie takes the camera's wish for a proof of the source address.
func (a *attempt) cookie(now time.Time, path punch.Path, b []byte) error {
	if !a.knocking && a.near.due.IsZero() || a.sess != nil || path.Route != punch.Direct {
		return session.ErrIndex
	}
	if err := a.hs.HandleCookie(b); err != nil {
		return err
	}
	if !a.knocking {
		a.v.box.Send(path.Local, path.Addr, core.Handshake, a.v.box.Copy(a.hs.Message()))
		return nil
	}
	a.gap = knockGap
	a.sendKnock(now)
	return nil
}
