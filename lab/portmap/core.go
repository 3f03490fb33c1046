package portmap

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
)

// Gateway is the NAT whose ports are mapped: lab/netfilter's Router, or a nat.Table with a clock. Requests come from
// the server's goroutines, one at a time, so its owner's other calls must be safe beside them.
//
// Map enters a mapping or renews it: an internal endpoint that has one keeps its external port. It refuses with
// nat.ErrPortTaken, nat.ErrNoPort or nat.ErrNoAddress. PortMaps lists what is still alive, with the external ports given.
type Gateway interface {
	Map(nat.PortMap) (netip.AddrPort, error)
	Unmap(nat.PortMap) error
	PortMaps() ([]nat.PortMap, error)
}

// Router is what the services know of the router they run on.
type Router struct {
	Address  netip.Addr        // on the LAN: the services' own
	LAN      netip.Prefix      // requests from elsewhere are dropped; zero: from everywhere
	External func() netip.Addr // the address of the WAN side as it is now; the zero Addr: none
	Gateway  Gateway
}

func (r Router) validate() error {
	switch {
	case !r.Address.Is4():
		return fmt.Errorf("gateway address %v: want IPv4", r.Address)
	case r.External == nil || r.Gateway == nil:
		return errors.New("external address and gateway must be given")
	}
	return nil
}

// Core answers the requests of one LAN. It is not safe for concurrent use. Times are counted from any one moment, and
// never go back.
type Core struct {
	cfg    Config
	router Router
	born   time.Duration // the epoch's zero
	leases map[leaseKey]*lease
	counts Counts

	notices []time.Duration // of announcements still to be made
	alive   int             // of those to come, how many also advertise by SSDP
}

// An internal endpoint has one mapping per protocol.
type leaseKey struct {
	protocol uint8
	internal netip.AddrPort
}

// lease is what the NAT does not know about a mapping.
type lease struct {
	service     service
	ends        time.Duration // as the client was told; zero: never
	nonce       [12]byte      // PCP's: who may change it
	description string        // UPnP's
}

type service uint8

const (
	upnp service = iota
	natpmp
	pcp
)

// NewCore returns the services of a router that starts now.
func NewCore(r Router, c Config, now time.Duration) (*Core, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("port mapping: %w", err)
	}
	return &Core{cfg: c.WithDefaults(), router: r, born: now, leases: map[leaseKey]*lease{}}, nil
}

// Reset forgets every mapping, count and announcement: the epoch starts now.
func (c *Core) Reset(now time.Duration) error {
	c.counts, c.notices, c.born = Counts{}, nil, now
	return c.forget()
}

// Reboot follows a router that has lost its state, by a reboot or with its external address: mappings that are left are
// taken back, the epoch starts now (RFC 6886 §3.6, RFC 6887 §8.5), and announcements begin.
func (c *Core) Reboot(now time.Duration) error {
	if !c.cfg.QuietReboot {
		c.born = now
		c.Announce(now)
	}
	return c.forget()
}

func (c *Core) forget() error {
	clear(c.leases)
	maps, err := c.router.Gateway.PortMaps()
	if err != nil {
		return fmt.Errorf("list port mappings: %w", err)
	}
	var errs []error
	for _, m := range maps {
		if err := c.router.Gateway.Unmap(m); err != nil && !errors.Is(err, nat.ErrNotMapped) {
			errs = append(errs, fmt.Errorf("take back port mapping: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Counts returns how many requests ended how since the last Reset.
func (c *Core) Counts() Counts { return c.counts }

// epoch counts seconds since the services lost their state (RFC 6886 §3.6, RFC 6887 §8.5).
func (c *Core) epoch(now time.Duration) uint32 { return uint32((now - c.born) / time.Second) }

// told is what the services say the external address is.
func (c *Core) told() netip.Addr {
	if c.cfg.Claim.IsValid() {
		return c.cfg.Claim
	}
	return c.router.External()
}

// connected reports whether mappings would make sense to this router.
func (c *Core) connected() bool {
	a := c.router.External()
	return a.IsValid() && !(c.cfg.RefusePrivate && private(a))
}

var shared = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

func private(a netip.Addr) bool { return a.IsPrivate() || shared.Contains(a) }

func (c *Core) fromLAN(a netip.Addr) bool {
	return a.Is4() && (!c.router.LAN.IsValid() || c.router.LAN.Contains(a))
}

// entry is a mapping as the NAT has it, and its lease; none if it was made by hand.
type entry struct {
	nat.PortMap
	lease *lease
}

// entries lists the mappings by external port, and drops the leases of those that are gone.
func (c *Core) entries() ([]entry, error) {
	maps, err := c.router.Gateway.PortMaps()
	if err != nil {
		return nil, fmt.Errorf("list port mappings: %w", err)
	}
	es, kept := make([]entry, len(maps)), make(map[leaseKey]*lease, len(maps))
	for i, m := range maps {
		k := leaseKey{m.Protocol, m.Internal}
		es[i] = entry{m, c.leases[k]}
		if es[i].lease != nil {
			kept[k] = es[i].lease
		}
	}
	c.leases = kept
	slices.SortFunc(es, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.External, b.External), cmp.Compare(a.Protocol, b.Protocol))
	})
	return es, nil
}

func byInternal(es []entry, protocol uint8, internal netip.AddrPort) *entry {
	i := slices.IndexFunc(es, func(e entry) bool { return e.Protocol == protocol && e.Internal == internal })
	if i < 0 {
		return nil
	}
	return &es[i]
}

func byExternal(es []entry, protocol uint8, port uint16) *entry {
	i := slices.IndexFunc(es, func(e entry) bool { return e.Protocol == protocol && e.External == port })
	if i < 0 {
		return nil
	}
	return &es[i]
}

// wish is a request for a mapping.
type wish struct {
	nat.PortMap
	exact bool // no other external port will do
	other bool // any but the external port asked for
	lease lease
}

// grant maps what is wished for, or renews it.
func (c *Core) grant(es []entry, w wish) (netip.AddrPort, error) {
	if old := byInternal(es, w.Protocol, w.Internal); old != nil {
		if w.exact && w.External != old.External {
			return netip.AddrPort{}, nat.ErrPortTaken
		}
		if old.lease == nil && old.Lifetime == 0 { // made by hand: it stays as it is
			return netip.AddrPortFrom(c.told(), old.External), nil
		}
		w.External, w.exact, w.other = old.External, true, false
	}
	if c.cfg.ForgetAfter > 0 && (w.Lifetime == 0 || w.Lifetime > c.cfg.ForgetAfter) {
		w.Lifetime = c.cfg.ForgetAfter
	}
	got, err := c.mapPort(es, w)
	if err != nil {
		return netip.AddrPort{}, err
	}
	l := w.lease
	c.leases[leaseKey{w.Protocol, w.Internal}] = &l
	if c.cfg.Claim.IsValid() {
		got = netip.AddrPortFrom(c.cfg.Claim, got.Port())
	}
	return got, nil
}

const otherTries = 16

// mapPort asks the NAT for the port, and if it is taken and another will do, for any.
func (c *Core) mapPort(es []entry, w wish) (netip.AddrPort, error) {
	if !w.other {
		got, err := c.tryPort(es, w)
		if w.exact || w.External == 0 || !errors.Is(err, nat.ErrPortTaken) {
			return got, err
		}
		w.External = 0
		return c.tryPort(es, w)
	}
	if w.External == 0 {
		w.External = w.Internal.Port() // what most clients hope for
	}
	for range otherTries {
		w.External = otherPort(w.External)
		got, err := c.tryPort(es, w)
		if !errors.Is(err, nat.ErrPortTaken) {
			return got, err
		}
	}
	return netip.AddrPort{}, nat.ErrNoPort
}

// tryPort leaves a port to the host that has it in the other protocol (RFC 6886 §3.3: one that gets a TCP port gets the
// UDP port of that number too, if it asks).
func (c *Core) tryPort(es []entry, w wish) (netip.AddrPort, error) {
	if e := byExternal(es, udp+tcp-w.Protocol, w.External); e != nil && e.Internal.Addr() != w.Internal.Addr() && w.lease.service != upnp {
		return netip.AddrPort{}, nat.ErrPortTaken
	}
	return c.router.Gateway.Map(w.PortMap)
}

// otherPort goes around the ports above 1023; it has no fixed point.
func otherPort(p uint16) uint16 { return uint16(1024 + (int(p)+1000)%(65536-1024)) }

// release takes a mapping back.
func (c *Core) release(e *entry) error {
	if err := c.router.Gateway.Unmap(e.PortMap); err != nil && !errors.Is(err, nat.ErrNotMapped) {
		return fmt.Errorf("take back port mapping: %w", err)
	}
	delete(c.leases, leaseKey{e.Protocol, e.Internal})
	return nil
}

// IP protocol numbers.
const (
	tcp = 6
	udp = 17
)

// ends is when a lease that was told to the client ends; zero if it does not.
func ends(now, life time.Duration) time.Duration {
	if life == 0 {
		return 0
	}
	return now + life
}
