package portmap

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Mode is how one of the three services treats its clients.
type Mode uint8

const (
	Off       Mode = iota // nothing listens: a request is answered by ICMP port unreachable, or by a reset connection
	Granted               // maps what is asked for, if it is free
	OtherPort             // maps, but never the external port that was asked for; UPnP answers conflict (718) to port n for port n
	Refused               // listens, tells its external address, and refuses every mapping: the user has turned the feature off
	Silent                // listens and never answers
)

var modes = []string{"off", "granted", "other-port", "refused", "silent"}

func (m Mode) String() string {
	if int(m) < len(modes) {
		return modes[m]
	}
	return fmt.Sprintf("Mode(%d)", m)
}

// Config says which services a router offers and where they deviate. The zero Config offers none.
type Config struct {
	UPnP, NATPMP, PCP Mode

	IGDVersion int    // of the UPnP device that is described, 1 or 2; zero: 2. Version 1 has neither AddAnyPortMapping nor an end to leases
	HTTPPort   uint16 // of the description and of SOAP; zero: 5000

	MinLifetime time.Duration // of PCP's mappings; zero: 2 min (RFC 6887 §15.1)
	MaxLifetime time.Duration // a longer lease is cut to this, and the client told; zero: 24 h (RFC 6887 §15.1). UPnP can't tell and answers 725 to permanent ones only

	ForgetAfter   time.Duration // every mapping is gone this long after its last renewal, whatever the client was told; zero: the lease holds
	Claim         netip.Addr    // what the services say the external address is; zero: the truth
	RefusePrivate bool          // refuses, as for a network failure, where the external address is not a public one (RFC 1918, 6598)
	PermanentOnly bool          // UPnP: refuses leases that end (725)
	ThirdParty    bool          // UPnP: a host may map ports of another one
	QuietReboot   bool          // a reboot is not announced and the epoch goes on: clients can't see that their mappings are gone
}

// Defaults.
const (
	usualHTTPPort    = 5000
	usualMinLifetime = 2 * time.Minute
	usualMaxLifetime = 24 * time.Hour
)

// WithDefaults returns the config with its zero knobs set.
func (c Config) WithDefaults() Config {
	c.IGDVersion = cmp.Or(c.IGDVersion, 2)
	c.HTTPPort = cmp.Or(c.HTTPPort, usualHTTPPort)
	c.MaxLifetime = cmp.Or(c.MaxLifetime, usualMaxLifetime)
	c.MinLifetime = cmp.Or(c.MinLifetime, min(usualMinLifetime, c.MaxLifetime))
	return c
}

// Enabled reports whether any service listens.
func (c Config) Enabled() bool { return c.UPnP != Off || c.NATPMP != Off || c.PCP != Off }

// Validate names every field that makes no sense.
func (c Config) Validate() error {
	var errs []error
	for _, s := range []struct {
		name string
		mode Mode
	}{{"UPnP", c.UPnP}, {"NAT-PMP", c.NATPMP}, {"PCP", c.PCP}} {
		if int(s.mode) >= len(modes) {
			errs = append(errs, fmt.Errorf("%s: unknown mode %d", s.name, s.mode))
		}
	}
	d := c.WithDefaults()
	if d.IGDVersion != 1 && d.IGDVersion != 2 {
		errs = append(errs, fmt.Errorf("IGD version %d: want 1 or 2", c.IGDVersion))
	}
	if d.MinLifetime < time.Second || d.MaxLifetime < d.MinLifetime {
		errs = append(errs, fmt.Errorf("lifetimes from %v to %v: want at least 1s, the shorter first", d.MinLifetime, d.MaxLifetime))
	}
	if c.ForgetAfter < 0 {
		errs = append(errs, fmt.Errorf("forget after %v: want zero or more", c.ForgetAfter))
	}
	if c.Claim.IsValid() && !c.Claim.Is4() {
		errs = append(errs, fmt.Errorf("claimed external address %v: want IPv4", c.Claim))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("port mapping: %w", err)
	}
	return nil
}

// Preset is a named Config.
type Preset struct {
	Name   string
	About  string // one line
	Config Config
}

// nowhere is what a lying router claims: no topology gives it to anyone.
var nowhere = netip.AddrFrom4([4]byte{198, 51, 100, 254})

func all(m Mode) Config { return Config{UPnP: m, NATPMP: m, PCP: m} }

func allBut(change func(*Config)) Config {
	c := all(Granted)
	change(&c)
	return c
}

var presets = []Preset{
	{"none", "no port mapping service", Config{}},
	{"upnp", "UPnP IGD version 2", Config{UPnP: Granted}},
	{"upnp-igd1", "UPnP IGD version 1", Config{UPnP: Granted, IGDVersion: 1}},
	{"nat-pmp", "NAT-PMP", Config{NATPMP: Granted}},
	{"pcp", "PCP", Config{PCP: Granted}},
	{"all", "UPnP, NAT-PMP and PCP", all(Granted)},
	{"upnp-other-port", "UPnP; port n for port n is taken already", Config{UPnP: OtherPort}},
	{"nat-pmp-other-port", "NAT-PMP; never the port that was asked for", Config{NATPMP: OtherPort}},
	{"pcp-other-port", "PCP; never the port that was asked for", Config{PCP: OtherPort}},
	{"other-port", "all three; never the port that was asked for", all(OtherPort)},
	{"upnp-permanent", "UPnP; leases that end are refused (725)", Config{UPnP: Granted, IGDVersion: 1, PermanentOnly: true}},
	{"refused", "all three answer, and refuse every mapping", all(Refused)},
	{"silent", "all three listen, and never answer", all(Silent)},
	{"short-lease", "all three; leases are cut to 30 s, and clients told", allBut(func(c *Config) { c.MinLifetime, c.MaxLifetime = time.Second, 30*time.Second })},
	{"expired", "all three; mappings are gone 5 s after their renewal, whatever was promised", allBut(func(c *Config) { c.ForgetAfter = 5 * time.Second })},
	{"lying", "all three; the external address they tell is somebody else's", allBut(func(c *Config) { c.Claim = nowhere })},
	{"refuse-private", "all three; they refuse while the external address is private, as behind a second NAT", allBut(func(c *Config) { c.RefusePrivate = true })},
	{"quiet-reboot", "all three; a reboot shows neither in the epoch nor by an announcement", allBut(func(c *Config) { c.QuietReboot = true })},
}

// Presets returns the named configs, in the order they are listed in.
func Presets() []Preset { return slices.Clone(presets) }

// Lookup returns the preset of a name.
func Lookup(name string) (Config, bool) {
	for _, p := range presets {
		if p.Name == name {
			return p.Config, true
		}
	}
	return Config{}, false
}
