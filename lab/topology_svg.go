package lab

import (
	"encoding/xml"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/punchlab/punchlab/lab/link"
)

// DrawSVG draws the topology as a picture of its own, without script, font or link to anything:
//
//	┌──────────────── internet ────────────────┐
//	    (link)               (link)   (link)
//	  ┌─ router ─┐            router   public host
//	  ─────┬──── LAN ───┬──     …
//	      host        router …
//
// The links of the topology's own are described below the picture.
func (t *Topology) DrawSVG() string {
	var top []*block
	for i := range t.Sites {
		if s := &t.Sites[i]; s.Behind == "" {
			top = append(top, t.siteBlock(s))
		}
	}
	for _, p := range t.Public {
		b := newBlock("public", p.Name, addrLines(p.Addrs))
		b.link = linkLines(p.Link, p.Profile)
		top = append(top, b)
	}
	title := t.Name
	if t.Summary != "" {
		title += ": " + t.Summary
	}
	notes := t.notes()
	inner := max(rowWidth(top), textWidth(t.Summary, 13), widest(notes))
	height := svgTop + svgCloud + svgUplink + svgMargin
	for _, b := range top {
		height = max(height, svgTop+svgCloud+svgUplink+b.height()+svgMargin)
	}
	bottom := height
	if len(notes) > 0 {
		height += (len(notes)+1)*svgLine + svgMargin
	}
	w := &svg{}
	w.open(inner+2*svgMargin, height, title)
	w.text("name", svgMargin, 30, "start", t.Name)
	w.text("summary", svgMargin, 50, "start", t.Summary)
	w.box("cloud", svgMargin, svgTop, inner, svgCloud, svgCloud/2)
	w.text("label", svgMargin+inner/2, svgTop+svgCloud/2+5, "middle", "internet")
	x := svgMargin + (inner-rowWidth(top))/2
	for _, b := range top {
		b.uplink(w, x, svgTop+svgCloud)
		b.draw(w, x, svgTop+svgCloud+svgUplink)
		x += b.width() + svgGap
	}
	drawNotes(w, notes, bottom+svgLine)
	w.b.WriteString("</svg>\n")
	return w.b.String()
}

// Measures of the picture, in pixels.
const (
	svgMargin = 24
	svgTop    = 70  // of the internet
	svgCloud  = 36  // its height
	svgUplink = 104 // between the internet and what hangs on it
	svgStub   = 26  // between a LAN and what hangs on it
	svgGap    = 22  // between neighbours
	svgLine   = 17  // of text
	svgPad    = 12  // within a box
	svgLANGap = 44  // between a router and its LAN, where the networks are written
)

// block is a box with lines of text, and for a router the LAN below it.
type block struct {
	kind  string // of the box: router, host, standby, public
	name  string
	lines []string
	link  []string // of the uplink; none on a LAN
	lan   []string // networks, for a router
	below []*block
}

func newBlock(kind, name string, lines []string) *block {
	return &block{kind: kind, name: name, lines: lines}
}

func (t *Topology) siteBlock(s *Site) *block {
	b := newBlock("router", s.Name, addrLines(slices.Concat(s.WAN, s.WAN6)))
	for _, what := range s.behaviors() {
		b.lines = append(b.lines, wrap(what)...)
	}
	if s.Behind == "" {
		b.link = linkLines(s.Link, s.Profile)
	}
	b.lan = strings.Split(s.networks(), ", ")
	for i := range s.Hosts {
		h := &s.Hosts[i]
		kind, lines := "host", addrLines(h.addrs())
		if h.Standby {
			kind, lines = "standby", append(lines, "on standby")
		}
		b.below = append(b.below, newBlock(kind, h.Name, lines))
	}
	for _, c := range t.children(s) {
		if !t.stranded(c) {
			b.below = append(b.below, t.siteBlock(c))
		}
	}
	return b
}

// wrap breaks what is too long for a box before its brackets and after its commas.
func wrap(line string) []string {
	if textWidth(line, 12) <= 190 {
		return []string{line}
	}
	line = strings.NewReplacer(" (", "\n(", ", ", ",\n", " ↔ ", "\n↔ ").Replace(line)
	return strings.Split(line, "\n")
}

func addrLines(addrs []netip.Addr) []string {
	if len(addrs) == 0 {
		return nil
	}
	return strings.Split(list(addrs), ", ")
}

func linkLines(name string, p link.Profile) []string {
	if p.Name != "" {
		name = p.Name
	}
	return []string{name, "↑ " + drawImpairment(p.Up), "↓ " + drawImpairment(p.Down)}
}

// textWidth is about what text takes in a sans-serif font of that size; letters differ, so it errs on the wide side.
func textWidth(s string, size int) int { return utf8.RuneCountInString(s) * size * 58 / 100 }

func widest(lines []string) (w int) {
	for _, l := range lines {
		w = max(w, textWidth(l, 12))
	}
	return w
}

func (b *block) boxWidth() int {
	return max(textWidth(b.name, 15), widest(b.lines), 60) + 2*svgPad
}

func (b *block) boxHeight() int { return (len(b.lines)+1)*svgLine + 2*svgPad - 4 }

func (b *block) width() int {
	return max(b.boxWidth(), widest(b.link)+2*svgPad, 2*(widest(b.lan)+16), rowWidth(b.below))
}

func rowWidth(row []*block) int {
	w := 0
	for i, b := range row {
		if i > 0 {
			w += svgGap
		}
		w += b.width()
	}
	return w
}

func (b *block) lanHeight() int { return svgLANGap + max(0, len(b.lan)-2)*svgLine }

func (b *block) height() int {
	h := b.boxHeight()
	if b.lan == nil {
		return h
	}
	deepest := 0
	for _, c := range b.below {
		deepest = max(deepest, svgStub+c.height())
	}
	return h + b.lanHeight() + deepest
}

// uplink draws the line from the internet, and what the link is like on it.
func (b *block) uplink(w *svg, x, y int) {
	middle := x + b.width()/2
	w.line("wire", middle, y, middle, y+svgUplink)
	height, width := len(b.link)*svgLine+10, widest(b.link)+2*svgPad-6
	top := y + (svgUplink-height)/2
	w.box("chip", middle-width/2, top, width, height, 8)
	for i, l := range b.link {
		w.text([]string{"chipname", "fine", "fine"}[min(i, 2)], middle, top+svgLine*(i+1), "middle", l)
	}
}

func (b *block) draw(w *svg, x, y int) {
	middle, width := x+b.width()/2, b.boxWidth()
	w.box(b.kind, middle-width/2, y, width, b.boxHeight(), 8)
	w.text("label", middle, y+svgPad+10, "middle", b.name)
	for i, l := range b.lines {
		w.text("fine", middle, y+svgPad+10+svgLine*(i+1), "middle", l)
	}
	if b.lan == nil {
		return
	}
	bottom := y + b.boxHeight()
	lan := bottom + b.lanHeight()
	w.line("wire", middle, bottom, middle, lan)
	for i, l := range b.lan {
		w.text("net", middle+8, lan-7-svgLine*(len(b.lan)-1-i), "start", l)
	}
	from, to := middle-40, middle+max(40, widest(b.lan)+8)
	at := x + (b.width()-rowWidth(b.below))/2
	for _, c := range b.below {
		hook := at + c.width()/2
		from, to = min(from, hook), max(to, hook)
		w.line("wire", hook, lan, hook, lan+svgStub)
		c.draw(w, at, lan+svgStub)
		at += c.width() + svgGap
	}
	w.line("lan", from, lan, to, lan)
}

// svg writes elements.
type svg struct{ b strings.Builder }

const svgStyle = `<style>
text{font:12px system-ui,"DejaVu Sans",sans-serif;fill:#1f2933}
.name{font-size:20px;font-weight:600}.summary{font-size:13px;fill:#52606d}
.label{font-size:14px;font-weight:600}.chipname{font-weight:600}.net{fill:#52606d}.fine{fill:#323f4b}
.cloud{fill:#e4e7eb;stroke:#9aa5b1}.router{fill:#e6f0fd;stroke:#2f6fc4}.host{fill:#e9f6ec;stroke:#3a8a4d}
.standby{fill:#fff;stroke:#3a8a4d;stroke-dasharray:5 4}.public{fill:#f4ecfb;stroke:#7d4fb0}.chip{fill:#fff;stroke:#cbd2d9}
.wire{stroke:#7b8794;stroke-width:1.5}.lan{stroke:#7b8794;stroke-width:4;stroke-linecap:round}
</style>
`

func (w *svg) open(width, height int, title string) {
	fmt.Fprintf(&w.b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(&w.b, "<title>%s</title>\n%s<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", escape(title), svgStyle)
}

func (w *svg) box(class string, x, y, width, height, radius int) {
	fmt.Fprintf(&w.b, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="%d"/>`+"\n", class, x, y, width, height, radius)
}

func (w *svg) line(class string, x1, y1, x2, y2 int) {
	fmt.Fprintf(&w.b, `<line class="%s" x1="%d" y1="%d" x2="%d" y2="%d"/>`+"\n", class, x1, y1, x2, y2)
}

func (w *svg) text(class string, x, y int, anchor, s string) {
	fmt.Fprintf(&w.b, `<text class="%s" x="%d" y="%d" text-anchor="%s">%s</text>`+"\n", class, x, y, anchor, escape(s))
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
