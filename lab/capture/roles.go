package capture

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/punchlab/punchlab/lab/nat"
)

// Roles says who is who in a capture: the names that the lab gave its hosts and routers.
//
// A host's packets are at "station NAME" or "uplink NAME", or where it is behind a router of the kernel, at "monitor
// NAME". A router's are at "router NAME" and "uplink NAME", or where it is of the kernel and behind another one of the
// kernel, at "monitor NAME".
type Roles struct {
	Viewer, Rendezvous, Camera string // hosts' names

	Hosts   []Host
	Routers []Router
}

// Host is a host of the topology.
type Host struct {
	Name   string
	Behind string // the router on whose LAN it is; empty: public
	Addrs  []netip.Addr
}

// Router is a router of the topology.
type Router struct {
	Name     string
	Behind   string         // the router on whose LAN its WAN is; empty: the core
	Addrs    []netip.Addr   // its external addresses
	LAN      []netip.Prefix // inside
	Behavior nat.Behavior   // for inference: timeouts, filters. The zero Behavior is taken for one with RFC 4787's defaults
}

func (r *Roles) host(name string) *Host {
	if i := slices.IndexFunc(r.Hosts, func(h Host) bool { return h.Name == name }); i >= 0 {
		return &r.Hosts[i]
	}
	return nil
}

func (r *Roles) router(name string) *Router {
	if i := slices.IndexFunc(r.Routers, func(k Router) bool { return k.Name == name }); i >= 0 {
		return &r.Routers[i]
	}
	return nil
}

// behind is the router that a host or router hangs on, or nil.
func (r *Roles) behind(name string) *Router {
	if h := r.host(name); h != nil {
		return r.router(h.Behind)
	}
	if k := r.router(name); k != nil {
		return r.router(k.Behind)
	}
	return nil
}

// routers are those on the way from a host to the core, the innermost first.
func (r *Roles) routers(host string) (way []*Router) {
	for k := r.behind(host); k != nil && len(way) < len(r.Routers); k = r.behind(k.Name) {
		way = append(way, k)
	}
	return way
}

// validate says which name means nothing.
func (r *Roles) validate() error {
	for _, n := range []struct{ role, name string }{{"viewer", r.Viewer}, {"rendezvous", r.Rendezvous}, {"camera", r.Camera}} {
		if n.name != "" && r.host(n.name) == nil {
			return fmt.Errorf("%s %q is not one of the hosts", n.role, n.name)
		}
	}
	for _, h := range r.Hosts {
		if h.Behind != "" && r.router(h.Behind) == nil {
			return fmt.Errorf("host %s is behind %q, which is not one of the routers", h.Name, h.Behind)
		}
	}
	for _, k := range r.Routers {
		if k.Behind != "" && r.router(k.Behind) == nil {
			return fmt.Errorf("router %s is behind %q, which is not one of the routers", k.Name, k.Behind)
		}
	}
	return nil
}

// owner is the host or router that has an address, where it is not on a LAN that others have, too.
func (r *Roles) owner(a netip.Addr) string {
	for _, h := range r.Hosts {
		if h.Behind == "" && slices.Contains(h.Addrs, a) {
			return h.Name
		}
	}
	for _, k := range r.Routers {
		if slices.Contains(k.Addrs, a) {
			return k.Name
		}
	}
	for _, h := range r.Hosts {
		if slices.Contains(h.Addrs, a) {
			return h.Name
		}
	}
	return ""
}

// name is what people call a host or router: by its role, if it has one.
func (r *Roles) name(host string) string {
	switch host {
	case "":
		return "the network"
	case r.Viewer:
		return "the viewer"
	case r.Rendezvous:
		return "the rendezvous"
	case r.Camera:
		return "the camera"
	}
	v, c := r.isOnWay(r.Viewer, host), r.isOnWay(r.Camera, host)
	switch {
	case v && c:
		return "the shared router " + host
	case v && len(r.routers(r.Viewer)) == 1:
		return "the viewer's router"
	case c && len(r.routers(r.Camera)) == 1:
		return "the camera's router"
	case v:
		return "the viewer's router " + host
	case c:
		return "the camera's router " + host
	}
	return host
}

func (r *Roles) isOnWay(host, router string) bool {
	return slices.ContainsFunc(r.routers(host), func(k *Router) bool { return k.Name == router })
}
