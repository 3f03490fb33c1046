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
	dead     bool // programs are to be so
	asleep   bool // so is the host
	next     int
}

// Program is something that runs on a host and that an event may kill. Its methods must not call the Machine's Run, nor
// what that returned.
type Program interface {
	Kill()        // at once, without a word to anybody; nothing if it is dead
	Start() error // again, from what it had at its first start; nothing if it runs
}

// Addr returns the host's first address.
func (m *Machine) Addr() netip.Addr { return m.Addrs[0] }

// errNoLab is a Machine's that Up has not made: it has no namespace, and must not do anything in the program's own.
var errNoLab = errors.New("no lab made this host")

// Do runs fn on a thread inside the host's namespace: sockets and processes that it makes are the host's.
func (m *Machine) Do(fn func() error) error {
	if m.ns == nil {
		return errNoLab
	}
	return m.ns.Do(fn)
}

// Run announces a program that runs, which events may kill or, if it is a Sleeper, suspend, until forget is called. On a host
// whose programs are to be dead it is killed at once, and on one that sleeps it sleeps.
func (m *Machine) Run(p Program) (forget func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := m.next
	m.next++
	if m.programs == nil {
		m.programs = map[int]Program{}
	}
	m.programs[id] = p
	if m.dead {
		p.Kill()
	}
	if s, ok := p.(Sleeper); ok && m.asleep {
		s.Sleep()
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.programs, id)
	}
}

// kill ends the programs that are announced, and those to come, or starts them again.
func (m *Machine) kill(dead bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = dead
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(m.programs)) {
		if dead {
			m.programs[id].Kill()
		} else {
			errs = append(errs, m.programs[id].Start())
		}
	}
	return errors.Join(errs...)
}

// move brings the host to a site: of its interfaces that one is in use.
func (m *Machine) move(to string) error {
	for _, c := range m.cards {
		if c.site == to {
			continue
		}
		if err := c.leave(m.ns); err != nil {
			return err
		}
	}
	if err := m.card(to).enter(m.ns); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.in = to
	return nil
}

// current is the site on whose LAN the host is now.
func (m *Machine) current() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.in
}

// card is the host's interface on a site's LAN.
func (m *Machine) card(site string) card {
	return m.cards[slices.IndexFunc(m.cards, func(c card) bool { return c.site == site })]
}

// ListenUDP opens a UDP socket on the host. An invalid address listens on every address of the families that the host has,
// port 0 on any port.
func (m *Machine) ListenUDP(at netip.AddrPort) (c *net.UDPConn, err error) {
	network, addr := "udp4", net.UDPAddrFromAddrPort(at)
	if !at.Addr().IsValid() {
		addr = &net.UDPAddr{Port: int(at.Port())}
	}
	last := m.Addrs[len(m.Addrs)-1] // IPv4 is first
	switch {
	case at.Addr().Is6(), !at.Addr().IsValid() && m.Addr().Is6():
		network = "udp6"
	case !at.Addr().IsValid() && last.Is6():
		network = "udp"
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

// Start starts a command on the host.
func (m *Machine) Start(cmd *exec.Cmd) error {
	if err := m.ns.Do(cmd.Start); err != nil {
		return fmt.Errorf("start %s on host %s: %w", cmd.Path, m.Name, err)
	}
	return nil
}
