package netfilter

import (
	"fmt"

	"github.com/punchlab/punchlab/lab/nat"
)

// validate6 checks what IPv6 needs.
func (c Config) validate6() error {
	switch {
	case c.Behavior.IPv6 == nat.IPv6None:
	case !c.LANPrefix6.Addr().Is6():
		return fmt.Errorf("LAN prefix is %v: IPv6 %v wants an IPv6 prefix", c.LANPrefix6, c.Behavior.IPv6)
	case c.Behavior.IPv6 == nat.NPTv6 && !c.External6.Addr().Is6():
		return fmt.Errorf("external prefix is %v: NPTv6 wants an IPv6 prefix", c.External6)
	}
	return nil
}
