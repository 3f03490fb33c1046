package viewer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/punchlab/punchlab/impl/device"
	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/punch"
	"github.com/punchlab/punchlab/impl/wire"
)

// Options describe a viewer. Zero values mean what is said at each.
type Options struct {
	Key     identity.Key
	Book    string         // file of the cameras (0600), made if missing; "": memory
	Network device.Network // where sockets are made; without ListenUDP: this host
	// Resolve finds a rendezvous' addresses by its label's HOST:PORT; nil: the host's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.AddrPort, error)
	TLS     uint16 // where a rendezvous has TLS; 0: 443

	Name     string // what owners see in the list of who may watch; "": nothing
	Token    []byte // of an account, where the rendezvous wants one
	Strategy string // see punch.Names; "": adaptive
	NoLAN    bool   // look for cameras by the rendezvous alone, not on the local network too
	// Groups are where cameras of the local network listen; nil: the protocol's, on each of this host's interfaces. At most 6.
	Groups []netip.AddrPort
	FPS    int // the cameras' frames per second, of which the frames' numbers follow; 0: 25

	// Boot numbers the viewers that are made with Key (see Boots); nil: the clock is right, and was so each time the key was used.
	Boot func() (uint64, error)
	Rand io.Reader    // cryptographically random; nil: crypto/rand
	Log  *slog.Logger // nil: none
	// Observe is given each event of a core (impl/viewer), as node.Options.Observe is.
	Observe func(event any)
	Ready   func(*Viewer) // called by Run once it is open

	renew time.Duration // how long a rendezvous may be silent until its names are resolved again; 0: 30 s
}

func (o Options) withDefaults() (Options, error) {
	if o.Key.IsZero() {
		return o, errors.New("start viewer: the key is missing")
	}
	if o.Network.ListenUDP == nil {
		o.Network = device.Host()
	}
	if o.Resolve == nil {
		o.Resolve = resolve
	}
	if o.TLS == 0 {
		o.TLS = 443
	}
	if o.Boot == nil {
		o.Boot = func() (uint64, error) { return 0, nil }
	}
	if o.Strategy == "" {
		o.Strategy = "adaptive"
	}
	if o.Groups == nil {
		o.Groups = groups()
	}
	if o.renew == 0 {
		o.renew = 30 * time.Second
	}
	if o.FPS == 0 {
		o.FPS = 25
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p, err := punch.Lookup(o.Strategy)
	switch {
	case err != nil:
		return o, fmt.Errorf("start viewer: %w", err)
	case p.Forward || p.Has(punch.MethodTURN):
		return o, fmt.Errorf("start viewer: strategy %s needs more than a label says; use punchlab viewer LABEL, or another strategy", o.Strategy)
	case len(o.Groups) > maxGroups:
		return o, fmt.Errorf("start viewer: %d multicast groups, at most %d", len(o.Groups), maxGroups)
	case o.Name != "" && !wire.ValidName(o.Name):
		return o, fmt.Errorf("start viewer: the name %q is longer than %d bytes, or has control characters", o.Name, wire.MaxName)
	}
	return o, nil
}

// maxGroups is in how many multicast groups cameras are looked for; an IPv6 one counts for each interface.
const maxGroups = 6

// groups are where cameras of the local network listen.
func groups() []netip.AddrPort {
	const port = 4478
	all := []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("239.255.44.79"), port)}
	interfaces, err := net.Interfaces()
	if err != nil {
		return all
	}
	for _, i := range interfaces {
		if len(all) < maxGroups && i.Flags&net.FlagUp != 0 && i.Flags&net.FlagMulticast != 0 && i.Flags&net.FlagLoopback == 0 {
			all = append(all, netip.AddrPortFrom(netip.MustParseAddr("ff02::4479").WithZone(i.Name), port))
		}
	}
	return all
}

// resolve asks the host's resolver.
func resolve(ctx context.Context, host string) (at []netip.AddrPort, err error) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	for _, ip := range ips {
		at = append(at, netip.AddrPortFrom(ip.Unmap(), uint16(n)))
	}
	return at, err
}
