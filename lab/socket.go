package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Gateway returns the address of the host's router on the LAN where the host is now, or the zero Addr for a public host
// and on a LAN without IPv4.
func (m *Machine) Gateway() netip.Addr {
	for _, c := range m.cards {
		if c.site != m.current() {
			continue
		}
		for _, lan := range c.lans {
			if lan.Addr().Is4() {
				return gatewayOf(lan)
			}
		}
	}
	return netip.Addr{}
}

// ListenTCP listens on the host. Others, DialTCP among them, may use the same port beside it (SO_REUSEADDR, SO_REUSEPORT):
// a host that punches by TCP dials from the port on which it listens (RFC 5128 §3.4). An invalid address listens on every
// address of the family of the host's first one, port 0 on any port.
func (m *Machine) ListenTCP(at netip.AddrPort) (*net.TCPListener, error) {
	network := "tcp4"
	if at.Addr().Is6() || !at.Addr().IsValid() && m.Addr().Is6() {
		network = "tcp6"
	}
	c := net.ListenConfig{Control: reusable}
	c.SetMultipathTCP(false) // its sockets are no TCP sockets: they don't share ports with those, nor open simultaneously
	var l net.Listener
	err := m.ns.Do(func() (err error) {
		l, err = c.Listen(context.Background(), network, endpointText(at))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on host %s: %w", m.Name, err)
	}
	return l.(*net.TCPListener), nil
}

// DialTCP connects from the host. The local endpoint may be one that others use (SO_REUSEADDR, SO_REUSEPORT), an invalid
// address is any, and port 0 is any port. It gives up when ctx ends.
func (m *Machine) DialTCP(ctx context.Context, local, remote netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Control: reusable, LocalAddr: tcpAddr(local)}
	return m.dial(ctx, &d, "tcp", remote.String())
}

// DialContext is net.Dialer's on the host, for an address of numbers.
func (m *Machine) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return m.dial(ctx, &net.Dialer{}, network, address)
}

func (m *Machine) dial(ctx context.Context, d *net.Dialer, network, address string) (c net.Conn, err error) {
	d.SetMultipathTCP(false)
	err = m.ns.Do(func() (err error) {
		c, err = d.DialContext(ctx, network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dial from host %s: %w", m.Name, err)
	}
	return c, nil
}

// ListenPacket is net.ListenPacket on the host. Where the address is a multicast group, the host's interface in use joins it.
func (m *Machine) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = m.ns.Do(func() (err error) {
		if at, err := netip.ParseAddrPort(address); err == nil && at.Addr().IsMulticast() {
			c, err = m.listenGroup(network, at)
			return err
		}
		c, err = net.ListenPacket(network, address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on host %s: %w", m.Name, err)
	}
	return c, nil
}

func (m *Machine) listenGroup(network string, group netip.AddrPort) (net.PacketConn, error) {
	device := "eth0" // a public host's
	if len(m.cards) > 0 {
		device = m.card(m.current()).device
	}
	i, err := net.InterfaceByName(device)
	if err != nil {
		return nil, fmt.Errorf("find device %s: %w", device, err)
	}
	return net.ListenMulticastUDP(network, i, net.UDPAddrFromAddrPort(group))
}

// reusable lets others bind the socket's port too.
func reusable(_, _ string, c syscall.RawConn) error {
	var err error
	ctrl := c.Control(func(fd uintptr) {
		for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
			if err == nil {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1)
			}
		}
	})
	if ctrl != nil {
		return ctrl
	}
	return err
}

// endpointText is an endpoint as package net takes it, where an invalid address is every address.
func endpointText(at netip.AddrPort) string {
	if !at.Addr().IsValid() {
		return fmt.Sprintf(":%d", at.Port())
	}
	return at.String()
}

func tcpAddr(at netip.AddrPort) net.Addr {
	if !at.Addr().IsValid() {
		return &net.TCPAddr{Port: int(at.Port())}
	}
	return net.TCPAddrFromAddrPort(at)
}
