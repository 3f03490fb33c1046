package plug

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/netns"
)

// Options say what is plugged in, and what it is told.
type Options struct {
	Interface string    // that the box hangs on; it must carry nothing
	From      *netns.NS // where it is; nil: where the program was started (netns.Home)

	// Names of the vendor's servers, and the lab's addresses that they have: of a host, or a router's WAN. "*.vendor.example" is
	// every name below vendor.example that has no entry of its own nor below a longer one (RFC 4592), "*" every name. Others
	// do not exist.
	Names map[string]netip.Addr

	Lease time.Duration // of addresses, whole seconds from MinLease to MaxLease; zero: DefaultLease
}

// How long a lease may last. A box asks again after half of it.
const (
	MinLease     = 2 * time.Second
	DefaultLease = 10 * time.Minute
	MaxLease     = 24 * time.Hour
)

// Box is a device that is plugged in. It is safe for concurrent use.
type Box struct {
	outlet *lab.Outlet
	home   *netns.NS // to be closed; nil: the caller's
	dhcp   *dhcpServer
	dns    *dnsServer

	once sync.Once
	err  error // of Close
}

// Attach moves the interface to a site's LAN and serves what hangs on it, until Close. It does not wait for the box, which
// may be switched on later: see Await. On an error nothing is left, and the interface is back.
func Attach(ctx context.Context, l *lab.Lab, site string, o Options) (*Box, error) {
	b, err := attach(ctx, l, site, o)
	if err != nil {
		return nil, fmt.Errorf("attach black box: %w", err)
	}
	return b, nil
}

func attach(ctx context.Context, l *lab.Lab, site string, o Options) (*Box, error) {
	zone, err := o.validate(l)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b := &Box{}
	from := o.From
	if from == nil {
		if from, err = netns.Home(); err != nil {
			return nil, fmt.Errorf("find interface %s: %w", o.Interface, err)
		}
		b.home = from
	}
	if b.outlet, err = l.Plug(site, from, o.Interface); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if err := b.serve(zone, o.Lease); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Box) serve(z zone, lease time.Duration) (err error) {
	if b.dns, err = serveDNS(b.outlet, z); err != nil {
		return fmt.Errorf("serve DNS on site %s: %w", b.outlet.Site, err)
	}
	if b.dhcp, err = serveDHCP(b.outlet, lease); err != nil {
		return fmt.Errorf("serve DHCP on site %s: %w", b.outlet.Site, err)
	}
	return nil
}

// validate checks the options and fills in what zero means.
func (o *Options) validate(l *lab.Lab) (zone, error) {
	if o.Interface == "" {
		return nil, errors.New("no interface is named: give the one that the box hangs on")
	}
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Lease < MinLease || o.Lease > MaxLease || o.Lease%time.Second != 0 {
		return nil, fmt.Errorf("lease of %v: give whole seconds from %v to %v", o.Lease, MinLease, MaxLease)
	}
	return newZone(o.Names, addresses(l))
}

// addresses are those of a lab that a name may have, and whose they are.
func addresses(l *lab.Lab) map[netip.Addr]string {
	whose := map[netip.Addr]string{}
	for _, name := range l.Hosts() {
		for _, a := range l.Host(name).Addrs {
			whose[a] = "host " + name
		}
	}
	t := l.Topology()
	for i := range t.Sites {
		s := &t.Sites[i]
		for _, a := range append(s.WAN[:len(s.WAN):len(s.WAN)], s.WAN6...) {
			whose[a] = "router of " + s.Name
		}
	}
	return whose
}

// Outlet is the box's place on the LAN: its router's address, its name in captures.
func (b *Box) Outlet() *lab.Outlet { return b.outlet }

// Leases are the leases given so far, ended ones included, in the order of their first granting.
func (b *Box) Leases() []Lease { return b.dhcp.leases() }

// DHCP counts the box's messages and the answers.
func (b *Box) DHCP() DHCPCounts { return b.dhcp.counts() }

// Await waits until something has a lease, and returns the first that holds. When ctx ends before, the error says how
// far it has come.
func (b *Box) Await(ctx context.Context) (Lease, error) {
	l, err := b.dhcp.await(ctx)
	if err == nil {
		return l, nil
	}
	why := b.dhcp.counts().silence()
	if up, e := b.outlet.Carrier(); e == nil && !up {
		why = "its link is down: is the cable plugged in at both ends, and the box switched on?"
	}
	return Lease{}, fmt.Errorf("await the black box on site %s: %w: %s", b.outlet.Site, err, why)
}

// Questions are those that the DNS server was asked, in their order. It keeps MaxQuestions; unkept counts the others.
func (b *Box) Questions() (kept []Question, unkept uint64) { return b.dns.asked() }

// Forward has the site's router send what comes to its port, by UDP or TCP and from anywhere, to the box's same port, as its
// owner would set it by hand: see lab.Forward. The box must have a lease.
func (b *Box) Forward(port uint16) (netip.AddrPort, error) {
	l, ok := b.dhcp.holder(time.Now())
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("forward port %d to the black box: it has no lease: Await it", port)
	}
	return b.outlet.Forward(l.Addr, port)
}

// Close ends the servers and gives the interface back.
func (b *Box) Close() error {
	b.once.Do(func() {
		var errs []error
		if b.dhcp != nil {
			errs = append(errs, b.dhcp.close())
		}
		if b.dns != nil {
			errs = append(errs, b.dns.close())
		}
		if b.outlet != nil {
			errs = append(errs, b.outlet.Close())
		}
		if b.home != nil {
			errs = append(errs, b.home.Close())
		}
		if err := errors.Join(errs...); err != nil {
			b.err = fmt.Errorf("take the black box off: %w", err)
		}
	})
	return b.err
}
