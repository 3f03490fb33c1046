package lab

import (
	"net/netip"
	"slices"
)

// Row is what a table says of a host.
type Row struct {
	Host    string       `json:"host"`
	Addrs   []netip.Addr `json:"addrs"`
	Site    string       `json:"site,omitempty"`    // on whose LAN it is; empty: it hangs on the internet
	Routers []string     `json:"routers,omitempty"` // between it and the internet, innermost first
	NATs    []string     `json:"nats,omitempty"`    // of these routers, in a few words each
	Link    string       `json:"link"`
	Standby []string     `json:"standby,omitempty"` // sites that it can move to
}

// Rows describes every host, in the order of Hosts.
func (t *Topology) Rows() []Row {
	var rows []Row
	for _, host := range t.Hosts() {
		r := Row{Host: host, Addrs: t.HostAddr(host), Standby: t.StandbyOf(host)}
		if s := t.SiteOf(host); s != nil {
			r.Site, r.Link = s.Name, t.Outermost(s).linkName()
			for _, router := range t.route(s) {
				r.Routers = append(r.Routers, router.Name)
				r.NATs = append(r.NATs, router.natName())
			}
		}
		if i := slices.IndexFunc(t.Public, func(p PublicHost) bool { return p.Name == host }); i >= 0 {
			r.Link = t.Public[i].Link
			if r.Link == "" {
				r.Link = t.Public[i].Profile.Name
			}
		}
		rows = append(rows, r)
	}
	return rows
}

func (s *Site) linkName() string {
	if s.Link == "" {
		return s.Profile.Name
	}
	return s.Link
}

// natName is the preset, or the behavior in short; without IPv4 what becomes of IPv6.
func (s *Site) natName() string {
	switch {
	case !s.hasWAN4():
		return "ipv6 " + s.Behavior.IPv6.String()
	case s.NAT == "":
		return s.Behavior.String()
	}
	return s.NAT
}
