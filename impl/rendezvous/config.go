package rendezvous

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/punchlab/punchlab/impl/identity"
	"github.com/punchlab/punchlab/impl/wire"
)

// Config describes a Server. Zero knobs take the defaults named.
type Config struct {
	Static identity.Key
	Rand   io.Reader // cryptographically random
	Store  Store     // what outlives a restart; nil: memory, for as long as a device is remembered

	// Trust says whether a camera is served: 0, or the code that it is denied with. certificate is what it brought, nil for
	// none. nil: every camera is.
	Trust func(now time.Time, device identity.PublicKey, certificate []byte) wire.Code
	// Standing is Trust once more for a camera that is online, by its certificate without the signature, which has been checked:
	// see Recheck, and identity.Trust.CheckFacts. nil: nothing is checked again.
	Standing func(now time.Time, device identity.PublicKey, c identity.Certificate) wire.Code
	// Account says whether a viewer is served: 0, or the code that it is denied with. token is what it brought, nil for none.
	// nil: every viewer is.
	Account func(now time.Time, viewer identity.PublicKey, token []byte) wire.Code
	// Others are the other nodes of a cluster; nil: there are none.
	Others Others

	Keepalive time.Duration // between a device's pings, whole seconds; 0: 15 s (RFC 8085 §3.5)
	Expiry    time.Duration // silence after which a device is offline, whole seconds; 0: 2 × Keepalive

	MaxRegistrations    int     // devices remembered; 0: 4,000,000
	MaxGuests           int     // of them, viewers that are not online, or are at another node; 0: 262,144
	MaxIntroductions    int     // going on at a time, and relays; 0: 10,000
	HandshakesPerSecond int     // more are answered with cookies, and so are those of a flood; 0: 1,000; below 0: always
	HandshakesAtMost    int     // in a second; more are dropped, so that there is time for who is online; 0: 2,000
	ConnectsPerSecond   float64 // of one viewer, with bursts of ten times as many; 0: 5

	NoRelay    bool          // refuse to relay
	RelayRate  int           // bytes a second of one relay, both ways together; 0: 1,250,000 (10 Mbit/s)
	RelayBurst int           // bytes of one relay at once; 0: 1 MiB, a key frame or two
	DeviceRate int           // bytes a second of one device's relays, with bursts of a second's or RelayBurst; 0: 8 × RelayRate
	TotalRate  int           // bytes a second of all relays, with such bursts; 0: 125,000,000 (1 Gbit/s)
	RelayIdle  time.Duration // silence after which a relay is closed; 0: 2 min

	Grids         []Grid // the server's UDP sockets, for STUN; none: its answers name no others
	STUNPerSecond int    // more binding requests are dropped; 0: 10,000
	MaxTies       int    // connections remembered beyond their introduction; 0: 100,000. The longest unused makes room
	MaxWatches    int    // cameras that viewers watch, each counted for each viewer; 0: 1,000,000

	UnknownPerSecond int // connects of all viewers to cameras that are not online, with bursts of a second's; 0: 1,000
	WatchesPerSecond int // cameras that all viewers together ask to watch, with such bursts; 0: 20,000
}

// Grid is four UDP sockets of the server, two addresses of one family with two ports each: what STUN's behaviour discovery
// needs (RFC 5780 §3), and what samples need.
type Grid struct {
	Addrs  [2]netip.Addr // as the driver names its sockets: the local addresses
	Ports  [2]uint16
	Public [2]netip.Addr // as others see Addrs; zero: the same
}

// validate checks that four sockets of one family are named.
func (g Grid) validate() error {
	a, b := g.Addrs[0], g.Addrs[1]
	p, q := g.Public[0], g.Public[1]
	switch {
	case !named(a) || !named(b) || a == b || a.Is4() != b.Is4():
		return fmt.Errorf("configure rendezvous: grid of the addresses %v and %v: name two addresses of one family", a, b)
	case g.Ports[0] == 0 || g.Ports[1] == 0 || g.Ports[0] == g.Ports[1]:
		return fmt.Errorf("configure rendezvous: grid of the ports %d and %d: name two ports", g.Ports[0], g.Ports[1])
	case p == netip.Addr{} && q == netip.Addr{}:
	case !named(p) || !named(q) || p == q || p.Is4() != a.Is4() || q.Is4() != a.Is4():
		return fmt.Errorf("configure rendezvous: grid of the public addresses %v and %v: name none, or two of the local ones' family", p, q)
	}
	return nil
}

// named says whether an address names a host.
func named(a netip.Addr) bool { return a.IsValid() && !a.Is4In6() && !a.IsUnspecified() }

func (c Config) withDefaults() (Config, error) {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Keepalive == 0 {
		c.Keepalive = 15 * time.Second
	}
	if c.Expiry == 0 {
		c.Expiry = 2 * c.Keepalive
	}
	if c.ConnectsPerSecond == 0 {
		c.ConnectsPerSecond = 5
	}
	if c.RelayIdle == 0 {
		c.RelayIdle = 2 * time.Minute
	}
	def(&c.MaxRegistrations, 4_000_000)
	def(&c.MaxGuests, 1<<18)
	def(&c.MaxIntroductions, 10_000)
	def(&c.HandshakesPerSecond, 1000)
	def(&c.HandshakesAtMost, 2000)
	def(&c.RelayRate, 1_250_000)
	def(&c.RelayBurst, 1<<20)
	def(&c.DeviceRate, 8*c.RelayRate)
	def(&c.TotalRate, 125_000_000)
	def(&c.STUNPerSecond, 10_000)
	def(&c.MaxTies, 100_000)
	def(&c.MaxWatches, 1_000_000)
	def(&c.UnknownPerSecond, 1000)
	def(&c.WatchesPerSecond, 20_000)
	switch {
	case c.Static.IsZero():
		return c, errors.New("configure rendezvous: the static key is missing")
	case c.Rand == nil:
		return c, errors.New("configure rendezvous: the source of randomness is missing")
	case c.Keepalive < time.Second || c.Keepalive%time.Second != 0:
		return c, fmt.Errorf("configure rendezvous: keepalive %v: use whole seconds, at least one", c.Keepalive)
	case c.Expiry <= c.Keepalive || c.Expiry%time.Second != 0 || c.Expiry > 65535*time.Second:
		return c, fmt.Errorf("configure rendezvous: expiry %v: use whole seconds, more than the keepalive of %v", c.Expiry, c.Keepalive)
	case slices.Min([]int{c.HandshakesAtMost, c.MaxRegistrations, c.MaxGuests, c.MaxIntroductions, c.RelayRate, c.RelayBurst, c.DeviceRate,
		c.TotalRate, c.STUNPerSecond, c.MaxTies, c.MaxWatches, c.UnknownPerSecond, c.WatchesPerSecond}) < 0 || c.RelayIdle < 0 || c.ConnectsPerSecond < 0:
		return c, errors.New("configure rendezvous: a limit is below 0")
	}
	for _, g := range c.Grids {
		if err := g.validate(); err != nil {
			return c, err
		}
	}
	return c, nil
}
