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

// Prove has every host's NATs classified by an RFC 5780 server on the public host with two addresses, over unimpaired
// links, and compares what was seen with the topology. It leaves flows behind: Reset the lab afterwards.
func (l *Lab) Prove(ctx context.Context) error {
	srv := l.probeHost()
	if srv == nil {
		return fmt.Errorf("prove NATs of topology %s: no public host has two addresses, which an RFC 5780 server needs", l.topo.Name)
	}
	for _, up := range l.uplinks {
		if err := up.SetProfile(link.Profile{}); err != nil {
			return fmt.Errorf("prove NATs: lift impairments: %w", err)
		}
	}
	server, err := probe.NewServer(srv.listenPacket, [2]netip.Addr{srv.Addrs[0], srv.Addrs[1]}, probePorts)
	if err != nil {
		return fmt.Errorf("prove NATs: start RFC 5780 server on host %s: %w", srv.Name, err)
	}
	err = l.classifyAll(ctx, netip.AddrPortFrom(srv.Addrs[0], probePorts[0]))
	err = errors.Join(err, server.Close(), l.setLinks())
	if err != nil {
		return err
	}
	l.proved = l.digest
	return nil
}

// classifyAll classifies the first host of every site that has one, all at once.
func (l *Lab) classifyAll(ctx context.Context, server netip.AddrPort) error {
	done := make(chan error)
	n := 0
	for i := range l.topo.Sites {
		s := &l.topo.Sites[i]
		if len(s.Hosts) == 0 {
			continue
		}
		n++
		go func() { done <- l.classify(ctx, s, l.hosts[s.Hosts[0].Name], server) }()
	}
	var errs []error
	for range n {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

func (l *Lab) classify(ctx context.Context, s *Site, m *Machine, server netip.AddrPort) error {
	listen := func() (net.PacketConn, error) {
		return m.listenPacket("udp4", netip.AddrPortFrom(m.Addr(), 0).String())
	}
	r, err := conclude(func(o probe.Options) (probe.Result, error) { return probe.Classify(ctx, listen, server, o) })
	if err != nil {
		return fmt.Errorf("classify NAT of site %s: %w", s.Name, err)
	}
	if err := r.Check(l.topo.NATs(m.Name)); err != nil {
		return fmt.Errorf("%w: site %s, %s: %w", ErrMisclassified, s.Name, s.NAT, err)
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

// probeHost returns the first public host with two addresses, or nil.
func (l *Lab) probeHost() *Machine {
	for _, p := range l.topo.Public {
		if len(p.Addrs) >= 2 {
			return l.hosts[p.Name]
		}
	}
	return nil
}
