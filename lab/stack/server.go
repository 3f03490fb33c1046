package stack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/core"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/lab"
)

// server is a trial's rendezvous. It is a lab.Program: an event may kill it, and start it again with the same key and
// address but nothing in its memory.
type server struct {
	machine *lab.Machine
	key     identity.Key
	random  io.Reader // seeds a generator for each start
	observe func(any)
	forget  func()

	mu      sync.Mutex
	core    *rendezvous.Server
	node    *node.Node // nil: it is dead
	relayed int64      // by those that were killed
}

func newServer(m *lab.Machine, k identity.Key, random io.Reader, observe func(any)) *server {
	return &server{machine: m, key: k, random: random, observe: observe}
}

// Start opens the sockets and serves, unless it does.
func (s *server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node != nil {
		return nil
	}
	if err := s.start(); err != nil {
		return fmt.Errorf("start rendezvous: %w", err)
	}
	return nil
}

func (s *server) start() error {
	families := s.families()
	cfg := rendezvous.Config{Static: s.key, Rand: generator(s.random)}
	for _, addrs := range families {
		if len(addrs) > 1 {
			cfg.Grids = append(cfg.Grids, rendezvous.Grid{Addrs: [2]netip.Addr(addrs[:2]), Ports: [2]uint16{bundledPort, alternatePort}})
		}
	}
	core, err := rendezvous.New(cfg)
	if err != nil {
		return err
	}
	conns, streams, err := s.listen(families)
	if err != nil {
		return err
	}
	n, err := node.New(core, conns, node.Options{Observe: s.observe, Accept: streams})
	if err != nil {
		return errors.Join(err, closeAll(conns, streams))
	}
	s.core, s.node = core, n
	return nil
}

// families lists the host's addresses, two of each family at most: as many as STUN's behaviour discovery needs.
func (s *server) families() (of [][]netip.Addr) {
	for _, is4 := range []bool{true, false} {
		var addrs []netip.Addr
		for _, a := range s.machine.Addrs {
			if a.Is4() == is4 && len(addrs) < 2 {
				addrs = append(addrs, a)
			}
		}
		if len(addrs) > 0 {
			of = append(of, addrs)
		}
	}
	return of
}

// listen opens two UDP ports at each address, and TCP and TLS at the first one of each family.
func (s *server) listen(families [][]netip.Addr) (conns []*net.UDPConn, streams []node.Listener, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(conns, streams))
		}
	}()
	for _, addrs := range families {
		for _, a := range addrs {
			for _, port := range []uint16{bundledPort, alternatePort} {
				conn, err := s.machine.ListenUDP(netip.AddrPortFrom(a, port))
				if err != nil {
					return conns, streams, err
				}
				conns = append(conns, conn)
			}
		}
		for proto, port := range map[core.Proto]uint16{core.TCP: bundledPort, core.TLS: tlsPort} {
			l, err := s.machine.ListenTCP(netip.AddrPortFrom(addrs[0], port))
			if err != nil {
				return conns, streams, err
			}
			streams = append(streams, node.Listener{Listener: l, Proto: proto})
		}
	}
	return conns, streams, nil
}

func closeAll(conns []*net.UDPConn, streams []node.Listener) error {
	var errs []error
	for _, c := range conns {
		errs = append(errs, c.Close())
	}
	for _, l := range streams {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// Kill closes the sockets: what still comes is answered by the host, with port unreachable.
func (s *server) Kill() { _ = s.end() }

func (s *server) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node == nil {
		return nil
	}
	s.relayed += s.relayedNow()
	err := s.node.Close()
	s.node, s.core = nil, nil
	return err
}

// relayedNow is what the running server has relayed, in bytes.
func (s *server) relayedNow() (n int64) {
	if s.node != nil {
		s.node.Do(func(time.Time) { n = s.core.Stats().RelayedBytes })
	}
	return n
}

// relayedBytes is what all servers of the trial have relayed.
func (s *server) relayedBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.relayed + s.relayedNow()
}

// close ends it for good: no event knows it any more.
func (s *server) close() error {
	if s.forget != nil {
		s.forget()
	}
	return s.end()
}
