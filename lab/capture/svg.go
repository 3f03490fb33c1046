package capture

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The drawing's measures, in pixels.
const (
	svgWidth  = 1240
	svgLeft   = 150 // of the first lane
	svgRight  = 990 // of the last lane
	svgTop    = 96  // of the first row
	svgRow    = 24
	svgSlope  = 9  // by which an arrow's end is lower than its beginning
	svgNote   = 24 // from the last lane to the notes
	svgFooter = 17
)

const svgStyle = `text{font:12px system-ui,sans-serif;fill:#24292f}` +
	`.t,.n{font-variant-numeric:tabular-nums;fill:#57606a}.t{text-anchor:end}.h{font-weight:600;text-anchor:middle}.s{text-anchor:middle;fill:#57606a;font-size:11px}` +
	`.l{text-anchor:middle;font-size:11px;paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}` +
	`.lane{stroke:#d0d7de;stroke-width:1.5}.a{fill:none;stroke:#0550ae;stroke-width:1.5}.m{stroke:#1a7f37;stroke-width:4;opacity:.75}.r{stroke:#bc4c00}` +
	`.d{stroke:#cf222e}.x{stroke:#cf222e;stroke-width:2.2}.dn{fill:#cf222e}.e{stroke:#8250df;stroke-dasharray:4 4}.en{fill:#8250df;text-anchor:middle;font-weight:600;paint-order:stroke;stroke:#fff;stroke-width:6px}` +
	`.p{fill:#fff;stroke-width:1.5}`

// SVG draws the timeline as a picture: what went through the relay is orange, media green and thick, what was dropped
// red with a cross where it ended. Times are in ms since the viewer's request; the scale is not theirs, each row is one
// packet or several alike.
func (l *Timeline) SVG() string {
	var b strings.Builder
	foot := l.footer()
	bottom := svgTop + svgRow*len(l.Rows) + 14
	height := bottom + svgFooter*len(foot) + 16
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`, svgWidth, height, svgWidth, height)
	fmt.Fprintf(&b, "\n<title>%s</title>\n<style>%s</style>\n", "What every packet of the trial did", svgStyle)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", svgWidth, height)
	for i, lane := range l.Lanes {
		x := l.x(float64(i))
		fmt.Fprintf(&b, `<line class="lane" x1="%.0f" y1="%d" x2="%.0f" y2="%d"/>`, x, svgTop-22, x, bottom)
		for k, s := range []string{lane.Title, lane.Name, lane.Addr} {
			if class := []string{"h", "s", "s"}[k]; k != 1 || s != lane.Title {
				fmt.Fprintf(&b, `<text class="%s" x="%.0f" y="%d">%s</text>`, class, x, 24+16*k, html.EscapeString(s))
			}
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, `<text class="t" x="%d" y="24">ms</text>`+"\n", svgLeft-80)
	for i := range l.Rows {
		l.svgRow(&b, &l.Rows[i], float64(svgTop+svgRow*i))
	}
	for i, s := range foot {
		fmt.Fprintf(&b, `<text class="n" x="20" y="%d">%s</text>`+"\n", bottom+svgFooter*(i+1), html.EscapeString(s))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// x is where a lane, or a place between two, is drawn.
func (l *Timeline) x(lane float64) float64 {
	return svgLeft + (svgRight-svgLeft)*lane/float64(max(len(l.Lanes)-1, 1))
}

func (l *Timeline) svgRow(b *strings.Builder, r *Row, y float64) {
	fmt.Fprintf(b, `<text class="t" x="%d" y="%.0f">%s</text>`, svgLeft-80, y+4, ms(r.T))
	if r.Count == 0 {
		fmt.Fprintf(b, `<line class="e" x1="%d" y1="%.0f" x2="%d" y2="%.0f"/><text class="en" x="%d" y="%.0f">%s</text>`+"\n",
			svgLeft, y, svgRight, y, (svgLeft+svgRight)/2, y+4, html.EscapeString(r.Label))
		return
	}
	l.svgArrow(b, r, y)
	class := "n"
	if r.Drop != "" {
		class = "dn"
	}
	fmt.Fprintf(b, `<text class="%s" x="%d" y="%.0f">%s</text>`+"\n", class, svgRight+svgNote, y+4, html.EscapeString(strings.TrimSpace(r.note())))
}

func (l *Timeline) svgArrow(b *strings.Builder, r *Row, y float64) {
	from, to := l.x(r.Way[0]), l.x(r.Way[len(r.Way)-1])
	class := "a"
	for _, c := range []struct {
		is   bool
		name string
	}{{r.Kind == Media, " m"}, {r.Relayed, " r"}, {r.Drop != "", " d"}} {
		if c.is {
			class += c.name
		}
	}
	y1, y2 := y-svgSlope/2, y+svgSlope/2.
	if from != to {
		fmt.Fprintf(b, `<line class="%s" x1="%.0f" y1="%.1f" x2="%.0f" y2="%.1f"/>`, class, from, y1, to, y2)
		for _, w := range r.Way[1 : len(r.Way)-1] { // the routers that passed it on
			at := y1 + (y2-y1)*(l.x(w)-from)/(to-from)
			fmt.Fprintf(b, `<circle class="%s p" cx="%.0f" cy="%.1f" r="3"/>`, class, l.x(w), at)
		}
	}
	switch {
	case r.Drop != "":
		fmt.Fprintf(b, `<path class="x" d="M%.0f %.1fl10 10m0-10l-10 10"/>`, to-5, y2-5)
	case r.Open:
		fmt.Fprintf(b, `<circle class="%s p" cx="%.0f" cy="%.1f" r="4"/>`, class, to, y2)
	default:
		back := math.Copysign(9, from-to)
		fmt.Fprintf(b, `<path class="%s" style="stroke-width:1.5;opacity:1" d="M%.1f %.1fL%.0f %.1fL%.1f %.1f"/>`, class, to+back, y2-5, to, y2, to+back, y2+3.5)
	}
	l.svgLabel(b, r, y)
}

// svgLabel writes on the widest part of the arrow.
func (l *Timeline) svgLabel(b *strings.Builder, r *Row, y float64) {
	from, to := l.x(r.Way[0]), l.x(r.Way[len(r.Way)-1])
	at, widest := from+60, 0.0
	for i := 1; i < len(r.Way); i++ {
		a, c := l.x(r.Way[i-1]), l.x(r.Way[i])
		if w := math.Abs(c - a); w > widest {
			at, widest = (a+c)/2, w
		}
	}
	slope := 0.0
	if from != to {
		slope = svgSlope * ((at-from)/(to-from) - 0.5)
	}
	fmt.Fprintf(b, `<text class="l" x="%.0f" y="%.1f">%s</text>`, at, y+slope+3.5, html.EscapeString(r.Label))
}
