// Package probe classifies a NAT over real sockets, as RFC 5780 does.
package probe

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
)

// Result is what a classification saw.
type Result struct {
	Mapping       nat.Dependency
	Filtering     nat.Dependency // EndpointIndependent too where nothing filters
	Translated    bool
	PortPreserved bool
	Hairpin       bool           // two sockets of the host reach each other through their reflexive endpoints
	Reflexive     netip.AddrPort // of the first socket
	NoUDP         bool           // the server never answered; the other fields are then zero
}

// Check compares the result with what the routers on the path promise, innermost first, and says what differs.
func (r Result) Check(path []nat.Behavior) error { return nil }

// Options tune a classification. Zero values are the defaults.
type Options struct {
	RTO   time.Duration // between transmissions; default 100 ms
	Tries int           // transmissions before an answer counts as absent; default 8
}

// Server answers as RFC 5780 (and RFC 3489) asks, on two addresses × two ports.
type Server struct{}

// NewServer opens the four sockets by listen and serves until Close.
func NewServer(listen func(network, address string) (net.PacketConn, error), addrs [2]netip.Addr, ports [2]uint16) (*Server, error) {
	return &Server{}, nil
}

// Close ends the server and waits for its goroutines.
func (s *Server) Close() error { return nil }

// Classify asks the server about the NATs between here and there. listen opens a fresh socket on any port each time.
func Classify(ctx context.Context, listen func() (net.PacketConn, error), server netip.AddrPort, o Options) (Result, error) {
	return Result{}, nil
}
