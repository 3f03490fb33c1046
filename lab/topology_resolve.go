package lab

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/punchlab/punchlab/lab/nat"
)

// Resolve looks the presets up, fills in the addresses that are missing and checks everything. The same document always gets
// the same addresses. On an error, which is Problems, the topology is as it was. To resolve a resolved topology again is
// free of effect; after a change by hand it gives new addresses where it gave the old ones, and keeps those set by hand.
func (t *Topology) Resolve() error {
	c := t.Clone()
	var ps Problems
	c.forget()
	if !c.checkSizes(&ps) {
		return ps
	}
	c.checkNames(&ps)
	c.checkBehind(&ps)
	c.checkLinks(&ps)
	c.lookupPresets(&ps)
	c.checkFamilies(&ps)
	c.checkEngines(&ps)
	c.checkGiven(&ps)
	c.assign(&ps)
	c.checkAddresses(&ps)
	if err := ps.Err(); err != nil {
		return err
	}
	for i := range c.Public {
		slices.SortStableFunc(c.Public[i].Addrs, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	}
	c.resolved = true
	*t = *c
	return nil
}

// Validate says what Resolve would, and changes nothing.
func (t *Topology) Validate() error { return t.Clone().Resolve() }

func sitePath(i int, field string) string   { return fmt.Sprintf("sites[%d].%s", i, field) }
func publicPath(i int, field string) string { return fmt.Sprintf("public[%d].%s", i, field) }
func hostPath(i, j int, field string) string {
	return fmt.Sprintf("sites[%d].hosts[%d].%s", i, j, field)
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// checkSizes holds the topology to its limits; beyond them the other checks take too long.
func (t *Topology) checkSizes(ps *Problems) bool {
	tooMany(ps, "sites", len(t.Sites), MaxSites)
	tooMany(ps, "public", len(t.Public), MaxPublic)
	tooMany(ps, "links", len(t.Links), MaxLinks)
	for i, s := range t.Sites {
		tooMany(ps, sitePath(i, "hosts"), len(s.Hosts), MaxHosts)
		tooMany(ps, sitePath(i, "wan"), len(s.WAN), MaxAddrs)
		tooMany(ps, sitePath(i, "wan6"), len(s.WAN6), MaxAddrs)
	}
	for i, p := range t.Public {
		tooMany(ps, publicPath(i, "addrs"), len(p.Addrs), MaxAddrs)
	}
	return len(*ps) == 0
}

func (t *Topology) checkNames(ps *Problems) {
	if !namePattern.MatchString(t.Name) {
		ps.add("name", badName(t.Name))
	}
	if len(t.Sites) == 0 {
		ps.add("sites", "missing: a topology has at least one site")
	}
	places, hosts := map[string]string{}, map[string]string{} // name → path of its first use
	for i, s := range t.Sites {
		checkName(ps, places, sitePath(i, "name"), s.Name)
		for j, h := range s.Hosts {
			if !h.Standby {
				checkName(ps, hosts, hostPath(i, j, "name"), h.Name)
			}
		}
	}
	t.checkStandby(ps)
	for i, p := range t.Public {
		path := publicPath(i, "name")
		checkName(ps, places, path, p.Name)
		if first, ok := hosts[p.Name]; ok {
			ps.add(path, fmt.Sprintf("name %s is taken by %s", quote(p.Name), first))
		}
	}
}

// checkStandby wants another site where the host is at first.
func (t *Topology) checkStandby(ps *Problems) {
	for i := range t.Sites {
		s := &t.Sites[i]
		for j, h := range s.Hosts {
			path := hostPath(i, j, "name")
			home := t.SiteOf(h.Name)
			switch {
			case !h.Standby:
			case home == nil:
				*ps = append(*ps, Unknown(path, "host", h.Name, t.Hosts()))
			case s.host(h.Name) != &s.Hosts[j] || home == s:
				ps.add(path, fmt.Sprintf("host %s is on this LAN already: it is on standby in another site", quote(h.Name)))
			}
		}
	}
}

func checkName(ps *Problems, taken map[string]string, path, name string) {
	if !namePattern.MatchString(name) {
		ps.add(path, badName(name))
		return
	}
	if name == LinkKey {
		ps.add(path, `name "link" is taken: it is the key that sets the links of all sites`)
		return
	}
	if first, ok := taken[name]; ok {
		ps.add(path, fmt.Sprintf("name %s is taken by %s", quote(name), first))
		return
	}
	taken[name] = path
}

func badName(name string) string {
	if name == "" {
		return "missing"
	}
	return quote(name) + " is not a name: start with a small letter, go on with small letters, digits and -, 32 at most"
}

func tooMany(ps *Problems, path string, n, limit int) {
	if n > limit {
		ps.add(path, fmt.Sprintf("%d are too many: %d at most", n, limit))
	}
}

// checkBehind finds unknown sites and loops. A loop is reported once, at its first site.
func (t *Topology) checkBehind(ps *Problems) {
	inLoop := map[string]bool{}
	for i := range t.Sites {
		s := &t.Sites[i]
		if s.Behind == "" {
			continue
		}
		path := sitePath(i, "behind")
		if t.Site(s.Behind) == nil {
			*ps = append(*ps, Unknown(path, "site", s.Behind, t.siteNames()))
			continue
		}
		loop := t.route(s)
		if last := loop[len(loop)-1]; last.Behind != s.Name || inLoop[s.Name] {
			continue
		}
		text := s.Name
		for _, r := range loop[1:] {
			text += " → " + r.Name
			inLoop[r.Name] = true
		}
		inLoop[s.Name] = true
		ps.add(path, fmt.Sprintf("loop: %s → %s never reaches the internet", text, s.Name))
	}
}

func (t *Topology) siteNames() []string {
	names := make([]string, len(t.Sites))
	for i := range t.Sites {
		names[i] = t.Sites[i].Name
	}
	return names
}

func (t *Topology) lookupPresets(ps *Problems) {
	for i := range t.Sites {
		s := &t.Sites[i]
		t.resolveNAT(i, s, ps)
		if s.Behind != "" {
			if s.Link != "" || s.Profile.Name != "" {
				ps.add(sitePath(i, "link"), "site "+quote(s.Name)+" is behind another, whose link counts: leave this one out")
			}
			continue
		}
		s.Profile = t.resolveLink(sitePath(i, "link"), s.Link, s.Profile, ps)
	}
	for i := range t.Public {
		p := &t.Public[i]
		p.Profile = t.resolveLink(publicPath(i, "link"), p.Link, p.Profile, ps)
	}
}

func lookupNAT(path, name string, ps *Problems) nat.Behavior {
	b, ok := nat.Lookup(name)
	if !ok {
		var known []string
		for _, k := range nat.Presets() {
			known = append(known, k.Name)
		}
		*ps = append(*ps, Unknown(path, "preset", name, known))
	}
	return b
}
