package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/probe"
)

// The RFC 5780 server's ports on the public host (RFC 8489 §18.6 has the first one).
var probePorts = [2]uint16{3478, 3479}

// Over unimpaired links an answer takes a few hundred microseconds; what has not come after all tries was filtered. Where a
// busy machine lost too many answers to tell, the probe is made again with patience.
var probeOptions = []probe.Options{{RTO: 40 * time.Millisecond, Tries: 3}, {RTO: 200 * time.Millisecond, Tries: 5}}

// ErrMisclassified means that a NAT does not behave as its topology says: the lab is wrong, not the system under test.
var ErrMisclassified = errors.New("NAT is not what the topology says")

// Prove has every site's NATs classified by an RFC 5780 server on a public host with two addresses, over unimpaired
// links and in each family that the site has, and compares what was seen with the topology. It leaves flows behind: Reset
// the lab afterwards.
func (l *Lab) Prove(ctx context.Context) error {
	for _, up := range l.uplinks {
		if err := up.SetProfile(link.Profile{}); err != nil {
			return fmt.Errorf("prove NATs: lift impairments: %w", err)
		}
	}
	var errs []error
	for _, family := range []int{4, 6} {
		if classify := l.subjects(family); len(classify) > 0 {
			errs = append(errs, l.proveFamily(ctx, family, classify))
		}
	}
	if err := errors.Join(append(errs, l.setLinks())...); err != nil {
		return err
	}
	l.proved = l.digest
	return nil
}

// subject is a site that is classified from one of its hosts.
type subject struct {
	site *Site
	host *Machine
	from netip.Addr
}

// subjects are the sites that have a host with an address of the family.
func (l *Lab) subjects(family int) (list []subject) {
	for i := range l.topo.Sites {
		s := &l.topo.Sites[i]
		for j := range s.Hosts {
			h := &s.Hosts[j]
			a := h.Addr
			if family == 6 {
				a = h.Addr6
			}
			if a.IsValid() && !h.Standby {
				list = append(list, subject{s, l.hosts[h.Name], a})
				break
			}
		}
	}
	return list
}

// proveFamily classifies the subjects, all at once.
func (l *Lab) proveFamily(ctx context.Context, family int, subjects []subject) error {
	host, addrs := l.probeHost(family)
	if host == nil {
		return fmt.Errorf("prove NATs of topology %s: no public host has two IPv%d addresses, which an RFC 5780 server needs", l.topo.Name, family)
	}
	server, err := probe.NewServer(host.ListenPacket, addrs, probePorts)
	if err != nil {
		return fmt.Errorf("prove NATs: start RFC 5780 server on host %s: %w", host.Name, err)
	}
	done := make(chan error)
	for _, s := range subjects {
		go func() { done <- l.classify(ctx, s, netip.AddrPortFrom(addrs[0], probePorts[0])) }()
	}
	var errs []error
	for range subjects {
		errs = append(errs, <-done)
	}
	return errors.Join(append(errs, server.Close())...)
}

func (l *Lab) classify(ctx context.Context, s subject, server netip.AddrPort) error {
	network, path := "udp4", l.topo.NATs
	if s.from.Is6() {
		network, path = "udp6", l.topo.NATs6
	}
	listen := func() (net.PacketConn, error) {
		return s.host.ListenPacket(network, netip.AddrPortFrom(s.from, 0).String())
	}
	r, err := conclude(func(o probe.Options) (probe.Result, error) { return probe.Classify(ctx, listen, server, o) })
	if err != nil {
		return fmt.Errorf("classify NAT of site %s: %w", s.site.Name, err)
	}
	if err := r.Check(path(s.host.Name)); err != nil {
		return fmt.Errorf("%w: site %s, %s: %w", ErrMisclassified, s.site.Name, s.site.NAT, err)
	}
	return nil
}

// conclude classifies until that is conclusive, each time with more patience. A result is never asked for twice.
func conclude(classify func(probe.Options) (probe.Result, error)) (r probe.Result, err error) {
	for _, o := range probeOptions {
		if r, err = classify(o); !errors.Is(err, probe.ErrInconclusive) {
			return r, err
		}
	}
	return r, err
}

// probeHost returns the first public host with two addresses of the family, or nil.
func (l *Lab) probeHost(family int) (*Machine, [2]netip.Addr) {
	for _, p := range l.topo.Public {
		var own []netip.Addr
		for _, a := range p.Addrs {
			if a.Is6() == (family == 6) {
				own = append(own, a)
			}
		}
		if len(own) >= 2 {
			return l.hosts[p.Name], [2]netip.Addr(own)
		}
	}
	return nil, [2]netip.Addr{}
}
