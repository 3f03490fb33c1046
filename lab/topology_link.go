package lab

import (
	"slices"

	"github.com/punchlab/punchlab/lab/link"
)

// MaxLinks bounds the links of a topology's own.
const MaxLinks = 64

// LookupLink finds a link by its name: one of the topology's own Links, or a preset. What it returns shares nothing with the
// topology but a trace, which nobody changes.
func (t *Topology) LookupLink(name string) (link.Profile, bool) {
	for _, p := range t.Links {
		if p.Name == name {
			return cloneProfile(p), true
		}
	}
	p, ok := link.Lookup(name)
	return cloneProfile(p), ok
}

// LinkNames lists what LookupLink finds: the topology's own links, then the presets.
func (t *Topology) LinkNames() []string {
	var names []string
	for _, p := range slices.Concat(t.Links, link.Presets()) {
		names = append(names, p.Name)
	}
	return names
}

func (t *Topology) lookupLink(path, name string, ps *Problems) link.Profile {
	p, ok := t.LookupLink(name)
	if !ok {
		what := "preset"
		if len(t.Links) > 0 {
			what = "link"
		}
		*ps = append(*ps, Unknown(path, what, name, t.LinkNames()))
	}
	return p
}

// resolveLink looks a link up. Without a name, the profile that the program gave counts if that has one: a forgotten link is
// not a perfect one.
func (t *Topology) resolveLink(path, name string, given link.Profile, ps *Problems) link.Profile {
	if name == "" && given.Name != "" {
		if err := given.Validate(); err != nil {
			ps.add(path, err.Error())
		}
		return given
	}
	if name == "" {
		ps.add(path, "missing: name a preset, such as broadband")
		return given
	}
	return t.lookupLink(path, name, ps)
}

// checkLinks holds the topology's own links to what links can be.
func (t *Topology) checkLinks(ps *Problems) {
	taken := map[string]bool{}
	for _, p := range t.Links {
		path := Member("links", p.Name)
		_, preset := link.Lookup(p.Name)
		msg := ""
		switch {
		case !namePattern.MatchString(p.Name):
			msg = badName(p.Name)
		case preset:
			msg = "name " + quote(p.Name) + " is a preset's: choose another"
		case taken[p.Name]:
			msg = "name " + quote(p.Name) + " is taken by another link"
		}
		if msg != "" {
			*ps = append(*ps, &Problem{Path: path, Key: true, Msg: msg})
		}
		taken[p.Name] = true
		if p.Source == "" {
			ps.add(path+".source", "missing: say who measured the figures and when, or who chose them")
		}
		checkImpairment(ps, path+".up", p.Up)
		checkImpairment(ps, path+".down", p.Down)
	}
}

// figures are those of an Impairment, by their keys in a document. Each can be checked alone.
var figures = []struct {
	key  string
	only func(link.Impairment) link.Impairment
}{
	{"delay", func(i link.Impairment) link.Impairment { return link.Impairment{Delay: i.Delay} }},
	{"jitter", func(i link.Impairment) link.Impairment { return link.Impairment{Jitter: i.Jitter} }},
	{"rate", func(i link.Impairment) link.Impairment { return link.Impairment{Rate: i.Rate} }},
	{"trace", func(i link.Impairment) link.Impairment { return link.Impairment{Trace: i.Trace} }},
	{"loss", func(i link.Impairment) link.Impairment { return link.Impairment{Loss: i.Loss} }},
	{"queue", func(i link.Impairment) link.Impairment { return link.Impairment{QueueBytes: i.QueueBytes} }},
	{"aqm", func(i link.Impairment) link.Impairment { return link.Impairment{AQM: i.AQM} }},
	{"target", func(i link.Impairment) link.Impairment { return link.Impairment{Target: i.Target} }},
	{"interval", func(i link.Impairment) link.Impairment { return link.Impairment{Interval: i.Interval} }},
	{"mtu", func(i link.Impairment) link.Impairment { return link.Impairment{MTU: i.MTU} }},
	{"reorder", func(i link.Impairment) link.Impairment { return link.Impairment{Reorder: i.Reorder} }},
	{"reorder-by", func(i link.Impairment) link.Impairment { return link.Impairment{ReorderBy: i.ReorderBy} }},
	{"duplicate", func(i link.Impairment) link.Impairment { return link.Impairment{Duplicate: i.Duplicate} }},
	{"corrupt", func(i link.Impairment) link.Impairment { return link.Impairment{Corrupt: i.Corrupt} }},
	{"burst.good-to-bad", func(i link.Impairment) link.Impairment {
		return only(link.GilbertElliott{GoodToBad: i.Burst.GoodToBad})
	}},
	{"burst.bad-to-good", func(i link.Impairment) link.Impairment {
		return only(link.GilbertElliott{BadToGood: i.Burst.BadToGood})
	}},
	{"burst.loss-good", func(i link.Impairment) link.Impairment { return only(link.GilbertElliott{LossGood: i.Burst.LossGood}) }},
	{"burst.loss-bad", func(i link.Impairment) link.Impairment { return only(link.GilbertElliott{LossBad: i.Burst.LossBad}) }},
}

func only(g link.GilbertElliott) link.Impairment { return link.Impairment{Burst: &g} }

// checkImpairment reports each figure that no link can have at its own place, and then a rate beside a trace.
func checkImpairment(ps *Problems, path string, i link.Impairment) {
	given := i
	if given.Burst == nil {
		given.Burst = &link.GilbertElliott{}
	}
	sound := true
	for _, f := range figures {
		if err := f.only(given).Validate(); err != nil {
			ps.add(path+"."+f.key, err.Error())
			sound = sound && f.key != "rate" && f.key != "trace"
		}
	}
	if err := (link.Impairment{Rate: i.Rate, Trace: i.Trace}).Validate(); err != nil && sound {
		ps.add(path+".rate", err.Error())
	}
}
