package lab

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/punchlab/punchlab/lab/link"
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
	return b.String()
}

// String is Draw.
func (t *Topology) String() string { return t.Draw() }

func (t *Topology) drawSite(s *Site) *branch {
	what := s.Behavior.String()
	if s.NAT != "" {
		what = s.NAT + " (" + what + ")"
	}
	router := &branch{lines: []string{fmt.Sprintf("[%s] %s · %s", s.Name, list(s.WAN), what)}}
	if s.Behind == "" {
		router.lines = append(router.lines, "  "+drawLink(s.Link, s.Profile))
	}
	lan := &branch{lines: []string{"no LAN yet"}}
	if s.LAN.IsValid() {
		lan.lines[0] = s.LAN.String()
	}
	for _, h := range s.Hosts {
		addr := "no address yet"
		if h.Addr.IsValid() {
			addr = h.Addr.String()
		}
		lan.add(&branch{lines: []string{h.Name + " " + addr}})
	}
	for _, c := range t.children(s) {
		if !t.stranded(c) {
			lan.add(t.drawSite(c))
		}
	}
	router.add(lan)
	return router
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
	words := []string{i.Delay.String()}
	if i.Jitter > 0 {
		words = append(words, "±"+i.Jitter.String())
	}
	if i.Rate > 0 {
		words = append(words, bitRate(i.Rate))
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
