package probe

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Server answers binding requests as RFC 5780 asks, and RFC 3489 clients as they expect it, from two addresses × two
// ports. It is safe for concurrent use.
type Server struct {
	conns     [2][2]net.PacketConn
	endpoints [2][2]netip.AddrPort
	serving   sync.WaitGroup

	answered, malformed, foreign, unsent atomic.Uint64
}

// ServerStats counts what a server did with the datagrams that it got.
type ServerStats struct {
	Answered  uint64 // error responses included
	Malformed uint64 // dropped: not STUN, or broken
	Foreign   uint64 // dropped: STUN, but no binding request
	Unsent    uint64 // the answer could not be sent
}

// NewServer opens the four sockets by listen, with network "udp4" or "udp6", and serves until Close.
func NewServer(listen func(network, address string) (net.PacketConn, error), addrs [2]netip.Addr, ports [2]uint16) (*Server, error) {
	if addrs[0] == addrs[1] || ports[0] == ports[1] {
		return nil, fmt.Errorf("start STUN server: want two addresses and two ports, not %v and %v", addrs, ports)
	}
	s := &Server{}
	for i, a := range addrs {
		network := "udp4"
		if a.Is6() {
			network = "udp6"
		}
		for j, p := range ports {
			s.endpoints[i][j] = netip.AddrPortFrom(a, p)
			c, err := listen(network, s.endpoints[i][j].String())
			if err != nil {
				return nil, errors.Join(fmt.Errorf("start STUN server: %w", err), s.Close())
			}
			s.conns[i][j] = c
		}
	}
	for i := range s.conns {
		for j := range s.conns[i] {
			s.serving.Go(func() { s.serve(i, j) })
		}
	}
	return s, nil
}

// Addr returns the first of the four endpoints, the one that clients ask first.
func (s *Server) Addr() netip.AddrPort { return s.endpoints[0][0] }

// Stats returns the counts so far.
func (s *Server) Stats() ServerStats {
	return ServerStats{Answered: s.answered.Load(), Malformed: s.malformed.Load(), Foreign: s.foreign.Load(), Unsent: s.unsent.Load()}
}

// Close ends the server and waits for its goroutines.
func (s *Server) Close() error {
	var errs []error
	for _, row := range s.conns {
		for _, c := range row {
			if c != nil {
				errs = append(errs, c.Close())
			}
		}
	}
	s.serving.Wait()
	return errors.Join(errs...)
}

func (s *Server) serve(i, j int) {
	buf := make([]byte, 1500)
	for {
		n, addr, err := s.conns[i][j].ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about an earlier answer
		}
		client, err := endpointOf(addr)
		if err != nil {
			continue
		}
		s.handle(i, j, client, addr, buf[:n])
	}
}

// handle answers one datagram that came to socket i, j.
func (s *Server) handle(i, j int, client netip.AddrPort, addr net.Addr, b []byte) {
	r, err := parseRequest(b)
	switch {
	case errors.Is(err, errNotForUs):
		s.foreign.Add(1)
		return
	case err != nil && !errors.Is(err, errUnknownAttr):
		s.malformed.Add(1)
		return
	}
	from, out := i, j
	if r.change&changeIP != 0 {
		from = 1 - i
	}
	if r.change&changePort != 0 {
		out = 1 - j
	}
	other := s.endpoints[1-i][1-j]
	if !r.classic {
		// RFC 5780 §7.4 wants the other address seen from the one that was asked. Coturn names the second address in
		// all cases, and its natdiscovery, which takes the last OTHER-ADDRESS for its third mapping test, only works so.
		// To clients that keep the first answer's, as §4.3 says, it is the same.
		other = s.endpoints[1][1-j]
	}
	b, err = r.response(client, s.endpoints[from][out], other)
	if err == nil {
		_, err = s.conns[from][out].WriteTo(b, addr)
	}
	if err != nil {
		s.unsent.Add(1)
		return
	}
	s.answered.Add(1)
}
