package nat

import (
	"fmt"
	"net/netip"
)

// DefaultMaxMappings is what Config.MaxMappings 0 stands for.
const DefaultMaxMappings = 1 << 17

// Config says where a Table stands and how it behaves.
type Config struct {
	Behavior
	External    []netip.Addr   // the IPv4 addresses that mappings may have; a router that only routes needs none
	LAN         []netip.Prefix // inside, IPv4 and IPv6, with what lies behind routers in there. A source outside them is spoofed; none: any is allowed
	External6   netip.Prefix   // NPTv6: the prefix outside
	NAT64Prefix netip.Prefix   // NAT64; zero: 64:ff9b::/96 (RFC 6052 §2.1)
	Seed        uint64         // of all that is drawn
	MaxMappings int            // zero: DefaultMaxMappings. The bound of the table's memory: also of its filter entries, 4 for each mapping
}

func (c Config) validate() error {
	if err := c.Behavior.Validate(); err != nil {
		return err
	}
	if c.Kind != NoNAT && len(c.External) == 0 {
		return fmt.Errorf("kind %v needs an external address", c.Kind)
	}
	if c.Kind == Masquerade && len(c.External) > 1 {
		return fmt.Errorf("masquerade uses one external address, not %d", len(c.External))
	}
	for _, a := range c.External {
		if !a.Is4() {
			return fmt.Errorf("external address %v: want IPv4", a)
		}
		for _, p := range c.LAN {
			if c.Kind != NoNAT && p.Contains(a) {
				return fmt.Errorf("external address %v lies in the LAN %v", a, p)
			}
		}
	}
	if c.MaxMappings < 0 {
		return fmt.Errorf("at most %d mappings: want 0 (%d) or more", c.MaxMappings, DefaultMaxMappings)
	}
	return c.validate6()
}

// validate6 checks what IPv6 needs.
func (c Config) validate6() error {
	switch {
	case c.IPv6 == NPTv6 && (!c.External6.IsValid() || !c.External6.Addr().Is6()):
		return fmt.Errorf("NPTv6 needs an external IPv6 prefix, not %v", c.External6)
	case c.IPv6 == NPTv6:
		_, err := c.prefixes()
		return err
	case c.IPv6 == NAT64:
		_, err := c.prefix64()
		return err
	}
	return nil
}
