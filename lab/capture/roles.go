package capture

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/punchlab/punchlab/lab/nat"
)

// Roles says who is who in a capture: the names that the lab gave its hosts and routers (sites).
//
//	a host behind a router   "station SITE/HOST", or behind a router of the kernel "monitor SITE/HOST"; or without SITE/
//	a public host            "uplink HOST"
//	a router                 "router SITE", "uplink SITE", and of the kernel behind another one "monitor SITE"
type Roles struct {
	Viewer, Rendezvous, Camera string // hosts' names

	Hosts   []Host
	Routers []Router
}

// Host is a host of the topology. One that moves between routers is listed with each of them, by its own name; one that
// does not may also be called SITE/HOST.
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

// A node is a host by its name, or a router by its name after this prefix, as a site is often called like a host in it.
const routerNode = "router "

func (k *Router) node() string { return routerNode + k.Name }

// wan is the cable, or the uplink, on the router's outside.
func (k *Router) wan() string {
	if k.Behind == "" {
		return uplink + " " + k.Name
	}
	return k.Behind + "/" + k.Name
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

// routerAt is the router that a node is, or nil.
func (r *Roles) routerAt(node string) *Router {
	if name, ok := strings.CutPrefix(node, routerNode); ok {
		return r.router(name)
	}
	return nil
}

// place tells the node at an interface, and the cable or uplink that the interface sees; a router's own tap sees none.
func (r *Roles) place(i Interface) (node, cable string) {
	site, name, inner := strings.Cut(i.Name, "/")
	switch {
	case i.Kind == router:
		return routerNode + i.Name, ""
	case i.Kind == uplink && r.router(i.Name) != nil:
		return routerNode + i.Name, r.router(i.Name).wan()
	case i.Kind == uplink:
		return i.Name, uplink + " " + i.Name
	case inner && r.host(i.Name) != nil: // the roles have the host by its whole name
		return i.Name, r.host(i.Name).Behind + "/" + i.Name
	case inner && r.host(name) != nil:
		return name, site + "/" + name
	case inner:
		return routerNode + name, site + "/" + name
	}
	if k := r.router(i.Name); k != nil && (k.Behind != "" || r.host(i.Name) == nil) {
		return k.node(), k.wan()
	}
	if h := r.host(i.Name); h != nil {
		return h.Name, h.Behind + "/" + h.Name
	}
	return i.Name, ""
}

// cables are those on a router's LAN.
func (r *Roles) cables(k *Router) (names []string) {
	for _, h := range r.Hosts {
		if h.Behind == k.Name {
			names = append(names, k.Name+"/"+h.Name)
		}
	}
	for _, inner := range r.Routers {
		if inner.Behind == k.Name {
			names = append(names, inner.wan())
		}
	}
	return names
}

// routers are those on the ways from a host to the core, the innermost first.
func (r *Roles) routers(host string) (way []*Router) {
	for _, h := range r.Hosts {
		if h.Name != host {
			continue
		}
		for k := r.router(h.Behind); k != nil && !slices.Contains(way, k); k = r.router(k.Behind) {
			way = append(way, k)
		}
	}
	return way
}

// depth is how many routers a router is behind.
func (r *Roles) depth(name string) (n int) {
	for k := r.router(name); k != nil && n <= len(r.Routers); k = r.router(k.Behind) {
		n++
	}
	return n
}

// isOnWay reports whether a node is a router between a host and the core.
func (r *Roles) isOnWay(host, node string) bool {
	return slices.ContainsFunc(r.routers(host), func(k *Router) bool { return k.node() == node })
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

// owner is the node that has an address, where it is not on a LAN that others have, too.
func (r *Roles) owner(a netip.Addr) string {
	for _, h := range r.Hosts {
		if h.Behind == "" && slices.Contains(h.Addrs, a) {
			return h.Name
		}
	}
	for _, k := range r.Routers {
		if slices.Contains(k.Addrs, a) {
			return k.node()
		}
	}
	for _, h := range r.Hosts {
		if slices.Contains(h.Addrs, a) {
			return h.Name
		}
	}
	return ""
}

// name is what people call a node: by its role, if it has one.
func (r *Roles) name(node string) string {
	switch node {
	case "":
		return "the network"
	case r.Viewer:
		return "the viewer"
	case r.Rendezvous:
		return "the rendezvous"
	case r.Camera:
		return "the camera"
	}
	k := r.routerAt(node)
	if k == nil {
		return node
	}
	v, c := r.isOnWay(r.Viewer, node), r.isOnWay(r.Camera, node)
	switch {
	case v && c:
		return "the shared router " + k.Name
	case v && len(r.routers(r.Viewer)) == 1:
		return "the viewer's router"
	case c && len(r.routers(r.Camera)) == 1:
		return "the camera's router"
	case v:
		return "the viewer's router " + k.Name
	case c:
		return "the camera's router " + k.Name
	}
	return node
}
