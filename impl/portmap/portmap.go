// Package portmap has the router map a port to one of this host's sockets, by whichever of three protocols it speaks, and
// keeps the mapping for as long as it is wanted.
//
//	            ┌─ PCP      RFC 6887   gateway:5351, MAP with a nonce              at once
//	Map(ctx) ───┼─ NAT-PMP  RFC 6886   gateway:5351                                when PCP is refused, or silent for 0.15 s
//	            └─ UPnP IGD            SSDP and description at once; AddPortMapping  when both are, or silent for 0.3 s
//
// The first that is granted counts. All three name the same internal endpoint, so that a second grant is mostly the same
// mapping; one by another external port is taken back.
//
//	Mapping:  asked for again after half its life, at least every 5 min, and at once when Check or Seen is called or the
//	          gateway announces an epoch that tells of a reboot (RFC 6886 §3.6, RFC 6887 §8.5)
//	          external endpoint changed, lost, found again ──► Changed
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
	"cmp"
	"context"
	"crypto/rand"
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
	ErrConfig    = errors.New("configuration is incomplete") // says which field
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

const (
	usualLifetime = time.Hour
	usualTimeout  = 3 * time.Second
	usualName     = "punchlab"
)

func (c Config) withDefaults() (Config, error) {
	switch {
	case !c.Gateway.Is4():
		return c, fmt.Errorf("%w: gateway %v, want an IPv4 address", ErrConfig, c.Gateway)
	case !c.Internal.Addr().Is4() || c.Internal.Addr().IsUnspecified() || c.Internal.Port() == 0:
		return c, fmt.Errorf("%w: internal endpoint %v, want the IPv4 address and port of a socket", ErrConfig, c.Internal)
	case c.Transport != 0 && c.Transport != TCP && c.Transport != UDP:
		return c, fmt.Errorf("%w: %v, want TCP or UDP", ErrConfig, c.Transport)
	case c.Lifetime < 0 || c.Timeout < 0:
		return c, fmt.Errorf("%w: a time is negative", ErrConfig)
	}
	c.Transport = cmp.Or(c.Transport, UDP)
	c.External = cmp.Or(c.External, c.Internal.Port())
	c.Lifetime = max(cmp.Or(c.Lifetime, usualLifetime), time.Second)
	c.Timeout = cmp.Or(c.Timeout, usualTimeout)
	c.Name = cmp.Or(c.Name, usualName)
	if len(c.Methods) == 0 {
		c.Methods = Methods
	}
	if c.ListenPacket == nil {
		c.ListenPacket = net.ListenPacket
	}
	if c.DialContext == nil {
		c.DialContext = new(net.Dialer).DialContext
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	return c, nil
}
