package plug

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/mdlayher/packet"
	"github.com/punchlab/punchlab/lab"
	lanpacket "github.com/punchlab/punchlab/lab/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const serverPort, clientPort = 67, 68

// dhcpServer is a dhcpCore with its sockets and clock. A packet socket, as other servers have it: a client without an
// address must be reached by its hardware's, and what it sends must not depend on how the router filters and translates.
type dhcpServer struct {
	outlet *lab.Outlet
	conn   *packet.Conn
	sink   net.PacketConn // has the port, so that the router does not call it unreachable; nobody reads it
	loop   sync.WaitGroup

	mu      sync.Mutex
	core    *dhcpCore
	granted chan struct{} // closed and replaced with each ACK
}

func serveDHCP(o *lab.Outlet, lease time.Duration) (*dhcpServer, error) {
	s := &dhcpServer{outlet: o, core: newDHCPCore(o.Gateway, o.LAN, o.Addrs, lease), granted: make(chan struct{})}
	err := o.Do(func() (err error) {
		if s.sink, err = bound(o.Device).ListenPacket(context.Background(), "udp4", netip.AddrPortFrom(o.Gateway, serverPort).String()); err != nil {
			return err
		}
		device, err := net.InterfaceByName(o.Device)
		if err != nil {
			return err
		}
		filter, err := bpf.Assemble(toServer)
		if err != nil {
			return err
		}
		s.conn, err = packet.Listen(device, packet.Datagram, unix.ETH_P_IP, &packet.Config{Filter: filter})
		return err
	})
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.loop.Go(s.serve)
	return s, nil
}

// toServer matches whole UDP datagrams to the server's port, from the IP header on.
var toServer = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 9, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 6},
	bpf.LoadAbsolute{Off: 6, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: 4}, // a fragment
	bpf.LoadMemShift{Off: 0},
	bpf.LoadIndirect{Off: 2, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: serverPort, SkipTrue: 1},
	bpf.RetConstant{Val: 1 << 16},
	bpf.RetConstant{Val: 0},
}

// serve answers until the socket is closed.
func (s *dhcpServer) serve() {
	b := make([]byte, 1<<16)
	for {
		n, _, err := s.conn.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if errors.Is(err, unix.ENETDOWN) { // told once, when the device goes down
				continue
			}
			return
		}
		if reply := s.handle(b[:n]); reply != nil {
			frame, to := addressed(reply, s.outlet.Gateway)
			_, _ = s.conn.WriteTo(frame, &packet.Addr{HardwareAddr: to}) // lost, like any datagram
		}
	}
}

// handle takes an IP packet and returns the reply, or nil.
func (s *dhcpServer) handle(b []byte) *dhcpv4.DHCPv4 {
	if s.outlet.Silent() {
		return nil
	}
	body, ok := payload(b, s.outlet.Gateway)
	q, err := dhcpv4.FromBytes(body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok || err != nil {
		s.core.counts.Ignored++
		return nil
	}
	reply := s.core.answer(time.Now(), q)
	if reply != nil && reply.MessageType() == dhcpv4.MessageTypeAck {
		close(s.granted)
		s.granted = make(chan struct{})
	}
	return reply
}

// payload is that of a UDP packet which is for the server: sent to it, or to all. Checksums are not looked at: by a virtual
// cable they come unfinished.
func payload(b []byte, server netip.Addr) ([]byte, bool) {
	ip, err := lanpacket.ParseIPv4(b)
	if err != nil {
		return nil, false
	}
	if to := ip.Dst(); to != server && to != netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return nil, false
	}
	const header = 8
	udp := ip.Payload()
	if len(udp) < header {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(udp[4:]))
	if n < header || n > len(udp) {
		return nil, false
	}
	return udp[header:n], true
}

// addressed is a reply as an IP packet, and the hardware address that it goes to (RFC 2131 §4.1).
func addressed(r *dhcpv4.DHCPv4, server netip.Addr) ([]byte, net.HardwareAddr) {
	to, hw := netip.AddrFrom4([4]byte{255, 255, 255, 255}), net.HardwareAddr{255, 255, 255, 255, 255, 255}
	unicast := r.HWType == iana.HWTypeEthernet && len(r.ClientHWAddr) == len(hw) && r.MessageType() != dhcpv4.MessageTypeNak
	at := addrOf(r.ClientIPAddr)
	if !at.IsValid() && !r.IsBroadcast() {
		at = addrOf(r.YourIPAddr)
	}
	if unicast && at.IsValid() {
		to, hw = at, r.ClientHWAddr
	}
	from := netip.AddrPortFrom(server, serverPort)
	return lanpacket.AppendUDP(nil, from, netip.AddrPortFrom(to, clientPort), r.ToBytes()), hw
}

func (s *dhcpServer) leases() []Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.core.history)
}

func (s *dhcpServer) counts() DHCPCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.counts
}

func (s *dhcpServer) holder(now time.Time) (Lease, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.holder(now)
}

func (s *dhcpServer) await(ctx context.Context) (Lease, error) {
	for {
		s.mu.Lock()
		l, ok := s.core.holder(time.Now())
		granted := s.granted
		s.mu.Unlock()
		if ok {
			return l, nil
		}
		select {
		case <-granted:
		case <-ctx.Done():
			return Lease{}, ctx.Err()
		}
	}
}

func (s *dhcpServer) close() error {
	var errs []error
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.sink != nil {
		errs = append(errs, s.sink.Close())
	}
	s.loop.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("end DHCP: %w", err)
	}
	return nil
}
