package lab

import (
	"errors"
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
	Silence(on bool) error                   // nothing passes and nothing is answered, on its LAN either, as while it boots
	Cut(on bool) error                       // its access link carries nothing
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

// Silence has the kernel drop whatever comes to the router, and what the router itself says.
func (k *kernelRouter) Silence(on bool) error {
	k.place.silent.Store(on)
	return silence(k.place.kernel, on)
}

func (k *kernelRouter) Cut(on bool) error { return k.place.uplink.SetDown(on) }

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
	place *place

	mu          sync.Mutex
	cut, silent bool // its own WAN is down in either case
	dark        bool // the LAN that its WAN hangs on is silent
}

func (t *tableRouter) Apply(b nat.Behavior, seed uint64) error {
	return t.Router.Apply(t.place.site.realized(b), seed)
}

func (t *tableRouter) Readdress(addrs []netip.Addr) error {
	return t.SetExternal(addrs, toward(t.place.site, addrs))
}

// Silence pulls every cable of the router: those on its LAN, and that on its WAN.
func (t *tableRouter) Silence(on bool) error {
	errs := []error{t.setWAN(func() { t.silent = on })}
	for _, s := range t.place.stations {
		errs = append(errs, s.SetDown(on))
	}
	for _, inner := range t.place.inner {
		errs = append(errs, inner.setWAN(func() { inner.dark = on }))
	}
	return errors.Join(errs...)
}

func (t *tableRouter) Cut(on bool) error { return t.setWAN(func() { t.cut = on }) }

// setWAN changes one of the reasons why the router's WAN may be down.
func (t *tableRouter) setWAN(change func()) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	return t.SetDown(t.cut || t.silent || t.dark)
}

// toward is what the outside routes to a site whose router has these IPv4 addresses.
func toward(s *Site, addrs []netip.Addr) []netip.Prefix {
	return append(append(singles(addrs), singles(s.WAN6)...), s.routed()...)
}
