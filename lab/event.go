package lab

import (
	"fmt"
	"slices"
	"time"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
)

// Event is something that happens to the network during a trial:
//
//	trial starts ── On ── At ──► Do ── For ──► undone
//
// Which fields it has depends on Do (actions, below); the others stay empty.
type Event struct {
	At      time.Duration // after On
	On      string        // Moments; empty: the start of the trial
	Do      string        // Actions
	Site    string        // site whose router or uplink it happens to
	Host    string        // host that it happens to; a public host where it happens to an uplink
	To      string        // move: the site that the host moves to
	NAT     string        // nat: the preset
	Link    string        // link: a link of the topology's own, or a preset
	Between [2]string     // blackhole: owners of two uplinks, sites or public hosts; the second may be empty: everybody
	MTU     int           // mtu-blackhole: bytes; what is larger is dropped without a word
	For     time.Duration // undone so long after; 0: never
}

// What an Event can Do.
const (
	DoReboot       = "reboot"        // Site's router forgets everything; with For nothing passes it meanwhile
	DoReaddress    = "readdress"     // Site's router gets other IPv4 addresses (FreeWAN); what it mapped is lost
	DoNAT          = "nat"           // Site's router becomes the preset NAT, with the site's Override; what it mapped is lost
	DoUplinkDown   = "uplink-down"   // the uplink of Site or public Host carries nothing
	DoUplinkUp     = "uplink-up"     // the same uplink works again
	DoMove         = "move"          // Host leaves its site for To, where it is on standby, or from which it came
	DoLink         = "link"          // the uplink of Site or public Host becomes Link
	DoKill         = "kill"          // the program in Host is killed; with For it is started again
	DoSleep        = "sleep"         // Host sleeps: its programs (Sleepers) and its network are suspended; with For it wakes again
	DoBlackhole    = "blackhole"     // the internet drops everything between two uplinks, both ways
	DoMTUBlackhole = "mtu-blackhole" // the uplink of Site or public Host drops what is larger than MTU, without ICMP
)

// Moments that an event can wait for.
const (
	OnRequested   = "requested"    // the viewer has asked
	OnConnected   = "connected"    // the first path is there
	OnFirstPacket = "first-packet" // of video, at the viewer
	OnFirstFrame  = "first-frame"  // the first whole one, at the viewer
)

// MaxEventTime bounds At and For.
const MaxEventTime = time.Hour

var moments = []string{OnRequested, OnConnected, OnFirstPacket, OnFirstFrame}

// Moments lists the values of Event.On, in the order in which they come to pass.
func Moments() []string { return slices.Clone(moments) }

// action is what an event of one kind needs (+) and may have (?) besides At and On. Of Site and Host, where it may have both, it
// needs one.
type action struct {
	name   string
	fields map[string]byte
}

var actions = []action{
	{DoReboot, map[string]byte{"site": '+', "for": '?'}},
	{DoReaddress, map[string]byte{"site": '+', "for": '?'}},
	{DoNAT, map[string]byte{"site": '+', "nat": '+', "for": '?'}},
	{DoUplinkDown, map[string]byte{"site": '?', "host": '?', "for": '?'}},
	{DoUplinkUp, map[string]byte{"site": '?', "host": '?'}},
	{DoMove, map[string]byte{"host": '+', "to": '+', "for": '?'}},
	{DoLink, map[string]byte{"site": '?', "host": '?', "link": '+', "for": '?'}},
	{DoKill, map[string]byte{"host": '+', "for": '?'}},
	{DoSleep, map[string]byte{"host": '+', "for": '?'}},
	{DoBlackhole, map[string]byte{"between": '+', "for": '?'}},
	{DoMTUBlackhole, map[string]byte{"site": '?', "host": '?', "mtu": '+', "for": '?'}},
}

// Actions lists the values of Event.Do.
func Actions() []string {
	names := make([]string, len(actions))
	for i, a := range actions {
		names[i] = a.name
	}
	return names
}

// Validate holds the event to a resolved topology. The error is Problems, whose paths are names of fields: "site",
// "between[1]".
func (e Event) Validate(t *Topology) error {
	var ps Problems
	e.checkTimes(&ps)
	i := slices.IndexFunc(actions, func(a action) bool { return a.name == e.Do })
	switch {
	case e.Do == "":
		ps.add("do", "missing: name one of "+fmt.Sprint(Actions()))
	case i < 0:
		ps = append(ps, Unknown("do", "action", e.Do, Actions()))
	default:
		if e.checkFields(&ps, actions[i]) {
			e.checkNames(&ps, t)
		}
	}
	return ps.Err()
}

func (e Event) checkTimes(ps *Problems) {
	if e.On != "" && !slices.Contains(moments, e.On) {
		*ps = append(*ps, Unknown("on", "moment", e.On, moments))
	}
	for _, f := range []struct {
		path string
		d    time.Duration
	}{{"at", e.At}, {"for", e.For}} {
		if f.d < 0 || f.d > MaxEventTime {
			ps.add(f.path, fmt.Sprintf("%v is impossible: give 0s to %v", f.d, MaxEventTime))
		}
	}
}

// checkFields says whether the event has what its action needs, and nothing else.
func (e Event) checkFields(ps *Problems, a action) bool {
	before := len(*ps)
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"site", e.Site != ""}, {"host", e.Host != ""}, {"to", e.To != ""}, {"nat", e.NAT != ""}, {"link", e.Link != ""},
		{"between", e.Between != [2]string{}}, {"mtu", e.MTU != 0}, {"for", e.For != 0},
	} {
		need, known := a.fields[f.name]
		switch {
		case f.set && !known:
			ps.add(f.name, fmt.Sprintf("%s has no %s: leave it out", a.name, f.name))
		case !f.set && need == '+':
			ps.add(f.name, "missing: "+a.name+" needs it")
		}
	}
	if a.fields["site"] == '?' && (e.Site == "") == (e.Host == "") {
		ps.add("site", a.name+" happens to one uplink: name a site, or a public host")
	}
	return len(*ps) == before
}

// checkNames compares what the event names with what there is.
func (e Event) checkNames(ps *Problems, t *Topology) {
	site := t.Site(e.Site)
	if e.Site != "" && site == nil {
		*ps = append(*ps, Unknown("site", "site", e.Site, t.siteNames()))
		return
	}
	switch e.Do {
	case DoKill, DoSleep, DoMove:
		if !slices.Contains(t.Hosts(), e.Host) {
			*ps = append(*ps, Unknown("host", "host", e.Host, t.Hosts()))
			return
		}
	case DoUplinkDown, DoUplinkUp, DoLink, DoMTUBlackhole:
		t.checkUplink(ps, site, e.Host)
	}
	switch e.Do {
	case DoReaddress:
		if len(t.FreeWAN(e.Site, 1)) == 0 {
			ps.add("site", "no other address is left for the router of "+quote(e.Site))
		}
	case DoNAT:
		e.checkSwitch(ps, t)
	case DoMove:
		if sites := t.StandbyOf(e.Host); !slices.Contains(sites, e.To) && (len(sites) == 0 || t.SiteOf(e.Host).Name != e.To) {
			*ps = append(*ps, notOnStandby(t, e.Host, e.To))
		}
	case DoLink:
		t.lookupLink("link", e.Link, ps)
	case DoBlackhole:
		t.checkBetween(ps, e.Between)
	case DoMTUBlackhole:
		if e.MTU < link.MinMTU || e.MTU >= defaultMTU {
			ps.add("mtu", fmt.Sprintf("%d is impossible: give %d to %d", e.MTU, link.MinMTU, defaultMTU-1))
		}
	}
}

func (e Event) checkSwitch(ps *Problems, t *Topology) {
	b, err := t.SwitchNAT(e.Site, e.NAT)
	switch site := t.Site(e.Site); {
	case err != nil:
		for _, p := range asProblems(err) {
			*ps = append(*ps, &Problem{Path: "nat", Msg: p.Msg, Suggestion: p.Suggestion})
		}
	case (b.Kind == nat.NoNAT) != (site.Behavior.Kind == nat.NoNAT):
		ps.add("nat", fmt.Sprintf("from %s to %s the hosts of %s would need other addresses: such a switch is a trial of its own", quote(site.NAT),
			quote(e.NAT), quote(e.Site)))
	case site.Engine != "":
		e.checkEngine(ps, site, site.Engine, b)
	}
}

// CheckEngine says whether the router that the event changes can become what it is told to, run being the engine of those that
// name none (empty: netfilter). The error is Problems. Of an event that Validate refuses it says nothing.
func (e Event) CheckEngine(t *Topology, run string) error {
	if e.Do != DoNAT {
		return nil
	}
	b, err := t.SwitchNAT(e.Site, e.NAT)
	if err != nil {
		return nil
	}
	var ps Problems
	e.checkEngine(&ps, t.Site(e.Site), t.Site(e.Site).EngineOf(run), b)
	return ps.Err()
}

func (e Event) checkEngine(ps *Problems, s *Site, engine string, b nat.Behavior) {
	if err := engineSupports(engine, b); err != nil {
		ps.add("nat", fmt.Sprintf("site %s can't become %s: %v", quote(s.Name), quote(e.NAT), err))
	}
}

func notOnStandby(t *Topology, host, to string) *Problem {
	sites := t.StandbyOf(host)
	if len(sites) == 0 {
		return &Problem{Path: "to", Msg: "host " + quote(host) + " is on standby nowhere: add it to a site's hosts with standby: true"}
	}
	return Unknown("to", "site where "+quote(host)+" is on standby:", to, sites)
}

// checkUplink wants a site on the fabric or a public host.
func (t *Topology) checkUplink(ps *Problems, site *Site, host string) {
	switch {
	case site != nil && site.Behind != "":
		*ps = append(*ps, &Problem{Path: "site", Msg: "site " + quote(site.Name) + " is behind another and has no uplink of its own",
			Suggestion: t.Outermost(site).Name})
	case site == nil && t.SiteOf(host) != nil:
		*ps = append(*ps, &Problem{Path: "host", Msg: "host " + quote(host) + " has no uplink of its own: name its site instead, site: " +
			t.Outermost(t.SiteOf(host)).Name})
	case site == nil && !slices.Contains(t.Hosts(), host):
		*ps = append(*ps, Unknown("host", "public host", host, t.publicNames()))
	}
}

// checkBetween wants one or two owners of uplinks.
func (t *Topology) checkBetween(ps *Problems, between [2]string) {
	owners := t.uplinkOwners()
	for i, name := range between {
		path := fmt.Sprintf("between[%d]", i)
		switch s := t.Site(name); {
		case name == "" && i == 0:
			ps.add(path, "missing: name a site or a public host")
		case name == "" || slices.Contains(owners, name):
		case s != nil:
			*ps = append(*ps, &Problem{Path: path, Msg: "site " + quote(name) + " is behind another and has no uplink of its own",
				Suggestion: t.Outermost(s).Name})
		default:
			*ps = append(*ps, Unknown(path, "site or public host", name, owners))
		}
	}
	if between[0] == between[1] && between[0] != "" {
		ps.add("between[1]", "the same again: name another, or leave it out")
	}
}

func (t *Topology) publicNames() []string {
	names := make([]string, len(t.Public))
	for i, p := range t.Public {
		names[i] = p.Name
	}
	return names
}

// uplinkOwners lists the sites on the fabric and the public hosts.
func (t *Topology) uplinkOwners() (names []string) {
	for _, s := range t.Sites {
		if s.Behind == "" {
			names = append(names, s.Name)
		}
	}
	return append(names, t.publicNames()...)
}
