package stack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/ddns"
)

// What a camera without a rendezvous has: a name of its own at a provider of dynamic names.
const (
	dnsZone, cameraName = "cams.example.", "front-door.cams.example."
	dnsPort, httpPort   = 53, 80
)

var cameraAccount = ddns.Account{User: "owner", Password: "owner", Name: cameraName}

// names is the provider of the camera's name, on the rendezvous' host: the strategy port-forward has no other use for that.
type names struct {
	provider *ddns.Provider
	dns      netip.AddrPort
}

// forward does what an owner does for a camera of the traditional kind: forwards a port to it in the home's own router, and has
// the camera tell a provider of dynamic names where it is.
func (b *bundle) forward(ctx context.Context, l *lab.Lab, provider *lab.Machine) error {
	at, err := l.Forward("camera", forwardedPort)
	switch {
	case errors.Is(err, lab.ErrNoRouter):
		at = netip.AddrPortFrom(b.cameraDevice.machine.Addr(), forwardedPort)
	case err != nil:
		return fmt.Errorf("forward the camera's port: %w", err)
	}
	b.forwarded = at
	queries, err := provider.ListenUDP(netip.AddrPortFrom(provider.Addr(), dnsPort))
	if err != nil {
		return err
	}
	updates, err := provider.ListenTCP(netip.AddrPortFrom(provider.Addr(), httpPort))
	if err != nil {
		return errors.Join(err, queries.Close())
	}
	b.names = &names{
		provider: ddns.Serve(dnsZone, []ddns.Account{cameraAccount}, queries, updates),
		dns:      netip.AddrPortFrom(provider.Addr(), dnsPort),
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	_, err = ddns.Update(ctx, b.cameraDevice.machine.DialContext, netip.AddrPortFrom(provider.Addr(), httpPort), cameraAccount)
	return err
}

// askByName has the viewer look the camera up and ask it itself.
func (b *bundle) askByName(ctx context.Context) error {
	start := time.Now()
	conn, err := b.viewerDevice.machine.ListenUDP(netip.AddrPort{})
	if err != nil {
		return err
	}
	defer conn.Close()
	addr, err := ddns.Resolver{Conn: conn, Server: b.names.dns}.Lookup(ctx, cameraName)
	if err != nil {
		return err
	}
	b.viewerDevice.Node().Do(func(now time.Time) {
		b.resolved = now.Sub(start)
		err = b.viewer.ConnectDirect(now, b.label, netip.AddrPortFrom(addr, forwardedPort), b.trial.Strategy)
	})
	if err != nil {
		return fmt.Errorf("ask the camera itself: %w", err)
	}
	return nil
}

func (n *names) close() error { return n.provider.Close() }
