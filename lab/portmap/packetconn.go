package portmap

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/ipv4"
)

// packetConn is a UDP socket that knows by which device a datagram came, and sends by the one it names.
type packetConn struct {
	*ipv4.PacketConn
	source net.IP // of what it sends: the gateway address
	serve  func(now time.Duration, from netip.AddrPort, b []byte) [][]byte
}

func (s *Server) listenPacket(at, group netip.AddrPort, serve func(time.Duration, netip.AddrPort, []byte) [][]byte) (*packetConn, error) {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, fmt.Errorf("listen on %v: %w", at, err)
	}
	s.closers = append(s.closers, c)
	conn := &packetConn{PacketConn: ipv4.NewPacketConn(c), source: s.core.router.Address.AsSlice(), serve: serve}
	if err := conn.SetControlMessage(ipv4.FlagInterface, true); err != nil {
		return nil, fmt.Errorf("listen on %v: %w", at, err)
	}
	s.group[group] = conn
	return conn, nil
}

// answer serves one socket until it is closed.
func (s *Server) answer(c *packetConn) {
	b := make([]byte, 64<<10)
	for {
		n, control, from, err := c.ReadFrom(b)
		if err != nil {
			select {
			case <-s.closing:
				return
			default:
				continue // an ICMP error about an answer
			}
		}
		if control == nil || !slices.Contains(s.devices, control.IfIndex) && control.IfIndex != loopback {
			continue // by the WAN side
		}
		client := from.(*net.UDPAddr).AddrPort()
		client = netip.AddrPortFrom(client.Addr().Unmap(), client.Port())
		s.mu.Lock()
		answers := c.serve(s.now(), client, b[:n])
		s.mu.Unlock()
		for _, a := range answers {
			_, _ = c.WriteTo(a, &ipv4.ControlMessage{Src: c.source}, from) // lost, like any datagram
		}
	}
}

// loopback is its interface's index in every namespace.
const loopback = 1

// cast sends a datagram to its group by every LAN device.
func (c *packetConn) cast(devices []int, o Outgoing) {
	for _, index := range devices {
		_, _ = c.WriteTo(o.Data, &ipv4.ControlMessage{Src: c.source, IfIndex: index}, net.UDPAddrFromAddrPort(o.To)) // lost, like any datagram
	}
}

// manyMemberships lets a socket of this namespace join a group on that many devices; the kernel's own limit is 20.
func manyMemberships(n int) error {
	const path, usual = "/proc/sys/net/ipv4/igmp_max_memberships", 20
	if n <= usual {
		return nil
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(n)), 0); err != nil {
		return fmt.Errorf("allow %d multicast memberships: %w", n, err)
	}
	return nil
}
