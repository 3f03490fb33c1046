package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/punchlab/punchlab/lab/netns"
	"github.com/punchlab/punchlab/lab/portmap"
)

// selfDevice is the device of a table router's own host stack, which holds the router's LAN addresses.
const selfDevice = "lan0"

// startMapping starts the port mapping servers of a site's router, if it has any. They live where its LAN addresses are:
// in a kernel router's namespace, or for a table router in one made for them.
func (l *Lab) startMapping(p *place) error {
	c, err := mappingConfig(p.site)
	if err != nil || !c.Enabled() {
		return err
	}
	ns, devices, err := l.mappingPlace(p)
	if err != nil {
		return err
	}
	p.maps, err = portmap.Serve(portmap.Site{
		Router: portmap.Router{Address: p.site.Gateway(), LAN: p.site.LAN, External: p.externalAddr, Gateway: p.router},
		NS:     ns, Devices: devices,
	}, c)
	return err
}

func mappingConfig(s *Site) (portmap.Config, error) {
	if s.PortMap == "" {
		return portmap.Config{}, nil
	}
	c, ok := portmap.Lookup(s.PortMap)
	if !ok {
		return c, fmt.Errorf("no port mapping preset %q", s.PortMap)
	}
	return c, nil
}

func (l *Lab) mappingPlace(p *place) (ns *netns.NS, devices []string, err error) {
	if p.kernel != nil {
		for n := range p.ports {
			if !slices.Contains(p.unplugged, n) {
				devices = append(devices, lanPrefix+strconv.Itoa(n))
			}
		}
		return p.kernel, devices, nil
	}
	if ns, err = l.newSpace(); err != nil {
		return nil, nil, err
	}
	if err := hush(ns); err != nil {
		return nil, nil, err
	}
	var addrs []netip.Addr
	for _, lan := range p.site.lans() {
		addrs = append(addrs, gatewayOf(lan))
	}
	err = l.join(p, attachment{name: stationName(p.site.Name, "router"), ns: ns, device: selfDevice, addrs: addrs, self: true})
	return ns, []string{selfDevice}, err
}

// externalAddr is the router's first address on its WAN side, as it is now.
func (p *place) externalAddr() netip.Addr {
	if a := p.external.Load(); a != nil {
		return *a
	}
	return netip.Addr{}
}

// forgetMaps has the servers begin again with a router that has just forgotten everything, its owner's forwards too.
func (p *place) forgetMaps() error {
	p.forwards = nil
	if p.maps == nil {
		return nil
	}
	return p.maps.Reset()
}

func (l *Lab) stopMappings() error {
	return l.eachSite(func(p *place) error {
		if p == nil || p.maps == nil {
			return nil
		}
		err := p.maps.Close()
		p.maps = nil
		return err
	})
}
