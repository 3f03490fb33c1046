package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/punchlab/punchlab/lab/nat"
)

// ErrNoRouter means that a host has no router in which a port could be forwarded.
var ErrNoRouter = errors.New("no router of its own that could forward a port")

// forwarded is a port forward that a router's owner has set by hand. It outlives what the router forgets.
type forwarded struct {
	to   netip.AddrPort
	port uint16 // outside
}

// Forward does what the host's owner sets by hand in the router on whose LAN the host is, the innermost one: everything that
// comes to that router's port, by UDP or TCP and from anywhere, goes to the host's same port. It returns the external
// endpoint; behind a firewall without translation that is the host's own. Routers further out are untouched, so behind a
// carrier's NAT nobody outside reaches it. The router keeps it through reboots, other addresses and other behaviours; Reset
// clears it. Where there is no router, or none with IPv4, the error is ErrNoRouter; where another has the port, nat.ErrPortTaken.
func (l *Lab) Forward(host string, port uint16) (netip.AddrPort, error) {
	l.events.Lock()
	defer l.events.Unlock()
	ext, err := l.forward(host, port)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("forward port %d to host %s: %w", port, host, err)
	}
	return ext, nil
}

func (l *Lab) forward(host string, port uint16) (netip.AddrPort, error) {
	m := l.hosts[host]
	switch {
	case l.closed:
		return netip.AddrPort{}, errClosed
	case m == nil:
		return netip.AddrPort{}, Unknown("host", "host", host, l.Hosts())
	case port == 0:
		return netip.AddrPort{}, errors.New("port 0 is none: give 1 to 65535")
	}
	p := l.sites[m.current()]
	if p == nil {
		return netip.AddrPort{}, fmt.Errorf("%w: it is public", ErrNoRouter)
	}
	i := slices.IndexFunc(m.card(p.site.Name).addrs, netip.Addr.Is4)
	if i < 0 || p.site.NoIPv4 {
		return netip.AddrPort{}, fmt.Errorf("%w: site %s has no IPv4", ErrNoRouter, p.site.Name)
	}
	ext, err := p.forwardTo(forwarded{netip.AddrPortFrom(m.card(p.site.Name).addrs[i], port), port})
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("router of site %s: %w", p.site.Name, err)
	}
	return ext, nil
}

// forwardTo sets a forward and remembers it.
func (p *place) forwardTo(f forwarded) (netip.AddrPort, error) {
	ext, err := p.setForward(f)
	if err == nil && !slices.Contains(p.forwards, f) {
		p.forwards = append(p.forwards, f)
	}
	return ext, err
}

const tcp, udp = 6, 17 // IP protocol numbers

// setForward maps the port for both protocols, or for neither.
func (p *place) setForward(f forwarded) (ext netip.AddrPort, err error) {
	for i, protocol := range []uint8{udp, tcp} {
		m := nat.PortMap{Protocol: protocol, Internal: f.to, External: f.port}
		if ext, err = p.router.Map(m); err != nil {
			if i > 0 {
				err = errors.Join(err, p.router.Unmap(nat.PortMap{Protocol: udp, Internal: f.to}))
			}
			return netip.AddrPort{}, err
		}
	}
	return ext, nil
}

// forwardAgain sets what the owner had set, after the router has forgotten everything.
func (p *place) forwardAgain() error {
	for _, f := range p.forwards {
		if _, err := p.setForward(f); err != nil {
			return fmt.Errorf("forward port %d to %v again: %w", f.port, f.to, err)
		}
	}
	return nil
}
