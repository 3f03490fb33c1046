package lab_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/punchlab/punchlab/lab"
	"github.com/punchlab/punchlab/lab/link"
)

// mine is a link of a topology's own with a figure of every kind.
func mine() link.Profile {
	return link.Profile{
		Name: "mine", Source: "this test",
		Up: link.Impairment{
			Delay: 5 * time.Millisecond, Jitter: time.Millisecond, Rate: 1_000_000, QueueBytes: 10_000, Loss: 0.01,
			Burst: &link.GilbertElliott{GoodToBad: 0.1, BadToGood: 0.2, LossBad: 1},
		},
		Down: link.Impairment{Delay: 7 * time.Millisecond, Trace: &link.Trace{Name: "drive.down", Times: []uint32{1, 2, 4, 9}}},
	}
}

func withMine(t *testing.T) *lab.Topology {
	t.Helper()
	topo := carrierAndHome()
	topo.Links = []link.Profile{mine(), {Name: "idle", Source: "this test"}}
	topo.Sites[1].Link = "mine"
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	return topo
}

// A link of the topology's own goes wherever a preset does.
func TestOwnLinks(t *testing.T) {
	topo := withMine(t)
	if diff := cmp.Diff(mine(), topo.Site("carrier").Profile); diff != "" {
		t.Error(diff)
	}
	for _, step := range []struct{ key, value string }{{"viewer.link", "idle"}, {"rendezvous.link", "mine"}, {"link", "mine"}, {"carrier.link", "lte"}} {
		if err := topo.Set(step.key, step.value); err != nil {
			t.Fatal(err)
		}
	}
	lte, _ := link.Lookup("lte")
	for name, got := range map[string]link.Profile{
		"lte": topo.Site("carrier").Profile, "mine": topo.Site("viewer").Profile, "mine again": topo.Public[0].Profile,
	} {
		want := lte
		if name != "lte" {
			want = mine()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	for name, want := range map[string]bool{"mine": true, "idle": true, "lte": true, "": false, "yours": false} {
		if p, ok := topo.LookupLink(name); ok != want || (ok && p.Name != name) {
			t.Errorf("%q is found: %v, as %q", name, ok, p.Name)
		}
	}
	if names := topo.LinkNames(); names[0] != "mine" || names[1] != "idle" || len(names) != 2+len(link.Presets()) {
		t.Errorf("links %v", names)
	}
	err := lab.Event{Do: lab.DoLink, Site: "viewer", Link: "mine"}.Validate(topo)
	if err != nil {
		t.Error(err)
	}
	err = lab.Event{Do: lab.DoLink, Site: "viewer", Link: "mien"}.Validate(topo)
	if err == nil || err.Error() != `link: unknown link "mien" (did you mean "mine"?)` {
		t.Errorf("an event's misspelt link: %v", err)
	}
}

// The digest covers every figure of every link and every time of every trace, also of links that nothing hangs on yet. What
// LookupLink gives and what Clone makes share nothing that changes.
func TestOwnLinksDigest(t *testing.T) {
	topo := withMine(t)
	digests := map[string]string{topo.Digest(): "nothing", carrierAndHome().Digest(): "no links"}
	for name, change := range map[string]func(*lab.Topology){
		"source": func(c *lab.Topology) { c.Links[1].Source = "another" },
		"idle":   func(c *lab.Topology) { c.Links[1].Down.Corrupt = 0.5 },
		"rate":   func(c *lab.Topology) { c.Links[0].Up.Rate++ },
		"burst":  func(c *lab.Topology) { c.Links[0].Up.Burst.LossGood = 0.5 },
		"trace": func(c *lab.Topology) {
			c.Links[0].Down.Trace = &link.Trace{Name: "drive.down", Times: []uint32{1, 2, 5, 9}}
		},
		"anywhere": func(c *lab.Topology) {
			c.Links[0].Down.Trace = &link.Trace{Name: "drive.down", Times: []uint32{1, 2, 4, 9}, Anywhere: true}
		},
	} {
		c := topo.Clone()
		change(c)
		if other, ok := digests[c.Digest()]; ok {
			t.Errorf("another %s gives the digest of %s", name, other)
		}
		digests[c.Digest()] = name
	}
	before := topo.Digest()
	p, _ := topo.LookupLink("mine")
	p.Up.Burst.LossBad = 0
	if topo.Digest() != before {
		t.Error("a change of what LookupLink gave changed the topology")
	}
	if b := topo.Links[0].Up.Burst; topo.Site("carrier").Profile.Up.Burst == b || topo.Clone().Links[0].Up.Burst == b {
		t.Error("the site's link, or the clone's, is the topology's own")
	}
}

func TestOwnLinksProblems(t *testing.T) {
	for want, change := range map[string]func(*lab.Topology){
		`links.lte: name "lte" is a preset's: choose another`: func(c *lab.Topology) { c.Links[0].Name = "lte" },
		`links.mine: name "mine" is taken by another link`:    func(c *lab.Topology) { c.Links[1].Name = "mine" },
		`links."a\nb": "a\nb" is not a name`:                  func(c *lab.Topology) { c.Links[1].Name = "a\nb" },
		"links.idle.source: missing: say who":                 func(c *lab.Topology) { c.Links[1].Source = "" },
		"links: 65 are too many: 64 at most":                  func(c *lab.Topology) { c.Links = make([]link.Profile, 65) },
		"links.idle.up.mtu: MTU 67 is impossible":             func(c *lab.Topology) { c.Links[1].Up.MTU = 67 },
		"links.idle.down.aqm: queue management 9 is unknown":  func(c *lab.Topology) { c.Links[1].Down.AQM = 9 },
		"links.idle.up.loss: loss NaN":                        func(c *lab.Topology) { c.Links[1].Up.Loss = math.NaN() },
		"links.idle.up.trace: trace \"x\": trace is empty":    func(c *lab.Topology) { c.Links[1].Up.Trace = &link.Trace{Name: "x"} },
		"links.idle.up.burst.loss-bad: burst loss in the bad": func(c *lab.Topology) { c.Links[1].Up.Burst = &link.GilbertElliott{LossBad: 2} },
		"links.mine.down.rate: rate 5 bit/s and a trace":      func(c *lab.Topology) { c.Links[0].Down.Rate = 5 },
	} {
		topo := withMine(t)
		change(topo)
		if strings.HasPrefix(want, "links.lte") || strings.HasPrefix(want, "links:") {
			topo.Sites[1].Link = "lan"
		}
		err := topo.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Every figure that Impairment.Validate refuses has a place of its own in a document.
func TestOwnLinksFigures(t *testing.T) {
	for key, i := range map[string]link.Impairment{
		"delay": {Delay: -1}, "jitter": {Jitter: time.Hour}, "rate": {Rate: -1}, "queue": {QueueBytes: -1}, "target": {Target: -1},
		"interval": {Interval: -1}, "reorder": {Reorder: 2}, "reorder-by": {ReorderBy: -1}, "duplicate": {Duplicate: 2}, "corrupt": {Corrupt: 2},
		"burst.good-to-bad": {Burst: &link.GilbertElliott{GoodToBad: 2}}, "burst.bad-to-good": {Burst: &link.GilbertElliott{BadToGood: 2}},
		"burst.loss-good": {Burst: &link.GilbertElliott{LossGood: 2}},
	} {
		if i.Validate() == nil {
			t.Errorf("%s: a link may have it", key)
		}
		topo := carrierAndHome()
		topo.Links = []link.Profile{{Name: "mine", Source: "this test", Down: i}}
		if err := topo.Validate(); err == nil || !strings.HasPrefix(err.Error(), "links.mine.down."+key+": ") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// The picture describes links of the topology's own, and is otherwise as without them.
func TestOwnLinksDrawn(t *testing.T) {
	topo := withMine(t)
	_, got, _ := strings.Cut(topo.Draw(), "\n\nlinks\n")
	want := `├─ mine
│     up 5ms ±1ms 1 Mbit/s 1 % loss burst loss · queue 10 kB · bursts: good to bad 10 %, bad to good 20 %, loss 0 % and 100 %
│     down 7ms trace drive.down · 5.333 Mbit/s in the mean over 9ms
│     source: this test
└─ idle
      up 0s
      down 0s
      source: this test
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	picture := topo.DrawSVG()
	for _, text := range []string{">mine<", ">idle<", ">↓ 7ms trace drive.down · 5.333 Mbit/s in the mean over 9ms<", ">source: this test<"} {
		if !strings.Contains(picture, text) {
			t.Errorf("the picture lacks %q", text)
		}
	}
	topo.Links = nil
	if strings.Contains(topo.Draw(), "\nlinks\n") || strings.Contains(topo.DrawSVG(), "of this topology") {
		t.Error("links are drawn where there are none")
	}
}

// An event can give a site a link of the topology's own: one on which nothing goes down.
func TestOwnLinkEvent(t *testing.T) {
	topo := &lab.Topology{
		Name:   "x",
		Sites:  []lab.Site{{Name: "home", NAT: "port-restricted-cone", Link: "lan", Engine: lab.EngineTable, Hosts: []lab.Host{{Name: "camera"}}}},
		Public: []lab.PublicHost{{Name: "rendezvous", Link: "lan"}},
		Links:  []link.Profile{{Name: "dead", Source: "this test", Up: link.Impairment{Loss: 1}}},
	}
	if err := topo.Resolve(); err != nil {
		t.Fatal(err)
	}
	l := up(t, startFabric(t), topo)
	if _, err := ask(t, l, "camera", "rendezvous"); err != nil {
		t.Fatal(err)
	}
	undo, err := l.Do(lab.Event{Do: lab.DoLink, Site: "home", Link: "dead"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := askWithin(t, l, 300*time.Millisecond, "camera", "rendezvous"); err == nil {
		t.Error("a packet passes a link that loses all")
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, l, "camera", "rendezvous"); err != nil {
		t.Errorf("undone: %v", err)
	}
}
