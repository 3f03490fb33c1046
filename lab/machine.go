package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"

	"github.com/punchlab/punchlab/lab/netns"
)

// Machine is a host of a running lab: a namespace to run things in. It is safe for concurrent use.
type Machine struct {
	Name  string
	Addrs []netip.Addr
	ns    *netns.NS
}

// Addr returns the host's first address.
func (m *Machine) Addr() netip.Addr { return m.Addrs[0] }

// Do runs fn on a thread inside the host's namespace: sockets and processes that it makes are the host's.
func (m *Machine) Do(fn func() error) error { return m.ns.Do(fn) }

// ListenUDP opens a UDP socket on the host. An invalid address listens on every address, port 0 on any port.
func (m *Machine) ListenUDP(at netip.AddrPort) (c *net.UDPConn, err error) {
	network, addr := "udp4", net.UDPAddrFromAddrPort(at)
	if !at.Addr().IsValid() {
		addr = &net.UDPAddr{Port: int(at.Port())}
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
