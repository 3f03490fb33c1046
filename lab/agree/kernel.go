package agree

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/punchlab/punchlab/lab/netfilter"
	"github.com/punchlab/punchlab/lab/netns"
)

// Kernel is a netfilter router between two TUN devices: whatever is sent on one of them is answered by the kernel alone.
//
//	lan0 ── 192.168.1.1, fd00:1:2:3::1 ── router ── 203.0.113.2, 2001:db8:f::2 ── wan0
type Kernel struct {
	NS       *netns.NS
	LAN, WAN *TUN
	Router   *netfilter.Router
}

// The kernel answers before Send returns, unless it is very busy: how long to wait for what must come, and for what must not.
const (
	Comes = 20 * time.Second
	Never = 15 * time.Millisecond
)

// NewKernel starts a router. Devices, and prefixes that are not set, are filled in.
func NewKernel(c netfilter.Config) (*Kernel, error) {
	k := &Kernel{}
	if err := k.start(c); err != nil {
		return nil, errors.Join(fmt.Errorf("start kernel router: %w", err), k.Close())
	}
	return k, nil
}

func (k *Kernel) start(c netfilter.Config) (err error) {
	if k.NS, err = netns.New(); err != nil {
		return err
	}
	c.LAN, c.WAN = "lan0", "wan0"
	if !c.LANPrefix.IsValid() {
		c.LANPrefix = netip.MustParsePrefix("192.168.1.0/24")
	}
	if c.External == nil {
		c.External = []netip.Addr{netip.MustParseAddr("203.0.113.2")}
	}
	if !c.LANPrefix6.IsValid() {
		c.LANPrefix6 = netip.MustParsePrefix("fd00:1:2:3::/64")
	}
	inside := []netip.Prefix{host(c.LANPrefix.Masked().Addr().Next()), host(c.LANPrefix6.Masked().Addr().Next())}
	if k.LAN, err = OpenTUN(k.NS, c.LAN, inside, []netip.Prefix{c.LANPrefix, c.LANPrefix6}); err != nil {
		return err
	}
	outside := []netip.Prefix{netip.MustParsePrefix("2001:db8:f::2/128")}
	for _, a := range c.External {
		outside = append(outside, host(a))
	}
	anywhere := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	if k.WAN, err = OpenTUN(k.NS, c.WAN, outside, anywhere); err != nil {
		return err
	}
	k.Router, err = netfilter.Install(k.NS, c)
	return err
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// Close ends the router and its namespace.
func (k *Kernel) Close() error {
	var errs []error
	if k.Router != nil {
		errs = append(errs, k.Router.Close())
	}
	for _, t := range []*TUN{k.LAN, k.WAN} {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	if k.NS != nil {
		errs = append(errs, k.NS.Close())
	}
	return errors.Join(errs...)
}
