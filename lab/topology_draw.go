package lab

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/punchlab/punchlab/lab/link"
	"github.com/punchlab/punchlab/lab/nat"
)

// Draw draws the topology as a tree that hangs on the internet, for people. Routers stand in brackets:
//
//	internet
//	├─ [camera] 203.0.113.1 · port-restricted-cone (EIM/APDF preservation)
//	│  │  broadband: up 12ms ±1ms 14 Mbit/s, down 12ms ±1ms 64 Mbit/s
//	│  └─ 192.168.1.0/24
//	│     └─ camera 192.168.1.2
//	└─ rendezvous 198.51.100.1, 198.51.100.2
//	      lan: up 200µs ±50µs 1 Gbit/s, down 200µs ±50µs 1 Gbit/s
//
// Below it stand the links of the topology's own, used or not, with all their figures and where these come from.
func (t *Topology) Draw() string {
	root := &branch{lines: []string{"internet"}}
	for i := range t.Sites {
		if s := &t.Sites[i]; s.Behind == "" {
			root.add(t.drawSite(s))
		}
	}
	for _, p := range t.Public {
		root.add(&branch{lines: []string{p.Name + " " + list(p.Addrs), "  " + drawLink(p.Link, p.Profile)}})
	}
	var b strings.Builder
	b.WriteString(t.Name)
	if t.Summary != "" {
		b.WriteString(": " + t.Summary)
	}
	b.WriteString("\n\n")
	root.draw(&b, "")
	if len(t.Links) > 0 {
		b.WriteString("\n")
		t.drawLinks().draw(&b, "")
	}
	return b.String()
}

// String is Draw.
func (t *Topology) String() string { return t.Draw() }

func (t *Topology) drawSite(s *Site) *branch {
	words := slices.DeleteFunc(append([]string{list(slices.Concat(s.WAN, s.WAN6))}, s.behaviors()...), func(w string) bool { return w == "" })
	router := &branch{lines: []string{fmt.Sprintf("[%s] %s", s.Name, strings.Join(words, " · "))}}
	if s.Behind == "" {
		router.lines = append(router.lines, "  "+drawLink(s.Link, s.Profile))
	}
	lan := &branch{lines: []string{s.networks()}}
	for i := range s.Hosts {
		h := &s.Hosts[i]
		line := h.Name + " " + list(h.addrs())
		if h.Standby {
			line += " (standby)"
		}
		lan.add(&branch{lines: []string{line}})
	}
	for _, c := range t.children(s) {
		if !t.stranded(c) {
			lan.add(t.drawSite(c))
		}
	}
	router.add(lan)
	return router
}

// networks names those of the site's LAN.
func (s *Site) networks() string {
	var words []string
	for _, p := range []netip.Prefix{s.LAN, s.LAN6} {
		if p.IsValid() {
			words = append(words, p.String())
		}
	}
	if len(words) == 0 {
		return "no LAN yet"
	}
	return strings.Join(words, ", ")
}

// behaviors says in a few words each what the router does: its NAT, what differs from the preset, IPv6, port mapping servers and
// the engine, where the topology names one.
func (s *Site) behaviors() (words []string) {
	if s.hasWAN4() {
		what := s.Behavior.String()
		if s.NAT != "" {
			what = s.NAT + " (" + what + ")"
		}
		words = append(words, what)
	}
	if len(s.Override) > 0 {
		var changes []string
		for _, key := range slices.Sorted(maps.Keys(s.Override)) {
			changes = append(changes, key+" "+s.Override[key])
		}
		words = append(words, strings.Join(changes, ", "))
	}
	words = append(words, s.ipv6Words()...)
	if s.PortMap != "" && s.PortMap != "none" {
		words = append(words, "port mapping: "+s.PortMap)
	}
	if s.Engine != "" {
		words = append(words, "engine "+s.Engine)
	}
	return words
}

func (s *Site) ipv6Words() []string {
	switch s.Behavior.IPv6 {
	case nat.IPv6Open:
		return []string{"IPv6 open"}
	case nat.IPv6Firewall:
		return []string{"IPv6 firewall (" + s.Behavior.WithDefaults().Filtering6.Filtering() + ")"}
	case nat.NPTv6:
		return []string{fmt.Sprintf("NPTv6 %v ↔ %v (%s)", s.Inside6, s.Net6, s.Behavior.WithDefaults().Filtering6.Filtering())}
	case nat.NAT64:
		return []string{"NAT64 for " + nat64Prefix.String()}
	}
	return nil
}

// branch is a node of the drawing: lines of text and what hangs on them.
type branch struct {
	lines []string
	below []*branch
}

func (b *branch) add(c *branch) { b.below = append(b.below, c) }

// draw writes the branch. Its first line continues what the caller has written; the others, and all below, begin with margin.
func (b *branch) draw(w *strings.Builder, margin string) {
	for i, l := range b.lines {
		switch {
		case i > 0 && len(b.below) > 0:
			w.WriteString(margin + "│")
		case i > 0:
			w.WriteString(margin + " ")
		}
		w.WriteString(l + "\n")
	}
	for i, c := range b.below {
		if i == len(b.below)-1 {
			w.WriteString(margin + "└─ ")
			c.draw(w, margin+"   ")
		} else {
			w.WriteString(margin + "├─ ")
			c.draw(w, margin+"│  ")
		}
	}
}

func list(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "no address yet"
	}
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}

func drawLink(name string, p link.Profile) string {
	if p.Name != "" {
		name = p.Name
	}
	return fmt.Sprintf("%s: up %s, down %s", name, drawImpairment(p.Up), drawImpairment(p.Down))
}

// drawImpairment says what a direction does to packets, the commonest figures first: 12ms ±1ms 14 Mbit/s.
func drawImpairment(i link.Impairment) string {
	if i.Down {
		return "nothing passes"
	}
	words := []string{i.Delay.String()}
	if i.Jitter > 0 {
		words = append(words, "±"+i.Jitter.String())
	}
	switch {
	case i.Trace != nil:
		words = append(words, "trace "+i.Trace.Name)
	case i.Rate > 0:
		words = append(words, bitRate(i.Rate))
	}
	if i.AQM != link.DropTail {
		words = append(words, i.AQM.String())
	}
	for _, chance := range []struct {
		name string
		p    float64
	}{{"loss", i.Loss}, {"reordered", i.Reorder}, {"duplicated", i.Duplicate}, {"corrupted", i.Corrupt}} {
		if chance.p > 0 {
			words = append(words, strconv.FormatFloat(chance.p*100, 'g', 3, 64)+" % "+chance.name)
		}
	}
	if i.Burst != nil {
		words = append(words, "burst loss")
	}
	if i.MTU != 0 && i.MTU != defaultMTU {
		words = append(words, fmt.Sprintf("MTU %d", i.MTU))
	}
	if i.MTUBlackhole {
		words = append(words, "blackhole")
	}
	return strings.Join(words, " ")
}

// bitRate is a rate with the largest unit that leaves one digit before the point.
func bitRate(r int64) string {
	units := []string{"bit/s", "kbit/s", "Mbit/s", "Gbit/s"}
	v, u := float64(r), 0
	for v >= 1000 && u < len(units)-1 {
		v, u = v/1000, u+1
	}
	return strconv.FormatFloat(v, 'g', 4, 64) + " " + units[u]
}
