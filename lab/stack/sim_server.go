package stack

import (
	"io"
	"net/netip"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/lab/sim"
)

// simServer is a trial's rendezvous in virtual time, a sim.Program: what server is on real sockets, without TCP and TLS.
type simServer struct {
	net     *sim.Net
	host    *sim.Host
	key     identity.Key
	random  io.Reader // seeds a generator for each start
	observe func(any)

	core    *rendezvous.Server
	node    *simNode // nil: it is dead
	relayed int64    // by those that were killed
}

// Start opens the sockets and serves, unless it does.
func (s *simServer) Start() (err error) {
	if s.node != nil {
		return nil
	}
	var at []netip.AddrPort
	var grids []rendezvous.Grid
	for _, addrs := range byFamily(s.host.Addrs()) {
		for i, a := range addrs {
			if at = append(at, netip.AddrPortFrom(a, bundledPort)); len(addrs) > 1 && i < 2 {
				at = append(at, netip.AddrPortFrom(a, alternatePort))
			}
		}
		if len(addrs) > 1 {
			grids = append(grids, rendezvous.Grid{Addrs: [2]netip.Addr(addrs[:2]), Ports: [2]uint16{bundledPort, alternatePort}})
		}
	}
	s.core, err = rendezvous.New(rendezvous.Config{Static: s.key, Rand: generator(s.random), Grids: grids})
	if err != nil {
		return err
	}
	if s.node, err = newSimNode(s.net, s.host, at...); err != nil {
		return err
	}
	s.node.drive(s.core, s.observe)
	return nil
}

// byFamily lists addresses by family, IPv4 first, two of each at most: as many as STUN's behaviour discovery needs.
func byFamily(all []netip.Addr) [][]netip.Addr {
	var of [2][]netip.Addr
	for _, a := range all {
		family := 0
		if a.Is6() {
			family = 1
		}
		if len(of[family]) < 2 {
			of[family] = append(of[family], a)
		}
	}
	if len(of[0]) == 0 {
		return of[1:]
	}
	if len(of[1]) == 0 {
		return of[:1]
	}
	return of[:]
}

// Kill closes the sockets.
func (s *simServer) Kill() {
	if s.node == nil {
		return
	}
	s.node.close()
	s.relayed += s.core.Stats().RelayedBytes
	s.node = nil
}

// Sleep suspends it.
func (s *simServer) Sleep() {
	if s.node != nil {
		s.node.Sleep()
	}
}

// Wake lets it go on.
func (s *simServer) Wake() {
	if s.node != nil {
		s.node.Wake()
	}
}

// relayedBytes is what all servers of the trial have relayed.
func (s *simServer) relayedBytes() int64 {
	if s.node == nil {
		return s.relayed
	}
	return s.relayed + s.core.Stats().RelayedBytes
}
