package stack

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/node"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/lab"
)

// server is a trial's rendezvous. It is a lab.Program: an event may kill it, and start it again with the same key and
// address but nothing in its memory.
type server struct {
	machine *lab.Machine
	at      []netip.AddrPort
	key     identity.Key
	random  io.Reader // seeds a generator for each start
	observe func(any)
	forget  func()

	mu      sync.Mutex
	core    *rendezvous.Server
	node    *node.Node // nil: it is dead
	relayed int64      // by those that were killed
}

// Start opens the socket and serves, unless it does.
func (s *server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node != nil {
		return nil
	}
	core, err := rendezvous.New(rendezvous.Config{Static: s.key, Rand: generator(s.random)})
	if err != nil {
		return fmt.Errorf("start rendezvous: %w", err)
	}
	var conns []*net.UDPConn
	for _, at := range s.at {
		conn, err := s.machine.ListenUDP(at)
		if err != nil {
			return errors.Join(fmt.Errorf("start rendezvous: %w", err), closeAll(conns))
		}
		conns = append(conns, conn)
	}
	n, err := drive(conns, core, s.observe)
	if err != nil {
		return fmt.Errorf("start rendezvous: %w", err)
	}
	s.core, s.node = core, n
	return nil
}

// Kill closes the socket: what still comes is answered by the host, with port unreachable.
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
