package lab

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"sync"

	"github.com/punchlab/punchlab/lab/netns"
)

// Machine is a host of a running lab: a namespace to run things in. It is safe for concurrent use.
type Machine struct {
	Name  string
	Addrs []netip.Addr // IPv4 first
	ns    *netns.NS

	mu      sync.Mutex
	killers map[int]func()
	next    int
}

// Addr returns the host's first address.
func (m *Machine) Addr() netip.Addr { return m.Addrs[0] }

// Do runs fn on a thread inside the host's namespace: sockets and processes that it makes are the host's.
func (m *Machine) Do(fn func() error) error { return m.ns.Do(fn) }

// OnKill has stop called when the scenario kills what runs on the host, until forget is called.
func (m *Machine) OnKill(stop func()) (forget func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := m.next
	m.next++
	if m.killers == nil {
		m.killers = map[int]func(){}
	}
	m.killers[id] = stop
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.killers, id)
	}
}

// Kill ends what runs on the host, as far as it was announced by OnKill, and returns how much that was.
func (m *Machine) Kill() int {
	m.mu.Lock()
	stops := slices.Collect(maps.Values(m.killers))
	m.killers = nil
	m.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	return len(stops)
}

// ListenUDP opens a UDP socket on the host. An invalid address listens on every address of the family of the host's
// first one, port 0 on any port.
func (m *Machine) ListenUDP(at netip.AddrPort) (c *net.UDPConn, err error) {
	network, addr := "udp4", net.UDPAddrFromAddrPort(at)
	if !at.Addr().IsValid() {
		addr = &net.UDPAddr{Port: int(at.Port())}
	}
	if at.Addr().Is6() || !at.Addr().IsValid() && m.Addr().Is6() {
		network = "udp6"
	}
	err = m.ns.Do(func() (err error) {
		c, err = net.ListenUDP(network, addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on host %s: %w", m.Name, err)
	}
	return c, nil
}

// listenPacket is net.ListenPacket on the host.
func (m *Machine) listenPacket(network, address string) (c net.PacketConn, err error) {
	err = m.ns.Do(func() (err error) {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}

// Start starts a command on the host.
func (m *Machine) Start(cmd *exec.Cmd) error {
	if err := m.ns.Do(cmd.Start); err != nil {
		return fmt.Errorf("start %s on host %s: %w", cmd.Path, m.Name, err)
	}
	return nil
}
