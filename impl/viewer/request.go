package viewer

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// Request says which camera is wanted, and how.
type Request struct {
	Label    identity.Label
	Strategy string // see punch.Names
	// Quiet asks for a session without video, to Manage the camera or to pair with it.
	Quiet bool
	// Near is where the camera may be found without a rendezvous: addresses of the local network by which it was met before
	// (Connection.Near), and multicast groups. It is asked there at the same time as the rendezvous is; at most MaxNear.
	Near []netip.AddrPort
}

// MaxNear is at how many addresses of the local network a camera is looked for.
const MaxNear = 12

// Connect asks for the video of the camera that the label names, by a strategy. See Ask.
func (v *Viewer) Connect(now time.Time, label identity.Label, strategy string) error {
	return v.Ask(now, Request{Label: label, Strategy: strategy})
}

// Ask asks for a camera. Before LoggedIn the request waits for it. One connection with a camera at a time.
func (v *Viewer) Ask(now time.Time, r Request) error {
	v.box.Begin()
	policy, err := punch.Lookup(r.Strategy)
	switch {
	case err != nil:
		return fmt.Errorf("connect: %w", err)
	case !v.closed && !v.link.Started():
		return errors.New("connect: the viewer is not started; call Start")
	case r.Label.RendezvousKey != v.cfg.RendezvousKey:
		return errors.New("connect: the label names another rendezvous; make a viewer for that one")
	case len(r.Near) > MaxNear:
		return fmt.Errorf("connect: %d addresses of the local network, at most %d", len(r.Near), MaxNear)
	}
	a, err := v.begin(now, r, policy)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	a.sendConnect(now)
	a.lookNear(now)
	return nil
}

// ConnectDirect asks the camera itself, without a rendezvous: addr is where the owner's router forwards a port to it. The
// camera must listen (camera.Config.Listen). The viewer need not be started.
func (v *Viewer) ConnectDirect(now time.Time, label identity.Label, addr netip.AddrPort, strategy string) error {
	v.box.Begin()
	policy, err := punch.Lookup(strategy)
	switch {
	case err != nil:
		return fmt.Errorf("connect directly: %w", err)
	case !policy.Direct:
		return fmt.Errorf("connect directly: strategy %q uses no direct path", strategy)
	case !punch.Plausible(addr):
		return fmt.Errorf("connect directly: %v is no camera's address; give that of its router, and the port forwarded", addr)
	}
	policy.Relay = false
	a, err := v.begin(now, Request{Label: label, Strategy: strategy}, policy)
	if err != nil {
		return fmt.Errorf("connect directly: %w", err)
	}
	a.knock(now, addr)
	return nil
}

// begin makes an attempt, if there may be one.
func (v *Viewer) begin(now time.Time, r Request, policy punch.Policy) (*attempt, error) {
	switch {
	case v.closed:
		return nil, errors.New("the viewer is closed")
	case v.watching(r.Label.UID()) != nil:
		return nil, errors.New("already connected with this camera; call Disconnect before")
	case len(v.watches) >= v.cfg.MaxCameras:
		return nil, fmt.Errorf("already %d cameras are watched; Disconnect one of them, or raise MaxCameras", len(v.watches))
	}
	a, err := newAttempt(now, v, r, policy)
	if err != nil {
		return nil, err
	}
	a.c = &Connection{Camera: a.uid, Strategy: policy.Name, Asked: now}
	v.last = a.c
	v.watches = append(v.watches, a)
	return a, nil
}

// Disconnect ends the connection with a camera, if there is one.
func (v *Viewer) Disconnect(now time.Time, camera identity.UID) {
	v.box.Begin()
	if a := v.watching(camera); a != nil {
		a.close(now, wire.CodeEnded)
	}
}
