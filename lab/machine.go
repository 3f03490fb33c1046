package lab

import (
	"errors"
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

	cards []card // interfaces; of several one is in use

	mu       sync.Mutex
	in       string // the site whose card is in use
	programs map[int]Program
	next     int
}

// Program is something that runs on a host and that an event may kill.
type Program interface {
	Kill()        // at once, without a word to anybody
	Start() error // again, from what it had at its first start
}

// Addr returns the host's first address.
func (m *Machine) Addr() netip.Addr { return m.Addrs[0] }

// Do runs fn on a thread inside the host's namespace: sockets and processes that it makes are the host's.
func (m *Machine) Do(fn func() error) error { return m.ns.Do(fn) }

// Run announces a program, which events may kill, until forget is called.
func (m *Machine) Run(p Program) (forget func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := m.next
	m.next++
	if m.programs == nil {
		m.programs = map[int]Program{}
	}
	m.programs[id] = p
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.programs, id)
	}
}

// kill ends the programs that were announced. Undo starts those again that have not been forgotten since.
func (m *Machine) kill() (undo func() error, err error) {
	programs := m.running()
	if len(programs) == 0 {
		return nil, fmt.Errorf("nothing runs on host %s that can be killed", m.Name)
	}
	for _, p := range programs {
		p.Kill()
	}
	return func() error {
		var errs []error
		for id, p := range programs {
			if m.running()[id] == p {
				errs = append(errs, p.Start())
			}
		}
		return errors.Join(errs...)
	}, nil
}

func (m *Machine) running() map[int]Program {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.programs)
}

// current is the site on whose LAN the host is now, and use changes that.
func (m *Machine) current() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.in
}

func (m *Machine) use(site string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.in = site
}

// card is the host's interface on a site's LAN.
func (m *Machine) card(site string) card {
	return m.cards[slices.IndexFunc(m.cards, func(c card) bool { return c.site == site })]
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
