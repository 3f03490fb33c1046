package portmap

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/punchlab/punchlab/lab/nat"
)

// The actions of WANIPConnection that make, list and delete mappings; igd.go names their arguments.

// longestLease is what WANIPConnection:2 grants at most, and makes of lease 0 (§2.3.17).
const longestLease = 604800 * time.Second

// mappingRequest is a checked AddPortMapping or AddAnyPortMapping.
type mappingRequest struct {
	nat.PortMap
	lease       time.Duration // zero: no end
	description string
}

func (c *Core) parseMapping(client netip.Addr, a arguments) (r mappingRequest, err error) {
	if r.Protocol, err = parseProtocol(a["NewProtocol"]); err != nil {
		return r, err
	}
	if r.External, err = parsePort(a["NewExternalPort"]); err != nil {
		return r, err
	}
	inner, err := parsePort(a["NewInternalPort"])
	if err != nil {
		return r, err
	}
	if r.Remote, err = parseRemote(a["NewRemoteHost"]); err != nil {
		return r, err
	}
	internal, err := netip.ParseAddr(strings.TrimSpace(a["NewInternalClient"]))
	if err != nil || !internal.Is4() {
		return r, errInvalidArgs
	}
	seconds, err := strconv.ParseUint(strings.TrimSpace(a["NewLeaseDuration"]), 10, 32)
	if err != nil {
		return r, errInvalidArgs
	}
	enabled, err := parseBool(a["NewEnabled"])
	if err != nil {
		return r, err
	}
	r.Internal = netip.AddrPortFrom(internal, inner)
	r.lease, r.description = time.Duration(seconds)*time.Second, a["NewPortMappingDescription"]
	return r, c.allowMapping(client, &r, enabled)
}

// allowMapping refuses what the config refuses, and sets the lease that is granted.
func (c *Core) allowMapping(client netip.Addr, r *mappingRequest, enabled bool) error {
	switch {
	case r.Internal.Port() == 0:
		return errWildcardInside
	case c.cfg.UPnP == Refused, !c.fromLAN(r.Internal.Addr()), r.Internal.Addr() != client && !c.cfg.ThirdParty:
		return errNotAuthorized
	case !enabled, !c.connected(): // mappings that do nothing are not kept
		return errActionFailed
	case c.cfg.IGDVersion > 1 && r.lease > longestLease:
		return errOutOfRange
	case c.cfg.PermanentOnly && r.lease != 0:
		return errOnlyPermanent
	case c.cfg.PermanentOnly:
		return nil
	}
	longest := c.cfg.MaxLifetime
	switch {
	case r.lease != 0:
	case c.cfg.IGDVersion > 1:
		r.lease = longestLease
	case longest == usualMaxLifetime:
		return nil
	default:
		r.lease = longest
	}
	if longest != usualMaxLifetime {
		r.lease = min(r.lease, longest)
	}
	r.Lifetime = r.lease
	return nil
}

func (c *Core) addPortMapping(now time.Duration, client netip.Addr, a arguments) ([]string, error) {
	r, err := c.parseMapping(client, a)
	if err != nil {
		return nil, err
	}
	if r.External == 0 {
		return nil, errWildcardPort
	}
	es, err := c.entries()
	if err != nil {
		return nil, errActionFailed
	}
	if e := byExternal(es, r.Protocol, r.External); e != nil && e.Internal != r.Internal {
		// The same host may turn its port to another of its own ports (WANIPConnection:1 §2.4.16).
		if e.Internal.Addr() != r.Internal.Addr() || byInternal(es, r.Protocol, r.Internal) != nil {
			return nil, errConflict
		}
		if c.release(e) != nil {
			return nil, errActionFailed
		}
		es = slices.DeleteFunc(es, func(x entry) bool { return x.PortMap == e.PortMap })
	} else if e == nil && c.cfg.UPnP == OtherPort && r.External == r.Internal.Port() {
		return nil, errConflict
	}
	_, err = c.grant(es, c.upnpWish(now, r, true))
	return nil, mappingError(err)
}

func (c *Core) addAnyPortMapping(now time.Duration, client netip.Addr, a arguments) ([]string, error) {
	r, err := c.parseMapping(client, a)
	if err != nil {
		return nil, err
	}
	es, err := c.entries()
	if err != nil {
		return nil, errActionFailed
	}
	got, err := c.grant(es, c.upnpWish(now, r, false))
	if err != nil {
		return nil, mappingError(err)
	}
	return []string{strconv.Itoa(int(got.Port()))}, nil
}

func (c *Core) upnpWish(now time.Duration, r mappingRequest, exact bool) wish {
	return wish{
		PortMap: r.PortMap, exact: exact, other: !exact && c.cfg.UPnP == OtherPort,
		lease: lease{service: upnp, ends: ends(now, r.lease), description: r.description},
	}
}

func mappingError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nat.ErrPortTaken):
		return errConflict
	case errors.Is(err, nat.ErrNoPort):
		return errNoPortMaps
	default:
		return errActionFailed
	}
}

func (c *Core) deletePortMapping(_ time.Duration, client netip.Addr, a arguments) ([]string, error) {
	e, err := c.find(a)
	switch {
	case err != nil:
		return nil, err
	case c.cfg.UPnP == Refused:
		return nil, errNotAuthorized
	case e == nil:
		return nil, errNoSuchEntry
	case e.Internal.Addr() != client && !c.cfg.ThirdParty:
		return nil, errNotAuthorized
	}
	if c.release(e) != nil {
		return nil, errActionFailed
	}
	return nil, nil
}

// find returns the mapping that remote host, external port and protocol name; nil if there is none.
func (c *Core) find(a arguments) (*entry, error) {
	protocol, err := parseProtocol(a["NewProtocol"])
	if err != nil {
		return nil, err
	}
	port, err := parsePort(a["NewExternalPort"])
	if err != nil {
		return nil, err
	}
	remote, err := parseRemote(a["NewRemoteHost"])
	if err != nil {
		return nil, err
	}
	es, err := c.entries()
	if err != nil {
		return nil, errActionFailed
	}
	e := byExternal(es, protocol, port)
	if e != nil && e.Remote != remote {
		e = nil
	}
	return e, nil
}

func (c *Core) getSpecific(now time.Duration, _ netip.Addr, a arguments) ([]string, error) {
	e, err := c.find(a)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, errNoSuchEntry
	}
	return c.describe(now, e)[3:], nil
}

func (c *Core) getGeneric(now time.Duration, _ netip.Addr, a arguments) ([]string, error) {
	index, err := parsePort(a["NewPortMappingIndex"])
	if err != nil {
		return nil, err
	}
	es, err := c.entries()
	if err != nil {
		return nil, errActionFailed
	}
	if int(index) >= len(es) {
		return nil, errInvalidIndex
	}
	return c.describe(now, &es[index]), nil
}

// describe gives a mapping in the order of entryArguments.
func (c *Core) describe(now time.Duration, e *entry) []string {
	remote, description, rest := "", "", time.Duration(0)
	if e.Remote.IsValid() {
		remote = e.Remote.String()
	}
	if e.lease != nil {
		description = e.lease.description
		if e.lease.service != upnp {
			description = map[service]string{natpmp: "NAT-PMP", pcp: "PCP"}[e.lease.service]
		}
		if e.lease.ends != 0 {
			rest = max(e.lease.ends-now+time.Second-1, time.Second) // to the next second: 0 would mean for ever
		}
	}
	return []string{
		remote, strconv.Itoa(int(e.External)), protocolName(e.Protocol),
		strconv.Itoa(int(e.Internal.Port())), e.Internal.Addr().String(), "1", description, strconv.Itoa(int(rest / time.Second)),
	}
}

// parseRange checks the arguments of the two actions on ranges of ports.
func (c *Core) parseRange(client netip.Addr, a arguments) (in func(entry) bool, err error) {
	protocol, err := parseProtocol(a["NewProtocol"])
	if err != nil {
		return nil, err
	}
	from, err := parsePort(a["NewStartPort"])
	if err != nil {
		return nil, err
	}
	to, err := parsePort(a["NewEndPort"])
	if err != nil {
		return nil, err
	}
	manage, err := parseBool(a["NewManage"])
	if err != nil {
		return nil, err
	}
	if from > to {
		return nil, errInconsistent
	}
	return func(e entry) bool {
		return e.Protocol == protocol && from <= e.External && e.External <= to && (manage && c.cfg.ThirdParty || e.Internal.Addr() == client)
	}, nil
}

func (c *Core) deletePortMappingRange(_ time.Duration, client netip.Addr, a arguments) ([]string, error) {
	in, err := c.parseRange(client, a)
	if err != nil {
		return nil, err
	}
	if c.cfg.UPnP == Refused {
		return nil, errNotAuthorized
	}
	es, err := c.entries()
	if err != nil {
		return nil, errActionFailed
	}
	found := false
	for i := range es {
		if !in(es[i]) {
			continue
		}
		if found = true; c.release(&es[i]) != nil {
			return nil, errActionFailed
		}
	}
	if !found {
		return nil, errNotFound
	}
	return nil, nil
}

// getListOfPortMappings answers a document inside the document (WANIPConnection:2 §2.3.34).
func (c *Core) getListOfPortMappings(now time.Duration, client netip.Addr, a arguments) ([]string, error) {
	in, err := c.parseRange(client, a)
	if err != nil {
		return nil, err
	}
	most, err := parsePort(a["NewNumberOfPorts"])
	if err != nil {
		return nil, err
	}
	es, err := c.entries()
	if err != nil {
		return nil, errActionFailed
	}
	var b strings.Builder
	n := 0
	for i := range es {
		if !in(es[i]) || most != 0 && n == int(most) {
			continue
		}
		n++
		b.WriteString("<p:PortMappingEntry>")
		for j, value := range c.describe(now, &es[i]) {
			name := listNames[j]
			fmt.Fprintf(&b, "<p:%s>%s</p:%s>", name, escape(value), name)
		}
		b.WriteString("</p:PortMappingEntry>")
	}
	if n == 0 {
		return nil, errNotFound
	}
	return []string{`<p:PortMappingList xmlns:p="http://www.upnp.org/schemas/gw/WANIPConnection">` + b.String() + "</p:PortMappingList>"}, nil
}

var listNames = []string{
	"NewRemoteHost", "NewExternalPort", "NewProtocol", "NewInternalPort", "NewInternalClient", "NewEnabled", "NewDescription", "NewLeaseTime",
}

func parseProtocol(s string) (uint8, error) {
	switch strings.ToUpper(strings.TrimSpace(s)) {
	case "TCP":
		return tcp, nil
	case "UDP":
		return udp, nil
	default:
		return 0, errInvalidArgs
	}
}

func protocolName(p uint8) string {
	if p == tcp {
		return "TCP"
	}
	return "UDP"
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 16)
	if err != nil {
		return 0, errInvalidArgs
	}
	return uint16(n), nil
}

// parseRemote reads a remote host: none, the wildcard or an address. Names are not resolved.
func parseRemote(s string) (netip.Addr, error) {
	if s = strings.TrimSpace(s); s == "" || s == "0.0.0.0" || s == "*" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return netip.Addr{}, errInvalidArgs
	}
	return a, nil
}

// parseBool reads UPnP's boolean (UPnP Device Architecture §2.5).
func parseBool(s string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "1", "true", "yes":
		return true, nil
	case "0", "false", "no":
		return false, nil
	default:
		return false, errInvalidArgs
	}
}
