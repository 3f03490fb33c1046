package stack

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	program "github.com/punchlab/punchlab/impl/program/rendezvous"
	"github.com/punchlab/punchlab/impl/rendezvous"
	"github.com/punchlab/punchlab/lab"
)

// rendezvousServer is what a trial has of its rendezvous, be it one or several.
type rendezvousServer interface {
	relayedBytes() int64
	close() error
}

// startServers starts a rendezvous on each host that is one.
func startServers(ctx context.Context, l *lab.Lab, k identity.Key, random io.Reader, observe func(any)) (rendezvousServer, error) {
	hosts := rendezvousHosts(l.Topology())
	if len(hosts) > 1 {
		n, err := startNodes(ctx, l, hosts, k, observe)
		if err != nil {
			return nil, err
		}
		return n, nil
	}
	m := l.Host("rendezvous")
	s := newServer(m, k, random, observe)
	if err := s.Start(); err != nil {
		return nil, err
	}
	s.forget = m.Run(s)
	return s, nil
}

// server is a trial's rendezvous. It is a lab.Program: an event may kill it, and start it again with the same key and
// address but nothing in its memory.
type server struct {
	machine *lab.Machine
	key     identity.Key
	random  io.Reader // seeds a generator for each start
	observe func(any)
	forget  func()

	mu      sync.Mutex
	handle  *program.Handle // nil: it is dead
	relayed int64           // by those that were killed
}

func newServer(m *lab.Machine, k identity.Key, random io.Reader, observe func(any)) *server {
	return &server{machine: m, key: k, random: random, observe: observe}
}

// Start opens the sockets and serves, unless it does.
func (s *server) Start() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handle != nil {
		return nil
	}
	s.handle, err = program.Start(program.Options{
		Key: s.key, Network: network(s.machine), Addrs: s.addrs(), Port: bundledPort, Second: alternatePort, TLS: tlsPort, NeedStreams: true,
		Rand: generator(s.random), Observe: s.observe,
	})
	if err != nil {
		return fmt.Errorf("start rendezvous: %w", err)
	}
	return nil
}

// addrs lists the host's addresses, two of each family at most: as many as STUN's behaviour discovery needs.
func (s *server) addrs() (addrs []netip.Addr) {
	var each [2]int
	for _, a := range s.machine.Addrs {
		family := 0
		if a.Is6() {
			family = 1
		}
		if each[family]++; each[family] <= 2 {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// Kill closes the sockets: what still comes is answered by the host, with port unreachable.
func (s *server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handle == nil {
		return
	}
	s.handle.Kill()
	s.relayed += s.handle.Stats().Core.RelayedBytes
	s.handle = nil
}

// do asks the core, unless the server is dead.
func (s *server) do(ask func(*rendezvous.Server) bool) (yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handle != nil {
		s.handle.Do(func(_ time.Time, core *rendezvous.Server) { yes = ask(core) })
	}
	return yes
}

// relayedBytes is what all servers of the trial have relayed.
func (s *server) relayedBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handle == nil {
		return s.relayed
	}
	return s.relayed + s.handle.Stats().Core.RelayedBytes
}

// close ends it for good: no event knows it any more.
func (s *server) close() error {
	if s.forget != nil {
		s.forget()
	}
	s.Kill()
	return nil
}
