package fabric

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/link"
)

// StationConfig describes a host on a router's LAN.
type StationConfig struct {
	Name    string         // unique on the router
	Addrs   []netip.Prefix // its addresses; only the addresses count, not their prefixes' lengths
	Routed  []netip.Prefix // what else is delivered to it
	Output  Output
	Offload bool // Output takes GSO packets and unfinished checksums; otherwise it is given neither
	// Self makes it the router's own host stack: it gets what is sent to the gateway's addresses and what the LAN
	// sends to multicast and broadcast addresses, and what it sends there reaches every station.
	Self bool
}

// Station is a host on a router's LAN.
type Station struct {
	name    string
	router  *Router
	nested  *Router // whose WAN this is
	out     Output  // nil: the gateway of a router without a Self station, or a closed one
	offload bool
	self    bool
	isDown  bool
	stats   StationStats
}

// StationStats counts what one station did since the net's Reset.
type StationStats struct {
	Name  string
	Up    Count      // what its host sent
	Down  Count      // what its host was given
	Drops link.Drops // of both
}

// Attach adds a host to the LAN.
func (r *Router) Attach(c StationConfig) (*Station, error) {
	if c.Name == "" || c.Output == nil {
		return nil, fmt.Errorf("attach station %q to router %q: name and output are required", c.Name, r.name)
	}
	s := &Station{name: c.Name, router: r, out: c.Output, offload: c.Offload, self: c.Self}
	routed := c.Routed
	for _, a := range c.Addrs {
		if a.IsValid() && !(c.Self && r.isGateway(a.Addr())) {
			routed = append(routed[:len(routed):len(routed)], netip.PrefixFrom(a.Addr(), a.Addr().BitLen()))
		}
	}
	if err := r.join(s, routed); err != nil {
		return nil, err
	}
	if c.Self {
		r.setHost(s)
	}
	return s, nil
}

// join gives a station its place on the LAN.
func (r *Router) join(s *Station, routed []netip.Prefix) error {
	if r.closed {
		return fmt.Errorf("attach station %q: router %q is closed", s.name, r.name)
	}
	for _, k := range r.stations {
		if k.name == s.name {
			return fmt.Errorf("attach station %q: router %q has one of this name", s.name, r.name)
		}
		if k.self && s.self {
			return fmt.Errorf("attach station %q: %q is router %q's own host already", s.name, k.name, r.name)
		}
	}
	if err := r.lan.check(routed, s); err != nil {
		return fmt.Errorf("attach station %q: %w", s.name, err)
	}
	for _, p := range routed {
		r.lan.add(p, s)
	}
	s.stats.Name = s.name
	r.stations = append(r.stations, s)
	return nil
}

// Close takes the station off the LAN.
func (s *Station) Close() {
	r := s.router
	r.lan.remove(s)
	for i, k := range r.stations {
		if k == s {
			r.stations = append(r.stations[:i:i], r.stations[i+1:]...)
			break
		}
	}
	s.out = nil
	if s.self {
		r.setHost(&r.gateway)
	}
}

// Name is the station's name.
func (s *Station) Name() string { return s.name }

// Stats returns the station's counts.
func (s *Station) Stats() StationStats { return s.stats }

// Send takes a packet that the station's host sent at now. The fabric owns it then, as with Uplink.Send.
func (s *Station) Send(now time.Duration, p *Packet) {
	n := s.router.net
	f := n.f
	f.Deliver(now, 0)
	if s.out == nil || n.closed {
		f.pool.put(p)
		return
	}
	n.begin(p)
	cause := check(p)
	s.stats.Up.add(p)
	if cause == link.Passed && s.isDown {
		cause = link.Down
	}
	if cause != link.Passed {
		s.drop(now, Sent, cause, p)
		return
	}
	if n.tap == nil {
		s.router.fromLAN(now, now, s, p)
	} else {
		f.siblings++
		c := f.split(p, &s.stats.Drops)
		for k := c.take(); k != nil; k = c.take() {
			n.see(now, AtStation, s.name, Sent, link.Passed, k)
			s.router.fromLAN(now, now, s, k)
		}
		f.siblings--
	}
	f.Deliver(now, 0)
}

// receive gives the packet to whoever is there: a host, a router that hangs on this LAN, or this router itself.
func (s *Station) receive(now, due time.Duration, p *Packet) {
	n := s.router.net
	switch {
	case s.isDown:
		s.drop(due, Delivered, link.Down, p)
	case s.nested != nil:
		s.nested.fromWAN(now, due, p)
	case s.out == nil:
		s.router.echo(now, due, p)
	default:
		size := p.wire()
		if n.hand(now, due, AtStation, s.name, s.out, s.offload, p, &s.stats.Drops) {
			s.stats.Down.Packets += size.Packets
			s.stats.Down.Bytes += size.Bytes
		}
	}
}

func (s *Station) drop(t time.Duration, at Point, c link.Cause, p *Packet) {
	s.stats.Drops[c] += p.wire().Packets
	n := s.router.net
	if n.tap != nil {
		n.see(t, AtStation, s.name, at, c, p)
	}
	n.f.pool.put(p)
}
