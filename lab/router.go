package lab

import (
	"net/netip"
	"sync"

	"github.com/punchlab/punchlab/lab/live"
	"github.com/punchlab/punchlab/lab/nat"
	"github.com/punchlab/punchlab/lab/netfilter"
)

// router is what a site's router can be told, whichever engine it is. It is safe for concurrent use: the scenario and
// the port mapping servers tell it things.
type router interface {
	Apply(b nat.Behavior, seed uint64) error // another behaviour; all flows are forgotten
	Reset(seed uint64) error                 // a reboot
	Readdress(addrs []netip.Addr) error      // other IPv4 addresses on its WAN side; all flows are forgotten
	Silence(on bool) error                   // nothing passes, as while it boots
	Map(m nat.PortMap) (netip.AddrPort, error)
	Unmap(m nat.PortMap) error
	PortMaps() ([]nat.PortMap, error)
}

// kernelRouter is a router of the engine netfilter.
type kernelRouter struct {
	mu    sync.Mutex
	r     *netfilter.Router
	place *place
}

func (k *kernelRouter) Apply(b nat.Behavior, seed uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.r.Apply(k.place.site.realized(b), seed)
}

func (k *kernelRouter) Reset(seed uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.r.Reset(seed)
}

// Readdress also turns the routes to the new addresses, unless the router is behind another, which has routes to both.
func (k *kernelRouter) Readdress(addrs []netip.Addr) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.r.SetExternal(addrs); err != nil {
		return err
	}
	if k.place.uplink == nil {
		return nil
	}
	return k.place.uplink.SetRouted(toward(k.place.site, addrs))
}

// Silence stops the kernel from forwarding.
func (k *kernelRouter) Silence(on bool) error {
	value := "1"
	if on {
		value = "0"
	}
	for _, key := range []string{"net/ipv4/conf/all/forwarding", "net/ipv6/conf/all/forwarding"} {
		if err := k.place.kernel.Sysctl(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (k *kernelRouter) Map(m nat.PortMap) (netip.AddrPort, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.r.Map(m)
}

func (k *kernelRouter) Unmap(m nat.PortMap) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.r.Unmap(m)
}

func (k *kernelRouter) PortMaps() ([]nat.PortMap, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.r.PortMaps()
}

// tableRouter is a router of the engine table.
type tableRouter struct {
	*live.Router
	site *Site
}

func (t *tableRouter) Apply(b nat.Behavior, seed uint64) error {
	return t.Router.Apply(t.site.realized(b), seed)
}

func (t *tableRouter) Readdress(addrs []netip.Addr) error {
	return t.SetExternal(addrs, toward(t.site, addrs))
}

func (t *tableRouter) Silence(on bool) error { return t.SetDown(on) }

// toward is what the outside routes to a site whose router has these IPv4 addresses.
func toward(s *Site, addrs []netip.Addr) []netip.Prefix {
	return append(append(singles(addrs), singles(s.WAN6)...), s.routed()...)
}
