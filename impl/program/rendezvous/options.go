package rendezvous

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/rendezvous"
)

// Port is where a rendezvous listens by UDP and TCP unless told otherwise, TLS where by TLS, HTTP where its metrics are.
const (
	Port = 4479
	TLS  = 443
	HTTP = 9479
)

// Options describe a server. Zero values mean what is said at each.
type Options struct {
	Key     identity.Key   // all nodes of a cluster have the same
	Network device.Network // where sockets are made; without ListenUDP: this host
	Addrs   []netip.Addr   // to listen at; none: all of the network's. With two of a family devices learn how their NATs behave
	Public  []netip.Addr   // as others see Addrs, in their order, where the provider translates them one to one; none: the same
	Port    uint16         // UDP and TCP; 0: 4479
	Second  uint16         // a second UDP port, where a family has two addresses; 0: Port+1
	TLS     uint16         // TCP port for TLS; 0: none
	// NeedStreams makes it an error that a TCP or TLS port cannot be had. Without, it is logged: it costs those alone who have
	// no UDP.
	NeedStreams bool

	Limits rendezvous.Config // the core's knobs; what this package fills in itself (Static, Rand, Store, Grids, …) is ignored
	Rand   io.Reader         // cryptographically random; nil: crypto/rand

	Database string   // bbolt file of what outlives a restart; "": memory
	Makers   []string // public keys of the makers whose cameras are served, as text, or files of such; none: everybody's
	Revoked  []string // files of revocation lists
	Account  string   // public key of the account whose tokens viewers need, as text or a file; "": none is needed

	// NATS is where this node meets others: a URL of a server ("nats://…"; several by commas), or "embedded"; "": it is alone.
	NATS    string
	Cluster ClusterOptions

	HTTP string // address and port of /metrics, /healthz and /readyz; "": none

	Log     *slog.Logger     // nil: none
	Observe func(event any)  // given each event of the core, as node.Options.Observe is
	Ready   func(*Handle)    // called by Run once it serves
	Reload  <-chan os.Signal // Run reads the files of makers, revocations and account again
	Drain   time.Duration    // how long Run lets relays go on at the end; 0: 10 s; below 0: not at all
}

// ClusterOptions say how a node meets others.
type ClusterOptions struct {
	Name      string           // of this node, letters, digits and "-"; "": drawn from the key and the first address
	Advertise []netip.AddrPort // UDP addresses at which other nodes reach this one; none: the sockets'
	Dir       string           // embedded server's files; "": a folder beside Database, or memory without one
	Listen    string           // embedded server's address for clients; "": none but this node
	Routes    string           // embedded server's address for other embedded servers; "": no cluster of NATS servers
	Peers     []string         // embedded servers' Routes elsewhere, "HOST:PORT"
	Replicas  int              // copies of what is shared; 0: 1, or 3 with two Peers and more
	// Credentials is a NATS credentials file for an external server; "": none.
	Credentials string
}

func (o Options) withDefaults() (Options, error) {
	if o.Key.IsZero() {
		return o, errors.New("start rendezvous: the key is missing")
	}
	if o.Network.ListenUDP == nil {
		o.Network = thisHost()
	}
	if len(o.Addrs) == 0 {
		o.Addrs = o.Network.Addrs
	}
	if len(o.Addrs) == 0 {
		return o, errors.New("start rendezvous: this host has no address that others reach; name one to listen at")
	}
	if len(o.Public) > 0 && len(o.Public) != len(o.Addrs) {
		return o, fmt.Errorf("start rendezvous: %d public addresses for %d that it listens at: name one for each", len(o.Public), len(o.Addrs))
	}
	if o.Port == 0 {
		o.Port = Port
	}
	if o.Second == 0 {
		o.Second = o.Port + 1
	}
	if o.Second == o.Port || o.Second == 0 {
		return o, fmt.Errorf("start rendezvous: ports %d and %d: name two", o.Port, o.Second)
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Drain == 0 {
		o.Drain = 10 * time.Second
	}
	return o, nil
}

// thisHost is this host's network. Its TCP ports are not shared with another program.
func thisHost() device.Network {
	n := device.Host()
	n.ListenTCP = func(at netip.AddrPort) (*net.TCPListener, error) {
		return net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	}
	return n
}

// families lists the addresses by family, IPv4 first.
func (o Options) families() (of [][]netip.Addr) {
	for _, is4 := range []bool{true, false} {
		addrs := slices.DeleteFunc(slices.Clone(o.Addrs), func(a netip.Addr) bool { return a.Is4() != is4 })
		if len(addrs) > 0 {
			of = append(of, addrs)
		}
	}
	return of
}

// public is how others see an address of the server's.
func (o Options) public(a netip.Addr) netip.Addr {
	if i := slices.Index(o.Addrs, a); i >= 0 && i < len(o.Public) {
		return o.Public[i]
	}
	return a
}

// grids are the sockets by which devices learn how their NATs behave.
func (o Options) grids() (all []rendezvous.Grid) {
	for _, addrs := range o.families() {
		if len(addrs) > 1 {
			g := rendezvous.Grid{Addrs: [2]netip.Addr(addrs[:2]), Ports: [2]uint16{o.Port, o.Second}}
			if len(o.Public) > 0 {
				g.Public = [2]netip.Addr{o.public(addrs[0]), o.public(addrs[1])}
			}
			all = append(all, g)
		}
	}
	return all
}
