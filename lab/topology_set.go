package lab

import (
	"maps"
	"slices"
	"strings"
)

// LinkKey sets the links of all sites at once. Public hosts keep theirs.
const LinkKey = "link"

// siteFields are what Set changes of every site, besides its link.
var siteFields = []struct {
	name  string
	noun  string
	field func(*Site) *string
	known func() []string // nil: NAT presets, which have other names too
}{
	{"nat", "NAT preset", func(s *Site) *string { return &s.NAT }, nil},
	{"engine", "engine", func(s *Site) *string { return &s.Engine }, RouterEngines},
	{"ipv6", "IPv6 mode", func(s *Site) *string { return &s.IPv6 }, IPv6Modes},
	{"portmap", "preset", func(s *Site) *string { return &s.PortMap }, PortMaps},
}

// Keys lists what Set takes, in the document's order: SITE.nat, SITE.engine, SITE.ipv6 and SITE.portmap of each site, SITE.link of
// each site on the fabric, HOST.link of each public host, and "link".
func (t *Topology) Keys() []string {
	var keys []string
	for i := range t.Sites {
		keys = append(keys, t.Sites[i].Name+".nat")
		if t.Sites[i].Behind == "" {
			keys = append(keys, t.Sites[i].Name+".link")
		}
		for _, f := range siteFields[1:] {
			keys = append(keys, t.Sites[i].Name+"."+f.name)
		}
	}
	for _, p := range t.Public {
		keys = append(keys, p.Name+".link")
	}
	return append(keys, LinkKey)
}

// Set changes one preset or mode: Set("camera.nat", "symmetric"). A resolved topology is resolved anew, because a site that stops or
// starts translating needs other addresses. On an error, a *Problem or Problems, the topology is as it was.
func (t *Topology) Set(key, value string) error {
	return t.Configure(map[string]string{key: value})
}

// Configure is Set for several keys at once. "link" counts before the keys that name a site, whatever the order.
func (t *Topology) Configure(params map[string]string) error {
	c := t.Clone()
	var ps Problems
	if v, ok := params[LinkKey]; ok {
		c.set(LinkKey, v, &ps)
	}
	for _, key := range slices.Sorted(maps.Keys(params)) {
		if key != LinkKey {
			c.set(key, params[key], &ps)
		}
	}
	if len(ps) == 1 {
		return ps[0]
	}
	if len(ps) > 1 {
		return ps
	}
	if t.resolved {
		if err := c.Resolve(); err != nil {
			return err
		}
	}
	*t = *c
	return nil
}

func (t *Topology) set(key, value string, ps *Problems) {
	name, field, _ := strings.Cut(key, ".")
	site := t.Site(name)
	switch {
	case key == LinkKey:
		for i := range t.Sites {
			if s := &t.Sites[i]; s.Behind == "" {
				s.Link = value
			}
		}
		t.lookupLink(key, value, ps)
	case site != nil && site.set(field, key, value, ps):
	case site != nil && field == LinkKey && site.Behind != "":
		*ps = append(*ps, &Problem{Path: key, Msg: "site " + quote(name) + " is behind another and has no link of its own",
			Suggestion: t.Outermost(site).Name + ".link"})
	case site != nil && field == LinkKey:
		site.Link = value
		t.lookupLink(key, value, ps)
	case field == LinkKey && t.setPublicLink(name, value):
		t.lookupLink(key, value, ps)
	default:
		p := Unknown("", "key", key, t.Keys())
		if own := t.keyOfHost(key); own != "" {
			p = &Problem{Msg: "unknown key " + quote(key), Suggestion: own}
		}
		*ps = append(*ps, p)
	}
}

// set changes a field of a site, and says whether there is one of that name.
func (s *Site) set(field, key, value string, ps *Problems) bool {
	for _, f := range siteFields {
		switch {
		case f.name != field:
			continue
		case f.known == nil:
			lookupNAT(key, value, ps)
		case !slices.Contains(f.known(), value):
			*ps = append(*ps, Unknown(key, f.noun, value, f.known()))
		}
		*f.field(s) = value
		return true
	}
	return false
}

// keyOfHost is the key that someone meant who named a host instead of its site.
func (t *Topology) keyOfHost(key string) string {
	host, field, _ := strings.Cut(key, ".")
	s := t.SiteOf(host)
	switch {
	case s == nil:
		return ""
	case field == LinkKey:
		return t.Outermost(s).Name + ".link"
	}
	for _, f := range siteFields {
		if f.name == field {
			return s.Name + "." + field
		}
	}
	return ""
}

func (t *Topology) setPublicLink(host, value string) bool {
	for i := range t.Public {
		if t.Public[i].Name == host {
			t.Public[i].Link = value
			return true
		}
	}
	return false
}
